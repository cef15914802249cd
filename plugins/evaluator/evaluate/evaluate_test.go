package evaluate

import (
	"fmt"
	"testing"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

func TestPointsChangeStates(t *testing.T) {
	r := newRig(t)
	a := r.alarm("r1", "")
	later := r.alarm("r2", "") // its series is not there yet
	n := r.shelf.add("r1", "cpu")
	r.start()
	r.shelf.put(n, time.Now(), 100)
	r.awaitState(a.ID, def.Alerting)
	r.shelf.put(n, time.Now(), 10)
	r.awaitState(a.ID, def.OK)
	r.shelf.put(r.shelf.add("r2", "cpu"), time.Now(), 100)
	r.awaitState(later.ID, def.Alerting)
	list, err := r.store.Owed(t.Context(), "t", 0, 10)
	if err != nil || len(list) != 3 {
		t.Fatalf("%d deliveries, %v", len(list), err)
	}
	if want := "Transition to ok due to 1 samples inside threshold, most recent: 10.0"; list[1].Body != want {
		t.Errorf("the second is %q, not %q", list[1].Body, want)
	}
}

func BenchmarkLook(b *testing.B) {
	const alarms = 10_000
	r := newRig(b)
	for i := range alarms {
		resource := fmt.Sprint("r", i)
		r.alarm(resource, "")
		r.shelf.put(r.shelf.add(resource, "cpu"), time.Now(), 10)
	}
	r.start()
	await(b, "all are ok", func() bool { return r.e.Counters().Transitions == alarms })
	list := make([]*alarm, 0, alarms)
	for _, a := range r.e.alarms {
		list = append(list, a)
	}
	b.ResetTimer()
	for b.Loop() {
		r.e.look(b.Context(), list)
	}
	b.ReportMetric(float64(b.N)*alarms/b.Elapsed().Seconds(), "alarms/s")
}
