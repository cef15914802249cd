package influxdb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
)

// mixed makes n samples of 20 meters; those that bad says true of are of
// resource "bad".
func mixed(n int, bad func(i int) bool) func(*sdk.Builder) {
	return func(out *sdk.Builder) {
		for i := range n {
			s := gauge(fmt.Sprintf("meter.%d", i%20), float64(i), second(i))
			if bad(i) {
				s.ResourceID = "bad"
			}
			out.Add(s)
		}
	}
}

// An unparsable line makes InfluxDB 2.x refuse a request whole, 1.x write the
// rest and tell no count.
func TestUnparsableLines(t *testing.T) {
	f := func(bad func(int) bool, most int) {
		t.Helper()
		server := newFake(t, func(w http.ResponseWriter, r *http.Request, lines []string) bool {
			if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "=bad,") }) {
				answerJSON(w, http.StatusBadRequest, "message", "unable to parse: "+lines[0])
				return false
			}
			return true
		})
		p := start(t, fmt.Sprintf("url = %q", server.URL))
		var want []int
		for i := range 1000 {
			if bad(i) {
				want = append(want, i)
			}
		}
		if rows := refusedRows(t, p.Publish(t.Context(), build(t, mixed(1000, bad)))); !slices.Equal(rows, want) {
			t.Errorf("refused rows %v, want %v", rows, want)
		}
		if n := len(server.distinct()); n != 1000-len(want) {
			t.Errorf("%d lines written, want %d", n, 1000-len(want))
		}
		if n := server.count(); n > most {
			t.Errorf("%d requests, want at most %d", n, most)
		}
	}
	f(func(i int) bool { return i == 0 }, 25)
	f(func(i int) bool { return i == 999 }, 25)
	f(func(i int) bool { return i == 123 || i == 777 }, 50)
	f(func(i int) bool { return i%100 == 50 }, 200)
}

// When nearly everything is refused the search ends, and nothing is reported as
// written that was not.
func TestSearchIsBounded(t *testing.T) {
	server := newFake(t, func(w http.ResponseWriter, r *http.Request, lines []string) bool {
		if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "=bad,") }) {
			answerJSON(w, http.StatusBadRequest, "error", "unable to parse")
			return false
		}
		return true
	})
	p := start(t, fmt.Sprintf("url = %q\ngzip = false", server.URL))
	rows := refusedRows(t, p.Publish(t.Context(), build(t, mixed(1900, func(i int) bool { return i%3 > 0 }))))
	for i := range 1900 {
		if i%3 > 0 && !slices.Contains(rows, i) {
			t.Fatalf("row %d counts as written", i)
		}
	}
	if n := len(server.distinct()); n < 1900-len(rows) {
		t.Errorf("%d lines written, but %d of 1900 rows refused", n, len(rows))
	}
	if n := server.count(); n > maxResends+25 {
		t.Errorf("%d requests", n)
	}
}

func TestTooLarge(t *testing.T) {
	server := newFake(t, func(w http.ResponseWriter, r *http.Request, lines []string) bool {
		if len(lines) > 30 || strings.Contains(lines[0], "=bad,") {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return false
		}
		return true
	})
	p := start(t, fmt.Sprintf("url = %q", server.URL))
	rows := refusedRows(t, p.Publish(t.Context(), build(t, mixed(1000, func(i int) bool { return i == 500 }))))
	if len(rows) == 0 || !slices.Contains(rows, 500) {
		t.Errorf("refused rows %v, want 500 among them", rows)
	}
	if n := len(server.distinct()); n != 1000-len(rows) {
		t.Errorf("%d lines written and %d refused of 1000", n, len(rows))
	}
}

