package chunk

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/events/chunk/chunktest"
	"github.com/nephoscope/nepho/sdk"
)

var start = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

// reading gives a reader of a chunk, and counts the parts that it reads.
func reading(c *Chunk, reads *int) *Reader {
	return &Reader{Count: c.Count, Packed: c.Packed,
		Part: func(number int64) ([]byte, error) {
			*reads++
			for _, p := range c.Parts {
				if p.Number == number {
					return p.Data, nil
				}
			}
			return nil, nil
		},
		All: func() ([]Part, error) {
			var list []Part
			for _, p := range c.Parts {
				if p.Number >= 0 {
					list = append(list, p)
				}
			}
			return list, nil
		},
	}
}

// sorted gives events as a chunk gives them back.
func sorted(events []sdk.Event) []sdk.Event {
	list := slices.Clone(events)
	slices.SortStableFunc(list, func(a, b sdk.Event) int { return Compare(&a, &b) })
	for i := range list {
		list[i].Traits = slices.Clone(list[i].Traits)
		slices.SortStableFunc(list[i].Traits, func(a, b sdk.Trait) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type)) })
	}
	return list
}

// same compares events by their text, since what is no number is not equal to itself.
func same(tb testing.TB, got, want []sdk.Event) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("got %d events, want %d", len(got), len(want))
	}
	for i := range got {
		if g, w := string(got[i].AppendJSON(nil)), string(want[i].AppendJSON(nil)); g != w {
			tb.Fatalf("event %d is\n%s, want\n%s", i, g, w)
		}
	}
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func wild(r *rand.Rand, n int) []sdk.Event {
	var events []sdk.Event
	for range n {
		events = append(events, chunktest.Wild(r, start))
	}
	return sorted(events)
}

// query is one of some that meet some wild events.
func query(r *rand.Rand, events []sdk.Event) *Query {
	q := &Query{From: start.UnixNano() - 1, To: start.Add(time.Hour).UnixNano()}
	some := &events[r.IntN(len(events))]
	if r.IntN(3) == 0 {
		q.From = some.Generated.UnixNano()
	}
	if r.IntN(3) == 0 {
		q.To = events[r.IntN(len(events))].Generated.UnixNano()
	}
	if r.IntN(6) == 0 {
		q.ID = &some.MessageID
	}
	if r.IntN(4) == 0 {
		q.Type = &some.EventType
	}
	if r.IntN(4) == 0 {
		q.Project = &[]string{"p1", "p2", "0123456789abcdef", ""}[r.IntN(4)]
	}
	for range r.IntN(3) {
		c := Condition{Op: Op(r.IntN(6)), Trait: "n", Type: sdk.TraitType(r.IntN(4))}
		if traits := events[r.IntN(len(events))].Traits; len(traits) > 0 && r.IntN(8) > 0 {
			t := traits[r.IntN(len(traits))]
			c.Trait, c.Type = t.Name, t.Type
			switch v := t.Value.(type) {
			case string:
				c.Text = v
			case int64:
				c.Integer = v
			case float64:
				c.Float = v
			case time.Time:
				c.Time = v
			}
		}
		q.Where = append(q.Where, c)
	}
	return q
}

