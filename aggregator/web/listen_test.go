package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// reading is a handler that reads its body, and writes down how that ended.
func reading(s *Site, ended *error) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, err := s.Body(w, r)
		*ended = err
		return err
	}
}

// Whatever a request is for: its body has to come in time.
func TestBodiesThatDoNotCome(t *testing.T) {
	for _, c := range []struct {
		request string
		code    int
	}{
		{"POST /nothing", 404}, {"POST /read", 408}, {"PUT /read", 405}, {"OPTIONS /read", 200}, {"POST /unread", 200}, {"POST /private", 401},
	} {
		t.Run(c.request, func(t *testing.T) {
			s := New(fill(Options{Auth: doorman{&Error{401, "who?"}}}))
			var ended error
			s.Handle("POST /read", reading(s, &ended), Public)
			s.Handle("POST /unread", func(http.ResponseWriter, *http.Request) error { return nil }, Public)
			s.Handle("POST /private", func(http.ResponseWriter, *http.Request) error { return nil })
			within(t, s, false, func(t *testing.T, n *network) {
				begin := time.Now()
				conn := n.send(c.request + " HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nbegin")
				r, got := n.receive(conn)
				if took := time.Since(begin); r.StatusCode != c.code || took > s.o.Timeout+grace {
					t.Errorf("%d %s after %v", r.StatusCode, got, took)
				}
				if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("the connection is still there: %v", err)
				}
			})
		})
	}
}

// The context of a request whose body does not come ends by its own time, and not
// because the client were gone.
func TestContextsEndInTime(t *testing.T) {
	s := New(fill(Options{}))
	var why error
	s.Handle("GET /slow", func(_ http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		why = r.Context().Err()
		return &Error{503, "too late"}
	})
	within(t, s, false, func(t *testing.T, n *network) {
		r, _ := n.receive(n.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n"))
		if r.StatusCode != 503 || !errors.Is(why, context.DeadlineExceeded) {
			t.Errorf("%d, %v", r.StatusCode, why)
		}
	})
}

// quiet is a handler that says something, is quiet for long, and ends with "end".
func quiet(first string, ended *error) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return err
		}
		c := http.NewResponseController(w)
		if _, err := io.WriteString(w, first); err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
		select {
		case <-time.After(time.Hour):
		case <-r.Context().Done():
			*ended = r.Context().Err()
			return *ended
		}
		_, err := io.WriteString(w, "end")
		return err
	}
}

// Streams that are quiet for longer than any patience go on, over HTTP/1 and HTTP/2.
func TestQuietStreams(t *testing.T) {
	first := strings.Repeat("x", 100_000)
	for _, secure := range []bool{false, true} {
		s := New(fill(Options{}))
		var ended error
		s.Handle("POST /stream", quiet(first, &ended), Unlimited)
		s.Handle("GET /stream", quiet(first, &ended), Unlimited)
		for _, method := range []string{"GET", "POST"} {
			within(t, s, secure, func(t *testing.T, n *network) {
				url, body := "http://test/stream", io.Reader(nil)
				if secure {
					url = "https://test/stream"
				}
				if method == "POST" {
					body = strings.NewReader("body")
				}
				q, err := http.NewRequestWithContext(t.Context(), method, url, body)
				if err != nil {
					t.Fatal(err)
				}
				c := n.client()
				defer c.CloseIdleConnections()
				r, err := c.Do(q)
				if err != nil {
					t.Fatal(err)
				}
				if got := text(t, r); got != first+"end" || (r.ProtoMajor == 2) != secure || ended != nil {
					t.Errorf("%s over %s: %d bytes, %v", method, r.Proto, len(got), ended)
				}
			})
		}
	}
}

// A client that does not take its answer is given up; one that takes it slowly is not.
func TestClientsThatDoNotRead(t *testing.T) {
	answer := strings.Repeat("x", 1<<20)
	s := New(fill(Options{}))
	var ended chan error // of the bubble
	s.Handle("GET /much", func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.WriteString(w, answer)
		ended <- err
		return nil
	})
	s.Handle("GET /little", func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.WriteString(w, "little")
		ended <- err
		return nil
	})
	within(t, s, false, func(t *testing.T, n *network) {
		ended = make(chan error, 1)
		conn := n.send("GET /much HTTP/1.1\r\nHost: test\r\n\r\n")
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the handler got %v", err)
		}
		synctest.Wait()
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("the connection is still there: %v", err)
		}
	})
	// The server itself writes short answers.
	within(t, s, false, func(t *testing.T, n *network) {
		ended = make(chan error, 1)
		conn := n.send("GET /little HTTP/1.1\r\nHost: test\r\n\r\n")
		if err := <-ended; err != nil {
			t.Errorf("the handler got %v", err)
		}
		time.Sleep(stall)
		synctest.Wait()
		if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
			t.Errorf("the connection is still there: %s, %v", got, err)
		}
	})
	within(t, s, false, func(t *testing.T, n *network) {
		ended = make(chan error, 1)
		conn := n.send("GET /much HTTP/1.1\r\nHost: test\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(slow{conn}), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, r); len(got) != len(answer) {
			t.Errorf("got %d bytes", len(got))
		}
		if err := <-ended; err != nil {
			t.Errorf("the handler got %v", err)
		}
	})
}

