package sdk

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk/glob"
)

// emitted collects what a source's builder hands on.
func emitted(t *testing.T, meters []string, tags map[string]string, fill func(*Builder)) ([]*Batch, error) {
	t.Helper()
	globs, err := glob.Compile(meters)
	if err != nil {
		t.Fatal(err)
	}
	var batches []*Batch
	in := &instance{env: Env{Instance: "i", meters: globs}, tags: tags}
	b := newBuilder(in.output(func(data []byte) error {
		batch, err := DecodeBatch(data)
		batches = append(batches, batch)
		return err
	}))
	fill(b)
	b.Flush()
	return batches, b.Err()
}

func rows(batches []*Batch) (all []Sample) {
	for _, b := range batches {
		for _, s := range b.Samples() {
			all = append(all, s)
		}
	}
	return all
}

func TestFullBatchesAreHandedOn(t *testing.T) {
	batches, err := emitted(t, nil, nil, func(out *Builder) {
		on := out.On(Resource{ID: "r", Metadata: Metadata{"a": "b"}})
		for i := range 2*flushRows + 1 {
			on.Gauge("m", "", float64(i))
		}
	})
	if err != nil || len(batches) != 3 || batches[0].Len() != flushRows || batches[2].Len() != 1 {
		t.Fatalf("%d batches, error %v", len(batches), err)
	}
	for n, b := range batches {
		if b.Sequence() != uint64(n+1) || b.Instance() != "i" || b.Resources() != 1 || b.Meters() != 1 {
			t.Errorf("batch %d: sequence %d of %q, %d resources, %d meters", n, b.Sequence(), b.Instance(), b.Resources(), b.Meters())
		}
	}
	for i, s := range rows(batches) {
		if s.Volume != float64(i) || s.Metadata["a"] != "b" {
			t.Fatalf("row %d is %+v", i, s)
		}
	}
}

// Whatever takes the room, no batch comes near to what a reader refuses.
func TestBatchesStaySmall(t *testing.T) {
	f := func(what string, add func(out *Builder, i int)) {
		t.Helper()
		batches, err := emitted(t, nil, nil, func(out *Builder) {
			for i := range 40 {
				add(out, i)
			}
		})
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		n := 0
		for _, b := range batches {
			n += b.Len() + b.Events()
			data, err := b.Encode()
			if err != nil || len(data) > flushBytes+MaxStringBytes+1000 {
				t.Errorf("%s: a batch of %d bytes, error %v", what, len(data), err)
			}
		}
		if n != 40 {
			t.Errorf("%s: %d rows instead of 40", what, n)
		}
	}
	large := strings.Repeat("x", 300<<10)
	name := func(i int) string { return fmt.Sprint(i, large) }
	f("names", func(out *Builder, i int) { out.On(Resource{ID: "r"}).Gauge(name(i), "", 1) })
	f("resources", func(out *Builder, i int) { out.On(Resource{ID: name(i)}).Gauge("m", "", 1) })
	f("keys", func(out *Builder, i int) {
		out.On(Resource{ID: "r", Metadata: Metadata{name(i): 1}}).Gauge("m", "", 1)
	})
	f("values", func(out *Builder, i int) {
		out.On(Resource{ID: "r", Metadata: Metadata{"k": name(i)}}).Gauge("m", "", 1)
	})
	f("ids", func(out *Builder, i int) { out.Add(Sample{Name: "m", ResourceID: "r", ID: name(i)}) })
	f("raw", func(out *Builder, i int) {
		out.AddEvent(Event{MessageID: fmt.Sprint(i), EventType: "e", Raw: []byte(name(i))})
	})
	f("traits", func(out *Builder, i int) {
		out.AddEvent(Event{EventType: "e", Traits: []Trait{{"t", Text, name(i)}}})
	})
}

