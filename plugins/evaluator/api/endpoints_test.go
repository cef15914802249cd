package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/plugins/evaluator/api"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/evaluate"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// noted is an evaluator and queues that note what they are told.
type noted struct{ told []string }

func (n *noted) note(format string, args ...any) {
	n.told = append(n.told, fmt.Sprintf(format, args...))
}

func (n *noted) Put(a *store.Alarm)  { n.note("put %s %s", a.Name, a.State) }
func (n *noted) Remove(id uuid.UUID) { n.note("remove") }
func (n *noted) Doubt(id uuid.UUID)  { n.note("doubt") }

func (n *noted) Replay(_ context.Context, a *def.Alarm, from, to time.Time) (*evaluate.Replayed, error) {
	n.note("replay %s of %s, admin %v, for %v", a.Name, a.Project, a.Admin, to.Sub(from))
	if a.Name == "bad" {
		return nil, &def.InputError{Message: "a reason"}
	}
	return &evaluate.Replayed{Steps: []evaluate.Step{{At: from, State: def.OK, Values: []float64{1.5}}}}, nil
}

// noting has a cloud's API tell somebody who takes notes, with other options.
func (c *cloud) noting(change func(*api.Options)) *noted {
	n := &noted{}
	o := api.Options{
		Store: c.store, Evaluator: n, Trusts: c, Limits: store.Limits{Project: -1, User: -1},
		Owed:  func(targets []string) { n.note("owed %s", targets[0]) },
		Retry: func(target string) { n.note("retry %s", target) },
		Web:   web.Options{Auth: c, MaxBody: 1 << 20, Timeout: time.Minute},
	}
	change(&o)
	c.server = api.New(o)
	return n
}

// steps are requests, a line each: who asks, what for, the body, and the status and a part of
// the answer that are to come. NAME=ID in front keeps the id of an alarm for {NAME} later.
func (c *cloud) steps(ids map[string]string, lines ...[4]string) {
	c.t.Helper()
	fill := func(text string) string {
		for name, id := range ids {
			text = strings.ReplaceAll(text, "{"+name+"}", id)
		}
		return text
	}
	for _, l := range lines {
		name, who, named := strings.Cut(l[0], "=")
		if !named {
			who = name
		}
		method, path, _ := strings.Cut(fill(l[1]), " ")
		status, text := c.ask(who, method, path, fill(l[2]))
		got := fmt.Sprint(status, " ", text)
		code, part, _ := strings.Cut(fill(l[3]), " ")
		if !strings.HasPrefix(got, code+" ") || !strings.Contains(got, part) {
			c.t.Errorf("%s: %s %s %s\nis answered with %s\nand not with %s", who, method, path, l[2], got, l[3])
		}
		if named {
			var made struct {
				ID string `json:"alarm_id"`
			}
			if err := json.Unmarshal([]byte(text), &made); err != nil {
				c.t.Fatalf("%s: %v", text, err)
			}
			ids[name] = made.ID
		}
	}
}

const (
	joe, ann, eve, root = "joe@p/member", "ann@p/member", "eve@q/member", "root@r/admin"
)

// event is the body of an alarm.
func event(name, more string) string {
	return fmt.Sprintf(`{"name": %q, "type": "event", "event_rule": {}%s}`, name, more)
}

