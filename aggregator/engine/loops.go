package engine

import (
	"context"
	"time"
)

// retryAfter is how soon what failed in the background is tried again.
const retryAfter = time.Minute

func (e *Engine) startLoops() {
	e.loops.Go(e.checkpointLoop)
	e.loops.Go(e.mergeLoop)
	if e.o.Ship > 0 {
		e.loops.Go(func() {
			e.every(claimEvery, "it can't be told whether another node took the store over; after a minute of that nothing is taken", e.Owns)
		})
		e.loops.Go(func() { e.every(e.o.Ship, "the log can't be copied to the object store", e.ship) })
	}
}

// every calls f again and again, and logs when it begins to fail and when it
// succeeds again.
func (e *Engine) every(interval time.Duration, problem string, f func(context.Context) error) {
	failing := false
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-t.C:
		}
		err := f(e.ctx)
		if e.ctx.Err() != nil || e.fenced.Load() != nil {
			return
		}
		if err != nil && !failing {
			e.o.Log.Error(problem, "error", err)
		}
		if err == nil && failing {
			e.o.Log.Info("it succeeded again after: " + problem)
		}
		failing = err != nil
	}
}

// restAfter is the shortest time from one checkpoint to the next that is made because the
// head is full.
const restAfter = 10 * time.Second

// checkpointLoop makes checkpoints by time, and when the head is full.
func (e *Engine) checkpointLoop() {
	var tick <-chan time.Time
	next := func(d time.Duration) {
		if e.o.Checkpoint > 0 {
			tick = time.After(min(d, e.o.Checkpoint))
		}
	}
	next(e.o.Checkpoint)
	var last time.Time
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick:
		case <-e.full:
			for time.Since(last) < restAfter && !e.hurried() {
				select {
				case <-e.ctx.Done():
					return
				case <-time.After(restAfter / 50):
				}
			}
		}
		err := e.Checkpoint(e.ctx)
		last = time.Now()
		switch {
		case e.ctx.Err() != nil || e.fenced.Load() != nil:
			return
		case err != nil:
			e.o.Log.Error("points stay in memory and in the log", "error", err)
			next(retryAfter)
		default:
			next(e.o.Checkpoint)
		}
	}
}

// mergeRetry is how soon merges that failed are tried again.
const mergeRetry = 10 * time.Minute

// mergeLoop tidies up after each checkpoint.
func (e *Engine) mergeLoop() {
	var again <-chan time.Time
	told := ""
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-e.grown:
		case <-again:
		}
		err := e.maintain(e.ctx)
		if e.ctx.Err() != nil || e.fenced.Load() != nil {
			return
		}
		again = nil
		if err == nil {
			told = ""
			continue
		}
		again = time.After(mergeRetry)
		if text := err.Error(); text != told {
			told = text
			e.o.Log.Error("block files can't be merged or deleted; it is tried again", "every", mergeRetry, "error", err)
		}
	}
}
