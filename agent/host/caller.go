package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	// A plugin that does what its context says is given the grace to return.
	patience int
	missed   int
	since    time.Time // of the first of these
}

// grace is how long a call may take to return after its context ended.
const grace = time.Second

// noticed is how long the end of a process may take to be noticed after that of the
// connection to it. Who takes it for another failure blames no batch for it, so that
// the same batch ends the process once more. Only tests change it.
var noticed = 10 * time.Second

// suspect is something given to a plugin, which may be what ends its process. The
// process may serve others: only a call that was alone is to blame.
type suspect struct {
	alone bool
	ends  int // of the process while it was given alone
}

// poisonous is how often something given alone may end the process before it is
// put aside as dead letters. With the end before that it is less than what is
// taken for a crash loop.
const poisonous = 3

// call makes a call that gives the suspect to the plugin.
func (s *suspect) call(ctx context.Context, c *caller, do func(ctx context.Context, life *supervisor.Life) error) error {
	leave := func() {}
	err := c.call(ctx, func(ctx context.Context, life *supervisor.Life) error {
		var err error
		if leave, err = c.instance.Enter(ctx, s.alone); err != nil {
			leave = func() {}
			return errNoTurn
		}
		// Another may have ended the process before it left.
		select {
		case <-life.Done():
			return errGone
		default:
		}
		return do(ctx, life)
	})
	// Only now, when it is known whether this ended the process: whoever is next
	// would be blamed for it.
	leave()
	return err
}

// ended notes that the process ended during a call, and tells whether that is
// proof enough.
func (s *suspect) ended() bool {
	if s.alone {
		s.ends++
	}
	s.alone = true
	return s.ends >= poisonous
}

// errCrashed says that the process ended while it was called.
var errCrashed = errors.New("the plugin's process ended during the call")

// errLate says that the instance was not ready, or had not answered, in time.
var errLate = errors.New("no answer in time")

// errHung says that the process was ended because it did not answer.
var errHung = errors.New("the plugin's process was ended because it hangs")

// errNoTurn says that other calls to the process went on all the time.
var errNoTurn = errors.New("other calls to the plugin took all the time")

// errGone says that the process ended before the call.
var errGone = errors.New("the plugin's process ended before the call")

// errTooLarge says that the answer does not fit into a message.
var errTooLarge = errors.New("too large for the connection")

// call waits until the instance is ready and calls it, all within the caller's
// timeout. A returned error means that the call did not get through: what it was
// about is to be given again. It wraps errCrashed where the process ended, errHung
// where it was ended for that, errLate where time was over, and errTooLarge.
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
	case errors.Is(err, errNoTurn) || errors.Is(err, errBlocked) || errors.Is(err, errGone):
		return fmt.Errorf("%w: %w", errLate, err) // not the plugin's fault
	case within.Err() == nil && status.Code(err) == codes.DeadlineExceeded:
		c.missed = 0 // it kept to its time
		return fmt.Errorf("%w: what it waits for takes more than %v", errLate, c.timeout)
	case within.Err() != nil:
		return c.miss(life, fmt.Errorf("%w: it took more than %v", errLate, c.timeout))
	case status.Code(err) == codes.Aborted:
		return c.miss(life, reason(status.Convert(err).Message()))
	case status.Code(err) == codes.ResourceExhausted:
		return fmt.Errorf("%w: %w", errTooLarge, reason(status.Convert(err).Message()))
	}
	select {
	case <-life.Done():
		c.missed = 0
		return errCrashed
	case <-time.After(100 * time.Millisecond):
	}
	why := reason(status.Convert(err).Message())
	if status.Code(err) == codes.Unavailable {
		// The connection may be noticed to be gone before the process is. A process
		// that lives on without it is of no use.
		select {
		case <-life.Done():
			c.missed = 0
			return errCrashed
		case <-time.After(noticed):
			return c.miss(life, fmt.Errorf("its connection is broken: %w", why))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.missed = 0 // it answered
	return why
}

// miss notes a call that was not answered for the given reason, and ends the
// process when that goes on.
func (c *caller) miss(life *supervisor.Life, why error) error {
	if c.missed++; c.missed == 1 {
		c.since = time.Now()
	}
	if c.missed < c.patience || time.Since(c.since) < grace {
		return why
	}
	c.missed = 0
	life.Kill(fmt.Errorf("instance %q hangs: %w", c.instance.Name(), why))
	return fmt.Errorf("%w: %w", errHung, why)
}

// reason makes an error of what a plugin says, which may be of any length.
func reason(text string) error {
	const longest = 1 << 10
	if len(text) > longest {
		text = text[:longest] + " ..."
	}
	return errors.New(strings.ToValidUTF8(text, "\uFFFD"))
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