func TestRequestsAreBounded(t *testing.T) {
	sizes := []int{}
	server := newFake(t, func(w http.ResponseWriter, r *http.Request, lines []string) bool {
		if n := len(strings.Join(lines, "")); n > 4096 && len(lines) > 1 {
			t.Errorf("a request of %d bytes", n)
		}
		sizes = append(sizes, len(lines))
		return true
	})
	p := start(t, fmt.Sprintf("url = %q\nmax_lines = 60\nmax_bytes = '4KiB'", server.URL))
	batch := build(t, func(out *sdk.Builder) {
		mixed(100, func(int) bool { return false })(out)
		s := gauge("long", 1, second(1))
		s.ProjectID = strings.Repeat("x", 5000)
		out.Add(s)
		s.UserID = strings.Repeat("x", maxKey)
		out.Add(s)
		mixed(100, func(i int) bool { return true })(out)
	})
	if rows := refusedRows(t, p.Publish(t.Context(), batch)); !slices.Equal(rows, []int{101}) {
		t.Errorf("refused rows %v, want 101", rows)
	}
	if n := len(server.distinct()); n != 201 {
		t.Errorf("%d lines, want 201; requests of %v lines", n, sizes)
	}
}

func TestAnswers(t *testing.T) {
	f := func(status int, header, body, want string, after time.Duration) {
		t.Helper()
		server := newFake(t, func(w http.ResponseWriter, r *http.Request, lines []string) bool {
			if name, value, found := strings.Cut(header, ": "); found {
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return false
		})
		p := start(t, fmt.Sprintf("url = %q\ncreate_database = false", server.URL))
		err := p.Publish(t.Context(), build(t, mixed(100, func(int) bool { return false })))
		if err == nil || err.Error() != strings.ReplaceAll(want, "URL", server.URL) {
			t.Errorf("%d: error\n%v, want\n%s", status, err, strings.ReplaceAll(want, "URL", server.URL))
		}
		var later *sdk.Later
		var refused *sdk.Refused
		if errors.As(err, &refused) {
			t.Errorf("%d refuses rows %v", status, refused.Rows)
		}
		if errors.As(err, &later) != (after > 0) || later != nil && later.After != after {
			t.Errorf("%d: pause %+v, want %v", status, later, after)
		}
	}
	f(401, "", `{"error":"authorization failed"}`, "URL denies access: 401: authorization failed; check username and password, or token", time.Minute)
	f(403, "", `{"code":"forbidden","message":"insufficient permissions"}`, "URL denies access: 403: insufficient permissions; check username and password, or token", time.Minute)
	f(404, "", `{"error":"database not found: \"nepho\""}`, `URL does not find what is written to: database not found: "nepho"; check url, database and bucket`, 30*time.Second)
	f(307, "Location: https://elsewhere/write?db=x", ``, "URL redirects to https://elsewhere, which is not followed; put the right address into url", 30*time.Second)
	f(429, "Retry-After: 7", ``, "URL answered 429: Too Many Requests", 7*time.Second)
	f(503, "Retry-After: 86400", ``, "URL answered 503: Service Unavailable", 10*time.Minute)
	f(503, "", `{"code":"unavailable","message":"no"}`, "URL answered 503: no", 0)
	f(500, "", `{"error":"timeout"}`, "URL answered 500: timeout", 0)
	f(502, "", strings.Repeat("<html>", 1000)+"end", "URL answered 502: "+strings.Repeat("<html>", 25)+" ... "+(strings.Repeat("<html>", 30) + "end")[33:], 0)
	// Not InfluxDB's own words: perhaps not its refusal either.
	f(400, "", "Client sent an HTTP request to an HTTPS server.\n",
		"this may be no InfluxDB, check url: URL answered 400: Client sent an HTTP request to an HTTPS server.", 30*time.Second)
}

// A server that refuses in words of its own is believed when it takes the rest.
func TestForeignRefusal(t *testing.T) {
	server := newFake(t, func(w http.ResponseWriter, r *http.Request, lines []string) bool {
		if strings.Contains(strings.Join(lines, ""), "=bad,") {
			http.Error(w, "cannot read line", http.StatusBadRequest)
			return false
		}
		return true
	})
	p := start(t, fmt.Sprintf("url = %q", server.URL))
	if rows := refusedRows(t, p.Publish(t.Context(), build(t, mixed(100, func(i int) bool { return i < 3 })))); !slices.Equal(rows, []int{0, 1, 2}) {
		t.Errorf("refused rows %v, want 0, 1, 2", rows)
	}
}

// The second of three requests fails: the batch is to come again, whole.
func TestRetryAfterPart(t *testing.T) {
	n := 0
	server := newFake(t, func(w http.ResponseWriter, r *http.Request, lines []string) bool {
		if n++; n == 2 {
			w.WriteHeader(http.StatusInternalServerError)
			return false
		}
		return true
	})
	p := start(t, fmt.Sprintf("url = %q\nmax_lines = 10", server.URL))
	batch := build(t, mixed(30, func(int) bool { return false }))
	if err := p.Publish(t.Context(), batch); err == nil {
		t.Fatal("no error")
	}
	if err := p.Publish(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if n := len(server.distinct()); n != 30 {
		t.Errorf("%d lines written, want 30", n)
	}
}

func TestRequestForm(t *testing.T) {
	f := func(toml, path, query, authorization string) {
		t.Helper()
		server := newFake(t, func(http.ResponseWriter, *http.Request, []string) bool { return true })
		p := start(t, fmt.Sprintf("url = '%s/base/?extra=1'\n%s", server.URL, toml))
		if err := p.Publish(t.Context(), build(t, mixed(1, func(int) bool { return false }))); err != nil {
			t.Fatal(err)
		}
		r := server.requests[0]
		if r.Method != "POST" || r.URL.Path != path || r.URL.RawQuery != query || r.Header.Get("Authorization") != authorization {
			t.Errorf("%s %s?%s with authorization %q", r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Authorization"))
		}
		if r.Header.Get("User-Agent") != "nepho" || r.ContentLength <= 0 {
			t.Errorf("headers %v, length %d", r.Header, r.ContentLength)
		}
	}
	f("", "/base/write", "db=nepho&extra=1&precision=ns", "")
	f("database = 'a b'\nretention_policy = 'r'\nconsistency = 'all'\nusername = 'u'\npassword = 'p:q'",
		"/base/write", "consistency=all&db=a+b&extra=1&precision=ns&rp=r", "Basic dTpwOnE=")
	f("bucket = 'b'\norg = 'o'\ntoken = 'T'", "/base/api/v2/write", "bucket=b&extra=1&org=o&precision=ns", "Token T")
	f("gzip = false\nheaders = { authorization = 'Bearer x' }", "/base/write", "db=nepho&extra=1&precision=ns", "Bearer x")
}

func TestCreateDatabaseIsDenied(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/write" {
			answerJSON(w, http.StatusNotFound, "error", `database not found: "x"`)
			return
		}
		if q := r.FormValue("q"); q != `CREATE DATABASE "a\"b\\"` {
			t.Errorf("query %s", q)
		}
		fmt.Fprint(w, `{"results":[{"statement_id":0,"error":"not allowed"}]}`)
	}))
	defer server.Close()
	p := start(t, fmt.Sprintf("url = %q\ndatabase = 'a\"b\\'", server.URL))
	err := p.Publish(t.Context(), build(t, mixed(1, func(int) bool { return false })))
	var later *sdk.Later
	if !errors.As(err, &later) || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("error %v", err)
	}
}

