package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nephoscope/nepho/sdk/config"
)

// output runs the command and gives what it printed, up to the last whole line
// where it had to be cut. When the time of ctx runs out, all of its processes are
// ended a little earlier, so that what was printed by then can still be taken.
func (c *command) output(ctx context.Context) ([]byte, error) {
	p, err := c.start()
	if err != nil {
		return nil, err
	}
	var text []byte
	var readErr error
	read := make(chan struct{})
	go func() {
		defer close(read)
		text, readErr = io.ReadAll(io.LimitReader(p.stdout, int64(c.max)+1))
	}()

	reserve := time.Second
	var timeout <-chan time.Time
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		reserve = min(2*time.Second, left/4)
		timer := time.NewTimer(left - reserve)
		defer timer.Stop()
		timeout = timer.C
	}
	// The end of the output is either too much of it, or comes before the exit.
	ended, stopped := read, error(nil)
	for exited := false; !exited && stopped == nil; {
		select {
		case <-p.exited:
			exited = true
		case <-ended:
			ended = nil
			if len(text) > c.max {
				stopped = fmt.Errorf("the command was ended: it printed more than max_output = %v", config.Size(c.max))
			}
		case <-timeout:
			stopped = errors.New("the command was ended: it ran for longer than the poll's timeout allows")
		case <-ctx.Done():
			stopped = fmt.Errorf("the command was ended: %w", ctx.Err())
		}
	}
	if stopped != nil {
		p.terminate(reserve / 2)
	} else {
		wait(read, min(linger, reserve/2))
	}
	err = p.finish(read, reserve/8)
	if stopped == nil && readErr != nil && !errors.Is(readErr, os.ErrClosed) {
		stopped = readErr
	}
	if stopped == nil {
		if len(text) <= c.max {
			return text, err
		}
		stopped = fmt.Errorf("the command printed more than max_output = %v", config.Size(c.max))
	}
	return wholeLines(text[:min(len(text), c.max)]), stopped
}
