package host

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nephoscope/nepho/agent/config"
	"github.com/nephoscope/nepho/agent/spool"
	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk/wire"
)

// longestPause bounds what a publisher may ask for.
const longestPause = time.Hour

// sink is the end of a pipeline: a spool, and a publisher instance that it is
// emptied to.
type sink struct {
	name      string // pipeline/publisher
	publisher *config.Instance
	spool     *spool.Spool
	dead      *deadLetters
	gate      chan struct{} // shared with the instance's other sinks: one call at a time
	log       *slog.Logger
	caller

	cancel context.CancelFunc
	done   chan struct{}

	trouble  trouble
	settling sync.Mutex // held while the spool's counters and refused change together
	refused  counter    // rows of acknowledged batches that were put aside
	buries   moderate
	tooLarge counter // rows put aside because the spool is too small for their batch
	retries  counter
	last     atomic.Int64 // Unix nanoseconds of the last success
}

func (s *sink) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go s.run(ctx)
}

// append spools a parcel. What is polled never waits: a full spool drops its
// oldest. What is held waits for room until ctx ends.
func (s *sink) append(ctx context.Context, item parcel) error {
	item.fate.add(1)
	commit, err := s.spool.Append(ctx, spool.Entry{Payload: item.data, Samples: uint32(item.rows()), Held: item.held})
	switch {
	case err == nil:
	case errors.Is(err, spool.ErrTooLarge):
		s.tooLarge.Add(item.rows())
		_, err := s.bury(item.data, "the batch is larger than the spool", nil, item.rows())
		item.fate.done(err)
		return nil
	case ctx.Err() != nil && !errors.Is(err, spool.ErrFull):
		item.fate.done(ctx.Err())
		return ctx.Err()
	default:
		item.fate.done(err) // counted by the spool
		return nil
	}
	select {
	case <-commit.Done():
		item.fate.done(commit.Err())
	default:
		go func() {
			<-commit.Done()
			item.fate.done(commit.Err())
		}()
	}
	return nil
}

// run empties the spool, one batch after the other.
func (s *sink) run(ctx context.Context) {
	defer close(s.done)
	for {
		d, err := s.spool.Next(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, spool.ErrClosed) {
				s.log.Error("cannot read the spool", "error", err)
				(&backoff{min: time.Second, max: time.Second}).wait(ctx, 0)
				continue
			}
			return
		}
		refused, err := s.publish(ctx, d)
		if err != nil {
			s.spool.Rewind()
			return
		}
		s.settle(d, refused)
	}
}

// publish offers a batch until the publisher took it or refused some of its rows,
// whose number it gives. An error is that of ctx.
func (s *sink) publish(ctx context.Context, d spool.Delivery) (refused uint64, err error) {
	rows := uint64(d.Samples)
	pause := backoff{min: s.publisher.RetryMin, max: s.publisher.RetryMax}
	var batch suspect
	for {
		reply, err := s.offer(ctx, &batch, d.Payload)
		var after time.Duration
		switch {
		case err == nil && reply.Outcome == wire.PublishReply_DONE:
			return 0, nil
		case err == nil && reply.Outcome == wire.PublishReply_REFUSED:
			return s.buried(ctx, d.Payload, reason(reply.Reason).Error(), reply.Rows, rows)
		case err == nil && reply.Outcome == wire.PublishReply_PANICKED && batch.ended():
			return s.buried(ctx, d.Payload, reason(reply.Reason).Error(), nil, rows)
		case err == nil:
			err = reason(reply.Reason)
			after = min(time.Duration(reply.RetryAfterNs), longestPause)
		case errors.Is(err, errCrashed) && batch.ended():
			return s.buried(ctx, d.Payload, "the publisher's process ends on this batch", nil, rows)
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		s.retries.inc()
		if s.trouble.begins(err) {
			s.log.Warn("publisher does not take samples; they wait in the spool", "error", err)
		}
		if err := pause.wait(ctx, after); err != nil {
			return 0, err
		}
	}
}

// offer makes one attempt.
func (s *sink) offer(ctx context.Context, of *suspect, batch []byte) (reply *wire.PublishReply, err error) {
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	err = of.call(ctx, &s.caller, func(ctx context.Context, life *supervisor.Life) error {
		var err error
		reply, err = life.Publisher.Publish(ctx, &wire.PublishRequest{Instance: s.instance.Name(), Batch: batch})
		return err
	})
	return reply, err
}

// settle notes that the publisher took a batch but for the refused rows. A batch
// that a full spool dropped meanwhile counts as dropped and as nothing else.
func (s *sink) settle(d spool.Delivery, refused uint64) {
	s.settling.Lock()
	before := s.spool.Acked()
	err := s.spool.Ack(d)
	if s.spool.Acked() != before {
		s.refused.Add(refused)
	}
	s.settling.Unlock()
	if err != nil {
		s.log.Error("cannot note that a batch was published; it may be published again", "error", err)
	}
	s.last.Store(time.Now().UnixNano())
	if d, was := s.trouble.ends(); was {
		s.log.Info("publisher takes samples again", "after", d.Round(time.Millisecond))
	}
}

// bury puts rows aside as dead letters and gives their number. The error says that
// they are lost.
func (s *sink) bury(data []byte, reason string, rows []uint32, all uint64) (uint64, error) {
	n, err := s.dead.keep(s.name, reason, data, rows, all)
	if err != nil {
		s.log.Error("samples can never be published, and cannot be put aside as dead letters", "rows", n, "reason", reason, "error", err)
		return n, err
	}
	if sum, tell := s.buries.add(n); tell {
		s.log.Error("samples can never be published; they are put aside as dead letters", "rows", sum, "reason", reason, "file", s.dead.path)
	}
	return n, nil
}

// buried puts rows aside and gives their number. While the letters cannot be
// written the batch stays in the spool and it is tried again, until ctx ends.
func (s *sink) buried(ctx context.Context, data []byte, reason string, rows []uint32, all uint64) (uint64, error) {
	pause := backoff{min: time.Second, max: time.Minute}
	for {
		n, err := s.bury(data, reason, rows, all)
		if err == nil {
			return n, nil
		}
		s.trouble.begins(err)
		if err := pause.wait(ctx, 0); err != nil {
			return 0, err
		}
	}
}

// stop goes on publishing until the spool is empty, the publisher is in trouble or
// does not run, or ctx ends. What is left stays on disk.
func (s *sink) stop(ctx context.Context) {
	for ctx.Err() == nil && s.trouble.now() == nil {
		if state, _ := s.instance.Status(); state != supervisor.Ready {
			break
		}
		st := s.spool.Stats()
		if st.Waiting.Entries+st.Pending.Entries == 0 {
			break
		}
		(&backoff{min: 5 * time.Millisecond, max: 5 * time.Millisecond}).wait(ctx, 0)
	}
	s.cancel()
	<-s.done
	st := s.spool.Stats()
	if left := st.Waiting.Samples + st.Pending.Samples; left > 0 {
		if s.publisher.Spool == "memory" {
			s.log.Warn("samples are lost with the memory spool", "rows", left)
		} else {
			s.log.Info("samples wait on disk for the next start", "rows", left)
		}
	}
	if err := s.spool.Close(); err != nil {
		s.log.Error("cannot close the spool", "error", err)
	}
}

// jittered varies a pause by up to a quarter, so that many that failed together
// do not come back together.
func jittered(d time.Duration) time.Duration { return d - rand.N(d/4+1) }