// What a chunk gives is what was put in, and it finds what a look at each event finds,
// whatever its size.
func TestModel(t *testing.T) {
	encoder := NewEncoder()
	found := 0
	for seed, n := range []int{1, 2, 7, 100, packedBelow - 1, packedBelow, 900, 3} {
		r := random(uint64(seed))
		events := wild(r, n)
		c, err := encoder.Encode(events)
		if err != nil {
			t.Fatal(err)
		}
		if c.Count != n || c.First != events[0].Generated.UnixNano() || c.Last != events[n-1].Generated.UnixNano() || c.Packed != (n < packedBelow) {
			t.Fatalf("the chunk of %d events is %+v", n, c)
		}
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		var reads int
		got, err := reading(c, &reads).Events(all, nil)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, events)
		ids, err := reading(c, &reads).IDs()
		if err != nil || !slices.Equal(ids, c.IDs) {
			t.Fatalf("the hashes of ids are %x, %v, want %x", ids, err, c.IDs)
		}
		for range 60 {
			q := query(r, events)
			var want []int
			for i := range events {
				if q.Meets(&events[i]) {
					want = append(want, i)
				}
			}
			reader := reading(c, &reads)
			rows, err := reader.Match(q)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(rows, want) {
				t.Fatalf("seed %d: %+v gives rows %v, want %v", seed, q, rows, want)
			}
			found += len(rows)
			if number := q.FilterPart(); number != 0 && !c.Packed {
				part, _ := reader.Part(number)
				may, err := q.MayHold(part)
				if err != nil || !may && len(want) > 0 {
					t.Fatalf("seed %d: the filter of %+v says %v, %v, and there are %d", seed, q, may, err, len(want))
				}
			}
			got, err := reader.Events(rows, nil)
			if err != nil {
				t.Fatal(err)
			}
			picked := make([]sdk.Event, len(rows))
			for i, row := range rows {
				picked[i] = events[row]
			}
			same(t, got, picked)
			name := "n"
			got, err = reading(c, &reads).Events(rows, &name)
			if err != nil {
				t.Fatal(err)
			}
			for i := range picked {
				picked[i].Raw = nil
				picked[i].Traits = slices.DeleteFunc(slices.Clone(picked[i].Traits), func(t sdk.Trait) bool { return t.Name != "n" })
			}
			same(t, got, picked)
		}
	}
	if found < 500 {
		t.Errorf("only %d events were found in all: the queries prove little", found)
	}
}

// A selective question reads the parts that it is about, and filters keep most chunks
// from being read at all.
func TestSelective(t *testing.T) {
	nova := chunktest.NewNova(1, start, time.Second)
	encoder := NewEncoder()
	maybe, parts := 0, 0
	const chunks = 20
	for range chunks {
		c, err := encoder.Encode(sorted(nova.Events(1000)))
		if err != nil {
			t.Fatal(err)
		}
		q := &Query{From: c.First, To: c.Last, Where: []Condition{{Trait: "request_id", Type: sdk.Text, Text: "req-01234567-89ab-cdef-0123-456789abcdef"}}}
		r := reading(c, new(int))
		part, _ := r.Part(q.FilterPart())
		may, err := q.MayHold(part)
		if err != nil {
			t.Fatal(err)
		}
		if may {
			maybe++
		}
		r = reading(c, &parts)
		if rows, err := r.Match(q); err != nil || len(rows) > 0 {
			t.Fatalf("got %v, %v", rows, err)
		}
		q.Where[0] = Condition{Trait: "vcpus", Type: sdk.Integer, Op: Greater, Integer: 100}
		part, _ = r.Part(q.FilterPart())
		if may, err := q.MayHold(part); err != nil || may {
			t.Fatalf("a range without the value: %v, %v", may, err)
		}
		q.Where[0] = Condition{Trait: "nothing", Type: sdk.Integer, Op: NotEqual}
		if may, err := q.MayHold(nil); err != nil || may {
			t.Fatalf("a trait that is not there: %v, %v", may, err)
		}
	}
	if maybe > 3 {
		t.Errorf("filters let %d of %d chunks through that have nothing", maybe, chunks)
	}
	if parts > 3*chunks { // times, the column, and one filter
		t.Errorf("%d parts of %d chunks were read for one column", parts, chunks)
	}
}

