package influxdb

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func errorAs[E error](err error, target *E) bool { return errors.As(err, target) }

// proxy stands before a real server and tells of each request.
func proxy(t testing.TB, to string, seen func()) string {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	reverse := httputil.NewSingleHostReverseProxy(u)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen()
		reverse.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func countDials(tr *http.Transport) *atomic.Int64 {
	n := new(atomic.Int64)
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return dial(ctx, network, address)
	}
	return n
}

// fake is a server whose answers a test makes up.
type fake struct {
	URL string

	mu       sync.Mutex
	requests []*http.Request
	written  []string // lines of requests that were answered with nil
}

// newFake starts a server. answer decides on the lines of a write; it writes an
// answer and returns false, or returns true to take them.
func newFake(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, lines []string) bool) *fake {
	t.Helper()
	f := &fake{}
	s := httptest.NewServer(f.handler(t, answer))
	f.URL = s.URL
	t.Cleanup(s.Close)
	return f
}

func (f *fake) handler(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, lines []string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Errorf("not gzip: %v", err)
				return
			}
			body = z
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Errorf("cannot read the request: %v", err)
			return
		}
		lines := strings.SplitAfter(string(text), "\n")
		lines = lines[:len(lines)-1]
		f.mu.Lock()
		defer f.mu.Unlock()
		f.requests = append(f.requests, r)
		if answer(w, r, lines) {
			f.written = append(f.written, lines...)
			w.WriteHeader(http.StatusNoContent)
		}
	})
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

// distinct gives the lines that were written, each once.
func (f *fake) distinct() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.written)
	slices.Sort(all)
	return slices.Compact(all)
}

func answerJSON(w http.ResponseWriter, status int, key, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{%q:%q}\n", key, message)
}
