package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/nephoscope/nepho/sdk/config"
)

func request(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func basic(scheme, userPassword string) string {
	return scheme + " " + base64.StdEncoding.EncodeToString([]byte(userPassword))
}

// codeOf is the status of what Identify gives: 200, or that of the refusal.
func codeOf(t *testing.T, err error) int {
	t.Helper()
	var refusal *Refusal
	if err == nil {
		return http.StatusOK
	}
	if !errors.As(err, &refusal) {
		t.Fatalf("no refusal: %v", err)
	}
	return refusal.Code
}

func TestBasicBelievesEveryNameWithoutUsers(t *testing.T) {
	b, err := NewBasic(BasicOptions{Admins: []string{"admin"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		header string
		user   string // "" is refused
		admin  bool
	}{
		{basic("Basic", "admin:"), "admin", true},
		{basic("basic", "admin:anything"), "admin", true},
		{basic("BASIC", "joe:with:colons"), "joe", false},
		{basic("Basic", "nöel:x"), "nöel", false},
		{basic("Basic", ":x"), "", false},
		{basic("Basic", "nocolon"), "", false},
		{"Basic", "", false},
		{"Basic !!!", "", false},
		{"Bearer abc", "", false},
		{"", "", false},
	} {
		who, err := b.Identify(request("Authorization", c.header))
		if code := codeOf(t, err); (code == 200) != (c.user != "") || code != 200 && code != 401 {
			t.Errorf("%q: %d", c.header, code)
		}
		if err != nil && err.(*Refusal).Challenge == "" {
			t.Errorf("%q: no challenge", c.header)
		}
		if who.User != c.user || who.Admin() != c.admin || who.Tenant || who.Everything || who.Creator() != c.user {
			t.Errorf("%q is %+v", c.header, who)
		}
	}
}

func TestBasicChecksPasswordsOfUsers(t *testing.T) {
	hash := func(password string) string {
		h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return string(h)
	}
	file := filepath.Join(t.TempDir(), "users")
	// htpasswd writes 2y where others write 2a.
	if err := os.WriteFile(file, []byte("# users\n\nfiled:"+strings.Replace(hash("three"), "$2a$", "$2y$", 1)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mixed := range []bool{false, true} {
		o := BasicOptions{Users: map[string]string{"plain": "one"}, Admins: []string{"plain"}}
		if mixed {
			o.Users["hashed"] = hash("two")
			o.UsersFile = file
		}
		b, err := NewBasic(o)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time from memory
			for login, known := range map[string]bool{
				"plain:one": true, "plain:two": false, "plain:": false, "nobody:": false, "nobody:one": false,
				"hashed:two": mixed, "hashed:one": false, "hashed:": false, "filed:three": mixed, "filed:two": false,
				"hashed:" + strings.Repeat("x", 100): false,
			} {
				who, err := b.Identify(request("Authorization", basic("Basic", login)))
				if code := codeOf(t, err); (code == 200) != known {
					t.Errorf("mixed %v: %.20s: %d", mixed, login, code)
				}
				if err == nil && who.Admin() != (who.User == "plain") {
					t.Errorf("%s is %+v", login, who)
				}
			}
		}
	}
}

func TestBasicRefusesUsersThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	for content, want := range map[string]string{
		"joe":          "line 1: expected NAME:BCRYPT-HASH",
		"\njoe:secret": "line 2: expected NAME:BCRYPT-HASH",
		"joe:$2y$rot":  "line 1",
		":$2y$10$7EqJtq98hPqEX7fNZaFWoOhi5c2xlRS6aUNcUiQ5uRdYYdnNBAtwG": "a name is not empty",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewBasic(BasicOptions{UsersFile: file}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
	for _, o := range []BasicOptions{
		{Users: map[string]string{"joe": ""}},
		{Users: map[string]string{"a:b": "x"}},
		{UsersFile: file + ".gone"},
	} {
		if _, err := NewBasic(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	// An empty table is no users at all, not everybody.
	b, err := NewBasic(BasicOptions{Users: map[string]string{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Identify(request("Authorization", basic("Basic", "admin:"))); codeOf(t, err) != 401 {
		t.Error("an empty table of users lets admin in")
	}
}

func TestBasicRequestsThatEndDoNotWait(t *testing.T) {
	b, err := NewBasic(BasicOptions{Users: map[string]string{"joe": "$2a$10$7EqJtq98hPqEX7fNZaFWoOhi5c2xlRS6aUNcUiQ5uRdYYdnNBAtwG"}})
	if err != nil {
		t.Fatal(err)
	}
	for range hashers {
		b.hashing <- struct{}{} // all are busy
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Identify(request("Authorization", basic("Basic", "joe:x")).WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestRemoteUserTrustsOnlyTheServerInFront(t *testing.T) {
	u, err := NewRemoteUser(RemoteUserOptions{Header: "X-Remote-User", From: []string{"127.0.0.0/8", "10.1.2.3", "::1/128"}, Admins: []string{"admin"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, user string
		code       int
	}{
		{"127.0.0.1:4", "joe", 200}, {"127.9.9.9:4", "admin", 200}, {"10.1.2.3:4", "joe", 200}, {"[::1]:4", "joe", 200},
		{"[::ffff:127.0.0.1]:4", "joe", 200},
		{"10.1.2.4:4", "joe", 401}, {"[::2]:4", "joe", 401}, {"127.0.0.1:4", "", 401}, {"@", "joe", 401}, {"", "joe", 401},
	} {
		r := request("X-Remote-User", c.user)
		r.RemoteAddr = c.from
		who, err := u.Identify(r)
		if code := codeOf(t, err); code != c.code {
			t.Errorf("%s from %s: %d, want %d", c.user, c.from, code, c.code)
		}
		if err == nil && (who.User != c.user || who.Admin() != (c.user == "admin")) {
			t.Errorf("%s is %+v", c.user, who)
		}
	}
	for _, o := range []RemoteUserOptions{{}, {Header: "X", From: []string{"x"}}, {Header: "X", From: []string{"10.0.0.0/99"}}} {
		if _, err := NewRemoteUser(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestNoneTakesTheHeaders(t *testing.T) {
	who, err := None{}.Identify(request("X-User-Id", "u", "X-Project-Id", "p", "X-Domain-Id", "d", "X-Roles", " a, b ,,"))
	want := Identity{User: "u", Project: "p", Domain: "d", Roles: []string{"a", "b"}, Everything: true}
	if err != nil || !reflect.DeepEqual(who, want) || who.Creator() != "u:p" || !who.Admin() {
		t.Errorf("%+v, %v", who, err)
	}
	if who, err = (None{}).Identify(request()); err != nil || !who.Admin() || who.Creator() != "" {
		t.Errorf("%+v, %v", who, err)
	}
}

func TestHeadersOfRefusals(t *testing.T) {
	w := httptest.NewRecorder()
	(&Refusal{Challenge: "Basic", RetryAfter: 1500 * time.Millisecond}).Headers(w.Header())
	if got := w.Header().Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %s", got)
	}
	if got := w.Header().Get("WWW-Authenticate"); got != "Basic" {
		t.Errorf("WWW-Authenticate %s", got)
	}
	if i := From(context.Background()); i.Admin() || i.Creator() != "" {
		t.Errorf("nobody is %+v", i)
	}
}

func TestOptions(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "",
		`auth = "none"`:     "",
		`auth = "nobody"`:   "auth",
		`auth = "keystone"`: "keystone.auth_url",
		"auth = \"keystone\"\nkeystone.auth_url = \"http://k/v3\"":                                                                                "keystone.username",
		"auth = \"keystone\"\n[keystone]\nauth_url = \"http://k/v3\"\nusername = \"nepho\"\npassword = \"x\"":                                     "",
		"auth = \"keystone\"\n[keystone]\nauth_url = \"http://k/v3\"\nusername = \"nepho\"\napplication_credential_id = \"x\"":                    "not both",
		"auth = \"keystone\"\n[keystone]\nauth_url = \"http://k/v3\"\napplication_credential_id = \"x\"\napplication_credential_secret = \"y\"\n": "",
	} {
		table, problems := config.Parse("test.toml", []byte(text))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		var o Options
		problems = table.Decode(&o)
		if (len(problems) > 0) != (want != "") || want != "" && !strings.Contains(fmt.Sprint(problems), want) {
			t.Errorf("%s: %v", text, problems)
			continue
		}
		if len(problems) == 0 {
			if _, err := New(o, slog.New(slog.DiscardHandler)); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	for mode, open := range map[string]bool{"none": true, "basic": true, "keystone": false, "remoteuser": false} {
		if o := (Options{Auth: mode}); o.Open() != open {
			t.Errorf("%s: Open is %v", mode, !open)
		}
	}
	if o := (Options{Auth: "basic", Basic: BasicOptions{UsersFile: "x"}}); o.Open() {
		t.Error("basic with users is open")
	}
	if _, err := New(Options{Auth: "x"}, nil); err == nil {
		t.Error("unknown auth is taken")
	}
}

// fakeKeystone answers the questions of a service user; answer gives the status and
// body for a token.
func fakeKeystone(t *testing.T, answer func(token string) (int, any)) (*Keystone, *atomic.Int64) {
	var asked atomic.Int64
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Subject-Token", "service")
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{"expires_at": "2100-01-01T00:00:00.000000Z"}})
	})
	mux.HandleFunc("GET /v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("X-Auth-Token") != "service" {
			t.Error("the question is not the service user's")
		}
		code, body := answer(r.Header.Get("X-Subject-Token"))
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(body)
	})
	k, err := NewKeystone(KeystoneOptions{
		AuthURL: server.URL + "/v3", Username: "nepho", Password: "x", UserDomain: "Default", Project: "service", ProjectDomain: "Default",
		Timeout: 5 * time.Minute, Cache: 5 * time.Minute, CacheSize: 8,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k, &asked
}

func valid(user string, expires time.Time) map[string]any {
	return map[string]any{"token": map[string]any{
		"expires_at": expires.UTC().Format("2006-01-02T15:04:05.000000Z"),
		"user":       map[string]any{"id": user}, "project": map[string]any{"id": "p"}, "roles": []any{map[string]any{"id": "1", "name": "admin"}},
	}}
}

func TestKeystoneRemembersTokens(t *testing.T) {
	now := time.Now()
	k, asked := fakeKeystone(t, func(token string) (int, any) {
		switch {
		case token == "expired":
			return 200, valid("u", now.Add(-time.Second))
		case token == "short":
			return 200, valid("u", now.Add(time.Minute))
		case strings.HasPrefix(token, "good"):
			return 200, valid(token, now.Add(24*time.Hour))
		}
		return 404, nil
	})
	var clock atomic.Int64
	k.now = func() time.Time { return now.Add(time.Duration(clock.Load())) }
	step := func(at time.Duration, token string, code int, questions int64) {
		t.Helper()
		clock.Store(int64(at))
		before := asked.Load()
		who, err := k.Identify(request("X-Auth-Token", token))
		if got := codeOf(t, err); got != code {
			t.Errorf("%s after %v: %d, want %d", token, at, got, code)
		}
		if code == 200 && (!who.Admin() || who.Project != "p" || !who.Tenant) {
			t.Errorf("%s is %+v", token, who)
		}
		if n := asked.Load() - before; n != questions {
			t.Errorf("%s after %v: %d questions, want %d", token, at, n, questions)
		}
	}
	step(0, "good", 200, 1)
	step(0, "good", 200, 0)
	step(5*time.Minute-time.Second, "good", 200, 0)
	step(5*time.Minute, "good", 200, 1)
	// No longer than the token itself.
	step(0, "short", 200, 1)
	step(time.Minute-time.Second, "short", 200, 0)
	step(time.Minute, "short", 401, 1)
	step(0, "expired", 401, 1)
	step(0, "bad", 401, 1)
	step(rejected-1, "bad", 401, 0)
	step(rejected, "bad", 401, 1)
	// What can be no token Keystone is not asked about.
	for _, token := range []string{strings.Repeat("x", maxToken+1), "a b", "a\tb", "t\u00f6ken", "a\x80b"} {
		step(0, token, 401, 0)
	}

	for i := range 100 {
		step(0, fmt.Sprintf("good%d", i), 200, 1)
	}
	if n := len(k.known.young) + len(k.known.old); n > 8 {
		t.Errorf("%d tokens are remembered, 8 may be", n)
	}
	for id := range k.known.young {
		if id == sha256.Sum256([]byte("good99")) {
			return
		}
	}
	t.Error("the last token is forgotten")
}

func TestKeystoneIsAskedOnceForManyRequests(t *testing.T) {
	release := make(chan struct{})
	k, asked := fakeKeystone(t, func(string) (int, any) {
		<-release
		return 200, valid("u", time.Now().Add(time.Hour))
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if who, err := k.Identify(request("X-Auth-Token", "t")); err != nil || who.User != "u" {
				t.Errorf("%+v, %v", who, err)
			}
		})
	}
	close(release)
	all.Wait()
	// Those that came after the answer found it in memory.
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestKeystoneWithoutAnAnswer(t *testing.T) {
	for _, code := range []int{403, 429, 502, 503, 200} {
		k, asked := fakeKeystone(t, func(string) (int, any) { return code, "no token" })
		now := time.Now()
		k.now = func() time.Time { return now }
		for range 3 {
			_, err := k.Identify(request("X-Auth-Token", "t"))
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Code != 503 || refusal.RetryAfter != retryAfter {
				t.Errorf("%d: %v", code, err)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%d: asked %d times within %v", code, n, silence)
		}
	}
}

// Whatever Keystone says of a token that somebody made up, others are let in.
func TestStrangeTokensKeepNobodyOut(t *testing.T) {
	for code, want := range map[int]int{400: 401, 404: 401, 405: 401, 413: 401, 414: 401, 431: 401, 500: 503} {
		k, asked := fakeKeystone(t, func(token string) (int, any) {
			if token == "strange" {
				return code, "an error"
			}
			return 200, valid("u", time.Now().Add(time.Hour))
		})
		now := time.Now()
		k.now = func() time.Time { return now }
		for range 2 {
			if _, err := k.Identify(request("X-Auth-Token", "strange")); codeOf(t, err) != want {
				t.Errorf("%d: %v", code, err)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%d: Keystone was asked %d times", code, n)
		}
		if _, err := k.Identify(request("X-Auth-Token", "good")); err != nil {
			t.Errorf("%d: after it the others get %v", code, err)
		}
	}
}
