package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// PollEach polls resources side by side: as many at once as the instance's
// concurrency, each for at most its resource_timeout. What poll adds for a
// resource counts when it returns in time, whether with an error or not. A call
// that ignores the end of its context is left behind, and its resource is not
// polled again before it returned.
//
// The error tells how many resources failed, and of the first few why. It is for
// use inside of Poll with the context given there.
func PollEach(ctx context.Context, resources []Resource, out *Builder, poll func(ctx context.Context, r Resource, out *Builder) error) error {
	call, ok := ctx.Value(eachKey{}).(*eachCall)
	if !ok {
		return errors.New("BUG: PollEach needs the context that Poll was called with")
	}
	return call.run(ctx, resources, out, poll)
}

type eachKey struct{}

// eachCall is a poll that may use PollEach.
type eachCall struct {
	in *instance
	s  *server
}

// eachState is what an instance remembers of resources between polls.
type eachState struct {
	mu             sync.Mutex
	stuck          map[string]bool // left behind, by resource id
	polled, failed uint32          // since the last counts
}

func (e *eachState) counts() (resources, failed uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	resources, failed = e.polled, e.failed
	e.polled, e.failed = 0, 0
	return resources, failed
}

type eachResult struct {
	resource string
	record   []recorded
	err      error
}

func (c *eachCall) run(ctx context.Context, resources []Resource, out *Builder, poll func(context.Context, Resource, *Builder) error) error {
	work := make(chan Resource)
	results := make(chan eachResult)
	var workers sync.WaitGroup
	for range min(c.in.env.Concurrency, len(resources)) {
		workers.Go(func() {
			for r := range work {
				results <- c.one(ctx, r, out, poll)
			}
		})
	}
	go func() {
		for _, r := range resources {
			work <- r
		}
		close(work)
		workers.Wait()
		close(results)
	}()
	var errs []error
	failed := 0
	for result := range results {
		out.replay(result.record)
		if result.err != nil {
			if failed++; failed <= 3 {
				errs = append(errs, fmt.Errorf("resource %q: %w", result.resource, result.err))
			}
		}
	}
	e := &c.in.each
	e.mu.Lock()
	e.polled += uint32(len(resources))
	e.failed += uint32(failed)
	e.mu.Unlock()
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d resources failed: %w", failed, len(resources), errors.Join(errs...))
}

// one polls a resource and comes back in time even when poll does not.
func (c *eachCall) one(ctx context.Context, r Resource, out *Builder, poll func(context.Context, Resource, *Builder) error) eachResult {
	e := &c.in.each
	e.mu.Lock()
	if e.stuck[r.ID] {
		e.mu.Unlock()
		return eachResult{resource: r.ID, err: errors.New("an earlier poll of it has not returned yet")}
	}
	e.mu.Unlock()
	if c.in.env.ResourceTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.in.env.ResourceTimeout)
		defer cancel()
	}
	if err := ctx.Err(); err != nil {
		return eachResult{resource: r.ID, err: err}
	}
	done := make(chan eachResult, 1)
	go func() {
		result := eachResult{resource: r.ID}
		b := &Builder{o: out.o, record: &result.record}
		b.At(time.Now())
		result.err = c.s.safely(c.in, func() error { return poll(ctx, r, b) })
		done <- result
	}()
	select {
	case result := <-done:
		return result
	case <-ctx.Done():
	}
	select {
	case result := <-done:
		return result
	case <-time.After(50 * time.Millisecond): // well-behaved calls return as soon as they notice
	}
	e.mu.Lock()
	if e.stuck == nil {
		e.stuck = map[string]bool{}
	}
	e.stuck[r.ID] = true
	e.mu.Unlock()
	go func() {
		<-done
		e.mu.Lock()
		delete(e.stuck, r.ID)
		e.mu.Unlock()
	}()
	return eachResult{resource: r.ID, err: fmt.Errorf("%w, and its poll goes on", ctx.Err())}
}
