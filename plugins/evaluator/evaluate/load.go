package evaluate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// loading is the alarms of the store on their way into memory, which takes seconds if they
// are many: Run begins with it, and meanwhile the API works already.
type loading struct {
	done chan struct{} // closed when all are in memory
	// touched are alarms that were put or removed meanwhile, guarded by the evaluator's
	// mutex: what Load gives of them may be what they were before. Nil when all are in memory.
	touched map[uuid.UUID]struct{}
}

func (l *loading) touch(id uuid.UUID) {
	if l.touched != nil {
		l.touched[id] = struct{}{}
	}
}

// alarmBytes is what an alarm takes with some garbage, measured with a million of thresholds
// of one series each: 500 to 600 stay. Hardly any takes less.
const alarmBytes = 800

// From manyAlarms on memory counts more than time: garbage of gcPercent of what is in use
// waits for the next collection. A million alarms are some 600 MB that stay: with the usual
// 100 % as much again could be garbage.
const (
	manyAlarms = 100_000
	gcPercent  = 50
)

// load takes over all alarms of the store. It may be called again if it fails.
func (e *Evaluator) load(ctx context.Context) error {
	select {
	case <-e.loading.done:
		return nil
	default:
	}
	n, err := e.o.Store.Count(ctx)
	if err == nil {
		err = fits(n, debug.SetMemoryLimit(-1))
	}
	if err != nil {
		return err
	}
	if n >= manyAlarms {
		debug.SetGCPercent(gcPercent)
		defer debug.FreeOSMemory()
	}
	begun := time.Now()
	if err := e.o.Store.Load(ctx, e.putLoaded); err != nil {
		return fmt.Errorf("cannot read the alarms: %w", err)
	}
	e.mu.Lock()
	e.loading.touched = nil
	n = len(e.alarms)
	e.mu.Unlock()
	close(e.loading.done)
	e.o.Log.Info("alarms: all are read", "alarms", strconv.Itoa(n), "took", time.Since(begun).Round(time.Millisecond).String())
	return nil
}

// fits reports that alarms are more than the memory for them, limit, of which the host
// leaves a fifth for what is not Go's. If all were read nevertheless, the host would end the
// process, again and again, and with it the API by which some could be deleted.
func fits(alarms int, limit int64) error {
	need := int64(alarms) * alarmBytes
	if need <= limit {
		return nil
	}
	mib := func(bytes int64) int64 { return (bytes*5/4 + 1<<20 - 1) >> 20 } // with the host's fifth
	return fmt.Errorf("%d alarms take %d MiB of memory, and %d are allowed: set plugin_memory_limit = \"%dMiB\" or more in [agent]; until then none is evaluated",
		alarms, mib(need), mib(limit), (mib(need)+63)/64*64)
}

// putLoaded takes over an alarm as it was stored when loading came to it.
func (e *Evaluator) putLoaded(a *store.Alarm) {
	n := newAlarm(a)
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, touched := e.loading.touched[a.ID]; !touched && e.put(a, n) {
		e.set(n, e.o.Now().UnixNano())
	}
}

// patienceLoading is how long events wait for the alarms before they are given back to the
// host, which has them and tries again.
const patienceLoading = time.Second

var errLoading = errors.New("the alarms are not in memory yet")

// awaitLoaded returns when all alarms are in memory.
func (e *Evaluator) awaitLoaded(ctx context.Context) error {
	select {
	case <-e.loading.done:
		return nil
	default:
	}
	late := time.NewTimer(patienceLoading)
	defer late.Stop()
	select {
	case <-e.loading.done:
		return nil
	case <-late.C:
		return errLoading
	case <-ctx.Done():
		return ctx.Err()
	}
}
