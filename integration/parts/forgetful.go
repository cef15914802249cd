package parts

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
)

// Forgetful is a way to a database of PostgreSQL on which answers may be lost: those that a
// transaction was made. The connection ends instead, and nobody knows whether it was.
type Forgetful struct {
	// URL is that of the database by this way.
	URL string

	server  string
	percent atomic.Int64
	lost    atomic.Int64
}

// NewForgetful begins to pass on everything between clients and a database.
func NewForgetful(tb TB, database string) *Forgetful {
	tb.Helper()
	u, err := url.Parse(database)
	if err != nil {
		tb.Fatalf("cannot read a URL: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("cannot listen: %v", err)
	}
	f := &Forgetful{server: u.Host}
	u.Host = l.Addr().String()
	f.URL = u.String()
	var work sync.WaitGroup
	work.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { f.pass(client) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close() // nothing comes any more either way
		work.Wait()
	})
	return f
}

// Forget has so many percent of the answers that a transaction was made be lost from now on.
func (f *Forgetful) Forget(percent int) { f.percent.Store(int64(percent)) }

// Lost is how many answers were lost.
func (f *Forgetful) Lost() int { return int(f.lost.Load()) }

// pass passes on until either side is gone, which the other learns by the end of its
// connection.
func (f *Forgetful) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", f.server)
	if err != nil {
		return
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer client.Close()
	defer server.Close()
	work.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	for buffer := make([]byte, 1<<16); ; {
		n, err := server.Read(buffer)
		if bytes.Contains(buffer[:n], []byte("COMMIT\x00")) && rand.Int64N(100) < f.percent.Load() {
			f.lost.Add(1)
			return
		}
		if _, gone := client.Write(buffer[:n]); gone != nil || err != nil {
			return
		}
	}
}
