package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/plugins/evaluator/api"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/evaluate"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// cloud is the API as a cloud's users see it, by the identities that tokens of Keystone
// stand for. It makes trusts that are called after their users.
type cloud struct {
	t      testing.TB
	store  *store.Store
	server *api.Server
	trusts []string
}

// Identify implements auth.Authenticator.
func (*cloud) Identify(r *http.Request) (auth.Identity, error) {
	i := auth.Identity{User: r.Header.Get("X-User"), Project: r.Header.Get("X-Project"), Tenant: true}
	if role := r.Header.Get("X-Role"); role != "" {
		i.Roles = []string{role}
	}
	return i, nil
}

// Create implements api.Trusts.
func (c *cloud) Create(_ context.Context, who auth.Identity, _ string) (string, error) {
	c.trusts = append(c.trusts, fmt.Sprintf("%s-%d", who.User, len(c.trusts)))
	return c.trusts[len(c.trusts)-1], nil
}

// Delete implements api.Trusts.
func (*cloud) Delete(context.Context, string) error { return nil }

func newCloud(t testing.TB) *cloud {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: filepath.Join(t.TempDir(), "alarms.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	e := evaluate.New(evaluate.Options{Store: s, Interval: time.Minute})
	c := &cloud{t: t, store: s}
	c.server = api.New(api.Options{
		Store: s, Evaluator: e, Trusts: c, Limits: store.Limits{Project: -1, User: -1}, Owed: func([]string) {}, Retry: func(string) {},
		Web: web.Options{Auth: c, MaxBody: 1 << 20, Timeout: time.Minute},
	})
	return c
}

// ask makes a request as user@project/role.
func (c *cloud) ask(who, method, path, body string) (int, string) {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.t.Context(), method, path, strings.NewReader(body))
	rest, role, _ := strings.Cut(who, "/")
	user, project, _ := strings.Cut(rest, "@")
	r.Header = http.Header{"Content-Type": {"application/json"}, "X-User": {user}, "X-Project": {project}, "X-Role": {role}}
	w := httptest.NewRecorder()
	c.server.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// make makes an alarm, and gives its id.
func (c *cloud) make(who, name, more string) string {
	c.t.Helper()
	status, text := c.ask(who, "POST", "/v2/alarms", fmt.Sprintf(`{"name": %q, "type": "event", "event_rule": {}%s}`, name, more))
	var made struct {
		ID string `json:"alarm_id"`
	}
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != http.StatusCreated {
		c.t.Fatalf("%d %s: %v", status, text, err)
	}
	return made.ID
}

// A token without a project is good for nothing: alarms of the configuration are of no
// project, either.
func TestTokensWithoutAProject(t *testing.T) {
	c := newCloud(t)
	p, err := def.Read([]byte(`{"name": "of a file", "type": "event", "event_rule": {}, "alarm_actions": ["https://hooks.example.com/secret"]}`))
	if err != nil {
		t.Fatal(err)
	}
	a := &store.Alarm{Alarm: p.Alarm}
	a.ID, a.Origin, a.Admin = uuid.New(), "rules.toml", true
	if err := c.store.Create(t.Context(), a, store.Limits{Project: -1, User: -1}, nil); err != nil {
		t.Fatal(err)
	}
	one := "/v2/alarms/" + a.ID.String()
	for _, q := range [][3]string{
		{"GET", "/v2/alarms"}, {"POST", "/v2/alarms", `{"name": "x", "type": "event", "event_rule": {}}`}, {"GET", one}, {"PUT", one, `{}`}, {"DELETE", one},
		{"GET", one + "/state"}, {"PUT", one + "/state", `"ok"`}, {"GET", one + "/history"}, {"POST", "/v2/query/alarms", `{}`},
		{"POST", "/v2/query/alarms/history", `{}`}, {"GET", "/v2/quotas"}, {"POST", "/v2/test", `{}`}, {"GET", "/v2/deliveries"}, {"POST", "/v2/deliveries/1/retry"},
	} {
		if status, text := c.ask("mallory@", q[0], q[1], q[2]); status != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", q[0], q[1], status, text)
		}
	}
	if status, text := c.ask("root@/admin", "GET", one, ""); status != http.StatusOK {
		t.Errorf("an administrator: %d %s", status, text)
	}
}

// Who changes an alarm of somebody else does not act in that one's name.
func TestTrustsAreTheirUsers(t *testing.T) {
	c := newCloud(t)
	id := c.make("alice@p/member", "x", `, "alarm_actions": ["trust+http://good/"]`)
	change := func(who, action string) (trust string) {
		if status, text := c.ask(who, "PUT", "/v2/alarms/"+id, fmt.Sprintf(`{"name": "x", "type": "event", "event_rule": {}, "alarm_actions": [%q]}`, action)); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		a, err := c.store.Alarm(t.Context(), uuid.MustParse(id))
		if err != nil {
			t.Fatal(err)
		}
		return a.Trust()
	}
	if trust := change("alice@p/member", "trust+http://better/"); trust != "alice-0" {
		t.Errorf("her own alarm has the trust %s", trust)
	}
	if trust := change("mallory@p/member", "trust+http://evil/"); trust != "mallory-1" {
		t.Errorf("an alarm that another changed has the trust %s", trust)
	}
	owed, err := c.store.Owed(t.Context(), store.TrustTarget, 0, 10)
	if err != nil || len(owed) != 1 || owed[0].Action != store.TrustTarget+"alice-0" {
		t.Errorf("%v, %v", owed, err)
	}
}

// A marker that one may not see is none, so that lists tell nothing about it.
func TestMarkersOfOthers(t *testing.T) {
	c := newCloud(t)
	theirs := c.make("a@pa/member", "m", "")
	own := []string{c.make("b@pb/member", "a", ""), c.make("b@pb/member", "z", "")}
	for marker, want := range map[string]int{theirs: http.StatusBadRequest, uuid.NewString(): http.StatusBadRequest, own[0]: http.StatusOK} {
		status, text := c.ask("b@pb/member", "GET", "/v2/alarms?sort=name&marker="+marker, "")
		if status != want {
			t.Errorf("%s: %d %s", marker, status, text)
		}
		if want == http.StatusOK && (!strings.Contains(text, own[1]) || slices.Contains([]bool{strings.Contains(text, own[0]), strings.Contains(text, theirs)}, true)) {
			t.Errorf("behind the first: %s", text)
		}
	}
}
