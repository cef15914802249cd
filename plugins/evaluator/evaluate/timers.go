package evaluate

import (
	"container/heap"
	"math"
	"time"
)

// timers is a heap of alarms by when they are due.
type timers struct{ list []*alarm }

// Len implements heap.Interface.
func (t *timers) Len() int { return len(t.list) }

// Less implements heap.Interface.
func (t *timers) Less(i, j int) bool { return t.list[i].due < t.list[j].due }

// Swap implements heap.Interface.
func (t *timers) Swap(i, j int) {
	t.list[i], t.list[j] = t.list[j], t.list[i]
	t.list[i].place, t.list[j].place = int32(i+1), int32(j+1)
}

// Push implements heap.Interface.
func (t *timers) Push(x any) {
	a := x.(*alarm)
	t.list = append(t.list, a)
	a.place = int32(len(t.list))
}

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	a := t.list[len(t.list)-1]
	t.list[len(t.list)-1] = nil
	t.list = t.list[:len(t.list)-1]
	a.place = 0
	return a
}

// never is a time at which nothing is due.
const never = math.MaxInt64

// set has an alarm looked at, at a time or never, in place of what was set before.
func (t *timers) set(a *alarm, due int64) {
	switch {
	case due == never:
		t.remove(a)
	case a.place == 0:
		a.due = due
		heap.Push(t, a)
	default:
		a.due = due
		heap.Fix(t, int(a.place-1))
	}
}

func (t *timers) remove(a *alarm) {
	if a.place > 0 {
		heap.Remove(t, int(a.place-1))
	}
}

// all has all alarms that depend on data looked at. The mutex is held.
func (e *Evaluator) all(now int64) {
	for _, a := range e.alarms {
		if len(a.leaves) == 0 {
			continue
		}
		if a.place == 0 {
			e.timers.Push(a)
			a.due = now
		}
		a.due = min(a.due, now)
	}
	heap.Init(&e.timers)
	e.ring()
}

// count is how many are due.
func (t *timers) count(now int64) int {
	var from func(i int) int
	from = func(i int) int {
		if i >= len(t.list) || t.list[i].due > now {
			return 0
		}
		return 1 + from(2*i+1) + from(2*i+2)
	}
	return from(0)
}

// maxLooked is how many alarms are looked at together.
const maxLooked = 8192

// idle is the longest time without a look at the timers: clocks may jump.
const idle = time.Second

// clockBack has all alarms looked at: what they wait for is as far away as the clock was
// set back. The mutex is held.
func (e *Evaluator) clockBack(now int64) {
	for _, a := range e.alarms {
		a.repeated, a.seen, a.failing = min(a.repeated, now), min(a.seen, now), min(a.failing, now)
		e.mark(a)
	}
	e.following, e.hearing = min(e.following, now), min(e.hearing, now)
}

// take gives alarms that are to be looked at, or how long to wait for some. Those that data
// call for come before those whose time has come, but for a quarter: after a start all
// are due, and a million takes a minute.
func (e *Evaluator) take(now time.Time) (list []*alarm, wait time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := now.UnixNano(); t < e.last-int64(time.Second) {
		e.clockBack(t)
	}
	e.last = now.UnixNano()
	for most := max(maxLooked-len(e.dirty), maxLooked/4); len(list) < most && len(e.timers.list) > 0 && e.timers.list[0].due <= now.UnixNano(); {
		if a := heap.Pop(&e.timers).(*alarm); !a.isDirty {
			list = append(list, a)
		}
	}
	n := min(len(e.dirty), maxLooked-len(list))
	for _, a := range e.dirty[:n] {
		a.isDirty = false
		if !a.gone {
			e.timers.remove(a) // so that one that is set while it is looked at is seen
			list = append(list, a)
		}
	}
	if e.dirty = e.dirty[n:]; len(e.dirty) == 0 {
		e.dirty = nil
	}
	wait = idle
	if len(e.timers.list) > 0 {
		wait = min(wait, max(time.Millisecond, time.Duration(e.timers.list[0].due-now.UnixNano())))
	}
	return list, wait
}
