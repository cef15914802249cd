package aggregator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/api"
	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/promql"
)

// serve begins to serve the HTTP APIs.
func (s *store) serve(ctx context.Context, who auth.Authenticator) error {
	var certificate tls.Certificate
	var err error
	if s.TLS.Cert != "" {
		if certificate, err = tls.LoadX509KeyPair(s.TLS.Cert, s.TLS.Key); err != nil {
			return fmt.Errorf("cannot load the certificate of the HTTP API: %w", err)
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen for the HTTP API: %w", err)
	}
	if s.TLS.Cert != "" {
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}})
	}
	s.address = l.Addr().String()
	handler, endStreams := s.handler(who)
	s.server = &http.Server{
		Handler: handler,
		// Bodies and answers have limits of their own, by operation_timeout.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // clients that go away
	}
	s.server.RegisterOnShutdown(endStreams)
	s.work.Go(func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the HTTP API is no longer served", "error", err)
		}
	})
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
	inside := http.StripPrefix(prefix, prometheus)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, ok := strings.CutPrefix(r.URL.Path, prefix); ok && promql.Below(path) {
			inside.ServeHTTP(w, r)
			return
		}
		gnocchi.ServeHTTP(w, r)
	}), gnocchi.EndStreams
}

// newPromQL makes a server of Prometheus's API.
func (s *store) newPromQL(who auth.Authenticator) *promql.Server {
	return promql.New(promql.Options{
		Index: s.index, Engine: s.engine, Auth: who, Log: s.log, MaxSeries: s.PromQL.MaxSeries, MaxSamples: s.PromQL.MaxSamples,
		Timeout: s.PromQL.Timeout, Concurrency: s.PromQL.Concurrency,
	})
}