func TestCreation(t *testing.T) {
	c := newCloud(t)
	n := c.noting(func(o *api.Options) {
		o.MaxActions = 2
		o.Action = func(u *url.URL) error {
			if u.Scheme == "mailto" {
				return errors.New("not here")
			}
			return nil
		}
	})
	ids := map[string]string{}
	many := `["http://a", "http://b", "http://c"]`
	c.steps(ids,
		[4]string{"a=" + joe, "POST /v2/alarms", event("a", ""), `201 "state": "insufficient data", "state_reason": "Not evaluated yet"`},
		[4]string{"b=" + joe, "POST /v2/alarms/", event("a", `, "state": "ok", "alarm_id": "x", "user_id": "joe", "project_id": "p"`), `201 "project_id": "p", "user_id": "joe"`},
		[4]string{"c=" + root, "POST /v2/alarms", event("c", `, "user_id": "eve", "project_id": "q", "ok_actions": ["log://", "test://"]`), `201 "ok_actions": ["log:", "test://"]`},
		[4]string{joe, "POST /v2/alarms", event("a", `, "user_id": "eve"`), "401 Not Authorized to access user eve"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "project_id": "q"`), "401 Not Authorized to access project q"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "ok_actions": ["log:"]`), "401 You are not authorized to create action: log:"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "ok_actions": ["test:"]`), "401 You are not authorized to create action"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "ok_actions": ["ftp://x"]`), "400 Unsupported action ftp://x"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "ok_actions": ["trust:x"]`), "400 Unsupported action trust:x"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "ok_actions": ["mailto:a@x"]`), "400 Unsupported action mailto:a@x: not here"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "ok_actions": ["http:///x"]`), "400 Unable to parse action"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "ok_actions": ["trust+http://x", "trust+http://id@x"]`), "400 trust URL cannot contain a trust ID."},
		[4]string{joe, "POST /v2/alarms", event("a", `, "insufficient_data_actions": `+many), "400 insufficient_data_actions count exceeds maximum value 2"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "alarm_actions": ["http://a", "http://b", "http://a"]`), `201 "alarm_actions": ["http://a", "http://b"]`},
		[4]string{joe, "POST /v2/alarms", `{"type": "event", "event_rule": {}}`, "400 Invalid input for field/attribute name. Value: 'None'. Mandatory field missing."},
		[4]string{joe, "POST /v2/alarms", event("a", `, "colour": "red"`), "400 Unknown attribute for argument data: colour"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "severity": "bad"`), "400 Value should be one of"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "state": "bad"`), "400 Value should be one of"},
		[4]string{joe, "POST /v2/alarms", event("a", `, "composite_rule": {"or": []}`), "400 cannot be set at the same time"},
		[4]string{joe, "POST /v2/alarms", `{"name": "a", "type": "event"}`, "400 event_rule must be set for event type alarm"},
		[4]string{joe, "POST /v2/alarms", `{"name": "a"`, "400 Request is not in valid JSON format"},
		[4]string{joe, "POST /v2/alarms", `[]`, "400 Request is not in valid JSON format"},
	)
	if want := []string{"put a insufficient data", "put a ok", "put c insufficient data"}; !slices.Equal(n.told[:3], want) || len(n.told) != 4 || len(c.trusts) != 0 {
		t.Errorf("told is %q, and %d trusts are made", n.told, len(c.trusts))
	}
	r := httptest.NewRequest("POST", "http://clouds.example.com/v2/alarms", strings.NewReader(event("d", "")))
	r.Header = http.Header{"X-User": {"joe"}, "X-Project": {"p"}, "Content-Type": {"text/plain"}}
	w := httptest.NewRecorder()
	c.server.ServeHTTP(w, r)
	if w.Code != http.StatusUnsupportedMediaType || !strings.Contains(w.Body.String(), `"faultcode": "Client", "faultstring": "Unknown mimetype: text/plain`) {
		t.Errorf("text: %d %s", w.Code, w.Body)
	}
	r = httptest.NewRequest("POST", "http://clouds.example.com/v2/alarms", strings.NewReader(event("d", "")))
	r.Header = http.Header{"X-User": {"joe"}, "X-Project": {"p"}}
	w = httptest.NewRecorder()
	c.server.ServeHTTP(w, r)
	if l := w.Header().Get("Location"); w.Code != http.StatusCreated || !strings.HasPrefix(l, "http://clouds.example.com/v2/alarms/") || !strings.HasPrefix(w.Header().Get("X-Openstack-Request-Id"), "req-") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestAlarm(t *testing.T) {
	c := newCloud(t)
	n := c.noting(func(*api.Options) {})
	ids := map[string]string{"none": uuid.NewString(), "file": uuid.NewString()}
	p, err := def.Read([]byte(event("of a file", "")))
	if err != nil {
		t.Fatal(err)
	}
	file := &store.Alarm{Alarm: p.Alarm}
	file.ID, file.Origin, file.Project = uuid.MustParse(ids["file"]), "rules.toml", "p"
	if err := c.store.Create(t.Context(), file, store.Limits{Project: -1, User: -1}, nil); err != nil {
		t.Fatal(err)
	}
	c.steps(ids,
		[4]string{"a=" + joe, "POST /v2/alarms", event("a", ""), "201 "},
		[4]string{joe, "GET /v2/alarms/{a}", "", `200 "name": "a"`},
		[4]string{ann, "GET /v2/alarms/{a}", "", "200 "},
		[4]string{root, "GET /v2/alarms/{a}", "", "200 "},
		[4]string{eve, "GET /v2/alarms/{a}", "", "404 Alarm {a} not found"},
		[4]string{joe, "GET /v2/alarms/{none}", "", "404 Alarm {none} not found"},
		[4]string{joe, "GET /v2/alarms/a", "", "404 Alarm a not found"},
		[4]string{joe, "PATCH /v2/alarms/{a}", "", "405 "},
		[4]string{joe, "GET /v2/alarms/{file}", "", `200 "name": "of a file"`},

		[4]string{joe, "GET /v2/alarms/{a}/state", "", `200 "insufficient data"`},
		[4]string{joe, "PUT /v2/alarms/{a}/state", `"ok"`, `200 "ok"`},
		[4]string{joe, "PUT /v2/alarms/{a}/state", `"fine"`, "400 state invalid"},
		[4]string{joe, "PUT /v2/alarms/{a}/state", `ok`, "400 state invalid"},
		[4]string{eve, "PUT /v2/alarms/{a}/state", `"ok"`, "404 "},
		[4]string{eve, "GET /v2/alarms/{a}/state", "", "404 "},
		[4]string{joe, "GET /v2/alarms/{a}", "", `200 "state": "ok", "state_reason": "Manually set via API"`},

		// Who sends no state means the default.
		[4]string{ann, "PUT /v2/alarms/{a}", event("b", `, "severity": "critical"`), `200 "state": "insufficient data", "state_reason": "Manually set via API"`},
		[4]string{joe, "GET /v2/alarms/{a}", "", `200 "project_id": "p", "user_id": "ann"`},
		[4]string{root, "PUT /v2/alarms/{a}", event("b", `, "user_id": "joe", "state": "alarm"`), `200 "project_id": "p", "user_id": "joe"`},
		[4]string{eve, "PUT /v2/alarms/{a}", event("b", ""), "404 "},
		[4]string{joe, "PUT /v2/alarms/{none}", `{`, "404 "},
		[4]string{joe, "PUT /v2/alarms/{a}", `{`, "400 Request is not in valid JSON format"},
		[4]string{joe, "PUT /v2/alarms/{file}", event("b", ""), "403 comes from rules.toml: change it there"},
		[4]string{root, "DELETE /v2/alarms/{file}", "", "403 comes from rules.toml: change it there"},
		[4]string{joe, "PUT /v2/alarms/{file}/state", `"ok"`, `200 "ok"`},

		[4]string{joe, "GET /v2/alarms/{a}/history", "", `200 "type": "rule change"`},
		[4]string{joe, "GET /v2/alarms/{a}/history?q.field=type&q.value=creation", "", `200 [{"event_id"`},
		[4]string{eve, "GET /v2/alarms/{a}/history", "", "404 "},
		[4]string{joe, "GET /v2/alarms/{a}/history?q.field=timestamp&q.op=gt&q.value=2100-01-01", "", "200 []"},
		[4]string{joe, "GET /v2/alarms/{a}/history?q.field=timestamp&q.op=eq&q.value=2100-01-01", "", "400 unimplemented operator for timestamp"},
		[4]string{joe, "GET /v2/alarms/{a}/history?q.field=timestamp&q.op=gt&q.value=now", "", "400 invalid timestamp format"},
		[4]string{joe, "GET /v2/alarms/{a}/history?q.field=search_offset&q.value=5", "", "400 search_offset cannot be used without timestamp"},
		[4]string{joe, "GET /v2/alarms/{a}/history?q.field=detail&q.value=5", "", "400 unrecognized field in query"},
		[4]string{joe, "GET /v2/alarms/{a}/history?q.field=project_id&q.value=q", "", "401 Not Authorized to access project q"},
		[4]string{joe, "POST /v2/query/alarms/history", `{"filter": "{\"=\": {\"type\": \"creation\"}}", "orderby": "[{\"timestamp\": \"asc\"}]", "limit": 1}`, `200 "type": "creation"`},
		[4]string{eve, "POST /v2/query/alarms/history", `{}`, "200 []"},
		[4]string{eve, "POST /v2/query/alarms/history", `{"filter": "{\"=\": {\"on_behalf_of\": \"p\"}}"}`, "401 Not Authorized to access project p"},

		[4]string{eve, "DELETE /v2/alarms/{a}", "", "404 "},
		[4]string{joe, "DELETE /v2/alarms/{a}", "", "204 "},
		[4]string{joe, "DELETE /v2/alarms/{a}", "", "404 "},
		[4]string{joe, "GET /v2/alarms/{a}/history", "", "404 "},
		[4]string{joe, "POST /v2/query/alarms/history", `{"filter": "{\"=\": {\"type\": \"deletion\"}}"}`, `200 {\"state\": \"alarm\"}`},
	)
	want := []string{"put a insufficient data", "put a ok", "put b insufficient data", "put b alarm", "put of a file ok", "remove", "owed trust:"}
	if got := slices.DeleteFunc(n.told[:len(n.told)-2], func(s string) bool { return s == "owed trust:" }); !slices.Equal(append(got, n.told[len(n.told)-2:]...), want) {
		t.Errorf("told is %q", n.told)
	}
}

