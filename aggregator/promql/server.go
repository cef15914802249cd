// Package promql is Prometheus's read API over the aggregator's index and engine,
// so that Grafana and others that speak PromQL need no plugin. Queries run on
// Prometheus's own engine; this package is the storage below it:
//
//   - find.go finds the metrics that a selector means, labels.go says what labels they
//     have: those that they came with (remote write), or name, resource and the
//     resource's attributes.
//   - choose.go chooses the granularity and the aggregation method that answer best.
//   - select.go reads the windows as series.
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
	// MaxSamples is the most points that a query holds in memory; 20 million.
	MaxSamples int
	// Timeout is the most time of a query; 30 s.
	Timeout time.Duration
	// Concurrency is the most queries that run at once; others wait; 4.
	Concurrency int
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
	}{{&o.MaxSeries, 20_000}, {&o.MaxSamples, 20_000_000}, {&o.Concurrency, 4}} {
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
	mux    *http.ServeMux
	engine *promql.Engine
	find   *finder
	slots  chan struct{}
}

// New makes a server.
func New(o Options) *Server {
	o.setDefaults()
	s := &Server{
		o: o, mux: http.NewServeMux(), slots: make(chan struct{}, o.Concurrency),
		find: &finder{x: o.Index, limit: o.MaxSeries, now: o.Now},
		engine: promql.NewEngine(promql.EngineOpts{
			Logger: o.Log, MaxSamples: o.MaxSamples, Timeout: o.Timeout, LookbackDelta: lookback,
			NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
			EnableAtModifier:         true, EnableNegativeOffset: true,
		}),
	}
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
		s.mux.HandleFunc(Prefix+"/api/v1/"+path, func(w http.ResponseWriter, r *http.Request) { s.call(w, r, h) })
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, &apiError{notFound, "there is no " + r.URL.Path + ": see /prometheus/api/v1/query and its neighbours"})
	})
	return s
}

// handler answers a request with what becomes the answer's data. An error that is
// no *apiError is one of the execution of a query.
type handler func(r *http.Request) (reply, error)

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// call does what comes before and after every handler.
func (s *Server) call(w http.ResponseWriter, r *http.Request, h handler) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		fail(w, &apiError{notAllowed, "the method " + r.Method + " is not allowed"})
		return
	}
	who, err := s.o.Auth.Identify(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(auth.With(r.Context(), who), s.o.Timeout)
	defer cancel()
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	// A form that does not come must end the request, too. Not every writer can do
	// this, and those that can't are not on a network.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.o.Timeout))
	if err := r.ParseForm(); err != nil {
		fail(w, badData("the parameters cannot be read: %v", err))
		return
	}
	answer, err := h(r.WithContext(ctx))
	if err != nil {
		e := describe(err)
		if e.kind == internal {
			s.o.Log.Error("a query failed", "path", r.URL.Path, "error", err)
		}
		fail(w, e)
		return
	}
	answer.send(w)
}

// refuse answers a request that the authenticator did not let in.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	var refusal *auth.Refusal
	if !errors.As(err, &refusal) {
		s.o.Log.Error("cannot find out who makes a request", "error", err)
		fail(w, &apiError{internal, "cannot find out who makes the request"})
		return
	}
	if refusal.Challenge != "" {
		w.Header().Set("WWW-Authenticate", refusal.Challenge)
	}
	failWith(w, refusal.Code, &apiError{unauthorized, refusal.Reason})
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
