package supervisor

import (
	"context"
	"errors"
	"runtime"
)

// Ask starts a plugin's process for a few questions and ends it again.
func Ask(ctx context.Context, spec Spec, questions func(context.Context, *Life) error) error {
	answer := make(chan error, 1)
	go func() {
		// See Process.own: the thread must live as long as the process.
		runtime.LockOSThread()
		life, err := begin(ctx, &spec)
		if err != nil {
			answer <- err
			return
		}
		answer <- questions(ctx, life)
		life.Kill(errors.New("all was asked"))
		life.close()
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
