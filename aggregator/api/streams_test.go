package api

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wires is a network in memory, so that a slow machine is no slow client: see [synctest].
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

func (w *wires) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (w *wires) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case w.ends <- there:
		return here, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// overTLS is a server of HTTP/2 on wires.
func overTLS(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	w := &wires{ends: make(chan net.Conn), closed: make(chan struct{})}
	server := httptest.NewUnstartedServer(h)
	if err := server.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	server.Listener = w
	server.EnableHTTP2 = true
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	server.Client().Transport.(*http.Transport).DialContext = w.dial
	t.Cleanup(server.Close)
	return server
}

// A client of HTTP/2 that does not read its answer ends the request. (Those of HTTP/1
// [web.Listen] gives up.)
func TestStreamsThatAreNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bare(Options{})
		ended := make(chan error, 1)
		s.handle("GET /test/large", func(w http.ResponseWriter, r *http.Request) error {
			block := make([]byte, 1<<20)
			for {
				if _, err := w.Write(block); err != nil {
					ended <- err
					return err
				}
			}
		}, noLimit)
		server := overTLS(t, s)
		resp, err := server.Client().Get(server.URL + "/test/large")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		begun := time.Now()
		if err := <-ended; err == nil || resp.ProtoMajor != 2 {
			t.Errorf("the writer over %s ended with %v", resp.Proto, err)
		}
		if took := time.Since(begun); took > s.o.OperationTimeout {
			t.Errorf("it ended after %v", took)
		}
	})
}

// A stream on which nothing happens for longer than a request may take goes on.
func TestQuietStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bare(Options{})
		first := strings.Repeat("x", 100_000)
		s.handle("GET /test/quiet", func(w http.ResponseWriter, r *http.Request) error {
			io.WriteString(w, first)
			if err := http.NewResponseController(w).Flush(); err != nil {
				return err
			}
			select {
			case <-r.Context().Done():
				return r.Context().Err()
			case <-time.After(time.Hour):
			}
			_, err := io.WriteString(w, "end")
			return err
		}, noLimit)
		server := overTLS(t, s)
		resp, err := server.Client().Get(server.URL + "/test/quiet")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != first+"end" {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
