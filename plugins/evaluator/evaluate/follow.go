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
		e.trouble.note("following the storage", time.Now(), err)
		if time.Since(began) > longestPause {
			pause = shortestPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// stream follows the storage until that fails.
func (e *Evaluator) stream(ctx context.Context) error {
	first := true
	defer func() {
		e.mu.Lock()
		e.following = 0
		e.mu.Unlock()
	}()
	for advance, err := range e.o.Series.Follow(ctx, sdk.FollowQuery{}) {
		if err != nil {
			return err
		}
		e.trouble.note("following the storage", time.Now(), nil)
		e.advance(advance, first)
		first = false
	}
	return ctx.Err()
}

// advance marks the alarms that depend on series with newer points. All are to be looked
// at if some points may have been missed before.
func (e *Evaluator) advance(advance *sdk.Advance, all bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.o.Now().UnixNano()
	if all {
		e.following = now
		e.all(now)
	}
	for i := range advance.New {
		s := &advance.New[i]
		// It has points, which those who look for its name wait for.
		e.index.names[sdk.SeriesName{Resource: s.Resource, Meter: s.Meter}].each(func(a *alarm) {
			a.seen = now
			e.mark(a)
		})
		for _, a := range e.index.joined(s) {
			e.mark(a)
		}
	}
	for i, number := range advance.Numbers {
		if advance.Times[i] > now && e.index.numbers[number].one != nil {
			e.ahead[number] = advance.Times[i] // nobody tells again when its time has come
		}
		e.index.numbers[number].each(func(a *alarm) {
			a.seen = now
			e.mark(a)
		})
	}
	e.ring()
}

// poll looks at all alarms by time from now on.
func (e *Evaluator) poll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.polling = true
	e.all(e.o.Now().UnixNano())
}
