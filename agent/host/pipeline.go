package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nephoscope/nepho/agent/config"
)

// pipeline takes parcels from sources, filters them, leads them through its
// transformers in order, and appends what comes out to the spool of each of its
// sinks.
//
// Polled and held parcels have a lane each: a held one waits where a spool is
// full, and polled ones must not wait behind it. In a lane one goroutine does all,
// so order is kept.
type pipeline struct {
	config       *config.Pipeline
	polled, held *lane
	chain        []*stage
	turn         chan struct{} // who has put something in may call the transformers
	sinks        []*sink
	buries       moderate
	dead         *deadLetters
	log          *slog.Logger
	trial        func(*config.Pipeline, []byte) // instead of sinks

	stalled atomic.Bool // a transformer does not answer
	cancel  context.CancelFunc
	done    chan struct{}

	// Every row that is offered waits, and then counts as one of the four that
	// follow.
	in          counter // rows offered by sources
	filtered    counter // rows that the globs leave out
	dropped     counter // rows that found no room while a transformer did not answer
	refused     counter // rows that the first transformer will never take
	transformed counter // rows that it took; without transformers all that pass

	out counter // rows appended to spools, each once however many there are
}

// lane is a way through a pipeline.
type lane struct {
	queue  *queue
	filter *filter
}

// start begins to work. What makes up the pipeline is set.
func (p *pipeline) start(queueLimit int64) {
	newLane := func() *lane {
		return &lane{queue: newQueue(queueLimit), filter: newFilter(p.config.MeterGlobs, p.config.EventGlobs)}
	}
	p.polled, p.held = newLane(), newLane()
	p.turn, p.done = make(chan struct{}, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go p.run(ctx)
}

func (p *pipeline) run(ctx context.Context) {
	defer close(p.done)
	over := make(chan struct{})
	var lanes, flusher sync.WaitGroup
	lanes.Go(func() { p.work(ctx, p.polled) })
	lanes.Go(func() { p.work(ctx, p.held) })
	if len(p.chain) > 0 {
		flusher.Go(func() { p.flushInTime(ctx, over) })
	}
	lanes.Wait()
	close(over)
	flusher.Wait()
}

func (p *pipeline) work(ctx context.Context, l *lane) {
	for {
		item, ok := l.queue.get(ctx)
		if !ok {
			return
		}
		passed, became := p.carry(ctx, l, item)
		p.filtered.Add(item.rows() - passed)
		became.Add(passed)
		l.queue.settled(item.rows())
	}
}

// offer hands the pipeline a parcel. It waits for room until ctx ends, which holds
// the source back. What is polled is taken even then, and at once when a
// transformer does not answer: the oldest go for it. A held parcel that is not
// taken, and any when the pipeline is closed, is the caller's still.
func (p *pipeline) offer(ctx context.Context, item parcel) error {
	item.fate.add(1)
	var err error
	if item.held {
		err = p.held.queue.put(ctx, item, nil)
	} else if err = p.polled.queue.put(ctx, item, p.stalled.Load); err != nil {
		var dropped []parcel
		dropped, err = p.polled.queue.push(item)
		for _, d := range dropped {
			p.drop(p.polled, d)
		}
	}
	if err != nil {
		item.fate.done(nil)
		return err
	}
	p.in.Add(item.rows())
	return nil
}

// drop gives up a polled parcel that was in the queue.
func (p *pipeline) drop(l *lane, item parcel) {
	p.dropped.Add(item.rows())
	l.queue.settled(item.rows())
	item.fate.done(errDropped)
}

var errDropped = errors.New("dropped")

// stall notes that a transformer does not answer, so that offers under way no
// longer wait for it.
func (p *pipeline) stall() {
	if !p.stalled.Swap(true) {
		p.polled.queue.nudge()
	}
}

// carry takes one parcel from the queue to the spools. It tells how many of its
// rows passed the filter, and what these are to be counted as.
func (p *pipeline) carry(ctx context.Context, l *lane, item parcel) (passed uint64, as *counter) {
	chosen, err := l.filter.pass(item)
	if err != nil {
		item.fate.done(p.bury(item, fmt.Sprintf("cannot be filtered: %v", err)))
		return item.rows(), &p.refused
	}
	if chosen.rows() == 0 {
		item.fate.done(nil)
		return 0, &p.transformed
	}
	as = &p.transformed
	results := []parcel{chosen}
	if len(p.chain) > 0 {
		var taken bool
		if results, taken, err = p.transform(ctx, chosen); !taken {
			as = &p.refused
		}
	}
	if err == nil {
		err = p.spool(ctx, results...)
	}
	if err != nil { // the pipeline ends
		return chosen.rows(), p.abandon(chosen)
	}
	item.fate.done(nil)
	return chosen.rows(), as
}

// spool appends parcels to every sink. It blocks only for held ones and a full
// spool; a parcel's fate learns when it is on disk.
func (p *pipeline) spool(ctx context.Context, items ...parcel) error {
	for _, item := range items {
		p.out.Add(item.rows())
		if p.trial != nil {
			p.trial(p.config, item.data)
		}
		if !item.held || len(p.sinks) < 2 {
			for _, s := range p.sinks {
				if err := s.append(ctx, item); err != nil {
					return err
				}
			}
			continue
		}
		// One sink's full spool must not keep the parcel from the others.
		errs := make([]error, len(p.sinks))
		var all sync.WaitGroup
		for i, s := range p.sinks {
			all.Go(func() { errs[i] = s.append(ctx, item) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

// bury puts a parcel aside as dead letters. The error says that they are lost.
func (p *pipeline) bury(item parcel, reason string) error {
	if sum, tell := p.buries.add(item.rows()); tell {
		p.log.Error("samples can never be transformed; they are put aside as dead letters", "rows", sum, "reason", reason, "file", p.dead.path)
	}
	_, err := p.dead.keep(p.config.Name, reason, item.data, nil, item.rows())
	if err != nil {
		p.log.Error("dead letters are lost", "rows", item.rows(), "error", err)
	}
	return err
}

// abandon gives up a parcel because the pipeline ends, and tells what it counts
// as. A held one is given back to its source, and so is nothing here.
func (p *pipeline) abandon(item parcel) *counter {
	item.fate.done(errQueueClosed)
	if item.held {
		return new(counter)
	}
	return &p.dropped
}

// stop lets nothing more in and carries what is there, until ctx ends. What is
// left then is dropped; held parcels are given back to their source.
func (p *pipeline) stop(ctx context.Context) {
	lanes := []*lane{p.polled, p.held}
	for _, l := range lanes {
		l.queue.close()
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.cancel()
		<-p.done
	}
	p.cancel()
	for _, l := range lanes {
		for {
			item, ok := l.queue.get(context.Background())
			if !ok {
				break
			}
			p.abandon(item).Add(item.rows())
			l.queue.settled(item.rows())
		}
	}
	if n := p.dropped.Load(); n > 0 {
		p.log.Warn("samples were dropped for want of a transformer's answer", "rows", n)
	}
}
