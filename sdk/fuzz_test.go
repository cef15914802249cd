package sdk

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
)

// Bytes of a stranger never panic; what decodes can be read, edited, encoded and
// decoded again.
func FuzzDecodeBatch(f *testing.F) {
	w := wireBatch(f)
	seed := func(change func()) {
		change()
		data, err := proto.Marshal(w)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	seed(func() {})
	seed(func() { w.Row = []uint32{7, math.MaxUint32} })
	seed(func() { w.SampleId = []uint32{0, 1} })
	seed(func() { w.Timestamp = []int64{math.MaxInt64, math.MaxInt64} })
	seed(func() { w.MetadataJson[0] = 1; w.Monotonic = nil })
	seed(func() { w.EventRaw = [][]byte{[]byte("{}")} })
	seed(func() { w.Id = bytes.Repeat([]byte{255}, 16) })
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := DecodeBatch(data)
		if err != nil {
			return
		}
		before := readAll(b)
		again := reencode(t, b)
		if got := readAll(again); !equalNaN(got, before) {
			t.Fatalf("got  %#v\nwant %#v", got, before)
		}
		edit(t, b)
		after := readAll(b)
		if got := readAll(reencode(t, b)); !equalNaN(got, after) {
			t.Fatalf("after edits\ngot  %#v\nwant %#v", got, after)
		}
		// A row that stays keeps its id.
		kept := map[string]bool{}
		for _, s := range before.Samples {
			kept[s.ID] = true
		}
		for _, s := range after.Samples {
			if !kept[s.ID] {
				t.Fatalf("id %q is new", s.ID)
			}
		}
	})
}

type everything struct {
	Instance string
	Sequence uint64
	ID       [16]byte
	Samples  []Sample
	Events   []Event
}

// readAll reads a batch through all accessors.
func readAll(b *Batch) everything {
	all := everything{Instance: b.Instance(), Sequence: b.Sequence(), ID: b.ID()}
	for i, s := range b.Samples() {
		if s.Volume != b.Volume(i) && !math.IsNaN(s.Volume) || s.Timestamp.UnixNano() != b.UnixNano(i) || s.ResourceID != b.ResourceID(b.ResourceOf(i)) {
			panic("BUG: accessors differ")
		}
		all.Samples = append(all.Samples, s)
	}
	for r := range b.Resources() {
		b.Resource(r)
	}
	for e := range b.Events() {
		ev := b.Event(e)
		if ev.EventType != b.EventType(e) {
			panic("BUG: accessors differ")
		}
		all.Events = append(all.Events, ev)
	}
	return all
}

func edit(t *testing.T, b *Batch) {
	n := 0
	b.Keep(func(int) bool { n++; return n%3 != 0 })
	b.KeepEvents(func(e int) bool { return e%2 == 0 })
	if err := b.MapMetadata(func(m Metadata) Metadata {
		changed := Metadata{"added": 1}
		for k, v := range m {
			changed["x."+k] = v
		}
		return changed
	}); err != nil {
		t.Fatal(err)
	}
	for r := range b.Resources() {
		if r > 20 {
			break
		}
		to := b.Resource(r)
		to.ID += "!"
		if err := b.SetResource(r, to); err != nil {
			t.Fatal(err)
		}
	}
	for m := range b.Meters() {
		meter := b.Meter(m)
		meter.Name += ".rate"
		b.EditMeter(m, meter)
	}
	extra := b.AddMeter(Meter{"extra", Gauge, "%"})
	for i := range b.Len() {
		b.SetMeterOf(i, extra)
		b.SetVolume(i, b.Volume(i)+1)
		b.SetTime(i, b.Time(i).Add(time.Second), b.Monotonic(i)+1)
	}
}

func reencode(t *testing.T, b *Batch) *Batch {
	t.Helper()
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeBatch(data)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// equalNaN compares where NaN equals itself.
func equalNaN(a, b everything) bool {
	for _, all := range []*everything{&a, &b} {
		for i := range all.Samples {
			if math.IsNaN(all.Samples[i].Volume) {
				all.Samples[i].Volume = 4711
			}
		}
		for _, e := range all.Events {
			for i, t := range e.Traits {
				if v, ok := t.Value.(float64); ok && math.IsNaN(v) {
					e.Traits[i].Value = "NaN"
				}
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

// Options cross the wire as they are.
func FuzzTraitText(f *testing.F) {
	f.Add(uint8(1), "12")
	f.Add(uint8(2), "NaN")
	f.Add(uint8(3), "2026-01-02T03:04:05.5+01:00")
	f.Fuzz(func(t *testing.T, typ uint8, text string) {
		trait := decodeTrait("n", TraitType(typ), text)
		again, err := traitText(trait)
		if err != nil {
			t.Fatal(err)
		}
		back := decodeTrait("n", trait.Type, again)
		if v, ok := back.Value.(float64); ok && math.IsNaN(v) {
			return
		}
		if back != trait {
			t.Fatalf("got %#v, want %#v", back, trait)
		}
	})
}
