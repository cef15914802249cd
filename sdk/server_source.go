package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/nephoscope/nepho/sdk/wire"
)

// relistenPause is how long a source that returned early rests.
const relistenPause = time.Second

// relistened is how long a source must listen to be taken for one that does so again.
const relistened = 10 * relistenPause

// Listen implements the service Source.
func (s *server) Listen(stream grpc.BidiStreamingServer[wire.ToSource, wire.FromSource]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	in := s.find(first.Instance)
	if in == nil {
		return notRunning(first.Instance)
	}
	leave, err := in.stream.await()
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	l := &listening{
		in: in, ctx: ctx, stream: stream, credit: make(chan struct{}, max(1, int(first.Credit))),
		open: map[uint64]func(error){}, questions: map[uint64]*inbox[*wire.QueryReply]{}, asks: first.Questions,
	}
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		cancel(l.receive())
		// What the host has not settled it will never settle on this stream.
		l.settleAll(fmt.Errorf("the connection to the host ended: %w", context.Cause(ctx)))
	}()
	l.keep(func() error { return s.safely(in, l.serve) })
	<-settled
	return nil
}

// listening is one open Listen stream.
type listening struct {
	in     *instance
	ctx    context.Context
	stream grpc.BidiStreamingServer[wire.ToSource, wire.FromSource]
	credit chan struct{} // holds one token per unsettled delivery
	tags   atomic.Uint64

	asks bool // the host takes questions by another stream

	sending sync.Mutex

	mu        sync.Mutex
	open      map[uint64]func(error)
	questions map[uint64]*inbox[*wire.QueryReply]
	closed    error
}

// keep serves until the stream ends. The log is told when that begins to fail and
// when it goes well again; each failure in between only at level debug.
func (l *listening) keep(serve func() error) {
	log := l.in.env.Log
	failing := false
	for {
		var well *time.Timer
		if failing {
			well = time.AfterFunc(relistened, func() { log.Info("listening goes on again") })
		}
		err := serve()
		if well != nil {
			failing = well.Stop()
		}
		if l.ctx.Err() != nil {
			return
		}
		level := slog.LevelError
		if failing {
			level = slog.LevelDebug
		}
		failing = true
		log.Log(l.ctx, level, "listening ended and begins again", "error", err)
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(relistenPause):
		}
	}
}

func (l *listening) serve() error {
	if n, ok := l.in.impl.(Notification); ok {
		return n.Listen(l.ctx, l.Deliver)
	}
	return l.in.impl.(Alarm).Watch(l.ctx, l)
}

// receive takes settlements and answers until the stream ends.
func (l *listening) receive() error {
	for {
		m, err := l.stream.Recv()
		if err != nil {
			return err
		}
		for _, settlement := range m.Settlements {
			var err error
			if settlement.Error != "" {
				err = errors.New(settlement.Error)
			}
			l.settle(settlement.Tag, err)
		}
		if m.Answer != nil {
			l.mu.Lock()
			q := l.questions[m.Answer.Id]
			l.mu.Unlock()
			if q != nil {
				q.add(m.Answer)
			}
		}
	}
}

func (l *listening) settle(tag uint64, err error) {
	l.mu.Lock()
	settled := l.open[tag]
	delete(l.open, tag)
	l.mu.Unlock()
	if settled != nil {
		<-l.credit
		settled(err)
	}
}

func (l *listening) settleAll(err error) {
	l.mu.Lock()
	open := l.open
	l.open, l.closed = nil, err
	l.mu.Unlock()
	for _, settled := range open {
		settled(err)
	}
}

// Deliver implements [Deliver] and [Host].
func (l *listening) Deliver(ctx context.Context, fill func(*Builder) error, settled func(error)) error {
	// One message may make several batches; it is settled with the last of them.
	parts := &parts{settled: settled, waiting: 1}
	b := newBuilder(l.in.output(func(data []byte) error { return l.send(ctx, data, parts.add()) }))
	err := fill(b)
	b.Flush()
	if err == nil && b.drops == 0 {
		err = b.Err()
	} else if err == nil {
		l.in.env.Log.Warn("some of a delivery are no samples and were left out", "error", b.Err())
	}
	if err != nil {
		parts.forget()
		return err
	}
	// The host may have settled all batches by now; the author expects to hear of
	// it from another goroutine.
	if settled, err := parts.end(nil); settled != nil {
		go settled(err)
	}
	return nil
}

func (l *listening) send(ctx context.Context, data []byte, settled func(error)) error {
	select {
	case l.credit <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
	tag := l.tags.Add(1)
	l.mu.Lock()
	if l.closed != nil {
		l.mu.Unlock()
		return l.closed
	}
	l.open[tag] = settled
	l.mu.Unlock()
	return l.write(&wire.FromSource{Tag: tag, Batch: data})
}

func (l *listening) write(m *wire.FromSource) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	return l.stream.Send(m)
}

// parts joins the settlements of the batches of one delivery.
type parts struct {
	mu      sync.Mutex
	settled func(error)
	waiting int
	err     error
}

func (p *parts) add() func(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	return p.done
}

func (p *parts) done(err error) {
	if settled, err := p.end(err); settled != nil {
		settled(err)
	}
}

// end settles a part. With the last it gives what there is to call, and with what.
func (p *parts) end(err error) (settled func(error), all error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting--
	p.err = errors.Join(p.err, err)
	if p.waiting > 0 {
		return nil, nil
	}
	return p.settled, p.err
}

func (p *parts) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = nil
}
