// Package promql is Prometheus's read API over the aggregator's index and engine,
// so that Grafana and others that speak PromQL need no plugin. Queries run on
// Prometheus's own engine; this package is the storage below it:
//
//   - find.go finds the metrics that a selector means, labels.go says what labels they
//     have: those that they came with (remote write), or name, resource and the
//     resource's attributes.
//   - choose.go chooses the granularity and the aggregation method that answer best.
//   - select.go reads the windows as series, points.go gives them to the engine.
//   - limits.go keeps queries from taking more than there is.
package promql

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"

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
	// MaxSeries is the most series of one selector; 20,000.
	MaxSeries int
	// MaxSamples is the most points that a query reads, and that it makes of them at one
	// time, 16 bytes each; those that run at once read at most twice as many; 2 million.
	MaxSamples int
	// Timeout is the most time of a query; 30 s.
	Timeout time.Duration
	// Concurrency is the most queries that run at once; others wait; 4.
	Concurrency int
	// URLPrefix is below which [Prefix] is, such as /metric; "" is the root.
	URLPrefix string
	// CORSOrigins are the origins whose pages may ask, or "*".
	CORSOrigins []string
	// Version is what the API says that it is.
	Version string
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
	for _, limit := range []struct {
		value *int
		is    int
	}{{&o.MaxSeries, 20_000}, {&o.MaxSamples, 2_000_000}, {&o.Concurrency, 4}} {
		if *limit.value <= 0 {
			*limit.value = limit.is
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Prefix is where the API is mounted, below the URL prefix of the whole.
const Prefix = "/prometheus"

// lookback is how long the last point of a series stands for its value, as in
// Prometheus.
const lookback = 5 * time.Minute

// maxForm is the most bytes of a query and its parameters.
const maxForm = 1 << 20

// Server answers requests below [Prefix]. It is an [http.Handler] that may be called
// concurrently.
type Server struct {
	o      Options
	site   *web.Site
	engine *promql.Engine
	find   *finder
	slots  chan struct{}
	pool   pool
}

// New makes a server.
func New(o Options) *Server {
	o.setDefaults()
	s := &Server{
		o: o, slots: make(chan struct{}, o.Concurrency), pool: pool{each: int64(o.MaxSamples), all: 2 * int64(o.MaxSamples)},
		find: &finder{x: o.Index, limit: o.MaxSeries, now: o.Now},
		engine: promql.NewEngine(promql.EngineOpts{
			Logger: o.Log, MaxSamples: o.MaxSamples, Timeout: o.Timeout, LookbackDelta: lookback,
			NoStepSubqueryIntervalFn: func(int64) int64 { return subqueryStep.Milliseconds() },
			EnableAtModifier:         true, EnableNegativeOffset: true,
		}),
	}
	s.site = web.New(web.Options{
		Auth: o.Auth, Fail: s.fail, Log: o.Log, MaxBody: maxForm, Timeout: o.Timeout,
		URLPrefix: strings.Trim(o.URLPrefix, "/") + Prefix, CORSOrigins: o.CORSOrigins,
	})
	for path, h := range map[string]handler{
		"query":               s.query,
		"query_range":         s.queryRange,
		"series":              s.series,
		"labels":              s.labelNames,
		"label/{name}/values": s.labelValues,
		"metadata":            s.metadata,
		"query_exemplars":     s.none,
		"rules":               s.rules,
		"alerts":              s.alerts,
		"status/buildinfo":    s.buildInfo,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			s.site.Handle(method+" /api/v1/"+path, func(w http.ResponseWriter, r *http.Request) error { return s.call(w, r, h) })
		}
	}
	return s
}

// handler answers a request with what becomes the answer's data. An error that is
// no *apiError is one of the execution of a query.
type handler func(r *http.Request) (reply, error)

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.site.ServeHTTP(w, r) }

// call does what comes before and after every handler.
func (s *Server) call(w http.ResponseWriter, r *http.Request, h handler) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return badData("the parameters cannot be read: %v", err)
	}
	answer, err := h(r)
	if answer.done != nil {
		defer answer.done()
	}
	if err != nil {
		e := describe(err)
		if e.kind == internal {
			s.o.Log.Error("a query failed", "path", r.URL.Path, "error", err)
		}
		return e
	}
	answer.send(w, time.Now().Add(s.o.Timeout))
	return nil
}

// fail answers a request with an error: one of its handler, of the authenticator, or of
// the site.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *apiError
	var refusal *auth.Refusal
	var site *web.Error
	switch {
	case errors.As(err, &e):
		failWith(w, e.kind.code, e)
	case errors.As(err, &refusal):
		refusal.Headers(w.Header())
		failWith(w, refusal.Code, &apiError{unauthorized, refusal.Reason})
	case errors.As(err, &site):
		failWith(w, site.Status, ofSite(site, r))
	default:
		s.o.Log.Error("cannot find out who makes a request", "error", err)
		failWith(w, internal.code, &apiError{internal, "cannot find out who makes the request"})
	}
}

// ofSite says what an error of the site is in Prometheus's words.
func ofSite(e *web.Error, r *http.Request) *apiError {
	switch e.Status {
	case http.StatusNotFound:
		return &apiError{notFound, "there is no " + Prefix + r.URL.Path + ": see " + Prefix + "/api/v1/query and its neighbours"}
	case http.StatusInternalServerError:
		return &apiError{internal, e.Text}
	}
	return &apiError{badParameter, e.Text}
}

// scope is what lists are limited to for the one who asks, as in Gnocchi's API.
func scope(ctx context.Context) (index.Scope, error) {
	who := auth.From(ctx)
	switch {
	case who.Admin() || !who.Tenant:
		return index.Scope{}, nil
	case who.Project == "":
		return index.Scope{}, &apiError{forbidden, "the token is of no project, so there is nothing to see"}
	}
	return index.Scope{Project: who.Project}, nil
}

// reads reports whether the one who asks may read the measures of a metric, of those
// in the scope. Who belongs to no project reads what they made, as in Gnocchi's API, whose
// lists tell them of the others, too.
func reads(ctx context.Context, m *index.Metric) bool {
	who := auth.From(ctx)
	return who.Tenant || who.Admin() || m.Creator != "" && m.Creator == who.Creator()
}

// enter waits until a query may run, and gives what lets the next one in.
func (s *Server) enter(ctx context.Context) (leave func(), err error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, promql.ErrQueryTimeout("a place among the queries that run at once")
	}
}

// Below reports whether a path is one of this API.
func Below(path string) bool { return strings.HasPrefix(path, Prefix+"/") }
