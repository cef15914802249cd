package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
)

// State of a process.
type State string

// The states of a process and of an instance.
const (
	Starting State = "starting"
	Ready    State = "ready"
	Backoff  State = "backoff" // ended, and waits to be started again
	Failed   State = "failed"  // ended too often; tried again now and then
	Stopped  State = "stopped"
)

// Pauses between lives. The first start after a healthy life is at once; then
// they double. A process that ended crashes times within crashWindow is in a
// crash loop: it has failed, and is tried only every maxPause.
const (
	minPause    = 100 * time.Millisecond
	maxPause    = time.Minute
	crashes     = 5
	crashWindow = time.Minute
)

// allCalls is more than are ever made to one process at a time.
const allCalls = 1 << 30

// memoryCheck is how often a process's memory is looked at.
const memoryCheck = time.Second

// Process keeps a plugin's process alive. Its methods are safe for concurrent
// use.
type Process struct {
	spec   Spec
	cancel context.CancelFunc
	done   chan struct{}
	calls  *semaphore.Weighted // see Instance.Enter

	mu      sync.Mutex
	changed chan struct{} // closed and replaced on every change of what follows
	life    *Life
	state   State
	since   time.Time
	starts  int
	lastErr error
}

// Status tells how a process is doing.
type Status struct {
	Kind, Name string
	State      State
	Since      time.Time
	PID        int // 0: none runs
	Restarts   int
	LastError  error // why it ended last, or could not be started
	RSS        int64 // resident memory in bytes
}

// Start begins to keep a process alive.
func Start(spec Spec) *Process {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Process{
		spec: spec, cancel: cancel, done: make(chan struct{}), calls: semaphore.NewWeighted(allCalls),
		changed: make(chan struct{}), state: Starting, since: time.Now(),
	}
	go p.own(ctx)
	return p
}

// own is the one goroutine that starts and ends the process. It keeps its thread
// for itself, for the kernel ends the process with the thread that forked it.
func (p *Process) own(ctx context.Context) {
	runtime.LockOSThread()
	relaxTimers()
	noHugePages()
	defer close(p.done)
	var ends []time.Time
	pause := time.Duration(0)
	for ctx.Err() == nil {
		p.set(Starting, nil, nil)
		begun := time.Now()
		life, err := begin(ctx, &p.spec)
		if err == nil {
			p.set(Ready, life, nil)
			err = p.watch(ctx, life)
			life.close()
			if ctx.Err() != nil {
				break
			}
		}
		now := time.Now()
		if now.Sub(begun) > crashWindow {
			pause, ends = 0, nil
		}
		ends = append(ends, now)
		if n := len(ends); n > crashes {
			ends = ends[n-crashes:]
		}
		state := Backoff
		if len(ends) == crashes && now.Sub(ends[0]) < crashWindow || p.spec.Once {
			state, pause = Failed, maxPause
		}
		p.set(state, nil, err)
		p.spec.Log.Error("plugin ended", "error", err, "state", string(state), "again_in", pause)
		if p.spec.Once {
			break
		}
		wait(ctx, pause+rand.N(pause/5+1))
		pause = min(max(minPause, 2*pause), maxPause)
	}
	if ctx.Err() != nil {
		p.set(Stopped, nil, nil)
	}
}

// relaxTimers lets the kernel wake this thread, and the processes it starts, up to
// a millisecond late. Go's runtime looks after itself every 20 microseconds while
// a process works; in a virtual machine each such wake-up is dear, together a
// sixth of what plugins cost. Nothing that plugins do is timed more finely.
func relaxTimers() {
	unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(time.Millisecond), 0, 0, 0) //nolint:errcheck // it is a wish
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// watch returns why the life ended.
func (p *Process) watch(ctx context.Context, life *Life) error {
	tick := time.NewTicker(memoryCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-life.Done():
			return life.end()
		case <-tick.C:
			rss := residentBytes(life.PID())
			if p.spec.MemoryLimit > 0 && rss > p.spec.MemoryLimit {
				life.Kill(fmt.Errorf("it used %d MiB of memory, %d are allowed (plugin_memory_limit)", rss>>20, p.spec.MemoryLimit>>20))
			}
		}
	}
}

func (p *Process) set(state State, life *Life, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != state {
		p.since = time.Now()
	}
	p.state, p.life = state, life
	if life != nil {
		p.starts++
	}
	if err != nil {
		p.lastErr = err
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// errStopped says that a process or an instance was stopped for good.
var errStopped = errors.New("the plugin was stopped")

// Wait gives the present life as soon as there is one.
func (p *Process) Wait(ctx context.Context) (*Life, error) {
	for {
		p.mu.Lock()
		life, state, changed := p.life, p.state, p.changed
		p.mu.Unlock()
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
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Stop ends the process: it asks, and after two seconds it kills. Instances are
// to be stopped before.
func (p *Process) Stop() {
	p.cancel()
	<-p.done
}

// Status tells how the process is doing.
func (p *Process) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{
		Kind: p.spec.Kind, Name: p.spec.Name, State: p.state, Since: p.since,
		Restarts: max(0, p.starts-1), LastError: p.lastErr,
	}
	if p.life != nil {
		s.PID = p.life.PID()
		s.RSS = residentBytes(s.PID)
	}
	return s
}
