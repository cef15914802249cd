// Package web is what the HTTP APIs of Nepho's plugins have in common: listening
// (listen.go, certificate.go), routes with their methods, who asks, limits of time and of bodies
// (site.go, body.go, patience.go), pages of other origins (cors.go), and how clients see a server
// that is behind a proxy (url.go). What an API answers is its own business.
package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
)

// Options of [New].
type Options struct {
	// Auth says who makes a request.
	Auth auth.Authenticator
	// Fail answers a request with an error: an [*Error], one of Auth, or the API's own.
	Fail func(w http.ResponseWriter, r *http.Request, err error)
	Log  *slog.Logger
	// MaxBody is the longest body of a request in bytes.
	MaxBody int64
	// Timeout is the most time of a request.
	Timeout time.Duration
	// ProxyHeaders believes the headers Forwarded and X-Forwarded-*.
	ProxyHeaders bool
	// URLPrefix is where the API is mounted, such as /alarm; "" is the root.
	URLPrefix string
	// CORSOrigins are the origins whose pages may ask, or "*".
	CORSOrigins []string
}

// Error is a refusal that a request gets.
type Error struct {
	Status int
	Text   string
}

func (e *Error) Error() string { return e.Text }

// Site answers requests by its routes. It is an [http.Handler] that may be called
// concurrently once all routes are there.
type Site struct {
	*Mount
	o      Options
	mux    *http.ServeMux
	routes map[string]*route // by the pattern of the path
}

// New makes a site without routes.
func New(o Options) *Site {
	s := &Site{Mount: NewMount(o.URLPrefix, o.ProxyHeaders, o.CORSOrigins), o: o, mux: http.NewServeMux(), routes: map[string]*route{}}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.o.Fail(w, r, errNothing) })
	return s
}

var errNothing = &Error{http.StatusNotFound, "There is nothing at this path."}

// A Handler answers one kind of request, or gives the error that [Options].Fail
// answers. It has to end soon after its request's context does. The context has the
// asker: see [auth.From].
type Handler func(w http.ResponseWriter, r *http.Request) error

// An Option of a route changes what is done before its handler is called.
type Option uint8

// Options of routes.
const (
	// Public: no identity is asked for.
	Public Option = iota
	// Unlimited: the request may take longer than the timeout.
	Unlimited
)

type operation struct {
	h                 Handler
	public, unlimited bool
}

// route is a path with its methods.
type route struct {
	methods map[string]operation
	allow   string
}

// Handle adds a handler for a pattern: a method, a space, and the path as in
// [http.ServeMux], such as "GET /v2/alarms/{id}". A path matches with and without a slash
// at its end; GET also answers HEAD.
func (s *Site) Handle(pattern string, h Handler, options ...Option) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		panic("BUG: pattern without method: " + pattern)
	}
	to := s.routes[path]
	if to == nil {
		to = &route{methods: map[string]operation{}}
		s.routes[path] = to
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { s.dispatch(to, w, r) })
	}
	if _, twice := to.methods[method]; twice {
		panic("BUG: two handlers for " + pattern)
	}
	op := operation{h: h, public: slices.Contains(options, Public), unlimited: slices.Contains(options, Unlimited)}
	to.methods[method] = op
	if method == http.MethodGet {
		to.methods[http.MethodHead] = op
	}
	to.allow = strings.Join(slices.Sorted(maps.Keys(to.methods)), ", ")
}

// ServeHTTP answers a request.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{ResponseWriter: w, stream: r.ProtoMajor == 2, patience: s.o.Timeout}
	defer a.done()
	defer s.recover(a, r)
	// A body that does not come must end every request, also one that nobody reads: the
	// server waits for it. A little later than the context ends, because the end of reading
	// ends it, too, and would say that the client is gone.
	readUntil(a, time.Now().Add(s.o.Timeout+grace))
	s.AllowOrigin(a, r)
	if r.Method == http.MethodOptions {
		return // 200, whatever it is for
	}
	path, inside := s.Inside(r)
	if !inside {
		s.o.Fail(a, r, errNothing)
		return
	}
	inner := *r
	inner.URL = path
	s.mux.ServeHTTP(a, &inner)
}

// dispatch calls the handler of a request whose path is known.
func (s *Site) dispatch(to *route, w http.ResponseWriter, r *http.Request) {
	op, ok := to.methods[r.Method]
	if !ok {
		w.Header().Set("Allow", to.allow)
		s.o.Fail(w, r, &Error{http.StatusMethodNotAllowed, "The method " + r.Method + " is not allowed for this resource."})
		return
	}
	if err := s.call(op, w, r); err != nil {
		s.o.Fail(w, r, err)
	}
}

// grace is how long after its context a request stops reading its body.
const grace = 100 * time.Millisecond

// call does what comes before every handler, and calls it.
func (s *Site) call(op operation, w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if !op.unlimited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.o.Timeout)
		defer cancel()
	} else {
		r = whole(w, r)
	}
	if !op.public {
		who, err := s.o.Auth.Identify(r.WithContext(ctx))
		if err != nil {
			return err
		}
		ctx = auth.With(ctx, who)
	}
	return op.h(w, r.WithContext(ctx))
}

// readUntil sets until when the request may be read. Not every writer can do this, and
// those that can't are not on a network.
func readUntil(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(t)
}

// whole lifts the deadline for reading a request as soon as its body has come whole. The
// server goes on reading, to see whether the client is still there.
func whole(w http.ResponseWriter, r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		readUntil(w, time.Time{})
		return r
	}
	inner := *r
	inner.Body = &body{r.Body, w}
	return &inner
}

type body struct {
	io.ReadCloser
	w http.ResponseWriter
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		readUntil(b.w, time.Time{})
	}
	return n, err
}

// recover answers a request whose handler failed by a fault of the program.
func (s *Site) recover(a *answer, r *http.Request) {
	fault := recover()
	if fault == nil {
		return
	}
	if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(fault)
	}
	s.o.Log.Error("a request failed by a fault of the program", "method", r.Method, "path", r.URL.Path, "fault", fault, "stack", string(debug.Stack()))
	if a.started {
		panic(http.ErrAbortHandler) // the client must not take it for complete
	}
	s.o.Fail(a, r, &Error{http.StatusInternalServerError, "The server has failed; its log says why."})
}
