package sdk

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

func builtOf(t *testing.T, samples []Sample, events ...Event) *Batch {
	t.Helper()
	batches, err := Build("i", func(out *Builder) error {
		for _, s := range samples {
			out.Add(s)
		}
		for _, e := range events {
			out.AddEvent(e)
		}
		return nil
	})
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, error %v", len(batches), err)
	}
	return batches[0]
}

// Rows and events that stay are what they were, ids included, however often some
// are taken out.
func TestKeep(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		samples, events := make([]Sample, 1+r.IntN(60)), make([]Event, r.IntN(30))
		for i := range samples {
			samples[i] = anySample(r)
			samples[i].Volume = float64(i)
		}
		for i := range events {
			events[i] = anyEvent(r)
		}
		b := builtOf(t, samples, events...)
		want := readAll(b)
		for range 4 {
			var kept []Sample
			b.Keep(func(i int) bool {
				keep := r.IntN(4) > 0
				if keep {
					kept = append(kept, want.Samples[i])
				}
				return keep
			})
			var keptEvents []Event
			b.KeepEvents(func(e int) bool {
				keep := r.IntN(4) > 0
				if keep {
					keptEvents = append(keptEvents, want.Events[e])
				}
				return keep
			})
			want.Samples, want.Events = kept, keptEvents
			if got := readAll(b); !equalNaN(got, want) {
				t.Fatalf("got  %#v\nwant %#v", got, want)
			}
			b = reencode(t, b)
		}
	}
}

func TestMapMetadata(t *testing.T) {
	b := builtOf(t, []Sample{
		{Name: "m", ResourceID: "a", Metadata: Metadata{"zone": "z", "n": 1}},
		{Name: "m", ResourceID: "b", Metadata: Metadata{"zone": "z", "n": 1}},
		{Name: "m", ResourceID: "c"},
	})
	strings := len(b.w.Strings)
	asked := 0
	err := b.MapMetadata(func(m Metadata) Metadata {
		asked++
		if m == nil {
			return Metadata{"new": true}
		}
		return Metadata{"zone": m["zone"], "n": m["n"].(int64) + 1}
	})
	if err != nil || asked != 2 {
		t.Fatalf("asked %d times, error %v", asked, err)
	}
	check := func(b *Batch) {
		t.Helper()
		want := []Metadata{{"zone": "z", "n": int64(2)}, {"zone": "z", "n": int64(2)}, {"new": true}}
		for i, s := range b.Samples() {
			if !reflect.DeepEqual(s.Metadata, want[i]) {
				t.Errorf("row %d has %v", i, s.Metadata)
			}
		}
	}
	check(b)
	check(reencode(t, b))
	if n := len(b.w.Strings) - strings; n != 3 { // 2, new, true
		t.Errorf("%d strings were added", n)
	}
	if err := b.MapMetadata(func(m Metadata) Metadata {
		if m == nil {
			return m
		}
		return Metadata{"impossible": make(chan int)}
	}); err == nil {
		t.Error("no error")
	}
	check(b) // as if nothing had been tried
	if err := b.MapMetadata(func(Metadata) Metadata { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, s := range reencode(t, b).Samples() {
		if s.Metadata != nil {
			t.Errorf("left: %v", s.Metadata)
		}
	}
}

// Replacing every resource of a large batch leaves one that can be encoded.
func TestSetResourceOfMany(t *testing.T) {
	var samples []Sample
	for i := range 1500 {
		samples = append(samples, Sample{Name: "m", ResourceID: fmt.Sprint("r", i),
			Metadata: Metadata{"host": "compute-1", "display_name": fmt.Sprint("vm-", i), "vcpus": 4}})
	}
	b := builtOf(t, samples)
	small, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for r := range b.Resources() {
		to := b.Resource(r)
		m := Metadata{"region": "north"}
		for k, v := range to.Metadata {
			m[k] = v
		}
		to.ID, to.Metadata = "new-"+to.ID, m
		if err := b.SetResource(r, to); err != nil {
			t.Fatal(err)
		}
	}
	large, err := b.Encode()
	if err != nil || len(large) > 3*len(small) {
		t.Errorf("%d bytes became %d, error %v", len(small), len(large), err)
	}
	for i, s := range reencode(t, b).Samples() {
		want := Metadata{"region": "north", "host": "compute-1", "display_name": fmt.Sprint("vm-", i), "vcpus": int64(4)}
		if s.ResourceID != fmt.Sprint("new-r", i) || !reflect.DeepEqual(s.Metadata, want) {
			t.Fatalf("row %d is %+v", i, s)
		}
	}
	if err := b.SetResource(0, Resource{ID: "bare"}); err != nil || b.Resource(0).Metadata != nil {
		t.Errorf("error %v, metadata %v", err, b.Resource(0).Metadata)
	}
	if b.SetResource(1, Resource{ID: "x", Metadata: Metadata{"f": func() {}}}) == nil || b.ResourceID(1) != "new-r1" {
		t.Error("a resource that cannot be was taken, or left its traces")
	}
}

func TestEditMetersAndTimes(t *testing.T) {
	b := builtOf(t, []Sample{
		{Name: "cpu", Type: Cumulative, Unit: "ns", ResourceID: "a", Timestamp: time.Unix(1, 0)},
		{Name: "memory", ResourceID: "a", Timestamp: time.Unix(2, 0)},
	})
	if b.Monotonic(0) != 0 {
		t.Fatal("a monotonic time came from nowhere")
	}
	b.EditMeter(b.MeterOf(0), Meter{"cpu_util", Gauge, "%"})
	b.SetMeterOf(1, b.AddMeter(Meter{"memory.usage", Gauge, "\xff"}))
	b.SetTime(1, time.Unix(5, 6), 7)
	b.SetVolume(1, 8)
	b = reencode(t, b)
	one, two := b.Sample(0), b.Sample(1)
	if one.Name != "cpu_util" || one.Type != Gauge || one.Unit != "%" || one.Monotonic != 0 {
		t.Errorf("got %+v", one)
	}
	if two.Name != "memory.usage" || two.Unit != "\uFFFD" || two.Monotonic != 7 || two.Volume != 8 || two.Timestamp != time.Unix(5, 6).UTC() {
		t.Errorf("got %+v", two)
	}
}
