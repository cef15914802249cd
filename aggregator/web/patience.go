package web

import (
	"errors"
	"net"
	"net/http"
	"os"
	"time"
)

// piece is how many bytes are written under one deadline, so that it ends those who take
// nothing and not those who take long: 2 KiB/s are enough.
const piece = 64 << 10

// patientListener gives connections that are given up when their other side does not take
// what is written. It has to be there, and not in handlers, since the HTTP server itself
// writes the end of each answer.
type patientListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l patientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &patientConn{c}, nil
}

type patientConn struct{ net.Conn }

// Write implements [net.Conn].
func (c *patientConn) Write(p []byte) (int, error) {
	written := 0
	for {
		n := min(len(p)-written, piece)
		if err := c.SetWriteDeadline(time.Now().Add(stall)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written : written+n])
		written += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// HTTP/2 would go on waiting for what the client sends.
			return written, errors.Join(err, c.Close())
		}
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// answer knows whether the answer has begun. A stream of HTTP/2 that the client does not
// take it ends: its connection has no part in that, for the client says for each stream
// how much it takes.
type answer struct {
	http.ResponseWriter
	started  bool
	stream   bool // of HTTP/2
	patience time.Duration
}

// Patient is a writer of an answer to r that ends a stream of HTTP/2 whose client takes
// nothing of it for the given time, for handlers that are not of a [Site]. Call done when
// the answer is there.
func Patient(w http.ResponseWriter, r *http.Request, patience time.Duration) (p http.ResponseWriter, done func()) {
	a := &answer{ResponseWriter: w, stream: r.ProtoMajor == 2, patience: patience}
	return a, a.done
}

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(code int) {
	a.started = true
	a.ResponseWriter.WriteHeader(code)
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	a.started = true
	if !a.stream {
		return a.ResponseWriter.Write(p)
	}
	written := 0
	for {
		n := min(len(p)-written, piece)
		err := a.waiting(func() (err error) {
			n, err = a.ResponseWriter.Write(p[written : written+n])
			return err
		})
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// FlushError is for [http.ResponseController].
func (a *answer) FlushError() error {
	a.started = true
	flush := http.NewResponseController(a.ResponseWriter).Flush
	if !a.stream {
		return flush()
	}
	return a.waiting(flush)
}

// waiting calls what may wait for the client. The deadline is taken back right after it:
// when it passes, HTTP/2 ends the stream whether anything waits or not.
func (a *answer) waiting(f func() error) error {
	a.deadline(time.Now().Add(a.patience))
	defer a.deadline(time.Time{})
	return f()
}

func (a *answer) deadline(t time.Time) {
	// Not every writer can do this, and those that can't are not on a network.
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(t)
}

// done leaves a deadline for the end of the answer, which the server writes.
func (a *answer) done() {
	if a.stream {
		a.deadline(time.Now().Add(a.patience))
	}
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
