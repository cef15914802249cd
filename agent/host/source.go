package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/wire"
)

// source is an instance that gives samples or events, and the way of its batches
// into the pipelines.
type source struct {
	config *config.Instance
	routes atomic.Pointer[[]*pipeline]
	log    *slog.Logger
	caller
	local localPoller // set for the host's own pollster, which has no process

	cancel  context.CancelFunc // no new work
	abort   context.CancelFunc // end the work under way
	stopped chan struct{}

	batches, samples, events, bytes counter
	garbage                         counter // messages that were no batch
	lost                            counter // rows that some pipeline could not be given in time

	polls, failures, timeouts, skipped counter
	resources, failedResources         counter
	unsettled                          atomic.Int64

	trouble  trouble
	mu       sync.Mutex
	lastPoll time.Time
	duration time.Duration
	latest   []byte // the last batch, for the status page
}

// localPoller measures without a plugin's process and encodes its batches.
type localPoller func(ctx context.Context) ([][]byte, error)

func (s *source) start(run func(ctx, work context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	work, abort := context.WithCancel(context.Background())
	s.cancel, s.abort, s.stopped = cancel, abort, make(chan struct{})
	go func() {
		defer close(s.stopped)
		run(ctx, work)
	}()
}

// stop lets the work under way end until ctx does.
func (s *source) stop(ctx context.Context) {
	s.cancel()
	select {
	case <-s.stopped:
	case <-ctx.Done():
	}
	s.abort()
	<-s.stopped
}

// route counts a batch and offers it to every pipeline of the source.
func (s *source) route(ctx context.Context, data []byte, f *fate, held bool) error {
	h, err := peek(data)
	if err != nil || len(data) > sdk.MaxBatchBytes {
		s.garbage.inc()
		return fmt.Errorf("%d bytes are no batch that may be taken", len(data))
	}
	s.batches.inc()
	s.samples.Add(uint64(h.samples))
	s.events.Add(uint64(h.events))
	s.bytes.Add(uint64(len(data)))
	s.mu.Lock()
	s.latest = data
	s.mu.Unlock()
	item := parcel{data: data, samples: h.samples, events: h.events, fate: f, held: held}
	if err := s.offer(ctx, item); err != nil {
		if !held {
			s.lost.Add(item.rows())
		}
		return fmt.Errorf("%w: %w", errBlocked, err)
	}
	return nil
}

// errBlocked says that the host, not the plugin, took too long.
var errBlocked = errors.New("the pipelines do not take samples")

// offer offers a parcel to every pipeline of the source. It returns with ctx,
// which is to say in the middle of a change of the configuration that takes long.
func (s *source) offer(ctx context.Context, item parcel) error {
	offered := map[string]bool{}
	for {
		again := false
		for _, p := range *s.routes.Load() {
			if offered[p.config.Name] {
				continue
			}
			err := p.offer(ctx, item)
			if errors.Is(err, errQueueClosed) {
				again = true // a reload replaces it just now
				continue
			}
			if err != nil {
				return err
			}
			offered[p.config.Name] = true
		}
		if !again {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// poll runs a pollster on its schedule. A moment that comes while a poll is under
// way is skipped and counted.
func (s *source) poll(ctx, work context.Context) {
	if s.local == nil {
		if _, err := s.instance.Ready(ctx); err != nil {
			return
		}
	}
	times := newSchedule(time.Now(), s.config.Interval, rand.N(s.config.Jitter+1))
	for {
		s.pollOnce(work)
		s.skipped.Add(times.polled(time.Now()))
		t := time.NewTimer(time.Until(times.due()))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// pollOnce polls and waits, within the poll's deadline, until what was polled is
// in the spools, or stuck on its way there.
func (s *source) pollOnce(ctx context.Context) {
	durable := make(chan struct{})
	f := newFate(func(error) { close(durable) })
	begun := time.Now()
	err := s.gather(ctx, f)
	f.done(nil)
	s.mu.Lock()
	s.lastPoll, s.duration = begun, time.Since(begun)
	s.mu.Unlock()
	s.polls.inc()
	switch {
	case err == nil:
		if d, was := s.trouble.ends(); was {
			s.log.Info("polls succeed again", "after", d.Round(time.Millisecond))
		}
	default:
		s.failures.inc()
		if errors.Is(err, errLate) {
			s.timeouts.inc()
		}
		if s.trouble.begins(err) {
			s.log.Warn("poll failed; it is logged again when that changes", "error", err)
		} else {
			s.log.Debug("poll failed", "error", err)
		}
	}
	s.awaitDurable(ctx, durable, s.config.Timeout-time.Since(begun))
}

// awaitDurable waits until what was polled is in the spools. It does not wait for
// a transformer that does not answer: that would keep the next poll's samples from
// the other pipelines.
func (s *source) awaitDurable(ctx context.Context, durable <-chan struct{}, atMost time.Duration) {
	rest := time.NewTimer(atMost)
	defer rest.Stop()
	look := time.NewTicker(stallCheck)
	defer look.Stop()
	for {
		select {
		case <-durable:
			return
		case <-rest.C:
			return
		case <-ctx.Done():
			return
		case <-look.C:
			if slices.ContainsFunc(*s.routes.Load(), func(p *pipeline) bool { return p.stalled.Load() }) {
				return
			}
		}
	}
}

// stallCheck is how often a poll that waits for its samples looks whether a
// transformer still answers.
const stallCheck = 50 * time.Millisecond

// gather polls once and routes each batch as it comes.
func (s *source) gather(ctx context.Context, f *fate) error {
	if s.local != nil {
		ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
		defer cancel()
		batches, err := s.local(ctx)
		for _, data := range batches {
			if err := s.route(ctx, data, f, false); err != nil {
				return err
			}
		}
		return err
	}
	var failed string
	err := s.call(ctx, func(ctx context.Context, life *supervisor.Life) error {
		stream, err := life.Pollster.Poll(ctx, &wire.PollRequest{Instance: s.instance.Name()})
		if err != nil {
			return err
		}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return errors.New("the poll ended without a summary")
			}
			if err != nil {
				return err
			}
			if len(m.Batch) > 0 {
				if err := s.route(ctx, m.Batch, f, false); err != nil {
					return err
				}
			}
			if m.Summary != nil {
				s.resources.Add(uint64(m.Summary.Resources))
				s.failedResources.Add(uint64(m.Summary.Failed))
				failed = m.Summary.Error
				return nil
			}
		}
	})
	if err == nil && failed != "" {
		err = reason(failed)
	}
	return err
}
