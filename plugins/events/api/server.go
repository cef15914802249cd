// Package api is the HTTP API of the event store: Panko's v2, and events as lines of
// JSON.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/plugins/events/store"
)

// Options of a [Server].
type Options struct {
	Store *store.Store
	Auth  auth.Authenticator
	Log   *slog.Logger
	// DefaultLimit is how many events a list has at most without a limit.
	DefaultLimit int
	// MaxBody is the most bytes of the body of a request.
	MaxBody int64
	// OperationTimeout is the most time of a request, and of a stopped client in one
	// that answers as a stream.
	OperationTimeout time.Duration
	// URLPrefix is the path below which the API is.
	URLPrefix string
	// ProxyHeaders says to believe X-Forwarded-Proto, -Host and -Prefix.
	ProxyHeaders bool
	// CORSOrigins are the origins whose pages may use the API; * is all.
	CORSOrigins []string
}

// Server answers requests. It is an [http.Handler] that may be called concurrently.
type Server struct {
	o   Options
	mux *http.ServeMux
}

// New makes a server.
func New(o Options) *Server {
	if o.URLPrefix = strings.Trim(o.URLPrefix, "/"); o.URLPrefix != "" {
		o.URLPrefix = "/" + o.URLPrefix
	}
	s := &Server{o: o, mux: http.NewServeMux()}
	s.handle("/", s.versions)
	s.handle("/healthcheck", func(http.ResponseWriter, *http.Request) error { return nil })
	s.handle("/v2/capabilities", s.capabilities)
	s.handle("/v2/events", s.events)
	s.handle("/v2/events/{id}", s.event)
	s.handle("/v2/event_types", s.types)
	s.handle("/v2/event_types/{type}", s.eventType)
	s.handle("/v2/event_types/{type}/traits", s.traits)
	s.handle("/v2/event_types/{type}/traits/{name}", s.values)
	s.handle("/v2/status", s.status)
	return s
}

// handle adds what answers GET for a path.
func (s *Server) handle(path string, h func(http.ResponseWriter, *http.Request) error) {
	if path == "/" {
		path = "/{$}"
	}
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			s.fail(w, r, &Error{http.StatusMethodNotAllowed, "The method " + r.Method + " is not allowed for this resource."})
			return
		}
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.allowOrigin(w, r)
	if r.Method == http.MethodOptions {
		return // 200, whatever it is for
	}
	path, inside := strings.CutPrefix(r.URL.EscapedPath(), s.o.URLPrefix)
	if !inside || path != "" && path[0] != '/' {
		s.fail(w, r, errNothing)
		return
	}
	for strings.Contains(path, "//") { // as clients make of URLs with a slash at their end
		path = strings.ReplaceAll(path, "//", "/")
	}
	path = "/" + strings.Trim(path, "/")
	plain, err := url.PathUnescape(path)
	if err != nil {
		s.fail(w, r, errNothing)
		return
	}
	a := &answer{ResponseWriter: w}
	inner := *r
	u := *r.URL
	u.Path, u.RawPath = plain, path
	inner.URL = &u
	if _, pattern := s.mux.Handler(&inner); pattern == "" {
		s.fail(a, r, errNothing)
		return
	}
	s.mux.ServeHTTP(a, &inner)
}

var errNothing = &Error{http.StatusNotFound, "The resource could not be found."}

// answer knows whether it has begun.
type answer struct {
	http.ResponseWriter
	begun bool
}

func (a *answer) WriteHeader(code int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] through.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// allowOrigin lets pages of other origins ask.
func (s *Server) allowOrigin(w http.ResponseWriter, r *http.Request) {
	if len(s.o.CORSOrigins) == 0 {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case origin == "":
		return
	case slices.Contains(s.o.CORSOrigins, origin):
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(s.o.CORSOrigins, "*"):
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		return
	}
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, HEAD")
		h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, X-Auth-Token, X-Project-Id, X-Roles, X-User-Id")
		h.Set("Access-Control-Max-Age", "3600")
	}
}

// base is the URL under which the client sees the API.
func (s *Server) base(r *http.Request) string {
	u := url.URL{Scheme: "http", Host: r.Host, Path: s.o.URLPrefix}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if s.o.ProxyHeaders {
		first := func(name string) string {
			v, _, _ := strings.Cut(r.Header.Get(name), ",")
			return strings.TrimSpace(v)
		}
		if v := first("X-Forwarded-Proto"); v == "http" || v == "https" {
			u.Scheme = v
		}
		if v := first("X-Forwarded-Host"); v != "" && !strings.ContainsAny(v, "/?#@ ") {
			u.Host = v
		}
		if v := first("X-Forwarded-Prefix"); strings.HasPrefix(v, "/") {
			u.Path = strings.TrimRight(v, "/") + s.o.URLPrefix
		}
	}
	return u.String()
}

// within gives a request the time that one may take.
func (s *Server) within(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(r.Context(), s.o.OperationTimeout, errTooLong)
}

var errTooLong = errors.New("the request took longer than operation_timeout")
