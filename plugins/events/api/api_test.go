package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/plugins/events/store"
	"github.com/nephoscope/nepho/sdk"
)

// kit is a server with a store of its own.
type kit struct {
	*testing.T
	store  *store.Store
	server *httptest.Server
	log    bytes.Buffer
}

func newKit(t *testing.T, change func(*Options)) *kit {
	t.Helper()
	k := &kit{T: t}
	s, err := store.Open(t.Context(), store.Options{URL: filepath.Join(t.TempDir(), "events.sqlite"), Now: func() time.Time { return start.AddDate(0, 0, 5) }})
	if err != nil {
		t.Fatal(err)
	}
	k.store = s
	o := Options{Store: s, DefaultLimit: 100, Web: web.Options{Auth: auth.None{}, Log: slog.New(slog.NewTextHandler(&k.log, nil)), MaxBody: 1 << 16, Timeout: time.Minute}}
	if change != nil {
		change(&o)
	}
	k.server = httptest.NewServer(New(o))
	t.Cleanup(func() {
		k.server.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if text := k.log.String(); strings.Contains(text, "ERROR") && !t.Failed() {
			t.Errorf("the log has\n%s", text)
		}
	})
	return k
}

func (k *kit) add(events ...sdk.Event) {
	k.Helper()
	if n, err := k.store.Add(k.Context(), events); err != nil || n != len(events) {
		k.Fatalf("%d of %d events were added, %v", n, len(events), err)
	}
}

type response struct {
	code   int
	header http.Header
	body   string
}

