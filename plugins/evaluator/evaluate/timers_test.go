package evaluate

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// read makes an evaluator that has just read some alarms, each of a series of its own.
func read(n int, now time.Time) *Evaluator {
	e := New(Options{Interval: time.Minute, Now: func() time.Time { return now }})
	for range n {
		a := &store.Alarm{Alarm: def.Alarm{Rule: &def.ResourceThreshold{Metric: "cpu", Resource: uuid.NewString()}, Enabled: true, Version: 1, ID: uuid.New()}}
		a.Status.Version = 1
		e.putLoaded(a)
	}
	return e
}

// All alarms are due after a start. One whose data come is looked at with the next ones,
// and all others in their turn, each once.
func TestDataBeforeTime(t *testing.T) {
	const alarms = maxLooked + maxLooked/2
	now := time.Now()
	e := read(alarms, now)
	l := &e.lanes[windows]
	last := l.timers.list[alarms-1]
	if n := e.Counters().Waiting; n != alarms {
		t.Errorf("%d of %d alarms wait", n, alarms)
	}
	e.mu.Lock()
	e.mark(last)
	e.mu.Unlock()
	seen := map[*alarm]bool{}
	for first := true; ; first = false {
		list, _ := e.take(l, now)
		if first && !slices.Contains(list, last) {
			t.Error("an alarm whose data came is not among the first")
		}
		if len(list) > maxLooked/4+1 {
			t.Errorf("%d are looked at together", len(list))
		}
		if len(list) == 0 {
			break
		}
		for _, a := range list {
			if seen[a] {
				t.Error("an alarm is looked at twice")
			}
			seen[a] = true
		}
	}
	if len(seen) != alarms || e.Counters().Waiting != 0 {
		t.Errorf("%d of %d are looked at, %d wait", len(seen), alarms, e.Counters().Waiting)
	}
}

// What calls for a look at all while one goes on is not forgotten when that ends.
func TestAllWhileOneIsLookedAt(t *testing.T) {
	now := time.Now()
	e := read(2, now)
	l := &e.lanes[windows]
	list, _ := e.take(l, now)
	open := e.begin(list, now)
	e.advance(&sdk.Advance{}, true)
	for _, o := range open {
		o.dueAt(now.Add(time.Hour).UnixNano())
	}
	e.end(open)
	if again, _ := e.take(l, now); len(again) != 2 {
		t.Errorf("%d of two alarms are looked at again", len(again))
	}
	e.end(open)
	if again, _ := e.take(l, now); len(again) != 0 {
		t.Error("alarms are looked at although nothing calls for it")
	}
	if later, _ := e.take(l, now.Add(2*time.Hour)); len(later) != 2 {
		t.Errorf("%d of two alarms are looked at in time", len(later))
	}
}