func TestLists(t *testing.T) {
	c := newCloud(t)
	c.noting(func(*api.Options) {})
	ids := map[string]string{"none": uuid.NewString()}
	for i, state := range []string{"ok", "alarm", "insufficient data", "alarm"} {
		name := string(rune('a' + i))
		c.steps(ids, [4]string{name + "=" + joe, "POST /v2/alarms", event(name, fmt.Sprintf(`, "state": %q, "enabled": %v`, state, i%2 == 0)), "201 "})
	}
	c.steps(ids, [4]string{"e=" + eve, "POST /v2/alarms", event("e", ""), "201 "})
	const sorted = "GET /v2/alarms?sort=name"
	for query, want := range map[string]string{
		"":                        "abcd",
		"&limit=2":                "ab",
		"&limit=2&marker={b}":     "cd",
		"&limit=100&marker={d}":   "",
		"&q.field=name&q.value=c": "c",
		"&q.field=state&q.value=alarm&q.type=string&q.op=eq":       "bd",
		"&q.field=enabled&q.value=false":                           "bd",
		"&q.field=enabled&q.field=state&q.value=true&q.value=ok":   "a",
		"&q.field=repeat_actions&q.value=True":                     "",
		"&q.field=type&q.value=event&q.field=severity&q.value=low": "abcd",
		"&q.field=user_id&q.value=ann":                             "",
		"&q.field=project_id&q.value=p":                            "abcd",
		"&q.field=all_projects&q.value=false":                      "abcd",
		"&q.field=timestamp&q.value=2020-01-01T00:00:00":           "",
		"&limit=0":                          "400 it should be a positive integer",
		"&limit=-1":                         "400 it should be a positive integer",
		"&limit=x":                          "400 it should be a positive integer",
		"&marker={none}":                    "400 Invalid input for field/attribute marker",
		"&marker={e}":                       "400 Invalid input for field/attribute marker",
		"&marker=x":                         "400 Invalid input for field/attribute marker",
		"&sort=colour":                      "400 the supported sort keys are: alarm_id",
		"&sort=name:up":                     "400 Invalid input for field/attribute sort",
		"&q.field=colour&q.value=red":       "400 only fields all_projects, enabled",
		"&q.field=description&q.value=x":    "400 only fields",
		"&q.field=name&q.op=ne&q.value=a":   "400 only operations eq are allowed",
		"&q.field=name&q.op=like&q.value=a": "400 Value should be one of: lt, le, eq, ne, ge, gt",
		"&q.field=name":                     "400 Mandatory field missing",
		"&q.field=name&q.value=a&q.field=name&q.value=b": "400 duplicate query fields are not allowed",
		"&q.field=enabled&q.value=perhaps":               "400 Unable to convert the value perhaps to the expected data type boolean",
		"&q.field=timestamp&q.value=now":                 "400 Failed to parse the timestamp value now",
		"&q.field=all_projects&q.value=true":             "403 RBAC Authorization Failed",
		"&q.field=project_id&q.value=q":                  "401 Not Authorized to access project q",
		"&colour=red":                                    "400 Unknown argument: \\\"colour\\\"",
		"&%zz":                                           "400 The query of the URL can't be read",
	} {
		path := sorted + query
		for name, id := range ids {
			path = strings.ReplaceAll(path, "{"+name+"}", id)
		}
		status, text := c.ask(joe, "GET", strings.TrimPrefix(path, "GET "), "")
		got := fmt.Sprint(status, " ", text)
		var list []struct{ Name string }
		if status == http.StatusOK && json.Unmarshal([]byte(text), &list) == nil {
			got = ""
			for _, a := range list {
				got += a.Name
			}
		}
		code, part, refused := strings.Cut(want, " ")
		if refused && (!strings.HasPrefix(got, code+" ") || !strings.Contains(got, part)) || !refused && got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
	c.steps(ids,
		[4]string{root, "GET /v2/alarms", "", "200 []"}, // those of one's own project
		[4]string{root, "GET /v2/alarms?q.field=project_id&q.value=q", "", `200 "name": "e"`},
		[4]string{root, "GET /v2/alarms?q.field=all_projects&q.value=true&sort=state:desc&limit=1", "", `200 "name": "a"`},
		[4]string{root, "GET /v2/alarms?q.field=all_projects&q.value=true&sort=state&sort=name:desc&limit=2&marker={b}", "", `200 "name": "e"`},
		[4]string{joe, "POST /v2/query/alarms", `{"limit": 0}`, "400 Limit should be positive"},
		[4]string{joe, "POST /v2/query/alarms", `{"colour": 0}`, "400 Request is not in valid JSON format"},
		[4]string{joe, "POST /v2/query/alarms", `{"filter": ""}`, "200 [{"},
		[4]string{joe, "GET /v2/query/alarms", "", "405 "},
	)
}

func TestQuotas(t *testing.T) {
	c := newCloud(t)
	c.noting(func(o *api.Options) { o.Limits = store.Limits{Project: 5, User: 2} })
	c.steps(map[string]string{},
		[4]string{joe, "GET /v2/quotas", "", `200 {"project_id": "p", "quotas": [{"resource": "alarms", "limit": 5}]}`},
		[4]string{joe, "GET /v2/quotas?project_id=q", "", "401 Not Authorized to access project q"},
		[4]string{root, "GET /v2/quotas?project_id=q", "", `200 "project_id": "q"`},
		[4]string{joe, "POST /v2/quotas", `{"project_id": "p", "quotas": [{"resource": "alarms", "limit": 100}]}`, "403 RBAC Authorization Failed"},
		[4]string{joe, "DELETE /v2/quotas/p", "", "403 RBAC Authorization Failed"},
		[4]string{root, "POST /v2/quotas", `{"project_id": "p", "quotas": [{"resource": "alarms", "limit": 3}]}`, `201 {"project_id": "p", "quotas": [{"resource": "alarms", "limit": 3}]}`},
		[4]string{root, "POST /v2/quotas", `{"quotas": []}`, "400 field/attribute project_id. Value: 'None'. Mandatory field missing."},
		[4]string{root, "POST /v2/quotas", `{"project_id": "p", "quotas": [{"resource": "disks", "limit": 3}]}`, "400 Value should be one of: alarms"},
		[4]string{root, "POST /v2/quotas", `{"project_id": "p", "quotas": [{"resource": "alarms"}]}`, "400 field/attribute limit. Value: 'None'. Mandatory field missing."},
		[4]string{root, "POST /v2/quotas", `{"project_id": "p", "quotas": [{"resource": "alarms", "limit": -2}]}`, "400 greater or equal to -1"},
		[4]string{root, "POST /v2/quotas", `{"project_id": "p", "colour": 1}`, "400 Request is not in valid JSON format"},
		[4]string{joe, "POST /v2/alarms", event("a", ""), "201 "},
		[4]string{"a=" + joe, "POST /v2/alarms", event("b", ""), "201 "},
		[4]string{joe, "POST /v2/alarms", event("c", ""), "403 Alarm quota exceeded for user joe on project p"},
		[4]string{ann, "POST /v2/alarms", event("c", `, "ok_actions": ["trust+http://x"]`), "201 "},
		[4]string{ann, "POST /v2/alarms", event("d", `, "ok_actions": ["trust+http://x"]`), "403 Alarm quota exceeded for user ann on project p"},
		[4]string{root, "DELETE /v2/quotas/p", "", "204 "},
		[4]string{root, "DELETE /v2/quotas/p", "", "204 "},
		[4]string{ann, "POST /v2/alarms", event("d", ""), "201 "},
		[4]string{root, "POST /v2/quotas", `{"project_id": "q", "quotas": [{"resource": "alarms", "limit": 0}]}`, "201 "},
		[4]string{eve, "POST /v2/alarms", event("e", ""), "403 Alarm quota exceeded"},
		[4]string{root, "POST /v2/quotas", `{"project_id": "q", "quotas": [{"resource": "alarms", "limit": -1}]}`, "201 "},
		[4]string{eve, "POST /v2/alarms", event("e", ""), "201 "},
	)
	// The trust of what was refused is to go.
	owed, err := c.store.Owed(t.Context(), store.TrustTarget, 0, 10)
	if err != nil || len(owed) != 1 || owed[0].Action != store.TrustTarget+"ann-1" {
		t.Errorf("%+v, %v", owed, err)
	}
}

func TestDeliveries(t *testing.T) {
	c := newCloud(t)
	n := c.noting(func(o *api.Options) {
		o.Record = func(ch *store.Change) (list []*store.Delivery) {
			for _, action := range []string{"trust+http://secret@x/y?z=1", store.TrustTarget + "secret", "http://x/z"} {
				list = append(list, &store.Delivery{ID: uuid.New(), Alarm: ch.Alarm, Project: ch.OnBehalfOf, Target: action[:strings.IndexByte(action, ':')], Action: action, Created: ch.At})
			}
			return list
		}
	})
	ids := map[string]string{}
	c.steps(ids, [4]string{"a=" + joe, "POST /v2/alarms", event("a", ""), "201 "}, [4]string{"b=" + eve, "POST /v2/alarms", event("b", ""), "201 "})
	if want := []string{"put a insufficient data", "owed trust+http", "owed trust", "owed http"}; !slices.Equal(n.told[:4], want) {
		t.Errorf("told is %q", n.told)
	}
	list, err := c.store.Deliveries(t.Context(), nil, false, 0, 10)
	if err != nil || len(list) != 6 {
		t.Fatalf("%d deliveries, %v", len(list), err)
	}
	if err := c.store.Tried(t.Context(), list[0].Ref, 3, "it is away", time.Now()); err != nil {
		t.Fatal(err)
	}
	for i, d := range list {
		ids[fmt.Sprint("d", i)] = fmt.Sprint(d.Ref)
	}
	n.told = nil
	c.steps(ids,
		[4]string{joe, "GET /v2/deliveries", "", `200 "marker": {d1}, "alarm_id": "{a}", "project_id": "p", "action": "trust:"`},
		[4]string{joe, "GET /v2/deliveries?marker={d1}&limit=5", "", `200 [{"delivery_id": "` + list[2].ID.String() + `"`},
		[4]string{joe, "GET /v2/deliveries?marker={d2}", "", "200 []"},
		[4]string{joe, "GET /v2/deliveries?dead=true", "", `200 "action": "trust+http://x/y?z=1", "created": `},
		[4]string{joe, "GET /v2/deliveries?dead=true", "", `200 "tries": 3, "failed": "it is away", "dead": `},
		[4]string{eve, "GET /v2/deliveries?dead=true", "", "200 []"},
		[4]string{root, "GET /v2/deliveries", "", "200 []"},
		[4]string{root, "GET /v2/deliveries?all_projects=true&limit=1&marker={d2}", "", `200 "project_id": "q"`},
		[4]string{joe, "GET /v2/deliveries?all_projects=true", "", "403 RBAC Authorization Failed"},
		[4]string{joe, "GET /v2/deliveries?limit=0", "", "400 it should be a positive integer"},
		[4]string{joe, "GET /v2/deliveries?marker=x", "", "400 Invalid input for field/attribute marker"},
		[4]string{eve, "POST /v2/deliveries/{d0}/retry", "", "404 There is no dead delivery {d0}"},
		[4]string{joe, "POST /v2/deliveries/{d1}/retry", "", "404 There is no dead delivery {d1}"},
		[4]string{joe, "POST /v2/deliveries/x/retry", "", "404 There is no dead delivery x"},
		[4]string{joe, "POST /v2/deliveries/{d0}/retry", "", "202 "},
		[4]string{root, "POST /v2/deliveries/{d0}/retry", "", "404 "},
	)
	if !slices.Equal(n.told, []string{"retry trust+http"}) {
		t.Errorf("told is %q", n.told)
	}
	for _, path := range []string{"?all_projects=true", "?all_projects=true&dead=true"} {
		if _, text := c.ask(root, "GET", "/v2/deliveries"+path, ""); strings.Contains(text, "secret") {
			t.Errorf("%s shows a trust: %s", path, text)
		}
	}
}

func TestReplays(t *testing.T) {
	c := newCloud(t)
	n := c.noting(func(o *api.Options) { o.Now = func() time.Time { return time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC) } })
	c.steps(map[string]string{},
		[4]string{joe, "POST /v2/test", event("a", `, "project_id": "q"`), `200 {"steps": [{"at": "2026-01-01T00:00:00", "state": "ok", "values": [1.5]}], "transitions": []}`},
		[4]string{root, "POST /v2/test?start=2026-01-01&stop=2026-01-01T01:00:00", event("a", ""), "200 "},
		[4]string{joe, "POST /v2/test?start=2026-01-03", event("a", ""), "400 start must be before stop"},
		[4]string{joe, "POST /v2/test?start=now", event("a", ""), "400 Failed to parse the timestamp value now"},
		[4]string{joe, "POST /v2/test", event("bad", ""), "400 a reason"},
		[4]string{joe, "POST /v2/test", `{}`, "400 Mandatory field missing"},
		[4]string{joe, "GET /v2/test", "", "405 "},
	)
	if want := []string{"replay a of p, admin false, for 24h0m0s", "replay a of r, admin true, for 1h0m0s"}; len(n.told) != 3 || !slices.Equal(n.told[:2], want) {
		t.Errorf("told is %q", n.told)
	}
}

