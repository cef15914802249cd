package sdk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk/wire"
)

// sum adds up what it is shown, and can be told to fail.
type sum struct {
	Fail  string `toml:"fail" doc:"resource to fail on"`
	state *State[float64]
}

func (s *sum) Start(_ context.Context, env Env) (err error) {
	s.state, err = NewState[float64](env, "sums", 0)
	return err
}

func (s *sum) Transform(_ context.Context, in *Batch, out *Builder) error {
	if in.Events() > 0 {
		return errors.New("a transformer was shown events")
	}
	for _, x := range in.Samples() {
		before, _ := s.state.Get(Key{x.Name, x.ResourceID})
		s.state.Set(Key{x.Name, x.ResourceID}, before+x.Volume)
		x.Name, x.Volume, x.ID = x.Name+".sum", before+x.Volume, ""
		out.Add(x)
		if x.ResourceID == s.Fail {
			return errors.New("told to fail")
		}
	}
	return nil
}

func (s *sum) FlushInterval() time.Duration { return time.Minute }

func (s *sum) Flush(_ context.Context, now time.Time, out *Builder) error {
	for k, v := range s.state.All() {
		out.Add(Sample{Name: "total." + k.Meter, ResourceID: k.Resource, Volume: v, Timestamp: now})
	}
	return nil
}

func transformer(t *testing.T, p func() Transformer, toml string, change ...func(*wire.StartRequest)) func(data []byte) ([]*Batch, string) {
	t.Helper()
	s := serve(t, Plugin{Name: "test", Transformer: p})
	s.start(toml, change...)
	return func(data []byte) (batches []*Batch, refusal string) {
		t.Helper()
		reply, err := s.Transformer.Transform(t.Context(), &wire.TransformRequest{Instance: "i", Batch: data})
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range reply.Batches {
			b, err := DecodeBatch(data)
			if err != nil {
				t.Fatal(err)
			}
			batches = append(batches, b)
		}
		return batches, reply.Error
	}
}

