package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/nephoscope/nepho/sdk/config"
)

// Server serves an API on an address.
type Server struct {
	// Address is where it listens, also if port 0 was asked for.
	Address string
	server  *http.Server
	done    chan struct{}
}

// stall is how long a client may take nothing of what is sent to it until it is given up.
const stall = 30 * time.Second

// Listen begins to serve a handler; with a certificate, as https, whose files are read again
// when they change. What names the API in errors and in the log. Clients that do not take
// their answers are given up.
func Listen(ctx context.Context, what, address, cert, key string, h http.Handler, log *slog.Logger) (*Server, error) {
	var secure *tls.Config
	if cert != "" {
		c := &certificate{what: what, cert: cert, key: key, log: log}
		if err := c.read(); err != nil {
			return nil, fmt.Errorf("cannot load the certificate of %s: %w", what, err)
		}
		secure = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for %s: %w", what, err)
	}
	return serve(l, secure, what, h, log), nil
}

// serve serves on a listener.
func serve(l net.Listener, secure *tls.Config, what string, h http.Handler, log *slog.Logger) *Server {
	s := &Server{Address: l.Addr().String(), done: make(chan struct{})}
	l = patientListener{l}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s.server = &http.Server{
		Handler: h,
		// Bodies and answers have limits of their own.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that go away
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error(what+" is no longer served", "error", err)
		}
	}()
	return s
}

// OnStop has Stop call f, which ends answers that would never end. It is called before
// Stop is.
func (s *Server) OnStop(f func()) { s.server.RegisterOnShutdown(f) }

// Stop ends the server after what is under way. What is not over when ctx ends is cut off,
// which is no error.
func (s *Server) Stop(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil && ctx.Err() != nil {
		err = s.server.Close()
	}
	<-s.done
	return err
}

// checkListen sees to it that what anybody may do anybody must be on this machine for:
// open says that no identity is asked for, unprotected that the operator wants that. It
// is for the option listen.
func checkListen(address string, open, unprotected bool) error {
	if address == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return config.KeyError("listen", "%q is not like 127.0.0.1:8041 or [::1]:8041", address)
	}
	if ip, err := netip.ParseAddr(host); open && !unprotected && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return config.KeyError("listen", "anybody who reaches %s could do anything: with auth = basic list basic.users, choose keystone or remoteuser, or set unprotected = true if the network is yours alone", address)
	}
	return nil
}
