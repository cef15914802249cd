package api

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
)

// bare is a server without an index, with routes for tests.
func bare(o Options) *Server {
	s := New(o)
	s.handle("GET /test/{name}", func(w http.ResponseWriter, r *http.Request) error {
		return writeJSON(w, http.StatusOK, r.PathValue("name"))
	})
	s.handle("POST /test/{name}", func(w http.ResponseWriter, r *http.Request) error {
		body, err := s.body(w, r, nil, mediaJSON)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, len(body))
	})
	s.handle("GET /test/error/{kind}", func(w http.ResponseWriter, r *http.Request) error {
		switch r.PathValue("kind") {
		case "text":
			return badRequest("a <b> & 'c'")
		case "cause":
			return badRequest(Cause{"Invalid input", "it's wrong", []string{"a", "b"}})
		case "missing":
			return &index.NotFoundError{Kind: index.KindMetric, Name: "x"}
		case "exists":
			return &index.ExistsError{Kind: index.KindResource, Name: "x"}
		case "used":
			return &index.InUseError{Kind: index.KindPolicy, Name: "x"}
		case "rule":
			return &index.NoRuleError{Metric: "x"}
		case "invalid":
			return &index.InvalidError{Reason: "x"}
		case "page":
			return &index.PageError{Reason: "x"}
		case "named":
			return &index.NamedMetricError{Name: "x"}
		case "own":
			return errors.New("secret")
		case "panic":
			panic("secret")
		case "away":
			return fmt.Errorf("%w: secret", index.ErrUnavailable)
		case "timeout":
			return context.DeadlineExceeded
		case "begun":
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusOK)
			io.WriteString(w, "half")
			return errors.New("then it failed")
		}
		return nil
	})
	s.handle("GET /test/slow", func(w http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		return r.Context().Err()
	})
	return s
}

func ask(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestErrorsBecomeStatuses(t *testing.T) {
	s := bare(Options{})
	for kind, want := range map[string]string{
		"text":    `400 {"code":400,"title":"Bad Request","description":"a \u003cb\u003e \u0026 'c'"}`,
		"cause":   `400 {"code":400,"title":"Bad Request","description":{"cause":"Invalid input","reason":"it's wrong","detail":["a","b"]}}`,
		"missing": `404 {"code":404,"title":"Not Found","description":"Metric x does not exist"}`,
		"exists":  `409 {"code":409,"title":"Conflict","description":"Resource x already exists"}`,
		"used":    `400 {"code":400,"title":"Bad Request","description":"Archive policy x is still in use"}`,
		"rule":    `400 {"code":400,"title":"Bad Request","description":"No archive policy name specified and no archive policy rule found matching the metric name x"}`,
		"invalid": `400 {"code":400,"title":"Bad Request","description":"x"}`,
		"page":    "400 {\"code\":400,\"title\":\"Bad Request\",\"description\":\"Invalid pagination: `x'\"}",
		"named":   `409 {"code":409,"title":"Conflict","description":"Named metric x already exists"}`,
		"own":     `500 {"code":500,"title":"Internal Server Error","description":"The server has failed; its log says why."}`,
		"panic":   `500 {"code":500,"title":"Internal Server Error","description":"The server has failed; its log says why."}`,
		"away":    `503 {"code":503,"title":"Service Unavailable","description":"The server's index is away; its log says why. Try again later."}`,
		"timeout": `503 {"code":503,"title":"Service Unavailable","description":"The request took longer than the server's operation_timeout."}`,
	} {
		w := ask(s, "GET", "/test/error/"+kind, "Accept", "application/json")
		if got := httpText(w); got != want {
			t.Errorf("%s:\n got %s\nwant %s", kind, got, want)
		}
		if ct := w.Header().Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: Content-Type %s", kind, ct)
		}
		if (w.Code == 503) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After %q", kind, w.Header().Get("Retry-After"))
		}
	}
}

func httpText(w *httptest.ResponseRecorder) string {
	return strings.TrimSpace(jsonInt(int64(w.Code)) + " " + w.Body.String())
}

