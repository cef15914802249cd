package web

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
)

// fail answers with the text of an error.
func fail(w http.ResponseWriter, _ *http.Request, err error) {
	var e *Error
	var refusal *auth.Refusal
	switch {
	case errors.As(err, &e):
		http.Error(w, e.Text, e.Status)
	case errors.As(err, &refusal):
		refusal.Headers(w.Header())
		http.Error(w, refusal.Reason, refusal.Code)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// fill gives options that a test leaves out.
func fill(o Options) Options {
	if o.Auth == nil {
		o.Auth = auth.None{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxBody == 0 {
		o.MaxBody = 1000
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	o.Fail = fail
	return o
}

// ask has a handler answer a request with headers in pairs.
func ask(t *testing.T, h http.Handler, method, target, body string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// text is the body of an answer.
func text(t *testing.T, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(b))
}

// wires is a network in memory, so that tests of time need none: see [synctest].
type wires struct {
	ends   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (w *wires) Accept() (net.Conn, error) {
	select {
	case c := <-w.ends:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wires) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wires) Addr() net.Addr { return &net.TCPAddr{} }

func (w *wires) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case w.ends <- there:
		return here, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// net is a server on wires.
type network struct {
	*wires
	t      *testing.T
	server *Server
}

// within runs f with a site that is served, in a bubble of its own time.
func within(t *testing.T, s *Site, secure bool, f func(t *testing.T, n *network)) {
	t.Helper()
	var config *tls.Config
	if secure {
		config = certified(t)
	}
	synctest.Test(t, func(t *testing.T) {
		n := &network{t: t, wires: &wires{ends: make(chan net.Conn), closed: make(chan struct{})}}
		n.server = serve(n.wires, config, "the test", s, slog.New(slog.DiscardHandler))
		f(t, n)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// certified is for https with a certificate of its own.
func certified(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"test"}, NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2", "http/1.1"}}
}

// send opens a connection and sends what is given.
func (n *network) send(request string) net.Conn {
	n.t.Helper()
	c, err := n.dial(n.t.Context(), "", "")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		n.t.Fatal(err)
	}
	return c
}

// receive reads an answer.
func (n *network) receive(c net.Conn) (*http.Response, string) {
	n.t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return r, text(n.t, r)
}

// client is one that speaks HTTP/2.
func (n *network) client() *http.Client {
	transport := &http.Transport{DialContext: n.dial, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	n.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
