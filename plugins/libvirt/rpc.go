package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	lv "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket"
)

// Procedure numbers of libvirt's remote protocol. They never change.
const (
	program = 0x20008086

	procConnectOpen    = 1
	procConnectClose   = 2
	procDomainXML      = 14
	procDomainInfo     = 16
	procBlockStats     = 64
	procInterfaceStats = 65
	procAuthList       = 66
	procAuthPolkit     = 70
	procMemoryStats    = 159
	procBlockInfo      = 194
	procListAllDomains = 273
	procEventRegister  = 316
	procEventLifecycle = 318
	procEventRemoved   = 333
	procAllDomainStats = 344
	procEventAdded     = 354
	procEventMetadata  = 379
)

// Kinds of authentication.
const (
	authNone   = 0
	authPolkit = 2
)

const (
	connectReadOnly = 1 // flag of procConnectOpen
	closeTimeout    = time.Second
)

// errLost is the error of calls that were under way when the connection ended.
var errLost = errors.New("the connection to libvirt was lost")

// client speaks to one libvirtd over one connection. It stands on go-libvirt's
// packet layer, and not on its calls, because those neither end with a context
// nor share a system call with others: of what a poll of many domains costs,
// most is waking up for single packets.
//
// Its methods may be called concurrently.
type client struct {
	conn *conn
	sock *socket.Socket
	// changed is told which domain's definition may have changed.
	changed func(lv.UUID)
	gone    chan struct{} // closed when everything has ended

	mu      sync.Mutex
	serial  int32
	waiting map[int32]waiter
	lost    bool
}

// call is a procedure call. Its answer may be read when the group it was sent
// with is done.
type call struct {
	procedure uint32
	args      []byte

	reply []byte
	err   error
}

// group is a number of calls sent together.
type group struct {
	first int32 // serial number
	calls []*call
	left  int
	done  chan struct{}
	// finished, if not nil, is given the group when it is done. It has room for it.
	finished chan<- *group
}

type waiter struct {
	call  *call
	group *group
}

// dial connects to the socket and opens the driver of the URI.
func dial(ctx context.Context, path, uri string, changed func(lv.UUID)) (*client, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot reach libvirt: %w", err)
	}
	c := &client{changed: changed, gone: make(chan struct{}), waiting: map[int32]waiter{}}
	c.conn = newConn(raw)
	c.sock = socket.New(c.conn, c)
	if err := c.sock.Connect(); err != nil {
		raw.Close()
		return nil, fmt.Errorf("cannot reach libvirt: %w", err)
	}
	go c.watch()
	if err := c.open(ctx, uri); err != nil {
		c.drop()
		return nil, fmt.Errorf("cannot open %q on %s: %w", uri, path, err)
	}
	return c, nil
}

func (c *client) open(ctx context.Context, uri string) error {
	auth := &call{procedure: procAuthList}
	if err := c.do(ctx, auth); err != nil {
		return err
	}
	d := decoder{b: auth.reply}
	var kinds []uint32
	for range d.count(4) {
		kinds = append(kinds, d.uint32())
	}
	switch {
	case len(kinds) == 0 || slices.Contains(kinds, authNone):
	case slices.Contains(kinds, authPolkit):
		if err := c.do(ctx, &call{procedure: procAuthPolkit}); err != nil {
			return fmt.Errorf("%w; allow the agent's user to monitor virtual machines (polkit action org.libvirt.unix.monitor)", err)
		}
	default:
		return fmt.Errorf("libvirt asks for an authentication that is not supported (kinds %v); use its read-only socket", kinds)
	}
	// Nothing here changes anything, so even a socket that allows it is not asked to.
	return c.do(ctx, &call{procedure: procConnectOpen, args: appendUint32(appendPresent(nil, uri), connectReadOnly)})
}

// do makes calls side by side and waits for all answers. It returns the first
// call's error; with several calls look at each one's own. When ctx ends or the
// connection is lost, unanswered calls have that as their error.
func (c *client) do(ctx context.Context, calls ...*call) error {
	g := c.send(nil, calls...)
	c.conn.flush()
	if err := g.wait(ctx); err != nil {
		c.abandon(g, err)
	}
	return calls[0].err
}

// send begins calls, which leave with the next flush.
func (c *client) send(finished chan<- *group, calls ...*call) *group {
	g := &group{calls: calls, left: len(calls), done: make(chan struct{}), finished: finished}
	c.mu.Lock()
	g.first = c.serial
	c.serial += int32(len(calls))
	if c.lost {
		c.mu.Unlock()
		for _, one := range calls {
			one.err = errLost
			g.answered()
		}
		return g
	}
	for i, one := range calls {
		one.reply, one.err = nil, nil
		c.waiting[g.first+int32(i)] = waiter{one, g}
	}
	c.mu.Unlock()
	for i, one := range calls {
		// It fails only when the connection is lost, of which all calls hear anyway.
		c.sock.SendPacket(g.first+int32(i), one.procedure, program, one.args, socket.Call, socket.StatusOK)
	}
	return g
}

// wait waits for all answers, or the end of ctx; the calls are still under way
// then.
func (g *group) wait(ctx context.Context) error {
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// abandon gives up the calls of a group that were not answered.
func (c *client) abandon(g *group, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, one := range g.calls {
		serial := g.first + int32(i)
		if _, ok := c.waiting[serial]; ok {
			delete(c.waiting, serial)
			one.err = why
		}
	}
}

// Route takes what libvirtd sent; the socket calls it from its one goroutine.
func (c *client) Route(h *socket.Header, body []byte) {
	if h.Program != program {
		return
	}
	switch h.Type {
	case socket.Reply:
		c.answer(h.Serial, h.Status, body)
	case socket.Message:
		switch h.Procedure {
		case procEventLifecycle, procEventMetadata, procEventAdded, procEventRemoved:
			d := decoder{b: body}
			d.uint32() // callback id
			var domain lv.Domain
			if d.domain(&domain); !d.bad {
				c.changed(domain.UUID)
			}
		}
	}
}

func (c *client) answer(serial int32, status uint32, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.waiting[serial]
	if !ok {
		return // given up
	}
	delete(c.waiting, serial)
	if status == socket.StatusOK {
		w.call.reply = body
	} else {
		w.call.err = decodeError(body)
	}
	w.group.answered()
}

func (g *group) answered() {
	if g.left--; g.left == 0 {
		close(g.done)
		if g.finished != nil {
			g.finished <- g
		}
	}
}

// watch ends what waits when the connection ends.
func (c *client) watch() {
	<-c.sock.Disconnected()
	c.conn.Close()
	<-c.conn.ended
	c.mu.Lock()
	c.lost = true
	for serial, w := range c.waiting {
		delete(c.waiting, serial)
		w.call.err = errLost
		w.group.answered()
	}
	c.mu.Unlock()
	close(c.gone)
}

// alive tells whether the connection stands, as far as is known.
func (c *client) alive() bool {
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

// drop ends the connection without asking libvirtd.
func (c *client) drop() {
	c.conn.Close()
	<-c.gone
}

// close takes leave of libvirtd, which otherwise logs an error, and ends the
// connection.
func (c *client) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	c.do(ctx, &call{procedure: procConnectClose})
	c.drop()
}