func TestErrorsHaveTheFormThatIsAccepted(t *testing.T) {
	s := bare(Options{})
	for _, c := range []struct {
		accept      []string
		contentType string
		fragments   []string
	}{
		{nil, "text/plain; charset=UTF-8", []string{"400 Bad Request", "malformed", "Invalid input: it's wrong", `["a","b"]`}},
		{[]string{""}, "text/plain; charset=UTF-8", []string{"Invalid input: it's wrong"}},
		{[]string{"*/*"}, "text/html; charset=UTF-8", []string{"<h1>400 Bad Request</h1>", "Invalid input: it's wrong"}},
		{[]string{"application/json"}, "application/json", []string{`"reason":"it's wrong"`}},
		{[]string{"text/plain, application/json; q=0.8"}, "application/json", []string{`"cause":"Invalid input"`}},
		{[]string{"application/*"}, "application/json", []string{`"cause":"Invalid input"`}},
		{[]string{"application/json", "text/html"}, "application/json", []string{`"cause":"Invalid input"`}},
	} {
		r := httptest.NewRequest("GET", "/test/error/cause", nil)
		if c.accept != nil {
			r.Header["Accept"] = c.accept
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); got != c.contentType || w.Code != 400 {
			t.Errorf("%q: %d %s, want 400 %s", c.accept, w.Code, got, c.contentType)
		}
		for _, f := range c.fragments {
			if !strings.Contains(w.Body.String(), f) {
				t.Errorf("%q: %s has no %s", c.accept, w.Body, f)
			}
		}
	}
	if w := ask(s, "GET", "/test/error/text", "Accept", "*/*"); !strings.Contains(w.Body.String(), "a &lt;b&gt; &amp; 'c'") {
		t.Errorf("not escaped: %s", w.Body)
	}
}

func TestRouting(t *testing.T) {
	s := bare(Options{})
	for _, c := range []struct {
		method, target string
		code           int
		body, allow    string
	}{
		{"GET", "/test/a", 200, `"a"`, ""},
		{"GET", "/test/a/", 200, `"a"`, ""},
		{"HEAD", "/test/a", 200, `"a"`, ""}, // net/http leaves the body out
		{"GET", "/test/%E2%9C%94%C3%A9%20x%2Fy", 200, `"✔é x/y"`, ""},
		{"GET", "/test/%2e%2e", 200, `".."`, ""},
		{"PUT", "/test/a", 405, "", "GET, HEAD, POST"},
		{"DELETE", "/test/a/", 405, "", "GET, HEAD, POST"},
		{"GET", "/nothing", 404, "", ""},
		{"GET", "/test", 404, "", ""},
		{"GET", "/test/a/b/c", 404, "", ""},
		{"OPTIONS", "/test/a", 200, "", ""},
		{"OPTIONS", "/nothing", 200, "", ""},
		{"GET", "/v1", 302, "", ""},
		{"GET", "/v1/search", 404, "", ""},
		{"GET", "/v1/search/resource", 405, "", ""},
		{"POST", "/v1/search/resource/", 405, "", ""},
		{"GET", "/v1/search/resource/generic", 405, "", "POST"},
		{"GET", "/v1/search/metric", 405, "", "POST"},
		{"GET", "/v1/aggregation/", 405, "", ""},
		{"POST", "/v1/aggregation/resource", 405, "", ""},
		{"POST", "/v1/aggregation/resource/generic", 405, "", ""},
		{"POST", "/v1/aggregation/resource/generic/metric", 405, "", ""},
		{"GET", "/v1/aggregation/resource/generic/metric/x", 405, "", "POST"},
		{"POST", "/v1/aggregation/resource/generic/metric/x/y", 404, "", ""},
		{"POST", "/v1/aggregation/re/generic/metric/x", 404, "", ""},
		{"GET", "/v1/influxdb", 405, "", ""},
		{"GET", "/v1/batch", 404, "", ""},
	} {
		w := ask(s, c.method, c.target, "Accept", "application/json")
		if w.Code != c.code || c.body != "" && w.Body.String() != c.body || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d %s, Allow %q", c.method, c.target, w.Code, w.Body, w.Header().Get("Allow"))
		}
	}
	if l := ask(s, "GET", "http://h:1/v1").Header().Get("Location"); l != "http://h:1/v1/" {
		t.Errorf("/v1 leads to %s", l)
	}
}

