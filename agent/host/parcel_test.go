package host

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/wire"
)

func TestFateIsToldOnceAndLast(t *testing.T) {
	f := func(want bool, errs ...error) {
		t.Helper()
		var told []error
		fate := newFate(func(err error) { told = append(told, err) })
		fate.add(len(errs))
		for _, err := range errs {
			fate.done(err)
			if len(told) > 0 {
				t.Fatal("told too early")
			}
		}
		fate.done(nil)
		if len(told) != 1 || (told[0] != nil) != want {
			t.Errorf("told %v", told)
		}
	}
	f(false)
	f(false, nil, nil)
	f(true, nil, errors.New("lost"), nil)
	f(true, errors.New("lost"), errors.New("lost too"))
}

// everything is a batch with samples of two meters and an event.
func everything(t testing.TB) []byte {
	t.Helper()
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		on := out.On(sdk.Resource{ID: "r", ProjectID: "p", UserID: "u", Source: "s", Metadata: sdk.Metadata{"a": "b", "n": 1.5}})
		on.Gauge("one", "B", 1)
		on.Cumulative("two", "s", 2)
		on.Gauge("one", "B", 3)
		out.AddEvent(sdk.Event{MessageID: "m", EventType: "created", Generated: time.Unix(1, 0)})
		return nil
	})
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches: %v", len(batches), err)
	}
	data, err := batches[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPeek(t *testing.T) {
	h, err := peek(everything(t))
	if err != nil {
		t.Fatal(err)
	}
	if h.samples != 3 || h.events != 1 || len(h.meters) != 2 || len(h.eventTypes) != 1 ||
		string(h.strings[h.meters[0]]) != "one" || string(h.strings[h.meters[1]]) != "two" || string(h.strings[h.eventTypes[0]]) != "created" {
		t.Errorf("%+v", h)
	}
}

func TestPeekRefuses(t *testing.T) {
	f := func(name string, change func(*wire.Batch)) {
		t.Helper()
		b := new(wire.Batch)
		if err := proto.Unmarshal(everything(t), b); err != nil {
			t.Fatal(err)
		}
		change(b)
		data, err := proto.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := peek(data); err == nil {
			t.Errorf("%s was not refused", name)
		}
	}
	f("a meter's name outside the table", func(b *wire.Batch) { b.MeterName[1] = uint32(len(b.Strings)) })
	f("an event's type outside the table", func(b *wire.Batch) { b.EventType[0] = 1 << 30 })
	f("more samples than may be", func(b *wire.Batch) { b.Count = sdk.MaxBatchRows + 1 })
	f("more events than may be", func(b *wire.Batch) { b.Events = 1 << 31 })
	for _, data := range [][]byte{{0xff}, {0x0a, 0xff}, {0x28}, {0x0b}, {0xca, 2, 1, 0xff}} {
		if _, err := peek(data); err == nil {
			t.Errorf("%x was not refused", data)
		}
	}
}

// peek reads what others wrote. It must bear anything, and see in each batch that
// is right what the decoder sees.
func FuzzPeek(f *testing.F) {
	whole := everything(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(samples(f, 1, "a", "b", "a"))
	// The same in other words: the last of several counts holds, and its low 32 bits.
	count := protowire.AppendVarint(nil, fieldCount<<3)
	f.Add(append(everything(f), protowire.AppendVarint(count, 1<<32|3)...))
	f.Add([]byte{})
	f.Add(binary.AppendUvarint([]byte{5 << 3}, 1<<63))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := peek(data)
		b, wrong := sdk.DecodeBatch(data)
		if wrong != nil {
			return
		}
		if err != nil {
			t.Fatalf("a right batch is refused: %v", err)
		}
		if int(h.samples) != b.Len() || int(h.events) != b.Events() || len(h.meters) != b.Meters() || len(h.eventTypes) != b.Events() {
			t.Fatalf("%d samples, %d events, %d meters, %d event types; there are %d, %d, %d, %d",
				h.samples, h.events, len(h.meters), len(h.eventTypes), b.Len(), b.Events(), b.Meters(), b.Events())
		}
		for m := range b.Meters() {
			if got, want := string(h.strings[h.meters[m]]), b.Meter(m).Name; got != want {
				t.Fatalf("meter %d is %q, not %q", m, got, want)
			}
		}
		for e := range b.Events() {
			if got, want := string(h.strings[h.eventTypes[e]]), b.EventType(e); got != want {
				t.Fatalf("event %d is %q, not %q", e, got, want)
			}
		}
	})
}
