package libvirt

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	lv "github.com/digitalocean/go-libvirt"
	"go.uber.org/goleak"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
)

func dialTest(t *testing.T, h *parts.Hypervisor) *client {
	t.Helper()
	c, err := dial(t.Context(), h.Socket, h.URI, func(lv.UUID) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.drop)
	return c
}

func listCall() *call {
	return &call{procedure: procListAllDomains, args: appendUint32(appendUint32(nil, 1), 0)}
}

func TestClientCallsAndErrors(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTest(t, 3)
	c := dialTest(t, h)
	unknown := appendUint32(appendDomain(nil, &lv.Domain{Name: "nobody"}), 0)
	calls := []*call{listCall(), {procedure: procDomainXML, args: unknown}, {procedure: 99999}, listCall()}
	c.do(t.Context(), calls...)
	for _, i := range []int{0, 3} {
		if domains, err := decodeDomains(calls[i].reply, time.Now(), nil); err != nil || len(domains) != 3 {
			t.Errorf("call %d: got domains %v and error %v", i, domains, err)
		}
	}
	if err := calls[1].err; code(err) != lv.ErrNoDomain {
		t.Errorf("the definition of no domain gives %v", err)
	}
	if err := calls[2].err; err == nil || !strings.Contains(err.Error(), "unknown procedure") {
		t.Errorf("an unknown procedure gives %v", err)
	}
	if err := c.open(t.Context(), h.URI); err == nil {
		t.Error("a connection can be opened twice")
	}
	if _, err := dial(t.Context(), h.Socket, "test:///no/such/file", nil); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("a URI that does not exist gives %v", err)
	}
	if _, err := dial(t.Context(), h.Socket+"x", h.URI, nil); err == nil {
		t.Error("a socket that does not exist can be connected to")
	}
}

func TestClientConcurrently(t *testing.T) {
	t.Parallel()
	c := dialTest(t, parts.LibvirtTest(t, 3))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 20 {
				l := listCall()
				if err := c.do(t.Context(), l, listCall()); err != nil {
					t.Error(err)
				} else if domains, err := decodeDomains(l.reply, time.Now(), nil); err != nil || len(domains) != 3 {
					t.Errorf("got %v and error %v", domains, err)
				}
			}
		})
	}
	all.Wait()
}

// TestClientEnds is not parallel, so that all goroutines are its own.
func TestClientEnds(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	h := parts.LibvirtTest(t, 3)
	f := func(name string, end func(c *client, pending *group), want error) {
		t.Helper()
		c, err := dial(t.Context(), h.Socket, h.URI, func(lv.UUID) {})
		if err != nil {
			t.Fatal(err)
		}
		h.Pause()
		pending := listCall()
		g := c.send(nil, pending)
		c.conn.flush()
		end(c, g)
		select {
		case <-g.done:
		case <-time.After(time.Minute):
			t.Fatalf("%s: a call does not end", name)
		}
		<-c.gone
		if !errors.Is(pending.err, want) || c.alive() {
			t.Errorf("%s: the call ended with %v, the client is alive: %v", name, pending.err, c.alive())
		}
		if err := c.do(t.Context(), listCall()); !errors.Is(err, errLost) {
			t.Errorf("%s: a call afterwards gives %v", name, err)
		}
	}
	f("libvirtd is killed", func(*client, *group) { h.Kill9() }, errLost)
	h.Start()
	f("the connection is dropped", func(c *client, _ *group) { c.drop() }, errLost)
	h.Resume()
	f("nothing", func(c *client, pending *group) {
		h.Resume()
		// libvirtd answers calls in any order: had it been told to close, it might do
		// that first.
		if err := pending.wait(t.Context()); err != nil {
			t.Error(err)
		}
		c.close(t.Context())
	}, nil)

	c := dialTest(t, h)
	h.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.do(ctx, listCall()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call without answer gives %v", err)
	}
	if _, err := dial(ctx, h.Socket, h.URI, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("connecting without answer gives %v", err)
	}
	begun := time.Now()
	c.close(t.Context())
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("taking leave of a hanging libvirtd took %v", took)
	}
	h.Stop()
	parts.NoGoroutinesLeft(t, ignore)
}

// TestLossIsNoticedLate polls when libvirtd has been restarted and the client does
// not know that its connection has ended.
func TestLossIsNoticedLate(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTest(t, 3)
	p := &pollster{settings: settings{URI: h.URI, Socket: h.Socket, Metadata: "none"}}
	if err := p.Start(t.Context(), sdk.Env{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	defer p.Stop(context.Background())
	p.chosen = choose(func(meter string) bool { return meter == "power.state" }, false, false)
	poll := func() error {
		_, err := sdk.Build("libvirt", func(out *sdk.Builder) error { return p.Poll(t.Context(), out) })
		return err
	}
	if err := poll(); err != nil {
		t.Fatal(err)
	}
	c := p.client
	c.mu.Lock()
	h.Restart()
	polled := make(chan error)
	go func() { polled <- poll() }()
	time.Sleep(50 * time.Millisecond) // until it waits to send; later it would know
	c.mu.Unlock()
	if err := <-polled; err != nil {
		t.Errorf("got error %v", err)
	}
	if p.client == c || p.client == nil {
		t.Error("it did not connect again")
	}
}

// TestDomainsThatHang asks domains one by one, of which none answers in time.
func TestDomainsThatHang(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTest(t, 10)
	p := &pollster{settings: settings{URI: h.URI, Socket: h.Socket, Metadata: "none"}}
	env := sdk.Env{Log: slog.New(slog.DiscardHandler), Concurrency: 3, ResourceTimeout: time.Minute}
	if err := errors.Join(p.Start(t.Context(), env), p.connect(t.Context()), p.list(t.Context())); err != nil {
		t.Fatal(err)
	}
	defer p.Stop(context.Background())
	p.recognize()
	var domains []*domain
	for i := range p.domains {
		domains = append(domains, &p.domains[i])
	}
	ask := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return p.ask(ctx, domains)
	}
	if err := ask(time.Minute); err != nil {
		t.Fatal(err)
	}
	h.Pause()
	p.timeout = 100 * time.Millisecond
	err := ask(time.Minute)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "10 domains") {
		t.Errorf("domains that hang give %v", err)
	}
	p.timeout = 0
	if err := ask(100 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("domains that hang for all of the poll give %v", err)
	}
	h.Resume()
	p.timeout = time.Minute
	if err := ask(time.Minute); err != nil {
		t.Errorf("domains that hang no longer give %v", err)
	}
	h.Kill9()
	if err := ask(time.Minute); !errors.Is(err, errLost) {
		t.Errorf("domains of a libvirtd that is gone give %v", err)
	}
}
