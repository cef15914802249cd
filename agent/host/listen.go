package host

import (
	"context"
	"sync"
	"time"

	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk/wire"
)

// credit is how many deliveries of a source may wait to be settled.
const credit = 256

// listen keeps a notification's or an alarm's stream open.
func (s *source) listen(query func(context.Context, *wire.QueryRequest, func(*wire.QueryReply) error)) func(ctx, work context.Context) {
	return func(ctx, _ context.Context) {
		pause := backoff{min: 100 * time.Millisecond, max: 30 * time.Second}
		for ctx.Err() == nil {
			begun := time.Now()
			err := s.call(ctx, func(ctx context.Context, life *supervisor.Life) error {
				return s.stream(ctx, life, query)
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

func (s *source) stream(ctx context.Context, life *supervisor.Life, query func(context.Context, *wire.QueryRequest, func(*wire.QueryReply) error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := life.Source.Listen(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&wire.ToSource{Instance: s.instance.Name(), Credit: credit}); err != nil {
		return err
	}
	out := newOutbox()
	var writer sync.WaitGroup
	writer.Go(func() {
		defer cancel() // what cannot be settled need not be received
		out.drain(ctx, stream.Send)
	})
	defer writer.Wait()
	defer cancel()
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.Query != nil {
			go query(ctx, m.Query, func(r *wire.QueryReply) error { return out.answer(ctx, r) })
			continue
		}
		if d, was := s.trouble.ends(); was {
			s.log.Info("source delivers again", "after", d.Round(time.Millisecond))
		}
		tag := m.Tag
		s.unsettled.Add(1)
		f := newFate(func(err error) {
			s.unsettled.Add(-1)
			out.settle(tag, err)
		})
		err = s.route(ctx, m.Batch, f, true)
		if err != nil && ctx.Err() == nil {
			s.log.Error("delivery is no batch and is given back", "error", err)
		}
		f.done(err)
	}
}

// outbox collects what the host has to say to a source, so that many settlements
// travel in one message.
type outbox struct {
	mu          sync.Mutex
	settlements []*wire.Settlement
	wake        chan struct{} // holds one token when there are settlements
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

func (o *outbox) drain(ctx context.Context, send func(*wire.ToSource) error) {
	for {
		m := new(wire.ToSource)
		select {
		case <-ctx.Done():
			return
		case m.Answer = <-o.answers:
		case <-o.wake:
			o.mu.Lock()
			m.Settlements, o.settlements = o.settlements, nil
			o.mu.Unlock()
		}
		if send(m) != nil {
			return
		}
	}
}