func encoded(t *testing.T, b *Batch) []byte {
	t.Helper()
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func volumes(batches []*Batch) map[string]float64 {
	m := map[string]float64{}
	for _, s := range rows(batches) {
		m[s.Name+"/"+s.ResourceID] = s.Volume
	}
	return m
}

// A transformer sees the samples of its meters; others, and events, go on beside
// what it makes, ids and all. What it makes is not measured by its meters.
func TestTransformerSplit(t *testing.T) {
	mixed := builtOf(t, []Sample{
		{Name: "memory", ResourceID: "a", Volume: 1}, {Name: "cpu", ResourceID: "a", Volume: 2},
		{Name: "cpu", ResourceID: "b", Volume: 3, ID: "own"}, {Name: "disk", ResourceID: "a", Volume: 4},
	}, Event{MessageID: "m", EventType: "e", Traits: []Trait{{"n", Integer, int64(1)}}})
	data := encoded(t, mixed)
	transform := transformer(t, func() Transformer { return new(sum) }, "", func(r *wire.StartRequest) {
		r.Meters, r.Tags = []string{"cpu"}, map[string]string{"tag": "of a source"}
	})
	got, refusal := transform(data)
	if want := map[string]float64{"cpu.sum/a": 2, "cpu.sum/b": 3, "memory/a": 1, "disk/a": 4}; refusal != "" || !reflect.DeepEqual(volumes(got), want) {
		t.Fatalf("got %v, refusal %q", volumes(got), refusal)
	}
	events := 0
	ids := map[string]string{}
	for _, b := range got {
		events += b.Events()
		for _, s := range b.Samples() {
			ids[s.Name+s.ResourceID] = s.ID
			if s.Metadata != nil {
				t.Errorf("%s has got %v", s.Name, s.Metadata)
			}
		}
	}
	if events != 1 || ids["memorya"] != mixed.SampleID(0) || ids["diska"] != mixed.SampleID(3) {
		t.Errorf("%d events, ids %v", events, ids)
	}
	// The same batch again: the same result, the same ids.
	again, _ := transform(data)
	if len(again) != len(got) || !reflect.DeepEqual(volumes(again), volumes(got)) {
		t.Errorf("again: %v", volumes(again))
	}
	for i, s := range rows(again) {
		if s.ID != rows(got)[i].ID {
			t.Errorf("again, %s has id %s instead of %s", s.Name, s.ID, rows(got)[i].ID)
		}
	}
	// A batch that is not for it passes as the bytes it is.
	foreign := encoded(t, builtOf(t, []Sample{{Name: "memory", ResourceID: "a"}}))
	if got, _ := transform(foreign); len(got) != 1 || string(encoded(t, got[0])) != string(foreign) {
		t.Errorf("got %v", got)
	}
}

// A transformer's failure takes back what it had noted.
func TestTransformerFails(t *testing.T) {
	transform := transformer(t, func() Transformer { return new(sum) }, `fail = "bad"`)
	one := encoded(t, builtOf(t, []Sample{{Name: "m", ResourceID: "good", Volume: 5}}))
	two := encoded(t, builtOf(t, []Sample{{Name: "m", ResourceID: "good", Volume: 7}, {Name: "m", ResourceID: "bad", Volume: 1}}))
	three := encoded(t, builtOf(t, []Sample{{Name: "m", ResourceID: "good", Volume: 1}}))
	transform(one)
	if got, refusal := transform(two); len(got) != 0 || refusal != "told to fail" {
		t.Errorf("got %v, refusal %q", got, refusal)
	}
	if got, _ := transform(three); volumes(got)["m.sum/good"] != 6 {
		t.Errorf("got %v", volumes(got))
	}
	if got, refusal := transform(nil); refusal != "" || !reflect.DeepEqual(volumes(got), map[string]float64{"total.m/good": 6}) {
		t.Errorf("flushed %v, refusal %q", volumes(got), refusal)
	}
	if _, refusal := transform([]byte("garbage")); !strings.Contains(refusal, "invalid batch") {
		t.Errorf("refusal %q", refusal)
	}
}

// emptied is a sum that is forgotten when it is flushed.
type emptied struct{ sum }

func (e *emptied) Flush(ctx context.Context, now time.Time, out *Builder) error {
	if err := e.sum.Flush(ctx, now, out); err != nil {
		return err
	}
	for k := range maps.Collect(e.state.All()) {
		e.state.Delete(k)
	}
	return nil
}

// A flush whose answer was lost is asked for again and gives the same samples, also
// by the process that comes after one that ended.
func TestFlushAgain(t *testing.T) {
	dir := t.TempDir()
	run := func() (transform func(data []byte, flush string) map[string]Sample) {
		s := serve(t, Plugin{Name: "test", Transformer: func() Transformer { return new(emptied) }})
		s.start("", func(r *wire.StartRequest) { r.StateDir = dir })
		return func(data []byte, flush string) map[string]Sample {
			t.Helper()
			r, err := s.Transformer.Transform(t.Context(), &wire.TransformRequest{Instance: "i", Batch: data, Flush: []byte(flush)})
			if err != nil || r.Error != "" {
				t.Fatalf("%v, error %v", r, err)
			}
			got := map[string]Sample{}
			for _, data := range r.Batches {
				b, err := DecodeBatch(data)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range b.Samples() {
					s.Timestamp = time.Time{}
					got[s.Name] = s
				}
			}
			return got
		}
	}
	const first, second = "0123456789abcdef", "fedcba9876543210"
	in := encoded(t, builtOf(t, []Sample{{Name: "m", ResourceID: "r", Volume: 5}}))
	transform := run()
	transform(in, "")
	want := transform(nil, first)
	if len(want) != 1 || want["total.m"].Volume != 5 || want["total.m"].ID == "" {
		t.Fatalf("flushed %v", want)
	}
	if got := transform(nil, first); !reflect.DeepEqual(got, want) {
		t.Errorf("again: %v instead of %v", got, want)
	}
	transform = run() // the file is as a killed process leaves it
	if got := transform(nil, first); !reflect.DeepEqual(got, want) {
		t.Errorf("after a restart: %v instead of %v", got, want)
	}
	if got := transform(nil, second); len(got) != 0 {
		t.Errorf("the flush after it: %v", got)
	}
	// A host that names no flush never asks for one again.
	transform(encoded(t, builtOf(t, []Sample{{Name: "m", ResourceID: "r", Volume: 1}})), "")
	if got := transform(nil, ""); got["total.m"].Volume != 1 {
		t.Errorf("flushed %v", got)
	}
	if got := transform(nil, ""); len(got) != 0 {
		t.Errorf("flushed %v", got)
	}
}

// transformFunc makes a transformer of one function.
type transformFunc struct {
	f func(in *Batch, out *Builder) error
}

func (p *transformFunc) Transform(_ context.Context, in *Batch, out *Builder) error {
	return p.f(in, out)
}

func TestTransformerForwards(t *testing.T) {
	in := builtOf(t, []Sample{{Name: "m", ResourceID: "a", Volume: 1}, {Name: "m", ResourceID: "b", Volume: 2}, {Name: "m", ResourceID: "c", Volume: 3}})
	plugin := func(f func(in *Batch, out *Builder) error) func() Transformer {
		return func() Transformer { return &transformFunc{f} }
	}
	transform := transformer(t, plugin(func(in *Batch, out *Builder) error {
		in.Keep(func(i int) bool { return in.ResourceID(in.ResourceOf(i)) != "a" })
		out.Forward(in)
		return nil
	}), "")
	first, _ := transform(encoded(t, in))
	second, _ := transform(encoded(t, in))
	if len(first) != 1 || first[0].Len() != 2 || first[0].SampleID(0) != second[0].SampleID(0) || first[0].SampleID(0) == in.SampleID(1) {
		t.Errorf("got %v and %v", rows(first), rows(second))
	}
	// What is no sample is left out; the rest goes on.
	s := serve(t, Plugin{Name: "test", Transformer: plugin(func(in *Batch, out *Builder) error {
		out.Add(Sample{Name: "", ResourceID: "r"})
		out.Add(Sample{Name: "m", ResourceID: "r"})
		return nil
	})})
	s.start("")
	reply, err := s.Transformer.Transform(t.Context(), &wire.TransformRequest{Instance: "i", Batch: encoded(t, in)})
	if err != nil || len(reply.Batches) != 1 || reply.Error != "" || !strings.Contains(s.log.String(), "left out") {
		t.Errorf("%d batches, %q, error %v", len(reply.GetBatches()), reply.GetError(), err)
	}
	// A transformer that never flushes may be asked to.
	if reply, err := s.Transformer.Transform(t.Context(), &wire.TransformRequest{Instance: "i"}); err != nil || len(reply.Batches) > 0 || reply.Error != "" {
		t.Errorf("%v, error %v", reply, err)
	}
}

// holder is a storage of what it was told.
type holder struct {
	publish func(*Batch) error
	query   func(Query) iter.Seq2[*Batch, error]
}

func (h *holder) Publish(_ context.Context, b *Batch) error                 { return h.publish(b) }
func (h *holder) Query(_ context.Context, q Query) iter.Seq2[*Batch, error] { return h.query(q) }

func TestPublisherOutcomes(t *testing.T) {
	var err error
	s := serve(t, Plugin{Name: "test", Publisher: func() Publisher {
		return &holder{publish: func(b *Batch) error {
			if b.Volume(0) < 0 {
				panic(err)
			}
			return err
		}}
	}})
	s.start("")
	f := func(result error, want string) {
		t.Helper()
		err = result
		r, err := s.Publisher.Publish(t.Context(), &wire.PublishRequest{Instance: "i", Batch: encoded(t, builtOf(t, []Sample{{Name: "m", ResourceID: "r"}}))})
		if got := fmt.Sprint(r.GetOutcome(), " ", r.GetReason(), " ", r.GetRetryAfterNs(), " ", r.GetRows()); err != nil || got != want {
			t.Errorf("got %q, want %q, error %v", got, want, err)
		}
	}
	down := errors.New("down")
	f(nil, "DONE  0 []")
	f(down, "RETRY down 0 []")
	f(RetryAfter(down, 3*time.Second), "RETRY down 3000000000 []")
	f(fmt.Errorf("server: %w", RetryAfter(down, 1)), "RETRY server: down 1 []")
	f(Refuse(down), "REFUSED down 0 []")
	f(fmt.Errorf("server: %w", RefuseRows(down, []int{0, 2})), "REFUSED server: down 0 [0 2]")
	f(RefuseRows(down, []int{}), "DONE down 0 []") // none of the rows
	if !errors.Is(Refuse(down), down) || !errors.Is(RetryAfter(down, 1), down) {
		t.Error("the reason is not wrapped")
	}
	err = Refuse(down)
	r, err := s.Publisher.Publish(t.Context(), &wire.PublishRequest{Instance: "i", Batch: encoded(t, builtOf(t, []Sample{{Name: "m", ResourceID: "r", Volume: -1}}))})
	if err != nil || r.Outcome != wire.PublishReply_PANICKED || r.Reason != "the plugin panicked: down" {
		t.Errorf("%v, error %v", r, err)
	}
	r, err = s.Publisher.Publish(t.Context(), &wire.PublishRequest{Instance: "i", Batch: []byte("garbage")})
	if err != nil || r.Outcome != wire.PublishReply_REFUSED {
		t.Errorf("%v, error %v", r, err)
	}
}
