package evaluate

import (
	"context"
	"errors"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// Pauses between attempts to follow the storage.
const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 5 * time.Second
)

// follow marks alarms whose series have newer points, until ctx ends.
func (e *Evaluator) follow(ctx context.Context) {
	for pause := shortestPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
		began := time.Now()
		err := e.stream(ctx)
		if errors.Is(err, errors.ErrUnsupported) {
			e.o.Log.Info("alarms: the storage does not tell of new points; it is asked by time", "interval", e.o.Interval)
			e.poll()
			return
		}
		if ctx.Err() != nil {
			return
		}
		e.trouble.note("following the storage", err)
		if err == nil || time.Since(began) > longestPause {
			pause = shortestPause
		}
		if err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// stream follows the storage until that fails, or until its series have to be described
// again: then the error is nil.
func (e *Evaluator) stream(ctx context.Context) error {
	e.mu.Lock()
	clear(e.index.groups)
	e.index.again = false
	e.mu.Unlock()
	first := true
	for advance, err := range e.o.Series.Follow(ctx, sdk.FollowQuery{}) {
		if err != nil {
			return err
		}
		e.trouble.note("following the storage", nil)
		again := e.advance(advance, first)
		first = false
		if again {
			return nil
		}
	}
	return ctx.Err()
}

// advance marks the alarms that depend on series with newer points; all, if some
// points may have been missed before.
func (e *Evaluator) advance(advance *sdk.Advance, all bool) (again bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.o.Now().UnixNano()
	if all {
		for _, a := range e.alarms {
			if len(a.leaves) > 0 {
				e.mark(a)
			}
		}
	}
	for i := range advance.New {
		s := &advance.New[i]
		e.index.names[sdk.SeriesName{Resource: s.Resource, Meter: s.Meter}].each(e.mark)
		if g := e.index.meters[s.Meter]; g != nil {
			e.index.groups[s.Number] = g
		}
	}
	for _, number := range advance.Numbers {
		e.index.numbers[number].each(func(a *alarm) {
			a.seen = now
			e.mark(a)
		})
		if g := e.index.groups[number]; g != nil {
			for _, a := range g.alarms {
				e.mark(a)
			}
		}
	}
	if len(e.dirty) > 0 {
		e.ring()
	}
	return e.index.again
}

// poll looks at all alarms by time from now on.
func (e *Evaluator) poll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.polling = true
	for _, a := range e.alarms {
		if len(a.leaves) > 0 {
			e.mark(a)
		}
	}
	e.ring()
}