func TestAcceptThatExcludesJSON(t *testing.T) {
	s := bare(Options{})
	for accept, code := range map[string]int{
		"application/json": 200, "*/*": 200, "application/*": 200, "": 200, "*": 200, "text/plain, application/json; q=0.8": 200,
		"text/html, */*;q=0.1": 200, "APPLICATION/JSON": 200,
		"text/plain": 406, "text/html": 406, "application/xml, text/*": 406, "application/json;q=0": 406, "application/json; q=0.000, */*": 406,
	} {
		if w := ask(s, "GET", "/test/a", "Accept", accept); w.Code != code {
			t.Errorf("%q: %d, want %d", accept, w.Code, code)
		}
	}
}

func TestBodies(t *testing.T) {
	s := bare(Options{MaxBody: 100})
	for _, c := range []struct {
		contentType, body string
		chunked           bool
		code              int
	}{
		{"application/json", "123", false, 200},
		{"application/json; charset=utf-8", "123", false, 200},
		{"Application/JSON", "123", true, 200},
		{"application/json", strings.Repeat("x", 100), false, 200},
		{"application/json", strings.Repeat("x", 100), true, 200},
		{"application/json", strings.Repeat("x", 101), false, 413},
		{"application/json", strings.Repeat("x", 101), true, 413},
		{"application/json-patch+json", "123", false, 415},
		{"text/plain", "123", false, 415},
		{"", "", false, 415},
	} {
		r := httptest.NewRequest("POST", "/test/a", strings.NewReader(c.body))
		if c.chunked {
			r.ContentLength = -1
		}
		r.Header.Set("Content-Type", c.contentType)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.code || c.code == 200 && w.Body.String() != jsonInt(int64(len(c.body))) {
			t.Errorf("%s, %d bytes: %d %s", c.contentType, len(c.body), w.Code, w.Body)
		}
	}
}

func TestLinks(t *testing.T) {
	for _, c := range []struct {
		options Options
		target  string
		tls     bool
		headers []string
		want    string
	}{
		{Options{}, "http://h:8041/", false, nil, "http://h:8041"},
		{Options{}, "http://h/", true, nil, "https://h"},
		{Options{URLPrefix: "gnocchi/"}, "http://h/gnocchi", false, nil, "http://h/gnocchi"},
		{Options{URLPrefix: "/a/b"}, "http://h/a/b/", false, nil, "http://h/a/b"},
		{Options{}, "http://h/", false, []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "pub", "X-Forwarded-Prefix", "/x"}, "http://h"},
		{Options{ProxyHeaders: true}, "http://h/", false, []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "pub"}, "https://pub"},
		{Options{ProxyHeaders: true}, "http://h/", false, []string{"X-Forwarded-Prefix", "/x/"}, "http://h/x"},
		{Options{ProxyHeaders: true, URLPrefix: "/g"}, "http://h/g/", false, []string{"X-Forwarded-Prefix", "/x"}, "http://h/x/g"},
		{Options{ProxyHeaders: true}, "http://h/", false, []string{"Forwarded", `for=1.2.3.4;Proto=https; host="pub:1", for=5.6.7.8;proto=http`, "X-Forwarded-Proto", "ftp", "X-Forwarded-Prefix", "/x"}, "https://pub:1/x"},
		{Options{ProxyHeaders: true}, "http://h/", false, []string{"X-Forwarded-Proto", "https, http", "X-Forwarded-Host", "a, b"}, "https://a"},
		// What could not be a host does not become one.
		{Options{ProxyHeaders: true}, "http://h/", false, []string{"X-Forwarded-Host", "a>; rel=x", "X-Forwarded-Proto", "java script", "X-Forwarded-Prefix", "/a b>"}, "http://h"},
	} {
		r := httptest.NewRequest("GET", c.target, nil)
		for i := 0; i < len(c.headers); i += 2 {
			r.Header.Set(c.headers[i], c.headers[i+1])
		}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		w := httptest.NewRecorder()
		New(c.options).ServeHTTP(w, r)
		var root struct {
			Versions []struct{ Links []apiLink }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &root); err != nil || len(root.Versions) != 1 {
			t.Fatalf("%s: %d %s", c.target, w.Code, w.Body)
		}
		if got := root.Versions[0].Links[0].HRef; got != c.want+"/v1/" {
			t.Errorf("%s %v: %s, want %s", c.target, c.headers, got, c.want)
		}
	}
	s := New(Options{URLPrefix: "/g"})
	for target, code := range map[string]int{"/g": 200, "/g/": 200, "/g/healthcheck": 200, "/": 404, "/healthcheck": 404, "/gnocchi": 404, "/g/v1": 302, "/g/v1/": 200} {
		if w := ask(s, "GET", target); w.Code != code {
			t.Errorf("%s under /g: %d, want %d", target, w.Code, code)
		}
	}
}