// do makes a request. Headers are in pairs.
func (k *kit) do(method, path, body string, header ...string) response {
	k.Helper()
	r, err := http.NewRequestWithContext(k.Context(), method, k.server.URL+path, strings.NewReader(body))
	if err != nil {
		k.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := k.server.Client().Do(r)
	if err != nil {
		k.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		k.Fatal(err)
	}
	return response{a.StatusCode, a.Header, string(text)}
}

// as are the headers of somebody.
func as(roles, user, project string) []string {
	return []string{"X-Roles", roles, "X-User-Id", user, "X-Project-Id", project}
}

var admin = as("admin", "user1", "project1")

// list asks for a list of events, and gives their message ids.
func (k *kit) list(path string, header ...string) []string {
	k.Helper()
	a := k.do("GET", path, "", header...)
	var events []struct {
		ID string `json:"message_id"`
	}
	if err := json.Unmarshal([]byte(a.body), &events); a.code != 200 || err != nil || a.header.Get("Content-Type") != "application/json; charset=UTF-8" {
		k.Fatalf("%s: got %d %s, %v", path, a.code, a.body, err)
	}
	ids := []string{}
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

func (k *kit) wantList(want []string, path string, header ...string) {
	k.Helper()
	if got := k.list(path, header...); !slices.Equal(got, want) {
		k.Errorf("%s: got %q, want %q", path, got, want)
	}
}

// wantError checks an error of an answer.
func (a response) wantError(t testing.TB, code int, reason string) {
	t.Helper()
	var f fault
	if err := json.Unmarshal([]byte(a.body), &f); err != nil || a.code != code || f.Message.Reason != reason || f.Message.Code != map[bool]string{true: "Client", false: "Server"}[code < 500] {
		t.Errorf("got %d %s, want %d %q", a.code, a.body, code, reason)
	}
}

// ask is the query of filters: field, op, type, value.
func ask(filters ...[4]string) string {
	q := url.Values{}
	for _, f := range filters {
		q.Add("q.field", f[0])
		q.Add("q.op", f[1])
		q.Add("q.type", f[2])
		q.Add("q.value", f[3])
	}
	return "/v2/events?" + q.Encode()
}

var start = time.Date(2013, 12, 31, 5, 0, 0, 0, time.UTC)

// foo are the events of Panko's own tests.
func foo() (list []sdk.Event) {
	for i, eventType := range []string{"Foo", "Bar", "Zoo"} {
		at := start.AddDate(0, 0, i)
		list = append(list, sdk.Event{
			MessageID: fmt.Sprint(100 * i), EventType: eventType, Generated: at, Raw: []byte(`{"status": {"nested": "started"}}`),
			Traits: []sdk.Trait{
				{Name: "trait_D", Type: sdk.Datetime, Value: at},
				{Name: "trait_A", Type: sdk.Text, Value: "my_" + eventType + "_text"},
				{Name: "trait_B", Type: sdk.Integer, Value: int64(100*i + 1)},
				{Name: "trait_C", Type: sdk.Float, Value: float64(100*i) + 0.123456},
			},
		})
	}
	return list
}

// An answer has what Panko's has, to the letter of its values.
func TestEvent(t *testing.T) {
	k := newKit(t, nil)
	k.add(foo()...)
	want := `{"message_id":"100","event_type":"Bar","generated":"2014-01-01T05:00:00","raw":{"status":{"nested":"started"}},"traits":[
{"name":"trait_A","type":"string","value":"my_Bar_text"},{"name":"trait_B","type":"integer","value":"101"},
{"name":"trait_C","type":"float","value":"100.123456"},{"name":"trait_D","type":"datetime","value":"2014-01-01T05:00:00"}]}`
	same := func(got, want string) {
		t.Helper()
		var g, w any
		if json.Unmarshal([]byte(got), &g) != nil || json.Unmarshal([]byte(want), &w) != nil || !reflect.DeepEqual(g, w) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, path := range []string{"/v2/events/100", "/v2/events/100/", "//v2//events/100", "/v2/events/%3100"} {
		a := k.do("GET", path, "", admin...)
		if a.code != 200 {
			t.Fatalf("%s: %d %s", path, a.code, a.body)
		}
		same(a.body, want)
	}
	same(k.do("GET", ask([4]string{"event_type", "eq", "string", "Bar"}), "", admin...).body, "["+want+"]")
	k.do("GET", "/v2/events/bad-id", "", admin...).wantError(t, 404, "Event bad-id Not Found")
	same(k.do("GET", "/v2/event_types", "", admin...).body, `["Bar","Foo","Zoo"]`)
	same(k.do("GET", "/v2/event_types/Foo/traits", "", admin...).body, `[{"name":"trait_A","type":"string"},{"name":"trait_B","type":"integer"},{"name":"trait_C","type":"float"},{"name":"trait_D","type":"datetime"}]`)
	same(k.do("GET", "/v2/event_types/none/traits", "", admin...).body, `[]`)
	same(k.do("GET", "/v2/event_types/Foo/traits/trait_B", "", admin...).body, `[{"name":"trait_B","type":"integer","value":"1"}]`)
	same(k.do("GET", "/v2/event_types/Foo/traits/trait_D", "", admin...).body, `[{"name":"trait_D","type":"datetime","value":"2013-12-31T05:00:00"}]`)
	same(k.do("GET", "/v2/event_types/Foo/traits/none", "", admin...).body, `[]`)
	same(k.do("GET", "/v2/event_types/none/traits/trait_A", "", admin...).body, `[]`)
	same(k.do("GET", "/v2/capabilities", "").body, `{"api":{"events:query:simple":true},"event_storage":{"storage:production_ready":true}}`)
	for _, path := range []string{"/v2/event_types/Foo", "/v2/event_types/none", "/v2", "/v1/events", "/v2/events/a/b", "/v2/event_types/trait_A/"} {
		k.do("GET", path, "", admin...).wantError(t, 404, "There is nothing at this path.")
	}
	a := k.do("POST", "/v2/events", "{}", admin...)
	a.wantError(t, 405, "The method POST is not allowed for this resource.")
	if a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("allowed is %q", a.header.Get("Allow"))
	}
	if a := k.do("HEAD", "/v2/events", ""); a.code != 200 || a.body != "" {
		t.Errorf("HEAD: %d %q", a.code, a.body)
	}
	if a := k.do("GET", "/healthcheck", ""); a.code != 200 || a.body != "" {
		t.Errorf("the health is %d %q", a.code, a.body)
	}
}

// Values are texts as Python writes them.
func TestValues(t *testing.T) {
	for value, want := range map[any]string{
		"<ü\"\u2028>": "<ü\"\u2028>", "": "", int64(math.MinInt64): "-9223372036854775808",
		1.0: "1.0", 0.1: "0.1", -2.5e-7: "-2.5e-07", 1e16: "1e+16", 123456789012345.0: "123456789012345.0", 1e-4: "0.0001", 1e300: "1e+300",
		math.Inf(1): "inf", math.Inf(-1): "-inf", math.Copysign(0, -1): "-0.0",
		start.Add(123456789): "2013-12-31T05:00:00.123456", start.Add(999): "2013-12-31T05:00:00",
	} {
		trait := sdk.Trait{Name: "n\n", Value: value}
		switch value.(type) {
		case int64:
			trait.Type = sdk.Integer
		case float64:
			trait.Type = sdk.Float
		case time.Time:
			trait.Type = sdk.Datetime
		}
		var got struct{ Name, Value, Type string }
		if err := json.Unmarshal(appendTrait(nil, &trait), &got); err != nil || got.Value != want || got.Name != "n\n" {
			t.Errorf("%v is %+v, %v, want %q", value, got, err, want)
		}
	}
	if got := string(appendReal(nil, math.NaN())); got != "nan" {
		t.Errorf("what is no number is %q", got)
	}
	for raw, want := range map[string]string{"": "{}", `{"a": [1, 2]}`: `{"a":[1,2]}`, "no JSON": `"no JSON"`, `{"a"`: `"{\"a\""`} {
		if got := string(appendRaw(nil, []byte(raw))); got != want {
			t.Errorf("raw %s is %s, want %s", raw, got, want)
		}
	}
}

func TestFilters(t *testing.T) {
	k := newKit(t, nil)
	k.add(foo()...)
	type f = [4]string
	for _, c := range []struct {
		filters []f
		want    string // how many, or the error
	}{
		{nil, "3"},
		{[]f{{"event_type", "", "", "Foo"}}, "1"},
		{[]f{{"event_type", "eq", "", "Foo"}, {"event_type", "eq", "", "Bar"}}, "0"},
		{[]f{{"message_id", "eq", "", "100"}}, "1"},
		{[]f{{"trait_A", "", "", "my_Foo_text"}}, "1"},
		{[]f{{"trait_A", "eq", "whats-up", "x"}}, "The data type whats-up is not supported. The supported data type list is: ['integer', 'float', 'string', 'datetime']"},
		{[]f{{"trait_A", "whats-up", "", "x"}}, "Operator whats-up is not supported. The supported operators are: ('lt', 'le', 'eq', 'ne', 'ge', 'gt')"},
		{[]f{{"start_timestamp", "ge", "", "2014-01-01T00:00:00"}}, "2"},
		{[]f{{"start_timestamp", "", "", "2014-01-01"}}, "2"},
		{[]f{{"start_timestamp", "gt", "", "2014-01-01T00:00:00"}}, "Operator gt is not supported. Only `ge' operator is available for field start_timestamp"},
		{[]f{{"end_timestamp", "le", "", "2014-01-03T00:00:00"}}, "3"},
		{[]f{{"end_timestamp", "gt", "", "2014-01-03T00:00:00"}}, "Operator gt is not supported. Only `le' operator is available for field end_timestamp"},
		{[]f{{"event_type", "ne", "", "Foo"}}, "Operator ne is not supported. Only `eq' operator is available for field event_type"},
		{[]f{{"start_timestamp", "ge", "", "2014-01-02T00:00:00"}, {"end_timestamp", "le", "", "2014-01-03T10:00:00"}}, "1"},
		{[]f{{"start_timestamp", "ge", "", "2014-01-01T06:00:00+01:00"}}, "2"},
		{[]f{{"start_timestamp", "ge", "", "0001-01-01T00:00:00"}, {"end_timestamp", "le", "", "9999-12-31T23:59:59"}}, "3"},
		{[]f{{"start_timestamp", "ge", "", "yesterday"}}, "Unable to convert the value yesterday to the expected data type datetime."},
		{[]f{{"trait_B", "eq", "integer", "101"}}, "1"},
		{[]f{{"trait_B", "eq", "", "101"}}, "0"},
		{[]f{{"trait_B", "eq", "integer", "x"}}, "Unable to convert the value x to the expected data type integer."},
		{[]f{{"trait_C", "eq", "float", "200.123456"}}, "1"},
		{[]f{{"trait_D", "eq", "datetime", "2014-01-01T05:00:00"}}, "1"},
		{[]f{{"trait_D", "eq", "datetime", "x"}}, "Unable to convert the value x to the expected data type datetime."},
		{[]f{{"trait_B", "eq", "integer", "1"}, {"trait_A", "eq", "string", "my_Foo_text"}}, "1"},
		{[]f{{"trait_B", "eq", "integer", "101"}, {"trait_A", "eq", "string", "my_Foo_text"}}, "0"},
		{[]f{{"trait_A", "eq", "string", "my_Foo_text"}, {"trait_A", "eq", "string", "my_Bar_text"}}, "0"},
		{[]f{{"trait_A", "lt", "string", "my_Bar_text"}}, "0"},
		{[]f{{"trait_A", "le", "string", "my_Zoo_text"}}, "3"},
		{[]f{{"trait_A", "ne", "string", "my_Foo_text"}}, "2"},
		{[]f{{"trait_A", "gt", "string", "my_Bar_text"}}, "2"},
		{[]f{{"trait_A", "ge", "string", "my_Zoo_text"}}, "1"},
		{[]f{{"trait_B", "lt", "integer", "201"}}, "2"},
		{[]f{{"trait_B", "ne", "integer", "101"}}, "2"},
		{[]f{{"trait_C", "le", "float", "0.123456"}}, "1"},
		{[]f{{"trait_C", "ne", "float", "nan"}}, "3"},
		{[]f{{"trait_D", "ge", "datetime", "2013-12-31T05:00:00"}}, "3"},
		{[]f{{"trait_D", "gt", "datetime", "2014-01-02T05:00:00"}}, "0"},
		{[]f{{"no such trait", "ne", "string", "x"}}, "0"},
	} {
		a := k.do("GET", ask(c.filters...), "", admin...)
		var list []any
		if json.Unmarshal([]byte(a.body), &list) == nil {
			if got := fmt.Sprint(len(list)); a.code != 200 || got != c.want {
				t.Errorf("%v: got %d and %s events, want %s", c.filters, a.code, got, c.want)
			}
		} else {
			a.wantError(t, 400, c.want)
		}
		// The same in the body.
		filters := []map[string]string{}
		for _, f := range c.filters {
			filters = append(filters, map[string]string{"field": f[0], "op": f[1], "type": f[2], "value": f[3]})
		}
		body, err := json.Marshal(map[string]any{"q": filters})
		if err != nil {
			t.Fatal(err)
		}
		b := k.do("GET", "/v2/events", string(body), append(admin, "Content-Type", "application/json; charset=UTF-8")...)
		if b.code != a.code || b.body != a.body {
			t.Errorf("%v: in the URL %d %s, in the body %d %s", c.filters, a.code, a.body, b.code, b.body)
		}
	}
}

func TestArguments(t *testing.T) {
	k := newKit(t, func(o *Options) { o.DefaultLimit = 2 })
	k.add(foo()...)
	ids := func(list ...string) []string { return list }
	k.wantList(ids("0", "100"), "/v2/events", admin...)
	k.wantList(ids("0", "100"), "/v2/events?limit=0", admin...)
	k.wantList(ids("0", "100", "200"), "/v2/events?limit=100", admin...)
	k.wantList(ids("0"), "/v2/events?limit=1", admin...)
	k.wantList(ids("200", "100", "0"), "/v2/events?limit=3&sort=generated:desc&sort=message_id", admin...)
	k.wantList(ids("0", "100", "200"), "/v2/events?limit=3&sort=generated:asc&sort=message_id", admin...)
	k.wantList(ids("200", "100", "0"), "/v2/events?limit=3&sort=message_id:desc", admin...)
	k.wantList(ids("100", "200"), "/v2/events?limit=3&marker=0&sort=message_id:asc", admin...)
	k.wantList(ids("100", "0"), "/v2/events?limit=3&marker=200&sort=generated:desc", admin...)
	k.wantList(ids(), "/v2/events?limit=3&marker=200", admin...)
	const json = "application/json"
	for _, c := range []struct {
		path, body, media string
		code              int
		reason            string
	}{
		{"/v2/events?bad_Stuff_here", "", "", 400, `Unknown argument: "bad_Stuff_here"`},
		{"/v2/events?q.colour=x", "", "", 400, `Unknown argument: "q.colour"`},
		{"/v2/events?limit=-2", "", "", 400, "Invalid input for field/attribute limit. Value: '-2'. the limit should be a positive integer."},
		{"/v2/events?limit=%zz", "", "", 400, `The arguments can't be read: invalid URL escape "%zz"`},
		{"/v2/events?q.field=a&q.value=b;c", "", "", 400, "The arguments can't be read: invalid semicolon separator in query"},
		{"/v2/events?limit=x", "", "", 400, "Invalid input for field/attribute limit. Value: 'x'. unable to convert to int"},
		{"/v2/events?marker=none", "", "", 400, "Marker none not found."},
		{"/v2/events?sort=invalid_key:desc", "", "", 400, "Invalid input for field/attribute sort. Value: 'invalid_key:desc'. the sort parameter should be a pair of sort key and sort dir combined with ':', or only sort key specified and sort dir will be default 'asc', the supported sort keys are: ('message_id', 'generated')"},
		{"/v2/events?sort=message_id:bah", "", "", 400, "Invalid input for field/attribute sort direction. Value: 'message_id:bah'. the sort parameter should be a pair of sort key and sort dir combined with ':', or only sort key specified and sort dir will be default 'asc', the supported sort directions are: ('asc', 'desc')"},
		{"/v2/events?q.field=a", "", "", 400, "Invalid input for field/attribute value. Value: 'None'. Mandatory field missing."},
		{"/v2/events?q.value=a", "", "", 400, "Invalid input for field/attribute field. Value: 'None'. Mandatory field missing."},
		{"/v2/events", `[{"field":"a","value":"b"}]`, json, 400, `Request is not in valid JSON format: expected an object such as {"q": [{"field": "event_type", "value": "..."}]}`},
		{"/v2/events", `{"q":[]} x`, json, 400, "Request is not in valid JSON format: there is something after its end"},
		{"/v2/events", `{"colour":1}`, json, 400, `Unknown argument: "colour"`},
		{"/v2/events", `{"q":[]}`, "text/plain", 415, "Unknown mimetype: text/plain; application/json is expected"},
		{"/v2/events", `{"marker":"` + strings.Repeat("x", 1<<17) + `"}`, json, 413, "The body is longer than 65536 bytes"},
		{ask(make([][4]string, 101)...), "", "", 400, "There are 101 filters, at most 100 are allowed"},
	} {
		header := slices.Clone(admin)
		if c.media != "" {
			header = append(header, "Content-Type", c.media)
		}
		k.do("GET", c.path, c.body, header...).wantError(t, c.code, c.reason)
	}
	if a := k.do("GET", "/v2/events", `{"q":[],"limit":1,"sort":["generated:desc"],"marker":"200"}`, append(admin, "Content-Type", json)...); !strings.Contains(a.body, `"100"`) || strings.Contains(a.body, `"200"`) {
		t.Errorf("arguments in the body give %s", a.body)
	}
}

// Who sees what, as in Panko's own tests.
func TestTenancy(t *testing.T) {
	k := newKit(t, nil)
	trait := func(name, value string) sdk.Trait { return sdk.Trait{Name: name, Type: sdk.Text, Value: value} }
	k.add(
		sdk.Event{MessageID: "1", EventType: "empty_ev", Generated: start, Traits: []sdk.Trait{trait("random", "blah")}},
		sdk.Event{MessageID: "2", EventType: "admin_ev", Generated: start, Traits: []sdk.Trait{trait("project_id", "ap"), trait("user_id", "au")}},
		sdk.Event{MessageID: "3", EventType: "user_ev", Generated: start, Traits: []sdk.Trait{trait("project_id", "p"), trait("user_id", "u")}},
		sdk.Event{MessageID: "4", EventType: "bare_ev", Generated: start},
	)
	ids := func(list ...string) []string { return append([]string{}, list...) }
	admin, member := as("admin", "au", "ap"), as("member", "u", "p")
	everything := ask([4]string{"all_tenants", "eq", "string", "True"})
	k.wantList(ids("3"), "/v2/events", member...)
	k.wantList(ids("3"), "/v2/events", as("", "u", "p")...)
	k.wantList(ids(), "/v2/events", as("member", "blah", "p")...)
	k.wantList(ids(), "/v2/events", as("member", "u", "blah")...)
	k.wantList(ids(), everything, member...)
	k.wantList(ids(), ask([4]string{"project_id", "eq", "", "ap"}), member...)
	k.wantList(ids("1", "2", "4"), "/v2/events", admin...)
	k.wantList(ids("1"), ask([4]string{"random", "eq", "string", "blah"}), admin...)
	k.wantList(ids("1", "2", "3", "4"), everything, admin...)
	k.wantList(ids("1", "2", "4"), ask([4]string{"all_tenants", "", "", "False"}), admin...)
	k.wantList(ids(), ask([4]string{"user_id", "eq", "string", "u"}), admin...)
	// Nobody in particular, with auth none.
	k.wantList(ids("1", "2", "3", "4"), "/v2/events")
	k.wantList(ids("1", "2", "3", "4"), "/v2/events", "X-Roles", "admin")
	for path, codes := range map[string][2]int{"/v2/events/1": {404, 200}, "/v2/events/2": {404, 200}, "/v2/events/3": {200, 404}, "/v2/event_types": {401, 200}, "/v2/event_types/a/traits": {401, 200}, "/v2/event_types/a/traits/b": {401, 200}, "/v2/event_types/a": {401, 404}, "/v2/status": {401, 200}} {
		if a, b := k.do("GET", path, "", member...), k.do("GET", path, "", admin...); a.code != codes[0] || b.code != codes[1] {
			t.Errorf("%s: a member gets %d, an admin %d, want %v", path, a.code, b.code, codes)
		}
	}
	k.do("GET", "/v2/event_types", "", member...).wantError(t, 401, "Not Authorized to access project p")
	k.do("GET", "/v2/events", "", "X-User-Id", "u").wantError(t, 403, "RBAC Authorization Failed")
	k.do("GET", "/v2/events", "", "X-Project-Id", "p").wantError(t, 403, "RBAC Authorization Failed")
	// A marker that one may not see is none.
	k.do("GET", "/v2/events?marker=2", "", member...).wantError(t, 400, "Marker 2 not found.")
	// And lines follow the same rules.
	if a := k.do("GET", "/v2/events", "", append(member, "Accept", mediaLines)...); strings.Count(a.body, "\n") != 1 || !strings.Contains(a.body, "user_ev") {
		t.Errorf("a member's lines are %s", a.body)
	}
}

// Pages come to an end, also where a message id is there several times.
func TestPages(t *testing.T) {
	k := newKit(t, nil)
	var want []string
	for i, id := range []string{"a", "b", "a", "c", "b", "a", "d"} {
		k.add(sdk.Event{MessageID: id, EventType: "e", Generated: start.Add(time.Duration(i) * time.Second)})
		want = append(want, id)
	}
	k.wantList(want, "/v2/events", admin...)
	for _, sort := range []string{"generated", "generated:desc", "message_id", "message_id:desc"} {
		marker, seen := "", []string{}
		for page := 0; ; page++ {
			if page > len(want) {
				t.Fatalf("by %s pages begin again: %q", sort, seen)
			}
			got := k.list("/v2/events?limit=1&sort="+sort+"&marker="+marker, admin...)
			if len(got) == 0 {
				break
			}
			marker = got[0]
			seen = append(seen, marker)
		}
		if last := map[string]string{"generated": "d", "generated:desc": "a", "message_id": "d", "message_id:desc": "a"}[sort]; marker != last {
			t.Errorf("by %s the pages are %q", sort, seen)
		}
	}
}

// fixed says that everybody is the same.
type fixed struct{ auth.Identity }

func (f fixed) Identify(*http.Request) (auth.Identity, error) { return f.Identity, nil }

// A token that is for no project shows nothing, whatever its roles.
func TestNoProject(t *testing.T) {
	for _, who := range []auth.Identity{{User: "u", Tenant: true}, {User: "u", Tenant: true, Domain: "d", Roles: []string{"admin"}}} {
		k := newKit(t, func(o *Options) { o.Web.Auth = fixed{who} })
		k.add(foo()...)
		for _, path := range []string{"/v2/events", "/v2/events/0", "/v2/event_types", "/v2/event_types/Foo/traits", "/v2/event_types/Foo/traits/trait_A", "/v2/status", ask([4]string{"all_tenants", "", "", "True"})} {
			k.do("GET", path, "").wantError(t, 403, "RBAC Authorization Failed")
		}
	}
}

func TestIdentity(t *testing.T) {
	basic, err := auth.NewBasic(auth.BasicOptions{Users: map[string]string{"boss": "secret", "other": "secret"}, Admins: []string{"boss"}})
	if err != nil {
		t.Fatal(err)
	}
	k := newKit(t, func(o *Options) { o.Web.Auth = basic })
	k.add(foo()...)
	authorization := func(user, password string) []string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return []string{"Authorization", r.Header.Get("Authorization")}
	}
	k.wantList([]string{"0", "100", "200"}, "/v2/events", authorization("boss", "secret")...)
	k.do("GET", "/v2/events", "", authorization("other", "secret")...).wantError(t, 403, "RBAC Authorization Failed")
	if a := k.do("GET", "/v2/events", "", authorization("boss", "wrong")...); a.code != 401 || a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("a wrong password gets %d %s", a.code, a.body)
	}
	for _, path := range []string{"/v2/events", "/v2/events/0", "/v2/event_types", "/v2/event_types/a/traits", "/v2/event_types/a/traits/b", "/v2/status"} {
		if a := k.do("GET", path, "", "X-Roles", "admin", "X-User-Id", "boss", "X-Project-Id", "p"); a.code != 401 {
			t.Errorf("%s without a password: %d", path, a.code)
		}
	}
	for _, path := range []string{"/", "/healthcheck", "/v2/capabilities"} {
		if a := k.do("GET", path, ""); a.code != 200 {
			t.Errorf("%s: %d", path, a.code)
		}
	}
}

