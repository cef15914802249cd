// Package api is the aggregator's HTTP API: Gnocchi's version 1, and what goes
// beyond it.
//
// A file of handlers adds its routes in a method of [Server] that routes calls.
// What they share is in server.go (routes), errors.go (what an error becomes),
// body.go and query.go (what a request has), answer.go, url.go and page.go (what
// an answer has) and access.go (who may do what).
//
//	named.go, policies.go, rules.go, types.go   what admins manage
//	resources.go, resource_metrics.go, metrics.go, search.go   the index
//	body_*.go    measures in bodies: as most clients write them, and as Gnocchi reads them
//	measures.go, batch.go, ensure.go, influx.go, remotewrite_*.go   measures in
//	read*.go     measures out of the engine: damaged ones left out, resampled
//	write_*.go   measures in answers: JSON, the binary form, in pieces and in parallel
//	aggregates*.go, aggregation.go, compute.go, search_values.go   what is computed of them
package api

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/web"
)

// Options of [New]. Zero values are the defaults.
type Options struct {
	Index  *index.Index
	Engine *engine.Engine
	// Auth says who makes a request; nil is [auth.None].
	Auth auth.Authenticator
	Log  *slog.Logger
	// MaxLimit is the most items of a list's page, and the default; 1000.
	MaxLimit int
	// MaxBody is the longest body of a request in bytes, after decompression; 64 MiB.
	MaxBody int64
	// OperationTimeout is the most time of a request; 10 s.
	OperationTimeout time.Duration
	// ProxyHeaders believes the headers Forwarded and X-Forwarded-*.
	ProxyHeaders bool
	// URLPrefix is where the API is mounted, such as /gnocchi; "" is the root.
	URLPrefix string
	// CORSOrigins are the origins whose pages may ask, or "*".
	CORSOrigins []string
	// Build is the version that the API tells. Clients read it as one of Gnocchi.
	Build string
	// Now is the time, [time.Now] if nil.
	Now func() time.Time
}

func (o *Options) setDefaults() {
	if o.Auth == nil {
		o.Auth = auth.None{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxLimit <= 0 {
		o.MaxLimit = 1000
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 64 << 20
	}
	if o.OperationTimeout <= 0 {
		o.OperationTimeout = 10 * time.Second
	}
	if o.Build == "" {
		// Clients read it as Gnocchi's version, and leave out what older ones lack.
		o.Build = "4.4.2"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Server answers requests. It is an [http.Handler] that may be called
// concurrently.
type Server struct {
	o      Options
	mount  *web.Mount
	mux    *http.ServeMux
	work   work
	ending chan struct{}             // closed when answers without end have to end
	routed map[string]*resourceRoute // by the pattern of the path
}

// New makes a server.
func New(o Options) *Server {
	o.setDefaults()
	s := &Server{o: o, mount: web.NewMount(o.URLPrefix, o.ProxyHeaders, o.CORSOrigins), mux: http.NewServeMux(), ending: make(chan struct{}), routed: map[string]*resourceRoute{}}
	s.work.most = max(minWork, 4*o.MaxBody)
	s.routes()
	// Paths that no pattern matches.
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, notFound("There is nothing at this path."))
	})
	return s
}

// A handler answers one kind of request. refusal says what an error becomes. The
// handler has to end soon after its request's context does.
type handler func(w http.ResponseWriter, r *http.Request) error

// An option of a route changes what is done before its handler is called.
type option uint8

const (
	public   option = iota // no identity is asked for
	anyMedia               // the handler looks itself at what the client accepts
	noLimit                // the request may take longer than the operation timeout
)

// operation is a method of a path.
type operation struct {
	h                         handler
	public, anyMedia, noLimit bool
}

// resourceRoute is a path with its methods.
type resourceRoute struct {
	methods map[string]operation
	allow   string
}

// handle adds a handler for a pattern: a method, a space, and the path as in
// [http.ServeMux], such as "GET /v1/metric/{id}". A path matches with and without
// a slash at its end; GET also answers HEAD.
func (s *Server) handle(pattern string, h handler, options ...option) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		panic("BUG: pattern without method: " + pattern)
	}
	route := s.route(path)
	if _, twice := route.methods[method]; twice {
		panic("BUG: two handlers for " + pattern)
	}
	op := operation{
		h:        h,
		public:   slices.Contains(options, public),
		anyMedia: slices.Contains(options, anyMedia),
		noLimit:  slices.Contains(options, noLimit),
	}
	route.methods[method] = op
	if method == http.MethodGet {
		route.methods[http.MethodHead] = op
	}
	route.allow = strings.Join(slices.Sorted(maps.Keys(route.methods)), ", ")
}

// route is the route of a path, made if there is none yet.
func (s *Server) route(path string) *resourceRoute {
	route := s.routed[path]
	if route == nil {
		route = &resourceRoute{methods: map[string]operation{}}
		s.routed[path] = route
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { s.dispatch(route, w, r) })
	}
	return route
}

// between are paths which exist only since others begin with them: Gnocchi answers
// them with 405, whatever the method, and not with 404.
var between = []string{
	"/v1/search/resource", "/v1/aggregation", "/v1/aggregation/resource", "/v1/aggregation/resource/{type}",
	"/v1/aggregation/resource/{type}/metric", "/v1/influxdb",
}

// routes has one line per file of handlers.
func (s *Server) routes() {
	for _, path := range between {
		s.route(path)
	}
	s.rootRoutes()
	s.descriptionRoutes()
	s.policyRoutes()
	s.ruleRoutes()
	s.typeRoutes()
	s.resourceRoutes()
	s.resourceMetricRoutes()
	s.metricRoutes()
	s.searchRoutes()
	s.statusRoutes()
	s.measureRoutes()
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w, done := web.Patient(w, r, s.o.OperationTimeout)
	defer done()
	a := &answer{ResponseWriter: w, work: &s.work}
	defer a.letGo()
	defer s.recover(a, r)
	// A body that does not come must end every request, also one that nobody reads: the
	// server waits for it. A little later than the context ends, because the end of reading
	// ends it, too, and would say that the client is gone. Not every writer can do this, and
	// those that can't are not on a network.
	_ = http.NewResponseController(a).SetReadDeadline(time.Now().Add(s.o.OperationTimeout + grace))
	s.mount.AllowOrigin(a, r)
	if r.Method == http.MethodOptions {
		return // 200, whatever it is for
	}
	path, inside := s.inside(r)
	if !inside {
		s.fail(a, r, notFound("There is nothing at this path."))
		return
	}
	if path.Path == "/v1" {
		a.Header().Set("Location", s.mount.Link(r, "v1")+"/")
		a.WriteHeader(http.StatusFound)
		return
	}
	inner := *r
	inner.URL = path
	s.mux.ServeHTTP(a, &inner)
}

// dispatch calls the handler of a request whose path is known.
func (s *Server) dispatch(route *resourceRoute, w http.ResponseWriter, r *http.Request) {
	op, ok := route.methods[r.Method]
	if !ok {
		w.Header().Set("Allow", route.allow)
		text := "The method " + r.Method + " is not allowed for this resource."
		if route.allow == "" {
			text = "There is nothing at this path but what is below it."
		}
		s.fail(w, r, &Error{http.StatusMethodNotAllowed, text})
		return
	}
	if err := s.call(op, w, r); err != nil {
		s.fail(w, r, err)
	}
}
