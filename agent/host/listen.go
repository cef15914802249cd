package host

import (
	"context"
	"sync"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk/wire"
)

// credit is how many deliveries of a source may wait to be settled.
const credit = 256

// listen keeps a notification's or an alarm's stream open.
func (s *source) listen(h *Host) func(ctx, work context.Context) {
	return func(ctx, work context.Context) {
		pause := backoff{min: 100 * time.Millisecond, max: 30 * time.Second}
		for ctx.Err() == nil {
			begun := time.Now()
			err := s.call(ctx, func(_ context.Context, life *supervisor.Life) error {
				return s.stream(ctx, work, life, h)
			})
			if ctx.Err() != nil {
				return
			}
			if time.Since(begun) > time.Minute {
				pause.next = 0
			}
			s.failures.inc()
			if s.trouble.begins(err) {
				s.log.Warn("source does not deliver", "error", err)
			}
			if pause.wait(ctx, 0) != nil {
				return
			}
		}
	}
}

// stream takes what the source delivers until ctx ends, then settles what was
// taken, and closes. All that ends at once with work.
func (s *source) stream(ctx, work context.Context, life *supervisor.Life, h *Host) error {
	open, cancel := context.WithCancel(work)
	defer cancel()
	stream, err := life.Source.Listen(open)
	if err != nil {
		return err
	}
	if err := stream.Send(&wire.ToSource{Instance: s.instance.Name(), Credit: credit, Questions: true}); err != nil {
		return err
	}
	out := newOutbox()
	var beside sync.WaitGroup
	if s.config.Kind == config.Alarm {
		beside.Go(func() { h.takeQuestions(open, life, s.instance.Name()) })
	}
	beside.Go(func() {
		defer cancel() // what cannot be settled need not be received
		if out.drain(open, stream.Send) == nil && stream.CloseSend() == nil {
			awaitEnd(open) // of the source, which has heard all then
		}
	})
	defer beside.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		s.awaitSettled(open)
		out.finish()
	})()
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.Query != nil {
			go h.answer(open, m.Query, func(r *wire.QueryReply) error { return out.answer(open, r) })
			continue
		}
		if ctx.Err() != nil {
			continue // its origin gives it again
		}
		if d, was := s.trouble.ends(); was {
			s.log.Info("source delivers again", "after", d.Round(time.Millisecond))
		}
		tag := m.Tag
		s.unsettled.Add(1)
		f := newFate(func(err error) {
			out.settle(tag, err)
			s.unsettled.Add(-1)
		})
		err = s.route(open, m.Batch, f, true)
		if err != nil && open.Err() == nil {
			s.log.Error("delivery is no batch and is given back", "error", err)
		}
		f.done(err)
	}
}

// awaitSettled waits until it is known what became of all that was taken.
func (s *source) awaitSettled(ctx context.Context) {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for s.unsettled.Load() > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// awaitEnd waits for ctx, for a moment.
func awaitEnd(ctx context.Context) {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// outbox collects what the host has to say to a source, so that many settlements
// travel in one message.
type outbox struct {
	mu          sync.Mutex
	settlements []*wire.Settlement
	finished    bool          // no settlement comes any more
	wake        chan struct{} // holds one token when there are settlements, or finished is set
	answers     chan *wire.QueryReply
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), answers: make(chan *wire.QueryReply)}
}

func (o *outbox) settle(tag uint64, err error) {
	s := &wire.Settlement{Tag: tag}
	if err != nil {
		s.Error = err.Error()
	}
	o.mu.Lock()
	o.settlements = append(o.settlements, s)
	o.mu.Unlock()
	o.nudge()
}

// finish has drain end when all is sent.
func (o *outbox) finish() {
	o.mu.Lock()
	o.finished = true
	o.mu.Unlock()
	o.nudge()
}

func (o *outbox) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) answer(ctx context.Context, r *wire.QueryReply) error {
	select {
	case o.answers <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain sends until all is sent, the stream breaks, or ctx ends.
func (o *outbox) drain(ctx context.Context, send func(*wire.ToSource) error) error {
	for {
		m, finished := new(wire.ToSource), false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m.Answer = <-o.answers:
		case <-o.wake:
			o.mu.Lock()
			m.Settlements, o.settlements = o.settlements, nil
			finished = o.finished
			o.mu.Unlock()
		}
		if m.Answer != nil || len(m.Settlements) > 0 {
			if err := send(m); err != nil {
				return err
			}
		}
		if finished {
			return nil
		}
	}
}