// What no batch can hold is left out and told of; everything else goes on.
func TestRefusedOneByOne(t *testing.T) {
	long := strings.Repeat("x", MaxStringBytes+1)
	invalid := strings.Repeat("x\xff", MaxStringBytes/2) // three bytes for each \xff
	many := Metadata{}
	for i := range 5 {
		many[fmt.Sprint(i)] = long[:MaxStringBytes]
	}
	var traits []Trait
	for i := range 5 {
		traits = append(traits, Trait{fmt.Sprint(i), Text, long[:MaxStringBytes]})
	}
	f := func(reason string, add func(out *Builder)) {
		t.Helper()
		batches, err := emitted(t, nil, nil, func(out *Builder) {
			out.On(Resource{ID: "r"}).Gauge("before", "", 1)
			add(out)
			add(out)
			out.On(Resource{ID: "r"}).Gauge("after", "", 1)
		})
		if got := rows(batches); len(got) != 2 || got[1].Name != "after" || batches[0].Events() != 0 {
			t.Errorf("%s: got %+v", reason, got)
		}
		if !errors.Is(err, ErrSample) || !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), "and 1 more") {
			t.Errorf("error %.200v does not say %q", err, reason)
		}
	}
	on := func(r Resource) func(*Builder) { return func(out *Builder) { out.On(r).Gauge("m", "", 1) } }
	event := func(e Event) func(*Builder) { return func(out *Builder) { out.AddEvent(e) } }
	f("has a name", func(out *Builder) { out.On(Resource{ID: "r"}).Gauge("", "", 1) })
	f("has a name", func(out *Builder) { out.On(Resource{ID: "r"}).Gauge(invalid, "", 1) })
	f("one of the types", func(out *Builder) { out.Add(Sample{Name: "m", Type: 3, ResourceID: "r"}) })
	f("its id is empty", on(Resource{}))
	f("over 1048576 bytes", on(Resource{ID: long}))
	f("over 1048576 bytes", on(Resource{ID: "r", UserID: invalid}))
	f("over 1048576 bytes", on(Resource{ID: "r", Metadata: Metadata{"k": long}}))
	f("over 1048576 bytes", on(Resource{ID: "r", Metadata: Metadata{long: "v"}}))
	f("over 4194304 bytes", on(Resource{ID: "r", Metadata: many}))
	f(`metadata "k"`, on(Resource{ID: "r", Metadata: Metadata{"k": make(chan int)}}))
	f("id over", func(out *Builder) { out.Add(Sample{Name: "m", ResourceID: "r", ID: long}) })
	f("year 2500", func(out *Builder) {
		out.Add(Sample{Name: "m", ResourceID: "r", Timestamp: time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC)})
	})
	f("no type", event(Event{}))
	f("id, type or raw", event(Event{EventType: "e", MessageID: long}))
	f("id, type or raw", event(Event{EventType: "e", Raw: []byte(long)}))
	f("year 1500", event(Event{EventType: "e", Generated: time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC)}))
	f("over 1048576 bytes", event(Event{EventType: "e", Traits: []Trait{{long, Text, ""}}}))
	f("over 4194304 bytes", event(Event{EventType: "e", Traits: traits}))
	f(`trait "t" has type integer but a value of type string`, event(Event{EventType: "e", Traits: []Trait{{"t", Integer, "1"}}}))
}

func TestHandingOnFails(t *testing.T) {
	broken := errors.New("broken")
	in := new(instance)
	b := newBuilder(in.output(func([]byte) error { return broken }))
	on := b.On(Resource{ID: "r"})
	for range 2*flushRows + 1 {
		on.Gauge("m", "", 1)
	}
	on.Gauge("", "", 1)
	if err := b.Err(); err != broken {
		t.Errorf("error %v", err)
	}
}

