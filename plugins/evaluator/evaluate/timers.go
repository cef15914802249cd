package evaluate

import (
	"container/heap"
	"math"
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
