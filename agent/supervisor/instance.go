package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Instance has one instance of a plugin started in every life of its process.
type Instance struct {
	process *Process
	request *wire.StartRequest
	cancel  context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	changed chan struct{}
	life    *Life // the life in which it is started
	unsure  *Life // the life in which it may be started, though nobody waited for the answer
	state   State
	lastErr error
	flush   time.Duration
}

// Add begins to keep an instance started.
func (p *Process) Add(request *wire.StartRequest) *Instance {
	ctx, cancel := context.WithCancel(context.Background())
	i := &Instance{process: p, request: request, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{}), state: Starting}
	go i.keep(ctx)
	return i
}

func (i *Instance) keep(ctx context.Context) {
	defer close(i.done)
	pause := minPause
	var late unfinished
	for {
		life, err := i.process.Wait(ctx)
		if err != nil || ctx.Err() != nil {
			i.set(Stopped, nil, nil)
			return
		}
		err = i.start(ctx, life)
		if err != nil && ctx.Err() != nil {
			// The plugin may have found that it was still waited for.
			i.mu.Lock()
			i.unsure = life
			i.mu.Unlock()
		}
		if late.count(life, err) && ctx.Err() == nil {
			life.Kill(fmt.Errorf("instance %q does not finish starting", i.request.Instance))
		}
		if err != nil {
			select {
			case <-life.Done(): // that is why
			default:
				// Options that are wrong stay wrong until the configuration changes.
				var problem config.Problem
				if errors.As(err, &problem) {
					i.set(Failed, nil, err)
					i.process.spec.Log.Error("instance is refused", "instance", i.request.Instance, "error", err)
					<-ctx.Done()
					return
				}
				if ctx.Err() == nil {
					if i.set(Backoff, nil, err) {
						i.process.spec.Log.Error("instance cannot start and is tried again", "instance", i.request.Instance, "error", err)
					}
				}
				wait(ctx, pause)
				pause = min(2*pause, maxPause)
			}
			continue
		}
		pause = minPause
		if i.set(Ready, life, nil) {
			i.process.spec.Log.Info("instance started", "instance", i.request.Instance)
		}
		select {
		case <-ctx.Done():
			return
		case <-life.Done():
			i.set(Starting, nil, nil)
		}
	}
}

// unfinished counts the attempts in a row, in one life, to start an instance that
// found a start which does not return.
type unfinished struct {
	life *Life
	n    int
}

// count takes the outcome of an attempt, and reports whether only the end of the
// process can help: a start that goes on is never joined by another one, so that
// all later ones would be refused. Starts that end late, but with their context,
// are tried for ever, and those that need a moment more are given it.
func (u *unfinished) count(life *Life, err error) bool {
	if u.life != life {
		*u = unfinished{life: life}
	}
	switch status.Code(err) {
	case codes.DeadlineExceeded:
		u.n = 1
	case codes.AlreadyExists, codes.Aborted:
		u.n++
	default:
		u.n = 0
	}
	return u.n >= 3
}

func (i *Instance) start(ctx context.Context, life *Life) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	reply, err := life.Start(ctx, i.request)
	if err != nil {
		return err
	}
	if len(reply.Problems) > 0 {
		return config.Join(protocol.DecodeProblems(reply.Problems))
	}
	if reply.Error != "" {
		return errors.New(reply.Error)
	}
	i.mu.Lock()
	i.flush = time.Duration(reply.FlushIntervalNs)
	i.mu.Unlock()
	return nil
}

// set reports whether the state is another than before.
func (i *Instance) set(state State, life *Life, err error) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	differs := i.state != state
	i.state, i.life, i.lastErr = state, life, err
	close(i.changed)
	i.changed = make(chan struct{})
	return differs
}

// Ready gives the life in which the instance is started, as soon as there is one.
func (i *Instance) Ready(ctx context.Context) (*Life, error) {
	for {
		i.mu.Lock()
		life, state, changed := i.life, i.state, i.changed
		i.mu.Unlock()
		if life != nil {
			select {
			case <-life.Done(): // about to be noticed
			default:
				return life, nil
			}
		}
		if state == Stopped {
			return nil, errStopped
		}
		select {
		case <-changed:
		case <-i.done:
			return nil, errStopped
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Current gives the life in which the instance is started at present; nil: it is not.
func (i *Instance) Current() *Life {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.life
}

// Enter begins a call that may be to blame should the process end, and leave ends
// it. Such calls to all instances of the process go side by side; one that is
// alone waits for the others first and keeps new ones waiting, so that it is the
// one to blame.
func (i *Instance) Enter(ctx context.Context, alone bool) (leave func(), err error) {
	n := int64(1)
	if alone {
		n = allCalls
	}
	if err := i.process.calls.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { i.process.calls.Release(n) }, nil
}

// FlushInterval is how often a transformer wants to emit by time; 0 is never.
func (i *Instance) FlushInterval() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.flush
}

// Name is the instance's name.
func (i *Instance) Name() string { return i.request.Instance }

// Status gives the instance's state and why it is not ready, if known: where the
// instance itself has no reason, that is why its process ended last or could not
// be started. With its process the instance has failed too.
func (i *Instance) Status() (State, error) {
	i.mu.Lock()
	state, err := i.state, i.lastErr
	i.mu.Unlock()
	if state == Ready || state == Stopped || state == Failed {
		return state, err
	}
	i.process.mu.Lock()
	defer i.process.mu.Unlock()
	if i.process.state == Failed {
		return Failed, i.process.lastErr
	}
	if err == nil {
		err = i.process.lastErr
	}
	return state, err
}

// Stop stops the instance in its process, which may take until ctx ends. No call
// to it should be under way.
func (i *Instance) Stop(ctx context.Context) error {
	i.cancel()
	<-i.done
	defer i.set(Stopped, nil, nil)
	// Only now: it may have been started just before.
	i.mu.Lock()
	life, unsure := i.life, i.unsure
	i.unsure = nil
	i.mu.Unlock()
	var err error
	switch {
	case life != nil:
		err = i.end(ctx, life)
	case unsure != nil:
		// At the end of its context the plugin would stop what still starts, and let
		// another begin beside it. This call therefore goes on until the start is over
		// or the process ends, though nobody waits for it longer than ctx.
		ended := make(chan error, 1)
		go func() { ended <- i.end(context.WithoutCancel(ctx), unsure) }()
		select {
		case err = <-ended:
		case <-ctx.Done():
			err = fmt.Errorf("its start goes on: %w", ctx.Err())
		}
	}
	if err != nil {
		return fmt.Errorf("cannot stop instance %q: %w", i.request.Instance, err)
	}
	return nil
}

// end asks the plugin to stop the instance.
func (i *Instance) end(ctx context.Context, life *Life) error {
	select {
	case <-life.Done():
		return nil
	default:
	}
	reply, err := life.Stop(ctx, &wire.StopRequest{Instance: i.request.Instance})
	if err == nil && reply.Error != "" {
		err = errors.New(reply.Error)
	}
	return err
}
