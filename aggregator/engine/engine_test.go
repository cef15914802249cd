package engine

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects/objectstest"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
	"github.com/nephoscope/nepho/integration/parts"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("NEPHO_ENGINE_TO_KILL"); dir != "" {
		toKill(dir)
	}
	if dir := os.Getenv("NEPHO_ENGINE_TO_FILL"); dir != "" {
		toFill(dir)
	}
	parts.Main(m)
}

func TestErrorsOfCallers(t *testing.T) {
	e := node(t, t.TempDir(), newMemory())
	var b Batch
	b.Metric(1, 99)
	b.Point(testNow.UnixNano(), 1)
	var unknown *UnknownPolicyError
	if _, err := e.Write(t.Context(), &b); !errors.As(err, &unknown) || unknown.Policy != 99 {
		t.Errorf("unknown policy: %v", err)
	}
	b.Reset()
	b.Metric(MaxRef+1, low.ID)
	if _, err := e.Write(t.Context(), &b); err == nil || !strings.Contains(err.Error(), "4294967296") {
		t.Errorf("number too high: %v", err)
	}
	if err := e.Forget(t.Context(), []Ref{MaxRef + 1}); err == nil {
		t.Errorf("number too high is forgotten")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := e.Write(ended, &Batch{}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}

	put(t, e, 1, testNow, 1)
	var f window.Frame
	var granularity *GranularityError
	if err := e.Frame(t.Context(), Query{1, time.Second, methods, 0, math.MaxInt64}, &f); !errors.As(err, &granularity) || granularity.Policy != medium.Name {
		t.Errorf("unknown granularity: %v", err)
	}
	var method *MethodError
	if err := e.Frame(t.Context(), Query{1, time.Minute, policy.SetOf(policy.Mean, policy.Median), 0, math.MaxInt64}, &f); !errors.As(err, &method) || method.Method != policy.Median {
		t.Errorf("unknown method: %v", err)
	}
	if err := e.Frame(t.Context(), Query{2, time.Second, methods, 0, math.MaxInt64}, &f); err != nil || f.Len() > 0 {
		t.Errorf("a metric that was never written: %d windows, %v", f.Len(), err)
	}
	stop := errors.New("enough")
	queries := []Query{{1, time.Minute, methods, 0, math.MaxInt64}, {1, time.Hour, methods, 0, math.MaxInt64}}
	calls := 0
	if err := e.Frames(t.Context(), queries, func(int, *window.Frame) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{e.Close(t.Context()), e.Checkpoint(t.Context()), e.Forget(t.Context(), []Ref{1}), second(e.Write(t.Context(), &b))} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestAPolicyChangesInItsPointsOnly(t *testing.T) {
	e := node(t, t.TempDir(), newMemory())
	put(t, e, 1, testNow.Add(-2*time.Hour), 1)
	put(t, e, 1, testNow, 2)
	other := *medium
	other.BackWindow = 5
	e.SetPolicy(&other)
	var b Batch
	b.Metric(1, medium.ID)
	b.Point(testNow.Add(-time.Hour).UnixNano(), 1)
	if out, err := e.Write(t.Context(), &b); err != nil || out.Late != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	other = *medium
	other.Definitions = []policy.Definition{{Granularity: time.Hour, Points: 2}, {Granularity: time.Minute, Points: 1}}
	e.SetPolicy(&other)
	if got := sums(t, e, 1, time.Hour); !slices.Equal(got, []float64{2}) {
		t.Fatalf("%v", got)
	}
}

func second[A any](_ A, err error) error { return err }

// TestAWriteThatCannotBeLoggedIsNotVisible makes the log fail.
func TestAWriteThatCannotBeLoggedIsNotVisible(t *testing.T) {
	e := node(t, t.TempDir(), newMemory())
	put(t, e, 1, testNow, 1)
	if err := e.log.Close(); err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.Metric(1, medium.ID)
	b.Point(testNow.UnixNano()+1, 7)
	if _, err := e.Write(t.Context(), &b); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if got := sums(t, e, 1, time.Hour); !slices.Equal(got, []float64{1}) {
		t.Fatalf("%v", got)
	}
	if st := e.Stats(); st.Accepted != 1 || st.Metrics != 1 {
		t.Fatalf("%+v", st)
	}
}

func TestAPointOfTheFarFutureMovesNothing(t *testing.T) {
	e := node(t, t.TempDir(), newMemory())
	put(t, e, 1, testNow.Add(-time.Hour), 1, 2)
	var b Batch
	b.Metric(1, medium.ID)
	b.Point(testNow.Add(time.Hour).UnixNano()+1, 9)
	b.Point(testNow.Add(-30*time.Minute).UnixNano(), 4)
	b.Point(time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(), 9)
	b.Metric(2, medium.ID)
	b.Point(math.MinInt64, 1)
	b.Point(MinTime, 1)
	b.Point(math.MaxInt64, 1)
	out, err := e.Write(t.Context(), &b)
	if err != nil || out.Accepted != 2 || out.Future != 3 || out.Late != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	want := []Refusal{{0, b.points[0], false}, {1, b.points[3], true}, {1, b.points[5], false}}
	if !slices.Equal(out.Refused, want) {
		t.Fatalf("%+v", out.Refused)
	}
	if got := sums(t, e, 1, time.Hour); !slices.Equal(got, []float64{7}) {
		t.Fatalf("%v", got)
	}
	if p, ok := e.Newest(1); !ok || p.Value != 4 {
		t.Fatalf("%v, %v", p, ok)
	}
}

func TestFeedTellsEachMetricOnce(t *testing.T) {
	e := node(t, t.TempDir(), newMemory())
	put(t, e, 5, testNow.Add(time.Minute), 1)
	f, other := e.Subscribe(), e.Subscribe()
	defer other.Close()
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := f.Next(ended); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for i := range 50 {
		put(t, e, 3, testNow.Add(time.Duration(i)*time.Second), 1)
		put(t, e, 200, testNow.Add(time.Duration(i)*time.Second), 1)
	}
	put(t, e, 5, testNow, 1) // no newer point
	next := func(f *Feed) []Advance {
		t.Helper()
		all, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, func(a, b Advance) int { return int(a.Ref) - int(b.Ref) })
		return all
	}
	at := testNow.Add(49 * time.Second).UnixNano()
	if got := next(f); !slices.Equal(got, []Advance{{3, at}, {200, at}}) {
		t.Fatalf("%v", got)
	}
	put(t, e, 200, testNow.Add(time.Minute), 1)
	if got := next(f); !slices.Equal(got, []Advance{{200, testNow.Add(time.Minute).UnixNano()}}) {
		t.Fatalf("%v", got)
	}
	if got := next(other); len(got) != 2 {
		t.Fatalf("%v", got)
	}
	f.Close()
	f.Close()
	for range 2 {
		if _, err := f.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// TestAFullHeadIsEmptied has a limit of points in memory, and a store that fails for a while.
func TestAFullHeadIsEmptied(t *testing.T) {
	store := objectstest.NewFaulty(newMemory(), nil)
	e := node(t, t.TempDir(), store, func(o *Options) { o.HeadLimit = 64 << 10; o.MaxFuture = 1e6 * time.Hour })
	at := testNow
	r := rand.New(rand.NewPCG(1, 2))
	fill := func() error {
		var b Batch
		for ref := range Ref(10) {
			b.Metric(ref, low.ID)
			for i := range 100 {
				b.Point(at.UnixNano()+int64(i)*10e9, r.Float64())
			}
		}
		at = at.Add(1000 * time.Second)
		_, err := e.Write(t.Context(), &b)
		return err
	}
	for e.Stats().LastCheckpoint.IsZero() {
		if err := fill(); errors.Is(err, ErrFull) {
			runtime.Gosched() // the checkpoint is not done yet
		} else if err != nil {
			t.Fatal(err)
		}
	}
	// Of what came while that one was made nothing is left, and none is on its way.
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.Set(func(c objectstest.Call) objectstest.Fault {
		if c.Op == "put" {
			return objectstest.Fault{Before: errTrouble}
		}
		return objectstest.Fault{}
	})
	if err := e.Checkpoint(t.Context()); !errors.Is(err, errTrouble) {
		t.Fatal(err)
	}
	var err error
	for i := 0; err == nil; i++ {
		err = fill()
		if i == 1000 {
			t.Fatalf("%d bytes of points are in memory", e.Stats().HeadBytes)
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if n := e.Stats().HeadBytes; n < 128<<10 || n > 256<<10 {
		t.Fatalf("%d bytes of points are in memory", n)
	}
	store.Set(nil)
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := fill(); err != nil {
		t.Fatal(err)
	}
}

// TestAHeadIsFullWhileACheckpointHangs has a store that does not answer. The checkpoint does not
// fail, but memory must not grow for ever.
func TestAHeadIsFullWhileACheckpointHangs(t *testing.T) {
	store := objectstest.NewFaulty(newMemory(), nil)
	const limit = 256 << 10
	e := node(t, t.TempDir(), store, func(o *Options) { o.HeadLimit = limit; o.MaxFuture = 1e6 * time.Hour })
	at := testNow
	r := rand.New(rand.NewPCG(1, 2))
	fill := func() error {
		var b Batch
		for ref := range Ref(10) {
			b.Metric(ref, low.ID)
			for i := range 100 {
				b.Point(at.UnixNano()+int64(i)*10e9, r.Float64())
			}
		}
		at = at.Add(1000 * time.Second)
		_, err := e.Write(t.Context(), &b)
		return err
	}
	answer := make(chan struct{})
	store.Set(func(c objectstest.Call) objectstest.Fault {
		if c.Op == "put" {
			return objectstest.Fault{Wait: answer}
		}
		return objectstest.Fault{}
	})
	var err error
	for err == nil {
		if err = fill(); e.Stats().HeadBytes > 3*limit {
			t.Fatalf("%d bytes of points are in memory", e.Stats().HeadBytes)
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if n := e.Stats().HeadBytes; n < 2*limit {
		t.Errorf("full with %d bytes of points in memory", n)
	}
	close(answer)
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := fill(); err != nil {
		t.Fatal(err)
	}
}

// TestSilentMetricsAreSmall looks at what metrics take in memory that have no new points.
func TestSilentMetricsAreSmall(t *testing.T) {
	e := node(t, t.TempDir(), newMemory())
	const metrics = 1000
	var b Batch
	for ref := range Ref(metrics) {
		b.Metric(ref, medium.ID)
		b.Point(testNow.UnixNano(), float64(ref))
		b.Point(testNow.UnixNano()+10e9, float64(ref))
	}
	if _, err := e.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := e.Stats().HeadBytes / metrics; n > 128 {
		t.Errorf("%d bytes a metric", n)
	}
	put(t, e, 7, testNow.Add(20*time.Second), 1)
	if got := sums(t, e, 7, time.Hour); !slices.Equal(got, []float64{15}) {
		t.Errorf("%v", got)
	}
}

// TestMemoryIsGivenBack writes much history at once.
func TestMemoryIsGivenBack(t *testing.T) {
	e := node(t, t.TempDir(), newMemory())
	var b Batch
	r := rand.New(rand.NewPCG(1, 2))
	for ref := range Ref(64) {
		b.Metric(ref, medium.ID)
		for i := range 8000 {
			b.Point(testNow.UnixNano()-int64(8000-i)*10e9, r.Float64())
		}
	}
	if _, err := e.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	slabs := 0
	for i := range e.head.shards {
		slabs += len(e.head.shards[i].pages.slabs)
	}
	if most := 64 * 360 * 9 * 2 / (perSlab * pageLen); slabs > most {
		t.Errorf("%d slabs of pages, %d would do", slabs, most)
	}
	for ref := range Ref(64) {
		times, values := e.head.points(ref)
		if all := b.of(int(ref)); times[len(times)-1] != all[len(all)-1].Time || values[0] != all[len(all)-len(times)].Value {
			t.Fatalf("points of metric %d are others", ref)
		}
	}
}

// TestEverythingAtOnce writes, reads, makes checkpoints, merges and ships at the same time.
func TestEverythingAtOnce(t *testing.T) {
	store := newMemory()
	dir := t.TempDir()
	e := node(t, dir, store, func(o *Options) {
		o.Checkpoint, o.Ship, o.HeadLimit, o.MaxFuture = 5*time.Millisecond, 3*time.Millisecond, 20<<10, 1e6*time.Hour
	})
	const writers, writes = 4, 60
	models := make([]*model, writers)
	var group sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		models[w] = newModel(1e6*time.Hour, low, medium, high)
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 5))
			at := testNow.UnixNano()
			for range writes {
				var b Batch
				for m := range 3 {
					b.Metric(Ref(w*3+m), uint32(1+m))
					for range r.IntN(30) {
						b.Point(at+r.Int64N(600e9)-100e9, float64(r.IntN(1000))/10)
					}
				}
				b.Metric(1000, low.ID) // all write to it
				b.Point(testNow.UnixNano()+r.Int64N(100), float64(w))
				at += r.Int64N(1200e9)
				got, err := e.Write(t.Context(), &b)
				for errors.Is(err, ErrFull) { // the checkpoints do not keep up
					runtime.Gosched()
					got, err = e.Write(t.Context(), &b)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if accepted, late, _, _ := models[w].write(testNow, &b); got.Accepted != accepted || got.Late != late {
					t.Errorf("%+v, want %d accepted, %d late", got, accepted, late)
				}
				for m := range 3 {
					p := []*policy.Policy{low, medium, high}[m]
					q := Query{Ref(w*3 + m), p.Definitions[0].Granularity, p.Methods, math.MinInt64, math.MaxInt64}
					var f window.Frame
					if err := e.Frame(t.Context(), q, &f); err != nil {
						t.Error(err)
						return
					}
					if c, i, ok := same(&f, models[w].frame(q)); !ok {
						t.Errorf("%+v: column %v, window %d", q, c, i)
					}
				}
			}
		})
	}
	var background sync.WaitGroup
	background.Go(func() {
		f := e.Subscribe()
		defer f.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { <-done; cancel() }()
		for {
			if _, err := f.Next(ctx); err != nil {
				return
			}
		}
	})
	group.Wait()
	close(done)
	background.Wait()
	shared := Query{1000, 5 * time.Minute, methods, math.MinInt64, math.MaxInt64}
	var before, after window.Frame
	if err := e.Frame(t.Context(), shared, &before); err != nil {
		t.Fatal(err)
	}
	// The order of the log is that in which it was applied.
	if err := e.free(); err != nil {
		t.Fatal(err)
	}
	e = node(t, dir, store)
	if err := e.Frame(t.Context(), shared, &after); err != nil {
		t.Fatal(err)
	}
	if c, i, ok := same(&after, &before); !ok {
		t.Fatalf("after a restart: column %v, window %d", c, i)
	}
}