func TestEncodeRefuses(t *testing.T) {
	encoder := NewEncoder()
	for _, value := range []any{nil, 1, int64(1), 1.5, time.Now()} {
		if _, err := encoder.Encode([]sdk.Event{{EventType: "a", Generated: start, Traits: []sdk.Trait{{Name: "n", Type: sdk.Text, Value: value}}}}); err == nil {
			t.Errorf("a text with the value %v was taken", value)
		}
	}
	for typ := range sdk.Datetime + 2 {
		if typ == sdk.Text {
			continue
		}
		if _, err := encoder.Encode([]sdk.Event{{EventType: "a", Generated: start, Traits: []sdk.Trait{{Name: "n", Type: typ, Value: "text"}}}}); err == nil {
			t.Errorf("%v with a text was taken", typ)
		}
	}
	long := sdk.Event{MessageID: "id", EventType: "a", Generated: start, Raw: make([]byte, MaxSize)}
	if _, err := encoder.Encode([]sdk.Event{long}); err == nil {
		t.Error("an event was taken that is too long")
	}
	// And after that it encodes as before.
	events := wild(random(1), 50)
	c, err := encoder.Encode(events)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewEncoder().Encode(events)
	if err != nil || !reflect.DeepEqual(c, other) {
		t.Fatalf("chunks differ, %v", err)
	}
}

// What is taken can be read, also the longest event, and those that need most bytes for
// their size.
func TestLong(t *testing.T) {
	raw := make([]byte, MaxSize-100)
	rand.NewChaCha8([32]byte{}).Read(raw) // no compression helps
	many := sdk.Event{MessageID: "many", EventType: "a", Generated: start}
	for i := range 20_000 {
		many.Traits = append(many.Traits, sdk.Trait{Name: strconv.FormatInt(int64(i), 36), Type: sdk.Datetime, Value: time.Unix(math.MaxInt32<<20, 999_999_999)})
	}
	for _, e := range []sdk.Event{{MessageID: "raw", EventType: "a", Generated: start, Raw: raw}, many} {
		c, err := NewEncoder().Encode([]sdk.Event{e})
		if err != nil {
			t.Fatal(err)
		}
		opened, err := open(c.Parts[0].Data)
		if err != nil {
			t.Fatal(err)
		}
		if len(opened) > maxPart/MaxSize*c.Size {
			t.Errorf("%s: %d bytes of a part for a size of %d", e.MessageID, len(opened), c.Size)
		}
		got, err := reading(c, new(int)).Events([]int{0}, nil)
		if err != nil || len(got) != 1 || len(got[0].Traits) != len(e.Traits) || !bytes.Equal(got[0].Raw, e.Raw) {
			t.Errorf("%s: it can't be read: %v", e.MessageID, err)
		}
	}
}

// However many traits strangers name, there is an end to the parts.
func TestManyTraits(t *testing.T) {
	var events []sdk.Event
	for i := range 600 {
		e := sdk.Event{MessageID: fmt.Sprint(i), EventType: "a", Generated: start.Add(time.Duration(i))}
		for j := range 20 {
			e.Traits = append(e.Traits, sdk.Trait{Name: fmt.Sprint("trait", i, "-", j), Type: sdk.Integer, Value: int64(j)})
		}
		events = append(events, e)
	}
	events = sorted(events)
	c, err := NewEncoder().Encode(events)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Parts) > 2*buckets+4 {
		t.Errorf("%d parts", len(c.Parts))
	}
	r := reading(c, new(int))
	rows, err := r.Match(&Query{To: events[599].Generated.UnixNano(), Where: []Condition{{Trait: "trait599-7", Type: sdk.Integer, Integer: 7}}})
	if err != nil || !slices.Equal(rows, []int{599}) {
		t.Fatalf("got %v, %v", rows, err)
	}
	got, err := r.Events(rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, events[599:])
}

// Any bit that changed is noticed.
func TestDamage(t *testing.T) {
	for _, n := range []int{20, 600} {
		events := wild(random(7), n)
		c, err := NewEncoder().Encode(events)
		if err != nil {
			t.Fatal(err)
		}
		r := random(8)
		for range 80 {
			part := &c.Parts[r.IntN(len(c.Parts))]
			if part.Number < 0 {
				continue
			}
			before := part.Data
			part.Data = slices.Clone(before)
			if r.IntN(5) == 0 {
				part.Data = part.Data[:r.IntN(len(part.Data))]
			} else {
				part.Data[r.IntN(len(part.Data))] ^= 1 << r.IntN(8)
			}
			_, err := reading(c, new(int)).Events([]int{0, n - 1}, nil)
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("part %d of %d bytes was damaged, and reading gave %v", part.Number, len(before), err)
			}
			part.Data = before
		}
		missing := *c
		missing.Parts = nil
		if _, err := reading(&missing, new(int)).Events([]int{0}, nil); !errors.Is(err, ErrDamaged) {
			t.Fatalf("all parts are gone, and reading gave %v", err)
		}
	}
}

