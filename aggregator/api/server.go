// Package api is the aggregator's HTTP API: Gnocchi's version 1, and what goes
// beyond it.
package api

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
)

// Options of [New].
type Options struct {
	Index            *index.Index
	Engine           *engine.Engine
	Log              *slog.Logger
	MaxLimit         int           // most items of a list's page
	MaxBody          int64         // bytes
	OperationTimeout time.Duration // most time of a request
	ProxyHeaders     bool          // believe Forwarded and X-Forwarded-*
	URLPrefix        string
	CORSOrigins      []string
	Now              func() time.Time
}

// Server answers requests.
type Server struct {
	o   Options
	mux *http.ServeMux
}

// New makes a server. It is an [http.Handler] without authentication: wrap it in
// that of package auth.
func New(o Options) *Server {
	s := &Server{o: o, mux: http.NewServeMux()}
	s.routes()
	return s
}

// A handler answers one kind of request. An error that is an [*Error] is the
// answer; any other is logged, and answered with 500.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle adds a handler for a pattern of [http.ServeMux], such as
// "GET /v1/metric/{id}".
func (s *Server) handle(pattern string, h handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// routes has one line per file of handlers.
func (s *Server) routes() {
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }
