package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/objects/objectstest"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// node opens a store from a folder.
func node(t *testing.T, dir string, store objects.Store, change ...func(*Options)) *Engine {
	t.Helper()
	e, err := tryNode(t, dir, store, change...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func tryNode(t *testing.T, dir string, store objects.Store, change ...func(*Options)) (*Engine, error) {
	t.Helper()
	o := Options{Dir: dir, Objects: store, MaxFuture: time.Hour, Now: func() time.Time { return testNow }}
	for _, f := range change {
		f(&o)
	}
	e, err := Open(t.Context(), o, []*policy.Policy{low, medium, high})
	if err == nil {
		t.Cleanup(func() {
			e.free() //nolint:errcheck // it may be freed already
		})
	}
	return e, err
}

var testNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// clock is the time in a test.
type clock struct{ atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.Store(testNow.UnixNano())
	return c
}

func (c *clock) now() time.Time       { return time.Unix(0, c.Load()) }
func (c *clock) pass(d time.Duration) { c.Add(int64(d)) }

func newStore(t *testing.T) *objectstest.Faulty {
	t.Helper()
	s, err := objects.Local(filepath.Join(t.TempDir(), "objects"))
	if err != nil {
		t.Fatal(err)
	}
	return objectstest.NewFaulty(s, nil)
}

// put writes points of a metric, ten seconds each from the other, from a time on.
func put(t *testing.T, e *Engine, ref Ref, from time.Time, values ...float64) {
	t.Helper()
	var b Batch
	b.Metric(ref, medium.ID)
	for i, v := range values {
		b.Point(from.UnixNano()+int64(i)*10e9, v)
	}
	if out, err := e.Write(t.Context(), &b); err != nil || out.Accepted != len(values) {
		t.Fatalf("%+v, %v", out, err)
	}
}

// blocksOf are the block files; the background merges them whenever it comes to that.
func blocksOf(e *Engine) []blockInfo {
	e.manifestMu.Lock()
	defer e.manifestMu.Unlock()
	return slices.Clone(e.manifest.Blocks)
}

// sums are those of all windows of a metric.
func sums(t *testing.T, e *Engine, ref Ref, granularity time.Duration) []float64 {
	t.Helper()
	var f window.Frame
	err := e.Frame(t.Context(), Query{ref, granularity, policy.SetOf(policy.Sum), 0, testNow.UnixNano() * 2}, &f)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(f.Values(window.Sum))
}

func TestAnotherNodeHasWhatWasShipped(t *testing.T) {
	store := newStore(t)
	dirA, dirB := t.TempDir(), t.TempDir()
	hour := testNow.Add(-5 * time.Hour)
	a := node(t, dirA, store)
	put(t, a, 1, hour, 1, 2, 3)
	put(t, a, 2, hour, 4)
	put(t, a, 1, hour.Add(2*time.Hour), 5)
	if err := a.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, a, 1, hour.Add(3*time.Hour), 6)
	if at := a.Stats().LastShip; !at.IsZero() {
		t.Errorf("the log was shipped at %v, before it was", at)
	}
	if err := a.ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := a.Stats().LastShip; at.UnixNano() != a.o.Now().UnixNano() {
		t.Errorf("the log was shipped at %v", at)
	}
	put(t, a, 1, hour.Add(3*time.Hour+time.Minute), 7)
	if err := a.ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, a, 1, hour.Add(4*time.Hour), 8) // is not shipped

	// B takes over while A still runs.
	b := node(t, dirB, store)
	if got := sums(t, b, 1, time.Hour); !slices.Equal(got, []float64{6, 5, 13}) {
		t.Fatalf("%v", got)
	}
	if got := sums(t, b, 2, time.Minute); !slices.Equal(got, []float64{4}) {
		t.Fatalf("%v", got)
	}
	put(t, b, 1, hour.Add(4*time.Hour), 9)

	// A notices as soon as it looks, and writes no more.
	var fenced *FencedError
	if err := a.ship(t.Context()); !errors.As(err, &fenced) || fenced.Owner != b.owner {
		t.Fatalf("%v", err)
	}
	batch := Batch{}
	batch.Metric(1, medium.ID)
	batch.Point(testNow.UnixNano(), 1)
	if _, err := a.Write(t.Context(), &batch); !errors.As(err, &fenced) {
		t.Fatalf("%v", err)
	}
	if err := a.Checkpoint(t.Context()); !errors.As(err, &fenced) {
		t.Fatalf("%v", err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	// B's own crash.
	if err := b.free(); err != nil {
		t.Fatal(err)
	}
	b = node(t, dirB, store)
	if got := sums(t, b, 1, time.Hour); !slices.Equal(got, []float64{6, 5, 13, 9}) {
		t.Fatalf("%v", got)
	}
	if err := b.ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.free(); err != nil {
		t.Fatal(err)
	}

	// A takes it back. What B never had is put aside.
	a = node(t, dirA, store)
	if got := sums(t, a, 1, time.Hour); !slices.Equal(got, []float64{6, 5, 13, 9}) {
		t.Fatalf("%v", got)
	}
	aside, err := filepath.Glob(filepath.Join(dirA, walFolder+"*"))
	if err != nil || len(aside) != 2 {
		t.Fatalf("logs: %v, %v", aside, err)
	}
}

func TestATakeoverThatDidNotEndIsMadeAgain(t *testing.T) {
	store := newStore(t)
	a := node(t, t.TempDir(), store)
	put(t, a, 1, testNow, 1, 2, 3)
	if err := a.ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.free(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for n := range 5 {
		left := n
		store.Set(func(c objectstest.Call) objectstest.Fault {
			if c.Op == "put" || c.Op == "replace" {
				if left--; left < 0 {
					return objectstest.Fault{Before: errTrouble}
				}
			}
			return objectstest.Fault{}
		})
		e, err := tryNode(t, dir, store)
		if err == nil {
			if n < 4 {
				t.Fatalf("opened with %d changes of the store", n)
			}
			if got := sums(t, e, 1, time.Hour); !slices.Equal(got, []float64{6}) {
				t.Fatalf("%v", got)
			}
			return
		}
		if !errors.Is(err, errTrouble) {
			t.Fatal(err)
		}
	}
	t.Fatal("never opened")
}

func TestTheCopyOfTheLogMendsALostEnd(t *testing.T) {
	store := newStore(t)
	dir := t.TempDir()
	e := node(t, dir, store)
	put(t, e, 1, testNow, 1)
	old := t.TempDir()
	copyFolder(t, e.logDir(), old)
	put(t, e, 1, testNow.Add(time.Minute), 2)
	if err := e.ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.free(); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, old, e.logDir())
	e = node(t, dir, store)
	put(t, e, 1, testNow.Add(2*time.Minute), 4)
	for range 2 {
		if got := sums(t, e, 1, time.Minute); !slices.Equal(got, []float64{1, 2, 4}) {
			t.Fatalf("%v", got)
		}
		if err := e.free(); err != nil {
			t.Fatal(err)
		}
		e = node(t, dir, store)
	}
	if n := e.Stats().Damaged; n > 0 {
		t.Fatalf("%d damaged", n)
	}
}

// TestALocalLogThatIsGoneStopsTheStart removes the log of a store that only this machine has.
func TestALocalLogThatIsGoneStopsTheStart(t *testing.T) {
	store, err := objects.Local(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	e := node(t, dir, store)
	put(t, e, 1, testNow, 1)
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, e, 1, testNow.Add(time.Minute), 2)
	if err := e.free(); err != nil {
		t.Fatal(err)
	}
	away := filepath.Join(t.TempDir(), "log")
	if err := os.Rename(e.logDir(), away); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := tryNode(t, dir, store); err == nil || !strings.Contains(err.Error(), e.logDir()+" is not there") {
			t.Fatal(err)
		}
	}
	if err := os.Rename(away, e.logDir()); err != nil {
		t.Fatal(err)
	}
	e = node(t, dir, store)
	if got := sums(t, e, 1, time.Minute); !slices.Equal(got, []float64{1, 2}) {
		t.Fatalf("%v", got)
	}
	if err := e.free(); err != nil {
		t.Fatal(err)
	}
	// One can also go on without it.
	if err := os.RemoveAll(e.logDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(e.logDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	e = node(t, dir, store)
	put(t, e, 1, testNow.Add(2*time.Minute), 3)
	if got := sums(t, e, 1, time.Minute); !slices.Equal(got, []float64{1, 3}) {
		t.Fatalf("%v", got)
	}
}

func TestOneProcessUsesAFolder(t *testing.T) {
	store := newStore(t)
	dir := t.TempDir()
	e := node(t, dir, store)
	if _, err := tryNode(t, dir, store); err == nil || !strings.Contains(err.Error(), "used by another process") {
		t.Fatalf("%v", err)
	}
	put(t, e, 1, testNow, 1) // it was not fenced
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestAnotherStoreInTheSameFolder begins anew with what an earlier store left in the local folder.
func TestAnotherStoreInTheSameFolder(t *testing.T) {
	dir := t.TempDir()
	for v := range 3 {
		e := node(t, dir, newMemory(), func(o *Options) { o.CacheLimit = 1 << 30 })
		put(t, e, 1, testNow.Add(-3*time.Hour), float64(v))
		put(t, e, 1, testNow, float64(v))
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		put(t, e, 1, testNow.Add(time.Minute), 7)
		if got := sums(t, e, 1, time.Hour); !slices.Equal(got, []float64{float64(v), float64(v) + 7}) {
			t.Fatalf("%v", got)
		}
		if err := e.free(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAMonthTakesFewObjects counts what a month of checkpoints, and a day of
// shipped logs, cost.
func TestAMonthTakesFewObjects(t *testing.T) {
	store := objectstest.NewFaulty(newMemory(), nil)
	clock := newClock()
	e := node(t, t.TempDir(), store, func(o *Options) {
		o.Now, o.MaxFuture, o.Sync = clock.now, 24*time.Hour, time.Hour
	})
	r := rand.New(rand.NewPCG(1, 2))
	count := func(op string) int {
		n := 0
		for _, c := range store.Calls() {
			if c.Op == op {
				n++
			}
		}
		return n
	}
	const days = 20
	blocks := 0
	for day := range days {
		before := count("put") + count("replace")
		for range 12 {
			var b Batch
			for ref := range Ref(3) {
				b.Metric(ref, high.ID)
				for i := range 12 {
					b.Point(clock.Load()+int64(i)*600e9, r.Float64())
				}
			}
			if _, err := e.Write(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
			clock.pass(2 * time.Hour)
			if day == days-1 {
				for m := range 120 {
					put(t, e, 9, clock.now().Add(time.Duration(m)*time.Minute), 1)
					if err := e.ship(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := e.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := e.maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			blocks = max(blocks, e.Stats().Blocks)
		}
		changes := count("put") + count("replace") - before
		if most := map[bool]int{false: 120, true: 1700}[day == days-1]; changes > most {
			t.Fatalf("%d changes of the store on day %d", changes, day)
		}
	}
	if blocks > 80 {
		t.Errorf("%d block files", blocks)
	}
	objects := 0
	for _, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		objects++
	}
	if objects > blocks+40 {
		t.Errorf("%d objects with %d blocks: they are not deleted", objects, blocks)
	}
	t.Logf("%d blocks at most, %d objects at the end", blocks, objects)
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := copyAll(from, to); err != nil {
		t.Fatal(fmt.Errorf("cannot copy %s to %s: %w", from, to, err))
	}
}
