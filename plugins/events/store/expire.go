package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
)

const (
	// expireEvery is how often the oldest day of events may go, settleEvery how often
	// past days are tidied, and look how often there is a look at what is to be merged
	// without anybody adding events.
	expireEvery = 15 * time.Minute
	settleEvery = time.Hour
	look        = time.Minute
)

// Run merges and expires chunks until ctx ends. What fails is tried again.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	begun := time.Now() // by the monotonic clock
	// Not at once, so that a start with a wrong clock costs nothing; but soon, for those
	// that never run for long.
	expire, settle := begun.Add(look), begun.Add(settleEvery)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.more:
		case <-tick.C:
		}
		now := time.Now()
		due := func(at *time.Time, every time.Duration) bool {
			if now.Before(*at) {
				return false
			}
			*at = now.Add(every)
			return true
		}
		err := s.tend(ctx, due(&expire, expireEvery), due(&settle, settleEvery))
		if ctx.Err() != nil {
			return
		}
		if err != nil && !s.trouble {
			s.log.Warn("chunks of events cannot be merged or expired at present; it is tried again", "error", err)
		}
		s.trouble = err != nil
	}
}

// tend merges chunks, and does what else is due, whatever of it fails: chunks that can't
// be merged must not keep others from expiring until the disk is full.
func (s *Store) tend(ctx context.Context, expire, settle bool) error {
	var errs []error
	if expire {
		errs = append(errs, s.Expire(ctx))
	}
	more, err := s.merge(ctx, mergesAtOnce)
	if more {
		s.wake()
	}
	errs = append(errs, err)
	if settle {
		errs = append(errs, s.Settle(ctx))
	}
	return errors.Join(errs...)
}

// wake has Run look for what is to be merged.
func (s *Store) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// mergesAtOnce is how many merges there are before a look at what else is due: where
// events come all the time, there is always something to merge.
const mergesAtOnce = 16

// Merge merges chunks until there is nothing to merge.
func (s *Store) Merge(ctx context.Context) error {
	_, err := s.merge(ctx, math.MaxInt)
	return err
}

// merge merges some times at most. more says that there may be more to merge.
func (s *Store) merge(ctx context.Context, most int) (more bool, err error) {
	s.merging.Lock()
	defer s.merging.Unlock()
	for n := 0; n < most; n++ {
		if more, err = s.mergeTier(ctx); err != nil || !more {
			return false, err
		}
	}
	return more, nil
}

// Settle makes few chunks of those of past days.
func (s *Store) Settle(ctx context.Context) error {
	s.merging.Lock()
	defer s.merging.Unlock()
	for d := int64(dayEarlier) - 1; ; {
		next, more, err := s.settle(ctx, d)
		if err != nil || !more {
			return err
		}
		d = next
	}
}

// expireAtOnce is the most chunks that go in one transaction.
const expireAtOnce = 64

// Expire deletes the chunks whose events are all older than the retention; of those a
// day's at most, so that a clock that jumped ahead does not cost all events before
// somebody can set it right. Events that were too old when they came, since their
// device's clock is wrong, are no such day: or one of them, every now and then, would
// keep all others for ever. Events of the future go the retention after they came.
func (s *Store) Expire(ctx context.Context) error {
	if s.retention == 0 {
		return nil
	}
	s.merging.Lock()
	defer s.merging.Unlock()
	now := s.now().UnixNano()
	horizon := now - int64(s.retention)
	before := horizon
	err := s.db.Read(ctx, func(v *database.Session) error {
		var oldest int64
		found, err := v.One(ctx, "SELECT last FROM event_chunk WHERE day > ? ORDER BY last LIMIT 1", []any{dayEarlier}, &oldest)
		if found && oldest < horizon-day {
			before = oldest + day
		}
		return err
	})
	if err == nil {
		err = s.delete(ctx, "last < ?", before)
	}
	if err == nil {
		// What only looked so to a clock of before is not of the future.
		err = s.delete(ctx, "day >= ? AND day < ? AND first >= ?", dayLater, dayLater+dayOf(horizon), (dayOf(now)+2)*day)
	}
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(w *database.Session) error {
		_, err := w.Exec(ctx, "DELETE FROM event_kind WHERE day < ?", dayOf(before))
		return err
	})
}

// delete deletes the chunks that meet a condition, and counts their events.
func (s *Store) delete(ctx context.Context, where string, args ...any) error {
	query := "DELETE FROM event_chunk WHERE id IN (SELECT id FROM event_chunk WHERE " + where + " ORDER BY last, id LIMIT ?) RETURNING events"
	args = append(args, expireAtOnce)
	for n := expireAtOnce; n == expireAtOnce; {
		events := uint64(0)
		err := s.db.Write(ctx, func(w *database.Session) error {
			n, events = 0, 0
			if err := turn(ctx, w); err != nil {
				return err
			}
			rows, err := w.Query(ctx, query, args...)
			return database.Each(rows, err, func(rows *sql.Rows) error {
				var of uint64
				err := rows.Scan(&of)
				n, events = n+1, events+of
				return err
			})
		})
		if err != nil {
			return err
		}
		s.counted.expired.Add(events)
	}
	return nil
}