func TestSlowServer(t *testing.T) {
	release, come := make(chan struct{}), make(chan struct{}, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		come <- struct{}{}
		<-release
	}))
	defer server.Close()
	defer close(release)
	p := start(t, fmt.Sprintf("url = %q\nrequest_timeout = '50ms'", server.URL))
	batch := build(t, mixed(1, func(int) bool { return false }))
	if err := p.Publish(t.Context(), batch); err == nil || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("error %v", err)
	}
	p.client.timeout = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	for len(come) > 0 { // a machine that is slow enough never got there
		<-come
	}
	go func() {
		<-come
		cancel()
	}()
	if err := p.Publish(ctx, batch); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// An early answer leaves the transport in the middle of the request, from which
// memory the next one is made.
func TestEarlyAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	p := start(t, fmt.Sprintf("url = %q\ngzip = false", server.URL))
	batch := build(t, func(out *sdk.Builder) {
		for i := range 1000 {
			s := gauge("long", 1, second(i))
			s.ProjectID = strings.Repeat("x", 2000)
			out.Add(s)
		}
	})
	for range 20 {
		if err := p.Publish(t.Context(), batch); err == nil {
			t.Fatal("no error")
		}
	}
}

// A kept connection that the server closes instead of answering, as when it is
// restarted, is no failure.
func TestKeptConnectionIsClosed(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	closed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.Header["Idempotency-Key"] != nil {
			t.Errorf("headers %v, error %v", r.Header, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if seen[r.RemoteAddr] && !closed {
			closed = true
			panic(http.ErrAbortHandler)
		}
		seen[r.RemoteAddr] = true
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	p := start(t, fmt.Sprintf("url = %q", server.URL))
	batch := build(t, mixed(1, func(int) bool { return false }))
	for kept, deadline := false, time.Now().Add(time.Minute); !kept; {
		if err := p.Publish(t.Context(), batch); err != nil || time.Now().After(deadline) {
			t.Fatalf("got error %v, connections %v", err, seen)
		}
		mu.Lock()
		kept = closed
		mu.Unlock()
	}
}

func TestEndlessAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	p := start(t, fmt.Sprintf("url = %q", server.URL))
	if err := p.Publish(t.Context(), build(t, mixed(1, func(int) bool { return false }))); err == nil || len(err.Error()) > 500 {
		t.Errorf("error %v", err)
	}
}

// Errors never show what is secret, whatever goes wrong.
func TestErrorsHideSecrets(t *testing.T) {
	f := func(toml string) {
		t.Helper()
		p := start(t, toml+"\nusername = 'u'\npassword = 'SECRET'\nheaders = { x = 'SECRET' }")
		err := p.Publish(t.Context(), build(t, mixed(1, func(int) bool { return false })))
		if err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("error %v", err)
		}
	}
	f(fmt.Sprintf("url = 'http://127.0.0.1:%d/?p=SECRET'", parts.FreePort(t)))
	f(fmt.Sprintf("url = 'http://127.0.0.1:1/'\nproxy = 'http://u:SECRET@127.0.0.1:%d'", parts.FreePort(t)))
	server := newFake(t, func(w http.ResponseWriter, r *http.Request, _ []string) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return false
	})
	f("url = '" + server.URL + "/?p=SECRET'")
	f("url = '" + strings.Replace(server.URL, "http:", "https:", 1) + "/?p=SECRET'")
}

