package auth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// TestRealKeystone has a real Keystone check tokens: valid, wrong, revoked, of a
// disabled user, without a project; when Keystone is down and when it is back.
func TestRealKeystone(t *testing.T) {
	server := parts.Keystone(t)
	service := server.Project("service")
	lab := server.Project("lab")
	server.User("nepho", "nephopw", service, "admin")
	joe := server.User("joe", "joepw", lab, "member")
	k, err := NewKeystone(KeystoneOptions{
		AuthURL: server.URL, Username: "nepho", Password: "nephopw", UserDomain: "Default", Project: "service", ProjectDomain: "Default",
		Timeout: time.Minute, Cache: time.Hour, CacheSize: 100,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	now := time.Now()
	k.now = func() time.Time { return now }
	identify := func(token string) (Identity, error) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if token != "" {
			r.Header.Set("X-Auth-Token", token)
		}
		return k.Identify(r)
	}
	code := func(token string) int {
		t.Helper()
		_, err := identify(token)
		var refusal *Refusal
		switch {
		case err == nil:
			return http.StatusOK
		case !errors.As(err, &refusal):
			t.Fatal(err)
		case refusal.Code == http.StatusUnauthorized && refusal.Challenge != `Keystone uri="`+server.URL+`"`:
			t.Errorf("challenge %q", refusal.Challenge)
		case refusal.Code == http.StatusServiceUnavailable && refusal.RetryAfter <= 0:
			t.Error("503 without Retry-After")
		}
		return refusal.Code
	}
	expect := func(what, token string, want int) {
		t.Helper()
		if got := code(token); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}

	token := server.Token("joe", "joepw", "lab")
	who, err := identify(token)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(who.Roles) // Keystone's member implies its reader
	if who.User != joe || who.Project != lab || !slices.Equal(who.Roles, []string{"member", "reader"}) || !who.Tenant || who.Everything || who.Admin() {
		t.Errorf("joe is %+v", who)
	}
	if who.Creator() != joe+":"+lab {
		t.Errorf("creator %q", who.Creator())
	}
	if who, err = identify(server.Token("admin", server.Password, "admin")); err != nil || !who.Admin() {
		t.Errorf("admin is %+v, %v", who, err)
	}
	// An unscoped token is of a user, and of no project.
	if who, err = identify(server.Token("joe", "joepw", "")); err != nil || who.User != joe || who.Project != "" || !who.Tenant {
		t.Errorf("joe without a project is %+v, %v", who, err)
	}
	expect("no token", "", http.StatusUnauthorized)
	expect("a token that is none", "rubbish", http.StatusUnauthorized)

	// A revoked token is believed until its answer is forgotten.
	other := server.Token("joe", "joepw", "lab")
	server.Revoke(token)
	expect("a revoked token that is remembered", token, http.StatusOK)
	k.known = newCache(100)
	expect("a revoked token", token, http.StatusUnauthorized)
	expect("another token", other, http.StatusOK)
	server.Disable(joe)
	k.known = newCache(100)
	expect("a token of a disabled user", other, http.StatusUnauthorized)

	now = time.Now()
	admin := server.Token("admin", server.Password, "admin")
	expect("a token before Keystone is down", admin, http.StatusOK)
	server.Stop()
	expect("a token that is remembered while Keystone is down", admin, http.StatusOK)
	expect("an unknown token while Keystone is down", "another", http.StatusServiceUnavailable)
	expect("an unknown token right after", "one-more", http.StatusServiceUnavailable)
	server.Start()
	expect("a token while Keystone is not asked", "one-more", http.StatusServiceUnavailable)
	now = now.Add(silence + time.Millisecond)
	expect("a wrong token when Keystone is back", "one-more", http.StatusUnauthorized)

	// The service user's own token is gone: it authenticates again.
	old := k.client.Token()
	server.Revoke(old)
	k.known = newCache(10)
	expect("after the service user's token was revoked", admin, http.StatusOK)
	if k.client.Token() == old {
		t.Error("the service user did not authenticate again")
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	r.Header.Set("X-Auth-Token", "yet-another")
	if _, err := k.Identify(r); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was given up: %v", err)
	}
}
