package message

import (
	"reflect"
	"testing"

	"github.com/nephoscope/nepho/sdk"
)

func TestSplit(t *testing.T) {
	samples, events := exampleSamples(), exampleEvents()
	samples[0].ID, samples[3].ID = "", "" // ids that derive from the batch's
	samples = append(samples, samples[0]) // shares all tables with the first
	whole := build(t, samples, events)
	whole.Keep(func(i int) bool { return i != 1 }) // rows that don't number themselves
	s, err := NewSplitter(whole)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[[16]byte]bool{}
	f := func(p Part) {
		t.Helper()
		data, err := s.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		part, err := sdk.DecodeBatch(data)
		if err != nil {
			t.Fatalf("%+v is no batch: %v", p, err)
		}
		if part.Len() != len(p.Rows) || part.Events() != len(p.Events) {
			t.Fatalf("%+v: got %d samples and %d events", p, part.Len(), part.Events())
		}
		ids[part.ID()] = true
		for n, i := range p.Rows {
			if got, want := part.Sample(n), whole.Sample(i); !reflect.DeepEqual(got, want) {
				t.Errorf("%+v: sample %d:\n got %+v\nwant %+v", p, n, got, want)
			}
		}
		for n, e := range p.Events {
			if got, want := part.Event(n), whole.Event(e); !reflect.DeepEqual(got, want) {
				t.Errorf("%+v: event %d:\n got %+v\nwant %+v", p, n, got, want)
			}
		}
		if len(p.Rows) == 1 && (part.Resources() != 1 || part.Meters() != 1) {
			t.Errorf("%+v: %d resources and %d meters for one sample", p, part.Resources(), part.Meters())
		}
	}
	f(Part{Rows: []int{0, 1, 2, 3, 4}, Events: []int{0, 1}})
	f(Part{Rows: []int{4, 0}})
	f(Part{})

	clear(ids)
	f(Part{Rows: []int{0, 4}})
	f(Part{Rows: []int{1}, Events: []int{1}})
	f(Part{Rows: []int{2, 3}})
	f(Part{Events: []int{0}})
	if len(ids) != 4 {
		t.Errorf("four parts have %d ids", len(ids))
	}
}
