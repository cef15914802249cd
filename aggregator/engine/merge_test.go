package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/block"
	"github.com/nephoscope/nepho/aggregator/objects/objectstest"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// TestDeletedMetricsLeaveBlocks deletes metrics, of some of which the engine is not told.
func TestDeletedMetricsLeaveBlocks(t *testing.T) {
	clock := newClock()
	deleted := map[Ref]bool{}
	var mu sync.Mutex
	e := node(t, t.TempDir(), newMemory(), func(o *Options) {
		o.Now = clock.now
		o.Alive = func(_ context.Context, refs []Ref) ([]bool, error) {
			mu.Lock()
			defer mu.Unlock()
			alive := make([]bool, len(refs))
			for i, ref := range refs {
				alive[i] = !deleted[ref]
			}
			return alive, nil
		}
	})
	step := func(refs ...Ref) {
		for _, ref := range refs {
			put(t, e, ref, clock.now(), 1, 2, 3)
		}
		clock.pass(time.Hour)
	}
	checkpoint := func() {
		t.Helper()
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		step(1, 2, 3)
		checkpoint()
	}
	if err := e.Forget(t.Context(), []Ref{2}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	deleted[3] = true
	mu.Unlock()
	if got := sums(t, e, 2, time.Hour); len(got) > 0 {
		t.Fatalf("a forgotten metric has windows %v", got)
	}
	for range 30 {
		step(1)
		checkpoint()
	}
	if _, ok := e.Newest(3); ok {
		t.Error("a deleted metric of which the engine was not told is in memory")
	}
	for _, b := range blocksOf(e) {
		f, err := e.readers.open(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		for entry := range f.Entries() {
			if entry.Ref != 1 {
				t.Errorf("block %+v has windows of metric %d", b, entry.Ref)
			}
		}
		e.readers.release(f)
	}
	if got := sums(t, e, 1, time.Hour); len(got) != 35 {
		t.Fatalf("%v", got)
	}
}

// TestPartsThatOverlapAreWoven changes a policy to and fro, so that windows of a metric
// are in files of two classes in turn.
func TestPartsThatOverlapAreWoven(t *testing.T) {
	clock := newClock()
	e := node(t, t.TempDir(), newMemory(), func(o *Options) { o.Now = clock.now })
	other := *low
	other.Definitions = []policy.Definition{{Granularity: 5 * time.Minute, Points: 200 * 288}}
	var want []float64
	for i := range 75 {
		p := []*policy.Policy{low, &other}[i/2%2]
		e.SetPolicy(p)
		var b Batch
		b.Metric(1, low.ID)
		b.Point(clock.Load(), float64(i))
		b.Point(clock.Load()+60e9, 0.5)
		want = append(want, float64(i)+0.5)
		if _, err := e.Write(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Hour)
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := sums(t, e, 1, 5*time.Minute); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	parts, blocks := 0, blocksOf(e)
	for _, b := range blocks {
		if b.Level > 0 {
			parts++
		}
	}
	if parts < 4 {
		t.Fatalf("only %d of the files are merged: %+v", parts, blocks)
	}
}

// TestTheAtticKeepsSilentMetrics has metrics that fall silent: their windows are kept, in few
// files, when those of the others are long past.
func TestTheAtticKeepsSilentMetrics(t *testing.T) {
	clock := newClock()
	e := node(t, t.TempDir(), newMemory(), func(o *Options) { o.Now = clock.now })
	day := func(metrics int) {
		t.Helper()
		var b Batch
		for ref := range Ref(metrics) {
			b.Metric(ref, low.ID)
			b.Point(clock.Load(), float64(ref))
			b.Point(clock.Load()+3600e9, 1)
		}
		if _, err := e.Write(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		clock.pass(24 * time.Hour)
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 12 {
		day(20)
	}
	want := map[Ref][]float64{}
	for _, ref := range []Ref{16, 19} {
		want[ref] = sums(t, e, ref, 5*time.Minute)
		if len(want[ref]) != 24 {
			t.Fatalf("%v", want[ref])
		}
	}
	for range 60 {
		day(16)
	}
	attics, blocks := 0, blocksOf(e)
	for _, b := range blocks {
		if b.Level == attic {
			attics++
			if b.Metrics != 4 {
				t.Errorf("%+v", b)
			}
		}
	}
	if attics == 0 || len(blocks) > 45 {
		t.Errorf("%d files, %d in the attic", len(blocks), attics)
	}
	for ref, want := range want {
		if got := sums(t, e, ref, 5*time.Minute); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if got := sums(t, e, 3, 5*time.Minute); len(got) != 59 && len(got) != 60 {
		t.Errorf("%d windows of 30 days", len(got))
	}
}

// TestManyCheckpointsLeaveFewFiles makes one every ten seconds.
func TestManyCheckpointsLeaveFewFiles(t *testing.T) {
	clock := newClock()
	e := node(t, t.TempDir(), newMemory(), func(o *Options) { o.Now = clock.now })
	seconds := define(9, 0, policy.Definition{Granularity: time.Second, Points: 365 * 86400})
	e.SetPolicy(seconds)
	most := 0
	const checkpoints = 2 * 360
	for i := range checkpoints {
		var b Batch
		for ref := range Ref(3) {
			b.Metric(ref, seconds.ID)
			b.Point(clock.Load(), float64(i))
			b.Point(clock.Load()+5e9, float64(i))
		}
		if _, err := e.Write(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		clock.pass(10 * time.Second)
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		most = max(most, e.Stats().Blocks)
	}
	if most > 40 {
		t.Errorf("%d files of %d checkpoints", most, checkpoints)
	}
}

// TestAFileThatCantBeReadKeepsNoOthersFromBeingMerged has the store refuse one block file for
// a while.
func TestAFileThatCantBeReadKeepsNoOthersFromBeingMerged(t *testing.T) {
	clock, store := newClock(), objectstest.NewFaulty(newMemory(), nil)
	e := node(t, t.TempDir(), store, func(o *Options) { o.Now = clock.now })
	ofMinutes := func() (names []string) {
		for _, b := range blocksOf(e) {
			if b.Granularity == int64(time.Minute) && !b.Damaged {
				names = append(names, b.Name)
			}
		}
		return names
	}
	bad := ""
	for i := range 40 {
		for ref := range Ref(10) {
			put(t, e, ref, clock.now(), 1, float64(i))
		}
		clock.pass(time.Hour)
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if names := ofMinutes(); bad == "" && len(names) > 0 {
			bad = names[0] // there is no other yet that it could be merged with
			store.Set(func(c objectstest.Call) objectstest.Fault {
				if c.Op == "get" && c.Name == bad {
					return objectstest.Fault{Before: errTrouble}
				}
				return objectstest.Fault{}
			})
		}
	}
	if err := e.maintain(t.Context()); err != nil && !errors.Is(err, errTrouble) {
		t.Fatal(err)
	}
	if names := ofMinutes(); len(names) > 8 || !slices.Contains(names, bad) {
		t.Errorf("%d files, the one that can't be read is %s: %v", len(names), bad, names)
	}
	store.Set(nil)
	if err := e.maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := e.Stats().Damaged; n > 0 {
		t.Errorf("%d damaged", n)
	}
	for ref := range Ref(10) {
		if n := len(sums(t, e, ref, time.Minute)); n != 40 {
			t.Errorf("%d windows of metric %d", n, ref)
		}
	}
}

// flakyReader fails when it is told to.
type flakyReader struct {
	io.ReaderAt
	err error
}

func (f *flakyReader) ReadAt(b []byte, offset int64) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(b, offset)
}

// TestThePartThatFailsIsBlamed merges parts of which one can't be read any more.
func TestThePartThatFailsIsBlamed(t *testing.T) {
	var frame window.Frame
	frame.Reset(60e9, window.Needs(medium.Methods))
	frame.Grow(1)
	var parts []part
	var readers []*flakyReader
	for _, name := range []string{"a", "b"} {
		var file bytes.Buffer
		w := block.NewWriter(&file, 60e9)
		if err := w.Add(1, &frame); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		flaky := &flakyReader{ReaderAt: bytes.NewReader(file.Bytes())}
		r, err := block.Open(flaky, int64(file.Len()))
		if err != nil {
			t.Fatal(err)
		}
		entry, _ := r.Entry(1)
		readers = append(readers, flaky)
		parts = append(parts, part{&openBlock{info: blockInfo{objectInfo: objectInfo{Name: name}}, Reader: r}, entry})
	}
	other := errors.New("disk is full")
	if err := blame(parts, 60e9, frame.Columns, other); !errors.Is(err, other) {
		t.Error(err)
	}
	readers[1].err = errTrouble
	err := blame(parts, 60e9, frame.Columns, errTrouble)
	if wrong := new(partError); !errors.As(err, &wrong) || wrong.name != "b" {
		t.Error(err)
	}
	// The file is left alone then, and else all files of the kind.
	failed := &failures{map[string]bool{}, map[fileKey]bool{}}
	j := &job{files: []blockInfo{parts[0].file.info, parts[1].file.info}}
	failed.add(j, err)
	if !failed.files["b"] || len(failed.files) != 1 || len(failed.kinds) > 0 {
		t.Errorf("%+v", failed)
	}
	failed.add(j, other)
	if len(failed.files) != 1 || len(failed.kinds) != 1 {
		t.Errorf("%+v", failed)
	}
}
