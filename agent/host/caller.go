package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/agent/supervisor"
)

// caller makes calls to one instance and tells plugins that are gone, hang or
// are too slow from calls that failed.
type caller struct {
	instance *supervisor.Instance
	timeout  time.Duration // of one call; 0 is none
	// patience is how many calls in a row may miss their deadline, or find the one
	// before still going on, before the plugin's process is ended and started again.
	patience int
	missed   int
}

// errCrashed says that the process ended while it was called.
var errCrashed = errors.New("the plugin's process ended during the call")

// errLate says that the instance was not ready, or had not answered, in time.
var errLate = errors.New("no answer in time")

// call waits until the instance is ready and calls it, all within the caller's
// timeout. A returned error means that the call did not get through: what it was
// about is to be given again. It wraps errCrashed where the process ended, and
// errLate where time was over.
func (c *caller) call(ctx context.Context, do func(ctx context.Context, life *supervisor.Life) error) error {
	within := ctx
	if c.timeout > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	life, err := c.instance.Ready(within)
	if err != nil {
		if ctx.Err() == nil && within.Err() != nil {
			state, why := c.instance.Status()
			return fmt.Errorf("%w: after %v the plugin's instance is still %s (%v)", errLate, c.timeout, state, why)
		}
		return err
	}
	err = do(within, life)
	switch {
	case err == nil:
		c.missed = 0
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case within.Err() != nil || status.Code(err) == codes.DeadlineExceeded:
		c.miss(life, fmt.Sprintf("no answer within %v", c.timeout))
		return fmt.Errorf("%w: it took more than %v", errLate, c.timeout)
	case status.Code(err) == codes.Aborted:
		c.miss(life, status.Convert(err).Message())
		return errors.New(status.Convert(err).Message())
	case status.Code(err) == codes.ResourceExhausted:
		return fmt.Errorf("too large for the connection: %s", status.Convert(err).Message())
	}
	select {
	case <-life.Done():
		return errCrashed
	case <-time.After(100 * time.Millisecond):
		// The connection may be noticed to be gone before the process is.
		if status.Code(err) == codes.Unavailable {
			select {
			case <-life.Done():
				return errCrashed
			case <-time.After(time.Second):
			}
		}
	}
	return errors.New(status.Convert(err).Message())
}

// miss notes a call that was not answered, and ends the process when that goes on.
func (c *caller) miss(life *supervisor.Life, why string) {
	if c.missed++; c.missed >= c.patience {
		c.missed = 0
		life.Kill(fmt.Errorf("instance %q hangs: %s", c.instance.Name(), why))
	}
}

// backoff gives growing pauses between attempts.
type backoff struct{ next, min, max time.Duration }

func (b *backoff) wait(ctx context.Context, atLeast time.Duration) error {
	b.next = min(max(b.min, b.next), b.max)
	pause := max(jittered(b.next), atLeast)
	b.next *= 2
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
