package aggregator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/sdk"
)

// What an event says of a resource the next sample corrects, also one that says what all
// samples before said.
func TestSamplesCorrectWhatEventsSay(t *testing.T) {
	r := newRig(t, "generic", 1000)
	for _, id := range []string{"vm", "a/b"} {
		for i := range 3 {
			r.publish(at(i, id, "cpu", 1, "host", "h1"))
			if err := r.in.publish(t.Context(), r.build(func(out *sdk.Builder) {
				out.AddEvent(sdk.Event{MessageID: "m", EventType: "instance.update", Generated: time.Unix(1_700_000_000, 0), Traits: []sdk.Trait{
					{Name: "instance_id", Type: sdk.Text, Value: id}, {Name: "host", Type: sdk.Text, Value: "h2"},
				}})
			})); err != nil {
				t.Fatal(err)
			}
			if got := r.resource(definitions.ResourceID(id)).Attributes["host"]; got != "h2" {
				t.Errorf("after the event the host of %s is %v", id, got)
			}
			r.publish(at(10+i, id, "cpu", 1, "host", "h1"))
			if got := r.resource(definitions.ResourceID(id)).Attributes["host"]; got != "h1" {
				t.Errorf("after the next sample the host of %s is %v", id, got)
			}
		}
	}
	// Then samples cost the index nothing again.
	before := r.x.ensures
	r.publish(at(20, "vm", "cpu", 1, "host", "h1"))
	if r.x.ensures != before {
		t.Error("the index is asked again")
	}
}

// More changes than are remembered may be of any resource.
func TestManyChanges(t *testing.T) {
	r := newRig(t, "generic", 1000)
	r.publish(at(0, "vm", "cpu", 1, "host", "h1"))
	vm := r.resource("vm")
	vm.Attributes["host"] = "h2"
	r.in.known.change(vm.ID)
	for range maxChanged {
		r.in.known.change(uuid.New())
	}
	if n := len(r.in.known.changed); n > maxChanged {
		t.Errorf("%d changes are remembered", n)
	}
	r.publish(at(1, "vm", "cpu", 1, "host", "h1"))
	if vm.Attributes["host"] != "h1" {
		t.Errorf("its host is %v", vm.Attributes["host"])
	}
}

// What somebody changes by the API the next sample corrects, too.
func TestSamplesCorrectWhatTheAPIChanges(t *testing.T) {
	s := start(t, "")
	publish := func() {
		t.Helper()
		if err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) {
			out.On(sdk.Resource{ID: "vm", Metadata: sdk.Metadata{"host": "h1"}}).Gauge("cpu_util", "%", 1)
		})); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	id, err := index.ResourceID("vm", "admin")
	if err != nil {
		t.Fatal(err)
	}
	host := func() any {
		t.Helper()
		r, err := s.index.Resource(t.Context(), "instance", id)
		if err != nil {
			t.Fatal(err)
		}
		return r.Attributes["host"]
	}
	first := host()
	if _, err := s.index.ChangeResource(t.Context(), "instance", id, index.Change{Attributes: map[string]any{"host": "h2"}}); err != nil {
		t.Fatal(err)
	}
	if got := host(); got != "h2" || got == first {
		t.Fatalf("the host is %v", got)
	}
	publish()
	if got := host(); got != first {
		t.Errorf("the host is %v instead of %v", got, first)
	}
}

// All that belongs to an instance ends with it, however much it is.
func TestEventsEndManyResources(t *testing.T) {
	r := newRig(t, "generic", 100_000)
	const disks = 2*rows + 10
	var samples []sdk.Sample
	for n := range disks {
		samples = append(samples, at(1, fmt.Sprintf("vm-disk-%d", n), "disk.read", 1, "instance_id", "vm"))
	}
	for part := range slices.Chunk(samples, 500) {
		r.publish(part...)
	}
	if err := r.in.publish(t.Context(), r.build(func(out *sdk.Builder) {
		out.AddEvent(sdk.Event{MessageID: "m", EventType: "instance.delete", Generated: time.Unix(1_700_000_009, 0), Traits: []sdk.Trait{{Name: "instance_id", Type: sdk.Text, Value: "vm"}}})
	})); err != nil {
		t.Fatal(err)
	}
	ended := 0
	for _, disk := range r.x.resources {
		if disk.Ended != nil {
			ended++
		}
	}
	if ended != disks {
		t.Errorf("%d of %d ended", ended, disks)
	}
}

// A resource of somebody else that has the same text is another one, and its samples are
// not mixed with those of ours.
func TestQueryTellsCreatorsApart(t *testing.T) {
	s := start(t, "")
	now := time.Now().Truncate(time.Minute)
	if err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) {
		out.At(now)
		out.On(sdk.Resource{ID: "vm"}).Gauge("cpu_util", "u", 1)
	})); err != nil {
		t.Fatal(err)
	}
	id, err := index.ResourceID("vm", "bob")
	if err != nil {
		t.Fatal(err)
	}
	ensured, err := s.index.EnsureResources(t.Context(), []index.Wanted{{
		Resource: index.Resource{ID: id, Original: "vm", Type: "generic", Creator: "bob"}, Metrics: []index.NewMetric{{Name: "cpu_util", Unit: "u", Policy: "medium"}},
	}})
	if err != nil || ensured[0].Err != nil {
		t.Fatal(err, ensured[0].Err)
	}
	b := s.intake.batch
	b.Reset()
	b.Metric(ensured[0].Entries[0].Ref, ensured[0].Entries[0].PolicyID)
	b.Point(now.UnixNano(), 2)
	if _, err := s.engine.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	f := func(want string, q sdk.Query) {
		t.Helper()
		q.Meters, q.From, q.To = []string{"cpu_util"}, now, now.Add(time.Hour)
		if got := answers(t, s, now, q); got != want {
			t.Errorf("%v:\n%s\ninstead of\n%s", q.Resources, got, want)
		}
	}
	ours, others := "0s vm cpu_util 1", "0s "+id.String()+" cpu_util 2"
	f(ours, sdk.Query{Resources: []string{"vm"}})
	f(others, sdk.Query{Resources: []string{id.String()}})
	f(others+"\n"+ours, sdk.Query{})
	f("", sdk.Query{Resources: []string{strings.Repeat("x", 300)}})
}

// A question about everything there is must not need all the memory there is.
func TestQueryOfTooManyMetrics(t *testing.T) {
	s := start(t, "")
	var wanted []index.Wanted
	for n := range maxMetrics/1000 + 1 {
		id, err := index.ResourceID(fmt.Sprint("r", n), "admin")
		if err != nil {
			t.Fatal(err)
		}
		w := index.Wanted{Resource: index.Resource{ID: id, Original: fmt.Sprint("r", n), Type: "generic", Creator: "admin"}}
		for m := range 1000 {
			w.Metrics = append(w.Metrics, index.NewMetric{Name: fmt.Sprint("m", m), Policy: "low"})
		}
		wanted = append(wanted, w)
	}
	if _, err := s.index.EnsureResources(t.Context(), wanted); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	var texts []string
	for _, w := range wanted {
		texts = append(texts, w.Resource.Original)
	}
	for _, q := range []sdk.Query{{}, {Resources: texts}} {
		q.From, q.To = now.Add(-time.Hour), now
		if got := answers(t, s, now, q); got != "error: the question is about more than 20000 metrics: name meters, or fewer resources" {
			t.Errorf("%.200s", got)
		}
	}
	if got := answers(t, s, now, sdk.Query{Meters: []string{"m1"}, From: now.Add(-time.Hour), To: now}); got != "" {
		t.Error(got)
	}
}
