package evaluate

import (
	"container/heap"
	"context"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// lane is alarms that are looked at one batch after the other. There are several, for what
// those of one wait for must keep those of others from nothing.
type lane struct {
	dirty  []*alarm // to be looked at now
	timers timers
	wake   chan struct{} // has an element when there is something new
	most   int           // how many are looked at together
}

// The lanes.
const (
	// windows is for what one question answers for all: most thresholds, silence, events.
	windows = iota
	// expressions is for what the storage is asked one by one.
	expressions
	// queries is for PromQL, which somebody else may answer, or not.
	queries
	lanes
)

// maxLooked is how many alarms are looked at together where that costs one question, and
// fewLooked where it costs one each: what is found is written when all are judged.
const (
	maxLooked = 8192
	fewLooked = 16
)

// laneOf is where alarms with some leaves belong.
func laneOf(leaves []leaf) uint8 {
	l := windows
	for i := range leaves {
		switch leaves[i].rule.(type) {
		case *def.ResourceThreshold:
		case *def.Prometheus:
			l = queries
		default:
			l = max(l, expressions)
		}
	}
	return uint8(l)
}

func (e *Evaluator) initLanes() {
	for i := range e.lanes {
		e.lanes[i] = lane{wake: make(chan struct{}, 1), most: fewLooked}
	}
	e.lanes[windows].most = maxLooked
}

// work looks at the alarms of a lane until ctx ends. Between two looks it does what else is
// to be done.
func (e *Evaluator) work(ctx context.Context, l *lane, besides func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		list, next := e.take(l, e.o.Now())
		if len(list) > 0 {
			e.look(ctx, list)
			continue
		}
		besides()
		timer.Reset(next)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// ring makes the lane's worker look at what is dirty.
func (l *lane) ring() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (e *Evaluator) ring() {
	for i := range e.lanes {
		e.lanes[i].ring()
	}
}

// set has an alarm looked at, at a time or never, in place of what was set before. The
// mutex is held, as it is for those below.
func (e *Evaluator) set(a *alarm, due int64) { e.lanes[a.lane].timers.set(a, due) }

// mark has an alarm looked at soon.
func (e *Evaluator) mark(a *alarm) {
	if !a.isDirty && !a.gone {
		a.isDirty = true
		l := &e.lanes[a.lane]
		l.dirty = append(l.dirty, a)
	}
}

// all has all alarms that depend on data looked at.
func (e *Evaluator) all(now int64) {
	for _, a := range e.alarms {
		if len(a.leaves) == 0 {
			continue
		}
		if a.place == 0 {
			e.lanes[a.lane].timers.Push(a)
			a.due = now
		}
		a.due = min(a.due, now)
	}
	for i := range e.lanes {
		heap.Init(&e.lanes[i].timers)
	}
	e.ring()
}

// idle is the longest time without a look at the timers: clocks may jump.
const idle = time.Second

// clockBack has all alarms looked at: what they wait for is as far away as the clock was
// set back. The mutex is held.
func (e *Evaluator) clockBack(now int64) {
	for _, a := range e.alarms {
		a.repeated, a.seen, a.failing, a.rest = min(a.repeated, now), min(a.seen, now), min(a.failing, now), 0
		e.mark(a)
	}
	e.following, e.hearing = min(e.following, now), min(e.hearing, now)
}

// take gives alarms that are to be looked at, or how long to wait for some. Of those whose
// time has come it gives few at once: after a start these are all, perhaps a million, and
// those that data call for are not to wait for them.
func (e *Evaluator) take(l *lane, now time.Time) (list []*alarm, wait time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := now.UnixNano(); t < e.last-int64(time.Second) {
		e.clockBack(t)
	}
	e.last = now.UnixNano()
	for len(list) < l.most/4 && len(l.timers.list) > 0 && l.timers.list[0].due <= now.UnixNano() {
		if a := heap.Pop(&l.timers).(*alarm); !a.isDirty {
			list = append(list, a)
		}
	}
	n := min(len(l.dirty), l.most-len(list))
	for _, a := range l.dirty[:n] {
		a.isDirty = false
		switch {
		case a.gone:
		case a.rest > now.UnixNano():
			if a.place == 0 || a.due > a.rest {
				l.timers.set(a, a.rest)
			}
		default:
			l.timers.remove(a) // so that one that is set while it is looked at is seen
			list = append(list, a)
		}
	}
	if l.dirty = l.dirty[n:]; len(l.dirty) == 0 {
		l.dirty = nil
	}
	wait = idle
	if len(l.dirty) > 0 {
		wait = 0
	} else if len(l.timers.list) > 0 {
		wait = min(wait, max(time.Millisecond, time.Duration(l.timers.list[0].due-now.UnixNano())))
	}
	return list, wait
}