// Globs and tags take effect where samples are made.
func TestMetersAndTagsAtTheOrigin(t *testing.T) {
	tags := map[string]string{"host": "h1", "zone": "z"}
	foreign, err := Build("far", func(out *Builder) error {
		on := out.On(Resource{ID: "r", Metadata: Metadata{"zone": "own"}})
		on.Gauge("disk.read", "B", 3)
		on.Gauge("memory", "B", 4)
		out.On(Resource{ID: "bare"}).Gauge("disk.write", "B", 5)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	id, sample := foreign[0].ID(), foreign[0].SampleID(2)
	batches, err := emitted(t, []string{"cpu", "disk.*", "!disk.noise"}, tags, func(out *Builder) {
		on := out.On(Resource{ID: "r"})
		on.Gauge("cpu", "%", 1)
		on.Gauge("memory", "B", 2)
		on.Gauge("disk.noise", "B", 2)
		out.Add(Sample{Name: "disk.x", ResourceID: "r", Metadata: Metadata{"zone": "own"}})
		out.Forward(foreign[0])
	})
	if err != nil || len(batches) != 2 {
		t.Fatalf("%d batches, error %v", len(batches), err)
	}
	var got []string
	for _, s := range rows(batches) {
		got = append(got, fmt.Sprint(s.Name, s.Metadata))
	}
	want := []string{"cpu map[host:h1 zone:z]", "disk.x map[host:h1 zone:own]", "disk.read map[host:h1 zone:own]", "disk.write map[host:h1 zone:z]"}
	for i := range want {
		want[i] = strings.Replace(want[i], " map", "map", 1)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if batches[1].ID() != id || batches[1].SampleID(1) != sample {
		t.Error("the forwarded samples have other ids than at their origin")
	}
	// Nothing is left of a batch: nothing is handed on.
	batches, err = emitted(t, []string{"none"}, nil, func(out *Builder) { out.Forward(foreign[0]) })
	if err != nil || len(batches) != 0 {
		t.Errorf("%d batches, error %v", len(batches), err)
	}
}

func TestTimes(t *testing.T) {
	moment := time.Now().Add(-3 * time.Second)
	batches, err := emitted(t, nil, nil, func(out *Builder) {
		on := out.On(Resource{ID: "r"})
		on.Gauge("m", "", 1)
		out.At(moment)
		on.Gauge("m", "", 2)
		out.Add(Sample{Name: "m", ResourceID: "r"})
		out.Add(Sample{Name: "m", ResourceID: "r", Timestamp: moment.Add(-time.Hour)})
	})
	if err != nil {
		t.Fatal(err)
	}
	passed := time.Since(moment)
	s := rows(batches)
	if !s[1].Timestamp.Equal(moment) || !s[2].Timestamp.Equal(moment) || s[2].Monotonic != s[1].Monotonic {
		t.Errorf("times %v %v", s[1], s[2])
	}
	if d := s[0].Monotonic - s[1].Monotonic; d < 3*time.Second-time.Millisecond || d > passed+time.Millisecond {
		t.Errorf("monotonic times are %v apart", d)
	}
	if s[3].Monotonic != 0 {
		t.Error("a foreign time has got this machine's monotonic one")
	}
}

func TestIDs(t *testing.T) {
	seen := map[[16]byte]bool{}
	r := new(randomIDs)
	check := func(id [16]byte) {
		t.Helper()
		if seen[id] || id[6]>>4 != 8 || id[8]>>6 != 2 || [4]byte(id[12:]) != [4]byte{} {
			t.Fatalf("id %x", id)
		}
		seen[id] = true
	}
	for range 1000 {
		check(r.next())
	}
	r.prefix[8], r.prefix[9], r.prefix[10], r.prefix[11] = 0x3f, 0xff, 0xff, 0xfe
	for range 3 { // the last of this prefix, then the first of another
		check(r.next())
	}
	for _, instance := range []string{"a", "b"} {
		for _, of := range [][16]byte{{1}, {2}} {
			d, again := &derivedIDs{of: of, instance: instance}, &derivedIDs{of: of, instance: instance}
			for range 300 {
				id := d.next()
				check(id)
				if again.next() != id {
					t.Fatal("derived ids differ")
				}
			}
		}
	}
}
