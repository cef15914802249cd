package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk/wire"
)

// poisonous is how often a batch may end the process that is to take it before
// it is put aside as a dead letter.
const poisonous = 5

// pipeline takes parcels from sources, filters them, leads them through its
// transformers in order, and appends what comes out to the spool of each of its
// sinks. One goroutine does all that, so order is kept.
type pipeline struct {
	config *config.Pipeline
	queue  *queue
	filter *filter
	chain  []*stage
	sinks  []*sink
	dead   *deadLetters
	log    *slog.Logger
	trial  func(*config.Pipeline, []byte) // instead of sinks

	stalled atomic.Bool // a transformer does not answer
	cancel  context.CancelFunc
	done    chan struct{}

	in       counter // rows offered by sources
	filtered counter // rows that the globs leave out
	dropped  counter // rows that found no room while a transformer did not answer
	refused  counter // rows that a transformer will never take
	out      counter // rows appended to spools, each once however many there are
}

// stage is a transformer in its place in a pipeline.
type stage struct {
	caller
	trouble trouble
	in, out counter
	crashes int // of the process on the present batch
	flushed time.Time
}

func (p *pipeline) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go p.run(ctx)
}

// offer hands the pipeline a parcel. It waits for room until ctx ends, which
// holds the source back; but polled samples are not waited for when a transformer
// does not answer: then the oldest of them go.
func (p *pipeline) offer(ctx context.Context, item parcel) error {
	item.fate.add(1)
	for !item.held && p.stalled.Load() {
		dropped, room := p.queue.makeRoom(len(item.data))
		for _, d := range dropped {
			p.drop(d)
			p.queue.settled(d.rows())
		}
		if room {
			break
		}
		p.in.Add(item.rows())
		p.drop(item)
		return nil
	}
	err := p.queue.put(ctx, item)
	switch {
	case err == nil:
		p.in.Add(item.rows())
	case errors.Is(err, errQueueClosed) || item.held:
		item.fate.done(nil) // the caller tries another way, or fails the whole
	default:
		p.in.Add(item.rows())
		p.drop(item)
		return nil
	}
	return err
}

func (p *pipeline) drop(item parcel) {
	p.dropped.Add(item.rows())
	item.fate.done(errors.New("dropped"))
}

func (p *pipeline) run(ctx context.Context) {
	defer close(p.done)
	flush := time.NewTicker(time.Second)
	defer flush.Stop()
	parcels := make(chan parcel)
	go func() {
		defer close(parcels)
		for {
			item, ok := p.queue.get(ctx)
			if !ok {
				return
			}
			select {
			case parcels <- item:
			case <-ctx.Done():
				p.abandon(item)
				p.queue.settled(item.rows())
				return
			}
		}
	}()
	for {
		select {
		case item, ok := <-parcels:
			if !ok {
				return
			}
			p.carry(ctx, item)
			p.queue.settled(item.rows())
		case now := <-flush.C:
			p.flush(ctx, now)
		}
	}
}

// carry takes one parcel from the queue to the spools.
func (p *pipeline) carry(ctx context.Context, item parcel) {
	passed, err := p.filter.pass(item)
	if err != nil {
		p.bury(item, fmt.Sprintf("cannot be filtered: %v", err))
		return
	}
	p.filtered.Add(item.rows() - passed.rows())
	if passed.rows() == 0 {
		item.fate.done(nil)
		return
	}
	if err := p.transform(ctx, 0, passed); err != nil {
		p.abandon(item)
		return
	}
	item.fate.done(nil)
}

// transform leads a parcel through the stages from the given one on, and spools
// what comes out. An error is that of ctx: nothing more was done.
func (p *pipeline) transform(ctx context.Context, from int, item parcel) error {
	for n := from; n < len(p.chain); n++ {
		batches, refusal, err := p.call(ctx, p.chain[n], item.data)
		if err != nil {
			return err
		}
		p.chain[n].in.Add(item.rows())
		if refusal != "" {
			item.fate.add(1)
			p.bury(item, refusal)
			return nil
		}
		results, err := unpack(batches, item)
		if err != nil {
			item.fate.add(1)
			p.bury(item, fmt.Sprintf("transformer %q answered with what is no batch: %v", p.chain[n].instance.Name(), err))
			return nil
		}
		for _, r := range results {
			p.chain[n].out.Add(r.rows())
		}
		if len(results) != 1 {
			for _, r := range results {
				if err := p.transform(ctx, n+1, r); err != nil {
					return err
				}
			}
			return nil
		}
		item = results[0]
	}
	return p.spool(ctx, item)
}

