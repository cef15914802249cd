package libvirt

import (
	"net"
	"sync"
)

// conn is a connection whose writes wait for one another: packets that come
// while a write is under way, or before flush, leave together. Writing never
// blocks, so that a libvirtd that no longer reads holds nobody up.
type conn struct {
	net.Conn
	wake  chan struct{} // one place: something is to be written
	stop  chan struct{}
	ended chan struct{} // closed when the writer has ended
	once  sync.Once

	mu      sync.Mutex
	pending []byte
}

func newConn(raw net.Conn) *conn {
	c := &conn{Conn: raw, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	go c.run()
	return c
}

// Dial implements socket.Dialer: the connection is there already.
func (c *conn) Dial() (net.Conn, error) { return c, nil }

// Write takes bytes to be written at the next flush.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, p...)
	return len(p), nil
}

func (c *conn) flush() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) run() {
	defer close(c.ended)
	var writing []byte
	for {
		select {
		case <-c.wake:
		case <-c.stop:
			return
		}
		c.mu.Lock()
		writing, c.pending = c.pending, writing[:0]
		c.mu.Unlock()
		if _, err := c.Conn.Write(writing); err != nil {
			// The reading side notices and ends everything.
			c.Conn.Close()
			return
		}
	}
}

// Close ends the connection. It may be called more than once.
func (c *conn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.stop)
		err = c.Conn.Close()
	})
	return err
}