// slow is a client that takes some 4 KiB/s.
type slow struct{ net.Conn }

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return s.Conn.Read(p)
}

// Over HTTP/2 a client reads the connection, and may leave one stream of it alone.
func TestStreamsThatAreNotRead(t *testing.T) {
	s := New(fill(Options{}))
	var ended chan error // of the bubble
	s.Handle("GET /much", func(w http.ResponseWriter, _ *http.Request) error {
		_, err := w.Write(make([]byte, 64<<20))
		ended <- err
		return nil
	}, Unlimited)
	s.Handle("GET /flush", func(w http.ResponseWriter, _ *http.Request) error {
		var err error
		for err == nil {
			if _, err = w.Write(make([]byte, 1000)); err == nil {
				err = http.NewResponseController(w).Flush()
			}
		}
		ended <- err
		return nil
	}, Unlimited)
	s.Handle("GET /little", func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.WriteString(w, "little")
		return err
	})
	for _, path := range []string{"/much", "/flush"} {
		within(t, s, true, func(t *testing.T, n *network) {
			ended = make(chan error, 1)
			c := n.client()
			defer c.CloseIdleConnections()
			get := func(path string) *http.Response {
				q, err := http.NewRequestWithContext(t.Context(), "GET", "https://test"+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r, err := c.Do(q)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			r := get(path)
			defer r.Body.Close()
			begin := time.Now()
			if err := <-ended; err == nil || time.Since(begin) > s.o.Timeout {
				t.Errorf("%s: the handler got %v after %v", path, err, time.Since(begin))
			}
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				t.Errorf("%s: the answer looks complete", path)
			}
			if got := text(t, get("/little")); got != "little" {
				t.Errorf("another stream: %s", got)
			}
		})
	}
}

func TestStop(t *testing.T) {
	s := New(fill(Options{}))
	end, begun := make(chan struct{}), make(chan struct{})
	s.Handle("GET /stream", func(w http.ResponseWriter, _ *http.Request) error {
		close(begun)
		<-end
		_, err := io.WriteString(w, "end")
		return err
	}, Unlimited)
	server, err := Listen(t.Context(), "the test", "127.0.0.1:0", "", "", s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server.OnStop(func() { close(end) })
	got := make(chan string)
	go func() {
		defer close(got)
		q, err := http.NewRequest("GET", "http://"+server.Address+"/stream", nil)
		if err != nil {
			t.Error(err)
			return
		}
		q.Close = true
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Error(err)
			return
		}
		got <- text(t, r)
	}()
	<-begun
	if err := server.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if text := <-got; text != "end" {
		t.Errorf("got %q", text)
	}
}

// What takes too long is cut off.
func TestStopDoesNotWaitForEver(t *testing.T) {
	s := New(fill(Options{}))
	begun := make(chan struct{})
	s.Handle("GET /stream", func(_ http.ResponseWriter, r *http.Request) error {
		close(begun)
		<-r.Context().Done()
		return nil
	}, Unlimited)
	server, err := Listen(t.Context(), "the test", "127.0.0.1:0", "", "", s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Stop(ctx); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection ended with %v", err)
	}
}

func TestListenTellsWhatIsWrong(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	gone := filepath.Join(t.TempDir(), "gone.pem")
	if _, err := Listen(t.Context(), "the test", "127.0.0.1:0", gone, gone, nil, log); err == nil || !strings.Contains(err.Error(), "cannot load the certificate of the test") {
		t.Error(err)
	}
	first, err := Listen(t.Context(), "the test", "127.0.0.1:0", "", "", nil, log)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Stop(t.Context())
	if _, err := Listen(t.Context(), "another", first.Address, "", "", nil, log); err == nil || !strings.Contains(err.Error(), "cannot listen for another") {
		t.Error(err)
	}
}

func TestListenAddress(t *testing.T) {
	for _, c := range []struct {
		address           string
		open, unprotected bool
		want              string
	}{
		{"", true, false, ""}, {"127.0.0.1:1", true, false, ""}, {"[::1]:1", true, false, ""}, {"localhost:1", true, false, ""},
		{"0.0.0.0:1", false, false, ""}, {":1", false, false, ""}, {"0.0.0.0:1", true, true, ""},
		{"0.0.0.0:1", true, false, "could do anything"}, {":1", true, false, "could do anything"}, {"host:1", true, false, "could do anything"},
		{"127.0.0.1", false, false, "is not like"}, {"127.0.0.1:", false, false, "is not like"},
	} {
		err := checkListen(c.address, c.open, c.unprotected)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