// What lies between clients and the API.
func TestAround(t *testing.T) {
	k := newKit(t, func(o *Options) {
		o.Web.URLPrefix, o.Web.ProxyHeaders, o.Web.CORSOrigins = "/event/", true, []string{"https://dash.example.com"}
	})
	k.add(foo()...)
	k.wantList([]string{"0"}, "/event/v2/events?limit=1")
	k.do("GET", "/v2/events", "").wantError(t, 404, "There is nothing at this path.")
	k.do("GET", "/eventual/v2/events", "").wantError(t, 404, "There is nothing at this path.")
	if a := k.do("GET", "/event", "", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "api.example.com", "X-Forwarded-Prefix", "/public"); !strings.Contains(a.body, `"https://api.example.com/public/event/v2"`) {
		t.Errorf("the versions are %s", a.body)
	}
	a := k.do("OPTIONS", "/event/v2/events", "", "Origin", "https://dash.example.com", "Access-Control-Request-Method", "GET")
	if a.code != 200 || a.header.Get("Access-Control-Allow-Origin") != "https://dash.example.com" || a.header.Get("Access-Control-Allow-Methods") == "" {
		t.Errorf("got %d %v", a.code, a.header)
	}
	if a := k.do("GET", "/event/v2/events", "", "Origin", "https://other.example.com"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin may read: %v", a.header)
	}
}

// FuzzArguments reads what strangers ask.
func FuzzArguments(f *testing.F) {
	f.Add("q.field=a&q.value=b&q.op=lt&q.type=integer", `{"q":[{"field":"a","value":"b"}],"limit":3}`)
	f.Add("q.field=start_timestamp&q.value=2026-01-01&limit=1&sort=generated:desc", "")
	f.Add("q.value=%ff&marker=", `{"q":null}`)
	s := &server{site: web.New(web.Options{MaxBody: 1 << 16})}
	f.Fuzz(func(t *testing.T, query, body string) {
		r := httptest.NewRequest("GET", "/v2/events", strings.NewReader(body))
		r.URL.RawQuery = query
		a, err := s.arguments(httptest.NewRecorder(), r)
		if err == nil {
			a.Marker = "" // which asks the store
			_, err = s.question(t.Context(), a, caller{user: "u", project: "p"})
		}
		var e *web.Error
		if err != nil && (!errors.As(err, &e) || e.Status < 400 || e.Status > 499) {
			t.Fatal(err)
		}
	})
}