func TestCORS(t *testing.T) {
	s := bare(Options{CORSOrigins: []string{"http://foobar.com", "https://b"}})
	for _, c := range []struct {
		method, origin, allowed string
		preflight               bool
	}{
		{"GET", "http://foobar.com", "http://foobar.com", false},
		{"OPTIONS", "http://foobar.com", "http://foobar.com", true},
		{"GET", "https://b", "https://b", false},
		{"GET", "http://evil.com", "", false},
		{"OPTIONS", "http://evil.com", "", true},
		{"GET", "", "", false},
	} {
		headers := []string{"Origin", c.origin}
		if c.preflight {
			headers = append(headers, "Access-Control-Request-Method", "GET")
		}
		w := ask(s, c.method, "/test/a", headers...)
		h := w.Header()
		if w.Code != 200 || h.Get("Access-Control-Allow-Origin") != c.allowed || h.Get("Vary") != "Origin" {
			t.Errorf("%s from %s: %d %v", c.method, c.origin, w.Code, h)
		}
		if got := h.Get("Access-Control-Allow-Methods") != ""; got != (c.preflight && c.allowed != "") {
			t.Errorf("%s from %s: %v", c.method, c.origin, h)
		}
	}
	if h := ask(bare(Options{CORSOrigins: []string{"*"}}), "GET", "/test/a", "Origin", "http://x").Header(); h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("any origin: %v", h)
	}
	if h := ask(bare(Options{}), "GET", "/test/a", "Origin", "http://x").Header(); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("no origin is allowed: %v", h)
	}
	// An answer that is an error has to be readable, too.
	if h := ask(s, "GET", "/nothing", "Origin", "https://b").Header(); h.Get("Access-Control-Allow-Origin") != "https://b" {
		t.Errorf("an error: %v", h)
	}
}

// refusing is an authenticator that lets nobody in.
type refusing struct{ refusal auth.Refusal }

func (a refusing) Identify(*http.Request) (auth.Identity, error) { return auth.Identity{}, &a.refusal }

