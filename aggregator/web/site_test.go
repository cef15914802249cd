package web

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/aggregator/auth"
)

// say answers with a text.
func say(format string, args func(r *http.Request) []any) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, err := fmt.Fprintf(w, format, args(r)...)
		return err
	}
}

func TestRoutes(t *testing.T) {
	s := New(fill(Options{}))
	s.Handle("GET /v2/things", say("all", func(*http.Request) []any { return nil }))
	s.Handle("POST /v2/things", say("new", func(*http.Request) []any { return nil }))
	s.Handle("GET /v2/things/{id}", say("one %s", func(r *http.Request) []any { return []any{r.PathValue("id")} }))
	s.Handle("DELETE /v2/things/{id}", func(w http.ResponseWriter, _ *http.Request) error {
		return &Error{http.StatusConflict, "in use"}
	})
	for _, c := range []struct {
		method, target string
		code           int
		text, allow    string
	}{
		{"GET", "/v2/things", 200, "all", ""},
		{"GET", "/v2/things/", 200, "all", ""},
		{"GET", "//v2///things", 200, "all", ""},
		{"HEAD", "/v2/things", 200, "all", ""}, // the server leaves it out
		{"POST", "/v2/things", 200, "new", ""},
		{"PUT", "/v2/things", 405, "The method PUT is not allowed for this resource.", "GET, HEAD, POST"},
		{"GET", "/v2/things/a", 200, "one a", ""},
		{"GET", "/v2/things/a%2Fb%20c", 200, "one a/b c", ""},
		{"DELETE", "/v2/things/a", 409, "in use", ""},
		{"POST", "/v2/things/a", 405, "The method POST is not allowed for this resource.", "DELETE, GET, HEAD"},
		{"GET", "/v2", 404, "There is nothing at this path.", ""},
		{"GET", "/", 404, "There is nothing at this path.", ""},
		{"OPTIONS", "/v2/things", 200, "", ""},
	} {
		r := ask(t, s, c.method, c.target, "")
		if got := text(t, r); r.StatusCode != c.code || got != c.text || r.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d %q, Allow %q", c.method, c.target, r.StatusCode, got, r.Header.Get("Allow"))
		}
	}
}

func TestWrongRoutesAreBugs(t *testing.T) {
	s := New(fill(Options{}))
	h := say("", func(*http.Request) []any { return nil })
	s.Handle("GET /a", h)
	for _, pattern := range []string{"/a", "GET /a", "HEAD /a"} {
		func() {
			defer func() {
				if fault := recover(); fault == nil || !strings.Contains(fmt.Sprint(fault), "BUG") {
					t.Errorf("%s: %v", pattern, fault)
				}
			}()
			s.Handle(pattern, h)
		}()
	}
}

func TestPrefix(t *testing.T) {
	s := New(fill(Options{URLPrefix: "/alarm/"}))
	s.Handle("GET /v2/a", say("%s", func(r *http.Request) []any { return []any{s.Link(r, "v2", "a/b")} }))
	for target, want := range map[string]string{
		"/alarm/v2/a": "200 http://example.com/alarm/v2/a%2Fb", "/alarm//v2/a/": "200 http://example.com/alarm/v2/a%2Fb",
		"/v2/a": "404 There is nothing at this path.", "/alarmv2/a": "404 There is nothing at this path.", "/alarm": "404 There is nothing at this path.",
	} {
		r := ask(t, s, "GET", target, "")
		if got := fmt.Sprint(r.StatusCode, " ", text(t, r)); got != want {
			t.Errorf("%s: %s", target, got)
		}
	}
}

func TestLinksBehindProxies(t *testing.T) {
	for _, c := range []struct {
		believes bool
		headers  []string
		want     string
	}{
		{true, nil, "http://example.com/p"},
		{false, []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "h"}, "http://example.com/p"},
		{true, []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "h:1, other"}, "https://h:1/p"},
		{true, []string{"X-Forwarded-Prefix", "/outer/"}, "http://example.com/outer/p"},
		{true, []string{"Forwarded", `for=1.2.3.4; proto=HTTPS; host="h:2", host=other`, "X-Forwarded-Host", "x"}, "https://h:2/p"},
		{true, []string{"X-Forwarded-Proto", "javascript", "X-Forwarded-Host", "h><script>"}, "http://example.com/p"},
	} {
		s := New(fill(Options{URLPrefix: "p", ProxyHeaders: c.believes}))
		s.Handle("GET /a", say("%s", func(r *http.Request) []any { return []any{s.Base(r)} }))
		if got := text(t, ask(t, s, "GET", "/p/a", "", c.headers...)); got != c.want {
			t.Errorf("%v %q: %s", c.believes, c.headers, got)
		}
	}
}

