package aggregator

import (
	"context"
	"net/http"
	"strings"

	"github.com/nephoscope/nepho/aggregator/api"
	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/promql"
)

// serve begins to serve the HTTP APIs.
func (s *store) serve(ctx context.Context, who auth.Authenticator) error {
	handler, endStreams := s.handler(who)
	server, err := s.Serve(ctx, "the HTTP API", s.Listen, handler, s.log)
	if err != nil {
		return err
	}
	server.OnStop(endStreams)
	s.server, s.address = server, server.Address
	return nil
}

// handler is Gnocchi's API, and Prometheus's below its prefix, and what ends answers
// that would never end.
func (s *store) handler(who auth.Authenticator) (h http.Handler, endStreams func()) {
	gnocchi := api.New(api.Options{
		Index: s.index, Engine: s.engine, Auth: who, Log: s.log, MaxLimit: s.MaxLimit, MaxBody: int64(s.MaxBody),
		OperationTimeout: s.OperationTimeout, ProxyHeaders: s.ProxyHeaders, URLPrefix: s.URLPrefix, CORSOrigins: s.CORSOrigins,
	})
	prometheus := s.newPromQL(who)
	prefix := ""
	if p := strings.Trim(s.URLPrefix, "/"); p != "" {
		prefix = "/" + p
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, ok := strings.CutPrefix(r.URL.Path, prefix); ok && promql.Below(path) {
			prometheus.ServeHTTP(w, r)
			return
		}
		gnocchi.ServeHTTP(w, r)
	}), gnocchi.EndStreams
}

// newPromQL makes a server of Prometheus's API.
func (s *store) newPromQL(who auth.Authenticator) *promql.Server {
	return promql.New(promql.Options{
		Index: s.index, Engine: s.engine, Auth: who, Log: s.log, MaxSeries: s.PromQL.MaxSeries, MaxSamples: s.PromQL.MaxSamples,
		Timeout: s.PromQL.Timeout, Concurrency: s.PromQL.Concurrency, URLPrefix: s.URLPrefix, CORSOrigins: s.CORSOrigins,
	})
}