// FuzzEntries reads entries that no checksum protects.
func FuzzEntries(f *testing.F) {
	z := NewEncoder()
	for seed, n := range []int{1, 30, 200} {
		c, err := z.Encode(wild(random(uint64(seed)), n))
		if err != nil {
			f.Fatal(err)
		}
		opened, err := open(c.Parts[0].Data)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(n), opened)
	}
	f.Fuzz(func(t *testing.T, n uint16, data []byte) {
		if n == 0 || n > 1000 {
			return
		}
		part := seal(z.z, nil, data)
		c := &Chunk{Count: int(n), Packed: true, Parts: []Part{{partPacked, part}}}
		r := reading(c, new(int))
		check := func(err error) {
			if err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
		}
		_, err := r.Match(&Query{From: -1 << 63, To: 1<<63 - 1, Where: []Condition{{Trait: "n", Type: sdk.Text, Op: Less, Text: "b"}}})
		check(err)
		_, err = r.IDs()
		check(err)
		rows := []int{0}
		if n > 1 {
			rows = append(rows, int(n)-1)
		}
		_, err = r.Events(rows, nil)
		check(err)
		for _, typ := range []sdk.TraitType{sdk.Text, sdk.Integer, sdk.Float, sdk.Datetime} {
			_, err := mayHold(data, &Condition{Type: typ})
			check(err)
		}
	})
}

// FuzzPart opens what is no part.
func FuzzPart(f *testing.F) {
	z := NewEncoder()
	f.Add(seal(z.z, nil, []byte("entries")))
	f.Add(seal(z.z, nil, make([]byte, 1000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		opened, err := open(data)
		if err != nil && !errors.Is(err, ErrDamaged) || len(opened) > maxPart {
			t.Fatalf("%d bytes, %v", len(opened), err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{100, 1000, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			events := sorted(chunktest.NewNova(1, start, time.Second).Events(n))[:n]
			encoder := NewEncoder()
			b.ReportAllocs()
			bytes, cpu := 0, chunktest.CPU()
			for b.Loop() {
				c, err := encoder.Encode(events)
				if err != nil {
					b.Fatal(err)
				}
				bytes = 0
				for _, p := range c.Parts {
					bytes += len(p.Data)
				}
			}
			b.ReportMetric(float64(chunktest.CPU()-cpu)/float64(b.N*n), "cpu-ns/event")
			b.ReportMetric(float64(bytes)/float64(n), "B/event")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	events := sorted(chunktest.NewNova(1, start, time.Second).Events(4096))[:4096]
	c, err := NewEncoder().Encode(events)
	if err != nil {
		b.Fatal(err)
	}
	all := make([]int, len(events))
	for i := range all {
		all[i] = i
	}
	for name, rows := range map[string][]int{"all": all, "one": {2000}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			cpu := chunktest.CPU()
			for b.Loop() {
				if _, err := reading(c, new(int)).Events(rows, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(chunktest.CPU()-cpu)/float64(b.N), "cpu-ns/op")
		})
	}
	b.Run("match", func(b *testing.B) {
		b.ReportAllocs()
		q := &Query{From: c.First, To: c.Last, Where: []Condition{{Trait: "instance_id", Type: sdk.Text, Text: "01234567-89ab-cdef-0123-456789abcdef"}}}
		cpu := chunktest.CPU()
		for b.Loop() {
			if _, err := reading(c, new(int)).Match(q); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(chunktest.CPU()-cpu)/float64(b.N), "cpu-ns/op")
	})
}
