package action

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// cloud is a real Keystone with a service user, and joe in the project lab.
type cloud struct {
	*parts.KeystoneServer
	keystone *auth.Keystone
	trusts   *Trusts
	joe, lab string
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{KeystoneServer: parts.Keystone(t)}
	service := c.Project("service")
	c.lab = c.Project("lab")
	c.User("nepho", "nephopw", service, "service")
	c.joe = c.User("joe", "joepw", c.lab, "member")
	o := auth.KeystoneOptions{AuthURL: c.URL, Username: "nepho", Password: "nephopw", UserDomain: "Default", Project: "service", ProjectDomain: "Default", Timeout: time.Minute, Cache: time.Hour, CacheSize: 10}
	var err error
	if c.keystone, err = auth.NewKeystone(o, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.keystone.Close)
	c.trusts = NewTrusts(c.keystone, o)
	return c
}

// create makes a trust of joe.
func (c *cloud) create(t *testing.T) string {
	t.Helper()
	who := auth.Identity{User: c.joe, Project: c.lab, Roles: []string{"member", "reader"}, Tenant: true}
	id, err := c.trusts.Create(t.Context(), who, c.Token("joe", "joepw", "lab"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// guarded is a webhook that keeps the tokens that it was sent, and answers as it is told.
type guarded struct {
	*httptest.Server
	mu     sync.Mutex
	tokens []string
	urls   []string
	wrong  []string // tokens that it takes no more
}

func newGuarded(t *testing.T) *guarded {
	g := &guarded{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		token := r.Header.Get("X-Auth-Token")
		g.tokens, g.urls = append(g.tokens, token), append(g.urls, r.Host+r.RequestURI)
		if slices.Contains(g.wrong, token) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(g.Close)
	return g
}

// TestRealTrusts: real Keystone gives trusts and tokens by them, in the name of their
// user; it does not any more when they are gone, and no error names them.
func TestRealTrusts(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	hooks, err := NewHTTP(Target{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hooks.Close)
	send := TrustHTTP{HTTP: hooks, Trusts: c.trusts}
	g := newGuarded(t)
	action := func(trust string) *url.URL {
		u := parse(t, strings.Replace(g.URL, "http://", "trust+http://"+trust+"@", 1)+"/hook?a=b")
		return u
	}
	secret := func(trust string, err error) {
		t.Helper()
		if err != nil && strings.Contains(err.Error(), trust) {
			t.Errorf("the error names the trust: %v", err)
		}
	}

	trust := c.create(t)
	for range 2 {
		if err := send.Send(t.Context(), action(trust), delivery()); err != nil {
			t.Fatal(err)
		}
	}
	if g.tokens[0] == "" || g.tokens[0] != g.tokens[1] {
		t.Errorf("the tokens are %q: one was expected, and kept", g.tokens)
	}
	if want := strings.TrimPrefix(g.URL, "http://") + "/hook?a=b"; g.urls[0] != want {
		t.Errorf("the URL is %s, not %s", g.urls[0], want)
	}
	asked := httptest.NewRequest(http.MethodGet, "/", nil)
	asked.Header.Set("X-Auth-Token", g.tokens[0])
	who, err := c.admin(t).Identify(asked)
	slices.Sort(who.Roles)
	if err != nil || who.User != c.joe || who.Project != c.lab || !slices.Equal(who.Roles, []string{"member", "reader"}) {
		t.Errorf("the token is of %+v, %v", who, err)
	}

	// A token that is refused is got anew, once.
	g.wrong = []string{g.tokens[0]}
	if err := send.Send(t.Context(), action(trust), delivery()); err != nil {
		t.Errorf("with a token that was revoked: %v", err)
	}
	if n := len(g.tokens); n != 4 || g.tokens[3] == g.tokens[2] {
		t.Errorf("the tokens are %q", g.tokens)
	}
	g.wrong = append(g.wrong, g.tokens[3])
	g.wrong = append(g.wrong, "")
	// One that ends soon is, too.
	c.trusts.mu.Lock()
	s := c.trusts.known[trust]
	if left := time.Until(s.until); left < time.Minute || left > 24*time.Hour {
		t.Errorf("a token is used for %v", left)
	}
	s.until = time.Now()
	c.trusts.known[trust] = s
	c.trusts.mu.Unlock()
	if token, err := c.trusts.Token(t.Context(), trust); err != nil || token == s.token {
		t.Errorf("after its end: the same token, %v", err)
	}

	// It is not removed while its alarm has it.
	r := newRig(t)
	a := r.alarm(action(trust).String())
	remove := func() {
		t.Helper()
		d := &store.Delivery{Alarm: a.ID, Target: store.TrustTarget, Action: store.TrustTarget + trust}
		if err := (Untrust{Store: r.store, Trusts: c.trusts}).Send(t.Context(), parse(t, d.Action), d); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	c.trusts.forget(trust, c.trusts.known[trust].token)
	if _, err := c.trusts.Token(t.Context(), trust); err != nil {
		t.Errorf("the alarm's trust: %v", err)
	}
	if err := r.store.Delete(t.Context(), a.ID, nil); err != nil {
		t.Fatal(err)
	}
	// The service user, who is no administrator, removes it in joe's name.
	remove()
	if err := c.trusts.Delete(t.Context(), trust); err != nil {
		t.Errorf("a trust that is gone: %v", err)
	}
	err = send.Send(t.Context(), action(trust), delivery())
	secret(trust, err)
	if _, ok := errors.AsType[*Refused](err); !ok {
		t.Errorf("with a trust that is gone: %v", err)
	}
	if err := send.Send(t.Context(), parse(t, "trust+http://127.0.0.1/"), delivery()); err == nil {
		t.Error("without a trust it is sent")
	}

	// Nobody makes trusts for others, or of nothing.
	for what, who := range map[string]auth.Identity{
		"of somebody else": {User: "somebody", Project: c.lab, Roles: []string{"member"}},
		"of no project":    {User: c.joe},
		"of another role":  {User: c.joe, Project: c.lab, Roles: []string{"admin"}},
	} {
		_, err := c.trusts.Create(t.Context(), who, c.Token("joe", "joepw", "lab"))
		if refusal, ok := errors.AsType[*auth.Refusal](err); !ok || refusal.Code != http.StatusForbidden {
			t.Errorf("a trust %s: %v", what, err)
		}
	}

	// Of a user who is gone.
	gone := c.create(t)
	c.Disable(c.joe)
	err = send.Send(t.Context(), action(gone), delivery())
	secret(gone, err)
	if _, ok := errors.AsType[*Refused](err); !ok {
		t.Errorf("of a user who is gone: %v", err)
	}
	err = c.trusts.Delete(t.Context(), gone)
	if _, ok := errors.AsType[*Refused](err); !ok { // it keeps others waiting otherwise
		t.Errorf("the service user, who is no administrator, removes what is not theirs: %v", err)
	}
	secret(gone, err)

	// With a wrong password of the service user nothing is the trust's fault.
	wrong := NewTrusts(c.keystone, c.trusts.o)
	wrong.o.Password = "wrong"
	_, err = wrong.Token(t.Context(), gone)
	if _, ok := errors.AsType[*Refused](err); ok || err == nil {
		t.Errorf("with a wrong password: %v", err)
	}

	// Without Keystone it is tried again.
	c.Kill9()
	err = send.Send(t.Context(), action(gone), delivery())
	secret(gone, err)
	if _, ok := errors.AsType[*Refused](err); ok || err == nil {
		t.Errorf("without Keystone: %v", err)
	}
	if err := c.trusts.Delete(t.Context(), gone); err == nil {
		t.Error("without Keystone it is removed")
	} else {
		secret(gone, err)
	}
	_, err = c.trusts.Create(t.Context(), auth.Identity{User: c.joe, Project: c.lab}, "token")
	if refusal, ok := errors.AsType[*auth.Refusal](err); !ok || refusal.Code != http.StatusServiceUnavailable {
		t.Errorf("without Keystone: %v", err)
	}
}

// admin checks tokens as the user admin.
func (c *cloud) admin(t *testing.T) *auth.Keystone {
	k, err := auth.NewKeystone(auth.KeystoneOptions{AuthURL: c.URL, Username: "admin", Password: c.Password, UserDomain: "Default", Project: "admin", ProjectDomain: "Default", Timeout: time.Minute, CacheSize: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// TestTokenOfManyDeliveries: they ask for one token together, and the end of one does not
// end the question of the others.
func TestTokenOfManyDeliveries(t *testing.T) {
	trusts := NewTrusts(nil, auth.KeystoneOptions{Timeout: time.Minute})
	trusts.known["a"] = scoped{token: "t", until: time.Now().Add(time.Hour)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if token, err := trusts.Token(ctx, "a"); token != "t" || err != nil {
		t.Errorf("got %q, %v", token, err)
	}
	trusts.forget("a", "another")
	if _, ok := trusts.known["a"]; !ok {
		t.Error("a newer token was forgotten for an older one")
	}
	trusts.forget("a", "t")
	if _, ok := trusts.known["a"]; ok {
		t.Error("the token was not forgotten")
	}
}