func TestRoot(t *testing.T) {
	c := newCloud(t)
	c.steps(map[string]string{},
		[4]string{"@", "GET /", "", `200 {"versions": {"values": [{"id": "v2", "links": [{"href": "http://example.com/v2", "rel": "self"}`},
		[4]string{"@", "GET /healthcheck", "", "200 "},
		[4]string{"@", "GET /v2/capabilities", "", `200 "alarms:query:complex": true`},
		[4]string{"@", "GET /v2/capabilities/", "", "200 "},
		[4]string{"@", "GET /v2/alarms", "", "403 RBAC Authorization Failed"},
		[4]string{joe, "GET /v2", "", "404 "},
		[4]string{joe, "GET /v3/alarms", "", `404 {"error_message": {"faultcode": "Client"`},
		[4]string{joe, "DELETE /v2/alarms", "", "405 "},
	)
}

// FuzzQueries: whatever is asked, and however, the database takes the question, and a member sees
// nothing of another project.
func FuzzQueries(f *testing.F) {
	c := newCloud(f)
	for i, who := range []string{joe, eve, joe, eve} {
		c.make(who, fmt.Sprint("n", i), `, "alarm_actions": ["http://x"]`)
	}
	f.Add(`{"or": [{"=": {"state": "alarm"}}, {"not": {"in": {"alarm_id": ["x"]}}}]}`, `[{"state": "desc"}]`, "q.field=name&q.value=n1&sort=state:desc&limit=5")
	f.Add(`{"not": {"=~": {"name": "^n[0-9]"}}}`, `[{"timestamp": "asc"}, {"name": "desc"}]`, "q.field=enabled&q.op=eq&q.value=True&q.type=boolean&sort=alarm_id")
	f.Add(`{"!=": {"project_id": "p"}}`, "", "q.field=timestamp&q.value=2026-01-02&sort=timestamp:asc&sort=name")
	f.Add(`{"<": {"timestamp": "2126-01-02"}}`, "", "q.field=all_projects&q.value=false&q.field=state&q.value=ok")
	f.Fuzz(func(t *testing.T, filter, order, simple string) {
		body, err := json.Marshal(map[string]string{"filter": filter, "orderby": order})
		if err != nil {
			t.Skip()
		}
		if strings.ContainsFunc(simple, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
			t.Skip() // no server gets such a line
		}
		c := &cloud{t: t, server: c.server}
		for _, q := range [][3]string{{"POST", "/v2/query/alarms", string(body)}, {"GET", "/v2/alarms?" + simple}, {"POST", "/v2/query/alarms/history", string(body)}} {
			status, text := c.ask(joe, q[0], q[1], q[2])
			switch status {
			case http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
			default:
				t.Fatalf("%q\nis answered with %d %s", q, status, text)
			}
			var list []struct {
				Project    string `json:"project_id"`
				OnBehalfOf string `json:"on_behalf_of"`
			}
			if status != http.StatusOK {
				continue
			}
			if err := json.Unmarshal([]byte(text), &list); err != nil {
				t.Fatal(err)
			}
			for _, a := range list {
				if a.Project != "p" || a.OnBehalfOf != "p" && a.OnBehalfOf != "" {
					t.Errorf("%q\nshows %+v", q, a)
				}
			}
		}
	})
}
