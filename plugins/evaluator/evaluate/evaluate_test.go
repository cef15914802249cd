package evaluate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
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

// TestWhoWaitsForEvents compares which alarms an event is found for with a comparison of
// all.
func TestWhoWaitsForEvents(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	one := func(list ...string) string { return list[random.IntN(len(list))] }
	e := &Evaluator{alarms: map[uuid.UUID]*alarm{}}
	e.index.init()
	e.events.init()
	var all []*alarm
	owners := map[*alarm]string{}
	for range 200 {
		var query []string
		for range random.IntN(3) {
			query = append(query, fmt.Sprintf(`{"field": %q, "op": %q, "type": %q, "value": %q}`, one("traits.a", "traits.b", "event_type"), one("eq", "ne", "le"), one("", "string", "integer"), one("1", "2", "10")))
		}
		rule, err := def.ReadRule("event", fmt.Appendf(nil, `{"event_type": %q, "query": [%s]}`, one("*", "x", "y", "x*"), strings.Join(query, ", ")))
		if err != nil {
			continue // such as an event type that is no integer
		}
		a := &store.Alarm{Alarm: def.Alarm{Rule: rule, Enabled: true, ID: uuid.New(), Project: one("", "p")}}
		e.Put(a)
		if random.IntN(4) == 0 {
			e.Remove(a.ID)
			continue
		}
		all = append(all, e.alarms[a.ID])
		owners[e.alarms[a.ID]] = a.Project
	}
	found := 0
	for range 2000 {
		event := &sdk.Event{EventType: one("x", "y", "xy", "z")}
		project := one("", "p")
		if project != "" {
			event.Traits = append(event.Traits, sdk.Trait{Name: "project_id", Type: sdk.Text, Value: project})
		}
		for range random.IntN(5) {
			value := []any{"1", "2", int64(1), int64(10), 2.0, ""}[random.IntN(6)]
			event.Traits = append(event.Traits, sdk.Trait{Name: one("a", "b", "c"), Value: value})
		}
		got := map[*alarm]int{}
		for _, a := range e.waitingFor(&judge.Event{Event: event}) {
			got[a]++
			found++
		}
		for _, a := range all {
			want := 0
			if owners[a] == project && a.matcher.Matches(&judge.Event{Event: event}) {
				want = 1
			}
			if got[a] != want {
				t.Fatalf("%+v is found %d times, not %d, for %+v", event, got[a], want, a.rule)
			}
		}
	}
	if found < 2000 {
		t.Errorf("only %d were found", found)
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
