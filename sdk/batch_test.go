package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nephoscope/nepho/sdk/wire"
)

// What is put into a builder comes out of the decoded batches, whatever it is.
func TestRoundTripOfAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		samples, events := make([]Sample, r.IntN(200)), make([]Event, r.IntN(20))
		for i := range samples {
			samples[i] = anySample(r)
		}
		for i := range events {
			events[i] = anyEvent(r)
		}
		batches, err := Build("i", func(out *Builder) error {
			for _, s := range samples {
				out.Add(s)
			}
			for _, e := range events {
				out.AddEvent(e)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var gotSamples []Sample
		var gotEvents []Event
		ids := map[string]bool{}
		for _, b := range batches {
			for i, s := range b.Samples() {
				if ids[s.ID] || b.SampleID(i) != s.ID {
					t.Errorf("id %q of row %d is not unique or unstable", s.ID, i)
				}
				ids[s.ID] = true
				gotSamples = append(gotSamples, s)
			}
			for e := range b.Events() {
				gotEvents = append(gotEvents, b.Event(e))
			}
		}
		if len(gotSamples) != len(samples) || len(gotEvents) != len(events) {
			t.Fatalf("%d samples and %d events came of %d and %d", len(gotSamples), len(gotEvents), len(samples), len(events))
		}
		for i := range samples {
			sameSample(t, gotSamples[i], samples[i])
		}
		for i := range events {
			sameEvent(t, gotEvents[i], events[i])
		}
	}
}

func sameSample(t *testing.T, got, want Sample) {
	t.Helper()
	if math.Float64bits(got.Volume) != math.Float64bits(want.Volume) {
		t.Errorf("volume %v instead of %v", got.Volume, want.Volume)
	}
	if want.ID == "" {
		want.ID = got.ID
	}
	got.Volume, want.Volume = 0, 0
	for _, s := range []*string{&want.ID, &want.Name, &want.Unit, &want.ResourceID, &want.ProjectID, &want.UserID, &want.Source} {
		*s = strings.ToValidUTF8(*s, "\uFFFD")
	}
	var metadata Metadata
	for k, v := range want.Metadata {
		if metadata == nil {
			metadata = Metadata{}
		}
		metadata[k] = wired(v)
	}
	want.Metadata = metadata
	want.Timestamp = want.Timestamp.UTC()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

func sameEvent(t *testing.T, got, want Event) {
	t.Helper()
	want.Generated = want.Generated.UTC()
	// NaN differs from itself; as text it does not.
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

// wired is what a metadata value becomes on its way: what JSON makes of it, with
// whole numbers as int64.
func wired(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ToValidUTF8(v, "\uFFFD")
	case int:
		return int64(v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
		if v == math.Trunc(v) && math.Abs(v) < 1<<63 {
			return int64(v)
		}
	case []any, map[string]any:
		data, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		var back any
		if err := json.Unmarshal(data, &back); err != nil {
			panic(err)
		}
		return back
	}
	return v
}

var texts = []string{"", "cpu", "disk.read.bytes", "Zürich", "日本語", "\xff\xfe", "a\xc3", "\x00", "null", "3", "\u2028\"\\", strings.Repeat("x", 300)}

func anyText(r *rand.Rand) string {
	if r.IntN(4) == 0 {
		return fmt.Sprint("text-", r.IntN(50))
	}
	return texts[r.IntN(len(texts))]
}

func someText(r *rand.Rand) string { return anyText(r) + "." }

func anyTime(r *rand.Rand) time.Time {
	switch r.IntN(5) {
	case 0:
		return time.Unix(0, math.MinInt64+int64(time.Second)).Add(time.Duration(r.Int64N(1e15))) // 1677
	case 1:
		return time.Unix(0, math.MaxInt64-int64(2*time.Second)).Add(-time.Duration(r.Int64N(1e15))) // 2262
	case 2:
		return time.Unix(r.Int64N(1e9), 5).In(time.FixedZone("", 5400))
	}
	return time.Unix(1_800_000_000, r.Int64N(1e9))
}

func anyVolume(r *rand.Rand) float64 {
	special := []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 1 << 53}
	if r.IntN(2) == 0 {
		return special[r.IntN(len(special))]
	}
	return r.NormFloat64() * 1e9
}

func anyValue(r *rand.Rand, depth int) any {
	switch r.IntN(9) {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return r.IntN(1000) - 500
	case 3:
		return r.Int64()
	case 4:
		if depth > 0 { // NaN within a list or object cannot be told in JSON
			return r.NormFloat64()
		}
		return anyVolume(r)
	case 5:
		if depth < 3 {
			return []any{anyValue(r, depth+1), anyValue(r, depth+1)}
		}
	case 6:
		if depth < 3 {
			return map[string]any{"a": anyValue(r, depth+1), "é": anyValue(r, depth+1)}
		}
	}
	return anyText(r)
}

func anySample(r *rand.Rand) Sample {
	s := Sample{
		Name: someText(r), Type: Type(r.IntN(3)), Unit: anyText(r), Volume: anyVolume(r),
		ResourceID: someText(r), ProjectID: anyText(r), UserID: anyText(r), Source: anyText(r),
		Timestamp: anyTime(r), Monotonic: time.Duration(r.Int64N(3) * r.Int64N(1e15)),
	}
	if r.IntN(5) == 0 {
		s.ID = fmt.Sprintf("id-%d-%s", r.Uint64(), anyText(r))
	}
	for i := range r.IntN(5) {
		if s.Metadata == nil {
			s.Metadata = Metadata{}
		}
		s.Metadata[fmt.Sprint("key ", i%4, "µ")] = anyValue(r, 0)
	}
	return s
}

func anyEvent(r *rand.Rand) Event {
	e := Event{MessageID: fmt.Sprint("message-", r.Uint64()), EventType: "compute.instance.create.end", Generated: anyTime(r)}
	for range r.IntN(6) {
		e.Traits = append(e.Traits, []Trait{
			{"text", Text, "Zürich"}, {"integer", Integer, r.Int64()}, {"float", Float, anyVolume(r)},
			{"datetime", Datetime, anyTime(r).UTC()},
		}[r.IntN(4)])
	}
	if r.IntN(2) == 0 {
		e.Raw = []byte(`{"event_type":"x"}`)
	}
	return e
}

// A stranger's batch that breaks a rule is refused with its reason.
func TestDecodeRefuses(t *testing.T) {
	f := func(reason string, damage func(w *wire.Batch)) {
		t.Helper()
		w := wireBatch(t)
		damage(w)
		data, err := proto.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = DecodeBatch(data); !errors.Is(err, ErrBatch) || !strings.Contains(err.Error(), reason) {
			t.Errorf("error %v does not say %q", err, reason)
		}
	}
	f("layout version 2", func(w *wire.Batch) { w.Version = 2 })
	f("id of 3 bytes", func(w *wire.Batch) { w.Id = w.Id[:3] })
	f("at most 20000 rows", func(w *wire.Batch) { w.Count = MaxBatchRows + 1 })
	f("at most 20000 rows", func(w *wire.Batch) { w.Count, w.Events = MaxBatchRows, 1 })
	f("at most 20000 rows", func(w *wire.Batch) { w.Count, w.Events = 1<<31, 1<<31 })
	f("string 0 is not empty", func(w *wire.Batch) { w.Strings[0] = "x" })
	f("string 0 is not empty", func(w *wire.Batch) { w.Strings = nil })
	f("at most 1048576", func(w *wire.Batch) { w.Strings[1] = strings.Repeat("x", MaxStringBytes+1) })
	f("at most 8388608", func(w *wire.Batch) {
		for range 9 {
			w.Strings = append(w.Strings, strings.Repeat("x", MaxStringBytes))
		}
	})
	f("metadata set 0", func(w *wire.Batch) { w.MetadataSize[0] = 1 })
	f("metadata_size adds up", func(w *wire.Batch) { w.MetadataSize[1] = 1 << 31 })
	f("event_traits adds up", func(w *wire.Batch) { w.EventTraits[0]++ })
	f("meter[0] is 9", func(w *wire.Batch) { w.Meter[0] = 9 })
	f("resource[1] is 1", func(w *wire.Batch) { w.Resource[1] = 1 })
	f("meter_type[0] is 3", func(w *wire.Batch) { w.MeterType[0] = 3 })
	f("trait_type[0] is 4", func(w *wire.Batch) { w.TraitType[0] = 4 })
	f("resource_metadata[0]", func(w *wire.Batch) { w.ResourceMetadata[0] = 2 })
	f("metadata_json[0] is 2", func(w *wire.Batch) { w.MetadataJson[0] = 2 })
	f("meter_unit has 0", func(w *wire.Batch) { w.MeterUnit = nil })
	f("volume has 1", func(w *wire.Batch) { w.Volume = w.Volume[:1] })
	f("timestamp has 3", func(w *wire.Batch) { w.Timestamp = append(w.Timestamp, 1) })
	f("monotonic has 1", func(w *wire.Batch) { w.Monotonic = []int64{1} })
	f("row has 1", func(w *wire.Batch) { w.Row = []uint32{1} })
	f("sample_id has 1", func(w *wire.Batch) { w.SampleId = []uint32{1} })
	f("event_raw has 2", func(w *wire.Batch) { w.EventRaw = [][]byte{nil, nil} })
	if _, err := DecodeBatch([]byte("\xff\xff")); !errors.Is(err, ErrBatch) {
		t.Errorf("error %v", err)
	}
	if _, err := DecodeBatch(make([]byte, MaxBatchBytes+1)); !errors.Is(err, ErrBatch) {
		t.Errorf("error %v", err)
	}
}

// wireBatch has two samples of one resource and an event.
func wireBatch(t testing.TB) *wire.Batch {
	batches, err := Build("i", func(out *Builder) error {
		on := out.On(Resource{ID: "vm-1", ProjectID: "p", Metadata: Metadata{"vcpus": 2, "host": "h"}})
		on.Gauge("memory", "MiB", 512)
		on.Cumulative("cpu", "ns", 1e9)
		out.AddEvent(Event{MessageID: "m", EventType: "e", Traits: []Trait{{"n", Integer, int64(1)}}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := batches[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	w := new(wire.Batch)
	if err := proto.Unmarshal(data, w); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestTraitsOfStrangers(t *testing.T) {
	f := func(typ TraitType, text string) {
		t.Helper()
		if got := decodeTrait("n", typ, text); got != (Trait{"n", Text, text}) {
			t.Errorf("got %#v", got)
		}
	}
	f(Integer, "1.5")
	f(Float, "much")
	f(Datetime, "yesterday")
}

func TestTypesAsText(t *testing.T) {
	for _, typ := range []Type{Gauge, Delta, Cumulative} {
		var back Type
		text, err := typ.MarshalText()
		if err := errors.Join(err, back.UnmarshalText(text)); err != nil || back != typ {
			t.Errorf("%v came back as %v, error %v", typ, back, err)
		}
	}
	for _, typ := range []TraitType{Text, Integer, Float, Datetime} {
		var back TraitType
		text, err := typ.MarshalText()
		if err := errors.Join(err, back.UnmarshalText(text)); err != nil || back != typ {
			t.Errorf("%v came back as %v, error %v", typ, back, err)
		}
	}
	if new(Type).UnmarshalText([]byte("x")) == nil || new(TraitType).UnmarshalText([]byte("x")) == nil {
		t.Error("x is a type")
	}
	if got := fmt.Sprint(Type(7), TraitType(7)); got != "type(7) trait(7)" {
		t.Error(got)
	}
}
