package evaluate

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// BenchmarkEventsOfNone gives events with 13 traits, as they are decoded, to 1,000 event
// alarms that they are no reason for: 950 about an instance each, 25 about a state, 25
// about a number, which each event is compared with.
func BenchmarkEventsOfNone(b *testing.B) {
	const size = 100
	r := newRig(b)
	for i := range 1000 {
		rule := fmt.Sprintf(`{"event_type": "compute.instance.update", "query": [{"field": "traits.instance_id", "value": "i%d"}]}`, i)
		switch {
		case i < 25:
			rule = fmt.Sprintf(`{"event_type": "compute.instance.*", "query": [{"field": "traits.state", "value": "error %d"}]}`, i)
		case i < 50:
			rule = fmt.Sprintf(`{"event_type": "compute.instance.*", "query": [{"field": "traits.memory_mb", "type": "integer", "op": "gt", "value": "%d"}]}`, 1_000_000+i)
		}
		p, err := def.Read([]byte(`{"name": "a", "type": "event", "event_rule": ` + rule + `}`))
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
	fill := func(out *sdk.Builder) error {
		for i := range size {
			e := sdk.Event{MessageID: uuid.NewString(), EventType: "compute.instance.update", Generated: time.Now(), Traits: []sdk.Trait{
				{Name: "project_id", Type: sdk.Text, Value: "p"}, {Name: "instance_id", Type: sdk.Text, Value: uuid.NewString()},
				{Name: "state", Type: sdk.Text, Value: "active"}, {Name: "memory_mb", Type: sdk.Integer, Value: int64(8192)}, {Name: "launched_at", Type: sdk.Datetime, Value: time.Now()},
			}}
			for n := len(e.Traits); n < 13; n++ {
				e.Traits = append(e.Traits, sdk.Trait{Name: fmt.Sprint("trait_", n), Type: sdk.Text, Value: fmt.Sprint("value ", i)})
			}
			out.AddEvent(e)
		}
		return nil
	}
	batches, err := sdk.Build("bench", fill)
	if err != nil || len(batches) != 1 {
		b.Fatalf("%d batches, %v", len(batches), err)
	}
	b.ReportAllocs()
	for b.Loop() {
		events := make([]sdk.Event, size)
		for i := range events {
			events[i] = batches[0].Event(i)
		}
		if err := r.e.Events(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "events/s")
}
