package evaluate

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// BenchmarkEvents gives events to 1,000 event alarms, each of which waits for those of an
// instance. One event in a hundred raises one; the others match none.
func BenchmarkEvents(b *testing.B) {
	const alarms, size = 1000, 100
	for _, kind := range []struct{ name, eventType string }{{"type", "compute.instance.update"}, {"pattern", "compute.instance.*"}} {
		b.Run(kind.name, func(b *testing.B) {
			r := newRig(b)
			for i := range alarms {
				p, err := def.Read(fmt.Appendf(nil, `{"name": "a", "type": "event", "repeat_actions": true, "event_rule": {"event_type": %q, "query": [{"field": "traits.instance_id", "value": "i%d"}]}}`, kind.eventType, i))
				if err != nil {
					b.Fatal(err)
				}
				a := &store.Alarm{Alarm: p.Alarm}
				a.ID, a.Project, a.Changed = uuid.New(), "p", time.Now()
				if err := r.store.Create(b.Context(), a, store.Limits{Project: -1, User: -1}, nil); err != nil {
					b.Fatal(err)
				}
			}
			r.start()
			events := make([]sdk.Event, size)
			for i := range events {
				id := "none"
				if i == 0 {
					id = "i7"
				}
				events[i] = sdk.Event{MessageID: uuid.NewString(), EventType: "compute.instance.update", Generated: time.Now(), Traits: []sdk.Trait{
					{Name: "project_id", Type: sdk.Text, Value: "p"}, {Name: "instance_id", Type: sdk.Text, Value: id},
				}}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if err := r.e.Events(b.Context(), events); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// many gives alarms on series of their own, as they are read from the store.
func many(b *testing.B, n int) func(yield func(*store.Alarm)) {
	return func(yield func(*store.Alarm)) {
		for i := range n {
			rule, err := def.ReadRule("gnocchi_resources_threshold", fmt.Appendf(nil, `{"metric": "cpu", "resource_id": %q, "resource_type": "instance", "threshold": 80, "comparison_operator": "gt", "aggregation_method": "mean", "granularity": 60, "evaluation_periods": 1}`, uuid.New()))
			if err != nil {
				b.Fatal(err)
			}
			a := &store.Alarm{Alarm: def.Alarm{Name: fmt.Sprint("alarm ", i), Rule: rule, Enabled: true}}
			a.ID, a.Alarm.Version, a.Status.Version, a.Admin = uuid.New(), 1, 1, true
			yield(a)
		}
	}
}

// BenchmarkHeld reports the memory of an alarm that is held, with its series known and a
// timer set.
func BenchmarkHeld(b *testing.B) {
	const alarms = 1_000_000
	for b.Loop() {
		r := newRig(b)
		e := New(Options{Store: r.store, Series: r.shelf, Interval: time.Minute})
		heap := func() uint64 {
			runtime.GC()
			debug.FreeOSMemory()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := heap()
		many(b, alarms)(e.Put)
		e.lanes[windows].dirty = nil
		number := uint64(0)
		for _, a := range e.alarms {
			number++
			a.isDirty = false
			e.index.found(a, &a.leaves[0], number)
			e.set(a, int64(number))
		}
		b.ReportMetric(float64(heap()-before)/alarms, "B/alarm")
		runtime.KeepAlive(e)
	}
}

// BenchmarkStart reads 100,000 alarms from their database.
func BenchmarkStart(b *testing.B) {
	const alarms = 100_000
	r := newRig(b)
	work := make(chan *store.Alarm)
	done := make(chan error)
	for range 256 {
		go func() {
			var err error
			for a := range work {
				if err == nil {
					err = r.store.Create(b.Context(), a, store.Limits{Project: -1, User: -1}, nil)
				}
			}
			done <- err
		}()
	}
	many(b, alarms)(func(a *store.Alarm) { work <- a })
	close(work)
	for range 256 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		e := New(Options{Store: r.store, Series: r.shelf, Interval: time.Minute})
		if err := e.load(b.Context()); err != nil || len(e.alarms) != alarms {
			b.Fatalf("%d alarms, %v", len(e.alarms), err)
		}
	}
	b.ReportMetric(float64(b.N)*alarms/b.Elapsed().Seconds(), "alarms/s")
}