func TestPagesOfOtherOrigins(t *testing.T) {
	h := say("x", func(*http.Request) []any { return nil })
	const page, star = "https://page", "*"
	for _, c := range []struct {
		origins                       []string
		method, origin, wants         string
		allow, credentials, preflight string
	}{
		{nil, "GET", page, "", "", "", ""},
		{[]string{page}, "GET", page, "", page, "true", ""},
		{[]string{page}, "GET", "https://other", "", "", "", ""},
		{[]string{page}, "GET", "", "", "", "", ""},
		{[]string{star}, "GET", "https://other", "", star, "", ""},
		{[]string{star, page}, "GET", page, "", page, "true", ""},
		{[]string{page}, "OPTIONS", page, "POST", page, "true", "POST"},
		{[]string{page}, "OPTIONS", page, "TRACE", page, "true", ""},
		{[]string{page}, "OPTIONS", "https://other", "POST", "", "", ""},
	} {
		s := New(fill(Options{CORSOrigins: c.origins}))
		s.Handle("GET /a", h)
		r := ask(t, s, c.method, "/a", "", "Origin", c.origin, "Access-Control-Request-Method", c.wants)
		allow, credentials, method := r.Header.Get("Access-Control-Allow-Origin"), r.Header.Get("Access-Control-Allow-Credentials"), r.Header.Get("Access-Control-Allow-Methods")
		if r.StatusCode != 200 || allow != c.allow || credentials != c.credentials || method != c.preflight {
			t.Errorf("%v %s from %s: %d %q %q %q", c.origins, c.method, c.origin, r.StatusCode, allow, credentials, method)
		}
		if (r.Header.Get("Vary") != "") != (c.origins != nil) {
			t.Errorf("%v: Vary %q", c.origins, r.Header.Get("Vary"))
		}
	}
	// Errors can be read, too.
	s := New(fill(Options{CORSOrigins: []string{page}}))
	if r := ask(t, s, "GET", "/nothing", "", "Origin", page); r.StatusCode != 404 || r.Header.Get("Access-Control-Allow-Origin") != page {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
}

// doorman lets nobody in but joe.
type doorman struct{ err error }

func (d doorman) Identify(r *http.Request) (auth.Identity, error) {
	if user, _, _ := r.BasicAuth(); user != "joe" {
		return auth.Identity{}, d.err
	}
	return auth.Identity{User: "joe"}, nil
}

func TestWhoAsks(t *testing.T) {
	s := New(fill(Options{Auth: doorman{&auth.Refusal{Code: 401, Reason: "who?", Challenge: "Basic"}}}))
	h := say("hello %s", func(r *http.Request) []any { return []any{auth.From(r.Context()).User} })
	s.Handle("GET /private", h)
	s.Handle("GET /public", h, Public)
	for _, c := range []struct {
		path, authorization string
		want                string
	}{
		{"/private", "", "401 who?"}, {"/private", "Basic am9lOg==", "200 hello joe"}, {"/public", "", "200 hello"},
		{"/nothing", "", "404 There is nothing at this path."},
	} {
		r := ask(t, s, "GET", c.path, "", "Authorization", c.authorization)
		if got := fmt.Sprint(r.StatusCode, " ", text(t, r)); got != c.want || (r.Header.Get("WWW-Authenticate") != "") != (r.StatusCode == 401) {
			t.Errorf("%s %q: %s, %v", c.path, c.authorization, got, r.Header)
		}
	}
}

func TestBodies(t *testing.T) {
	s := New(fill(Options{MaxBody: 10}))
	read := func(media ...string) Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			b, err := s.Body(w, r, media...)
			if err == nil {
				_, err = w.Write(b)
			}
			return err
		}
	}
	s.Handle("POST /any", read())
	s.Handle("POST /json", read("application/json", "text/json"))
	for _, c := range []struct{ path, media, body, want string }{
		{"/any", "", "0123456789", "200 0123456789"},
		{"/any", "", "0123456789a", "413 The body is longer than 10 bytes"},
		{"/any", "x/y", "", "200 "},
		{"/json", "application/json; charset=utf-8", "{}", "200 {}"},
		{"/json", "text/json", "{}", "200 {}"},
		{"/json", "", "{}", "200 {}"},
		{"/json", "text/plain", "{}", "415 Unknown mimetype: text/plain; application/json or text/json is expected"},
		{"/json", ";;", "{}", "415 Unknown mimetype: ;;; application/json or text/json is expected"},
	} {
		r := ask(t, s, "POST", c.path, c.body, "Content-Type", c.media)
		if got := fmt.Sprint(r.StatusCode, " ", text(t, r)); got != c.want {
			t.Errorf("%s %q %q: %s", c.path, c.media, c.body, got)
		}
	}
	// A length that nobody tells.
	for n, want := range map[int]int{10: 200, 11: 413} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "/any", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", n))})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%d bytes: %d", n, w.Code)
		}
	}
}

func TestFaults(t *testing.T) {
	var log strings.Builder
	s := New(fill(Options{Log: slog.New(slog.NewTextHandler(&log, nil))}))
	s.Handle("GET /before", func(http.ResponseWriter, *http.Request) error { panic("a secret") })
	s.Handle("GET /within", func(w http.ResponseWriter, _ *http.Request) error {
		io.WriteString(w, "half")
		panic("a secret")
	})
	s.Handle("GET /ended", func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) })
	r := ask(t, s, "GET", "/before", "")
	if got := text(t, r); r.StatusCode != 500 || got != "The server has failed; its log says why." {
		t.Errorf("%d %s", r.StatusCode, got)
	}
	if !strings.Contains(log.String(), "a secret") || !strings.Contains(log.String(), "site_test.go") {
		t.Errorf("the log has %s", log.String())
	}
	// What has begun must not look complete.
	for _, path := range []string{"/within", "/ended"} {
		func() {
			defer func() {
				if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("%s: %v", path, err)
				}
			}()
			ask(t, s, "GET", path, "")
		}()
	}
}