func TestTLS(t *testing.T) {
	certificates := parts.NewCertificates(t)
	server := &fake{}
	s := httptest.NewUnstartedServer(server.handler(t, func(http.ResponseWriter, *http.Request, []string) bool { return true }))
	own, err := tls.LoadX509KeyPair(certificates.Cert, certificates.Key)
	if err != nil {
		t.Fatal(err)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: certificates.Pool(t), ClientAuth: tls.RequireAndVerifyClientCert}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshakes that fail below
	s.StartTLS()
	defer s.Close()
	f := func(options, want string) {
		t.Helper()
		p := start(t, fmt.Sprintf("url = %q\ntls = { %s }", s.URL, options))
		err := p.Publish(t.Context(), build(t, mixed(1, func(int) bool { return false })))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v, want %q", options, err, want)
		}
	}
	client := fmt.Sprintf("cert = %q, key = %q", certificates.ClientCert, certificates.ClientKey)
	f(fmt.Sprintf("ca = %q, %s", certificates.CA, client), "")
	f("insecure_skip_verify = true, "+client, "")
	f(client, "certificate signed by unknown authority")
	f(fmt.Sprintf("ca = %q, server_name = 'other', %s", certificates.CA, client), "not other")
	// Which error comes of a missing certificate depends on what is faster.
	f(fmt.Sprintf("ca = %q", certificates.CA), "cannot write to "+s.URL)
}

func TestStopLeavesNothing(t *testing.T) {
	defer parts.NoGoroutinesLeft(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }))
	defer server.Close()
	p, _ := decode(t, fmt.Sprintf("url = %q", server.URL))
	if err := p.Start(t.Context(), sdk.Env{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), build(t, mixed(1, func(int) bool { return false }))); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}