// unpack makes parcels of a transformer's answer.
func unpack(batches [][]byte, of parcel) ([]parcel, error) {
	var out []parcel
	for _, data := range batches {
		h, err := peek(data)
		if err != nil {
			return nil, err
		}
		if h.samples+h.events > 0 {
			out = append(out, parcel{data: data, samples: h.samples, events: h.events, fate: of.fate, held: of.held})
		}
	}
	return out, nil
}

// call gives a stage its batch until the answer got through. refusal is set when
// the batch can never be transformed.
func (p *pipeline) call(ctx context.Context, s *stage, data []byte) (batches [][]byte, refusal string, err error) {
	pause := backoff{min: 10 * time.Millisecond, max: 5 * time.Second}
	slow := time.AfterFunc(time.Second, func() { p.stalled.Store(true) })
	defer slow.Stop()
	s.crashes = 0
	for {
		err := s.call(ctx, func(ctx context.Context, life *supervisor.Life) error {
			reply, err := life.Transformer.Transform(ctx, &wire.TransformRequest{Instance: s.instance.Name(), Batch: data})
			if err == nil {
				batches, refusal = reply.Batches, reply.Error
			}
			return err
		})
		if err == nil {
			p.stalled.Store(false)
			if d, was := s.trouble.ends(); was {
				p.log.Info("transformer answers again", "transformer", s.instance.Name(), "after", d.Round(time.Millisecond))
			}
			return batches, refusal, nil
		}
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		p.stalled.Store(true)
		if s.trouble.begins(err) {
			p.log.Warn("transformer does not answer; its samples wait", "transformer", s.instance.Name(), "error", err)
		}
		if errors.Is(err, errCrashed) {
			if s.crashes++; s.crashes >= poisonous {
				return nil, fmt.Sprintf("transformer %q ended %d times on this batch", s.instance.Name(), s.crashes), nil
			}
		}
		if err := pause.wait(ctx, 0); err != nil {
			return nil, "", err
		}
	}
}

// flush has transformers emit what is due by time.
func (p *pipeline) flush(ctx context.Context, now time.Time) {
	for n, s := range p.chain {
		every := s.instance.FlushInterval()
		if every == 0 || now.Sub(s.flushed) < every {
			continue
		}
		s.flushed = now
		batches, refusal, err := p.call(ctx, s, nil)
		if err != nil {
			return
		}
		if refusal != "" {
			p.log.Error("transformer cannot flush", "transformer", s.instance.Name(), "error", refusal)
		}
		results, err := unpack(batches, parcel{fate: newFate(func(error) {})})
		if err != nil {
			p.log.Error("transformer answered with what is no batch", "transformer", s.instance.Name(), "error", err)
			continue
		}
		for _, r := range results {
			s.out.Add(r.rows())
			if err := p.transform(ctx, n+1, r); err != nil {
				return
			}
		}
	}
}

// spool appends a parcel to every sink. It blocks only for a held parcel and a
// full spool; the parcel's fate learns when it is on disk.
func (p *pipeline) spool(ctx context.Context, item parcel) error {
	p.out.Add(item.rows())
	if p.trial != nil {
		p.trial(p.config, item.data)
	}
	for _, s := range p.sinks {
		if err := s.append(ctx, item); err != nil {
			return err
		}
	}
	return nil
}

// bury puts a parcel aside as dead letters.
func (p *pipeline) bury(item parcel, reason string) {
	p.log.Error("batch is put aside as dead letters", "rows", item.rows(), "reason", reason, "file", p.dead.path)
	p.refused.Add(item.rows())
	_, err := p.dead.keep(p.config.Name, reason, item.data, nil, item.rows())
	if err != nil {
		p.log.Error("dead letters are lost", "rows", item.rows(), "error", err)
	}
	item.fate.done(err)
}

// abandon gives up a parcel because the pipeline ends.
func (p *pipeline) abandon(item parcel) {
	if !item.held {
		p.dropped.Add(item.rows())
	}
	item.fate.done(errQueueClosed)
}

// stop lets nothing more in and carries what is there, until ctx ends. What is
// left then is dropped; held parcels are given back to their source.
func (p *pipeline) stop(ctx context.Context) {
	p.queue.close()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.cancel()
		<-p.done
	}
	p.cancel()
	left, _ := p.queue.makeRoom(int(p.queue.limit) + 1)
	for {
		item, ok := p.queue.get(context.Background())
		if !ok {
			break
		}
		left = append(left, item)
	}
	rows := uint64(0)
	for _, item := range left {
		rows += item.rows()
		p.abandon(item)
		p.queue.settled(item.rows())
	}
	if rows > 0 {
		p.log.Warn("samples were not transformed in time; polled ones are dropped", "rows", rows)
	}
	if err := p.dead.close(); err != nil {
		p.log.Error("cannot close dead letters", "error", err)
	}
}