func TestIdentity(t *testing.T) {
	s := bare(Options{Auth: refusing{auth.Refusal{Code: 401, Reason: "who?", Challenge: "Basic"}}})
	for target, code := range map[string]int{"/test/a": 401, "/": 200, "/v1/": 200, "/healthcheck": 200, "/v1/capabilities": 200, "/v1/metric": 401, "/nothing": 404} {
		w := ask(s, "GET", target, "Accept", "application/json")
		if w.Code != code || (code == 401) != (w.Header().Get("WWW-Authenticate") == "Basic") {
			t.Errorf("%s: %d %v", target, w.Code, w.Header())
		}
	}
	// Before the body is looked at.
	if w := ask(s, "POST", "/v1/metric", "Content-Type", "text/plain"); w.Code != 401 {
		t.Errorf("a body of nobody: %d", w.Code)
	}
	s = bare(Options{Auth: refusing{auth.Refusal{Code: 503, Reason: "later", RetryAfter: 5 * time.Second}}})
	if w := ask(s, "GET", "/test/a"); w.Code != 503 || w.Header().Get("Retry-After") != "5" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestTimeouts(t *testing.T) {
	s := bare(Options{OperationTimeout: 50 * time.Millisecond})
	if w := ask(s, "GET", "/test/slow", "Accept", "application/json"); w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "operation_timeout") {
		t.Errorf("a slow handler: %d %s", w.Code, w.Body)
	}
	// A body that does not come.
	server := httptest.NewServer(s)
	defer server.Close()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "POST /test/a HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n1")
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
		t.Errorf("%s, %v", answer, err)
	}
}

func TestHalfAnswersAreSeen(t *testing.T) {
	server := httptest.NewUnstartedServer(bare(Options{}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	defer server.Close()
	resp, err := http.Get(server.URL + "/test/error/begun")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("half an answer looks like a whole one")
	}
}

// A body that does not come ends every request, also one that nobody reads.
func TestBodiesThatDoNotCome(t *testing.T) {
	server := httptest.NewServer(bare(Options{OperationTimeout: 50 * time.Millisecond, Auth: refusing{auth.Refusal{Code: 401}}}))
	defer server.Close()
	for _, target := range []string{"POST /nothing", "POST /v1", "PUT /test/a", "POST /test/a", "OPTIONS /test/a", "POST /v1/changes"} {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, target+" HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n1")
		if answer, err := io.ReadAll(c); err != nil { // to the end of the connection
			t.Errorf("%s: %s, %v", target, answer, err)
		}
		c.Close()
	}
}

// BenchmarkRequest is what comes before and after every handler.
func BenchmarkRequest(b *testing.B) {
	who, err := auth.NewBasic(auth.BasicOptions{})
	if err != nil {
		b.Fatal(err)
	}
	s := New(Options{Auth: who})
	s.handle("GET /test/{name}/x", func(w http.ResponseWriter, r *http.Request) error {
		return writeNothing(w, http.StatusNoContent)
	})
	r := httptest.NewRequest("GET", "/test/a/x", nil)
	r.SetBasicAuth("joe", "")
	r.Header.Set("Accept", "application/json, */*")
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// BenchmarkResourceList is a page of 1,000 resources as JSON.
func BenchmarkResourceList(b *testing.B) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	r := &index.Resource{Original: "server-1", Type: "instance", Creator: "u:p", Started: now, RevisionStart: now,
		Attributes: map[string]any{"host": "compute-1", "flavor": "m1.tiny", "size": 5.0}, Metrics: map[string]uuid.UUID{"cpu": {}, "memory": {}, "disk": {}}}
	var o object
	b.ReportAllocs()
	for b.Loop() {
		o.b = o.b[:0]
		for range 1000 {
			o.resource(r, true)
		}
	}
	b.SetBytes(int64(len(o.b)))
}

// A body that does not come to its end, or is wrongly encoded, is the client's fault.
func TestBrokenBodies(t *testing.T) {
	var log strings.Builder
	server := httptest.NewServer(bare(Options{Log: slog.New(slog.NewTextHandler(&log, nil))}))
	for name, body := range map[string]string{
		"cut off":      "Content-Length: 100\r\n\r\n[1",
		"wrong chunks": "Transfer-Encoding: chunked\r\n\r\nxyz\r\n[1",
	} {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "POST /test/a HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"+body)
		c.(*net.TCPConn).CloseWrite()
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), "The body") {
			t.Errorf("%s: %s %v", name, answer, err)
		}
		c.Close()
	}
	server.Close()
	if log.Len() > 0 {
		t.Errorf("the log has %s", &log)
	}
}
