package block

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

var allMethods = []policy.Method{
	policy.Mean, policy.Sum, policy.Last, policy.Max, policy.Min, policy.Std, policy.Median, policy.First, policy.Count,
	policy.Percentile(1), policy.Percentile(95), policy.Percentile(99),
	policy.Mean.Rate(), policy.Last.Rate(), policy.Max.Rate(), policy.Min.Rate(), policy.Std.Rate(), policy.Median.Rate(), policy.First.Rate(),
}

// randomFrame is windows of points of random kinds and times, with random columns.
func randomFrame(r *rand.Rand, granularity int64) *window.Frame {
	n := []int{1, 2, 3, 20, 129, 500, 3000, 9000}[r.IntN(8)]
	kinds := []string{"cpu2", "cpuf", "counter", "gauge", "constant"}
	v := walk(kinds[r.IntN(len(kinds))], r.Uint64(), n)
	for odd := r.IntN(4) * r.IntN(5); odd > 0; odd-- {
		v[r.IntN(n)] = []float64{
			math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0, 1e300, -1e300, 1e-300, 5e-324,
			0.123456789, 1e15 + 0.5, 1 << 53, 0.1 + 0.2, -77.5, math.Float64frombits(r.Uint64()),
		}[r.IntN(15)]
	}
	times := make([]int64, n)
	at := start + r.Int64N(1000)*granularity
	if r.IntN(5) == 0 {
		at = -at
	}
	regular := r.IntN(2) == 0
	step := granularity / []int64{1, 2, 6, 60}[r.IntN(4)]
	for i := range times {
		times[i] = at
		if at += step; !regular {
			at += r.Int64N(step/2+1) - step/4
			if r.IntN(30) == 0 {
				at += granularity * r.Int64N(50)
			}
		}
	}
	var methods []policy.Method
	for _, m := range allMethods {
		if r.IntN(3) > 0 {
			methods = append(methods, m)
		}
	}
	methods = append(methods, policy.Count) // so that there is one
	return foldAt(granularity, times, v, methods...)
}

// equalFrames compares bit for bit, but for the values of windows without a rate.
func equalFrames(got, want *window.Frame) error {
	if !slices.Equal(got.Starts, want.Starts) {
		return fmt.Errorf("%d windows %v, want %d %v", got.Len(), got.Starts, want.Len(), want.Starts)
	}
	for c := range got.Columns.All() {
		g, w := got.Values(c), want.Values(c)
		counts := want.Values(window.Count.Rate())
		for i := range g {
			if c.IsRate() && c.Plain() != window.Count && counts[i] == 0 {
				continue
			}
			if math.Float64bits(g[i]) != math.Float64bits(w[i]) {
				return fmt.Errorf("window %d: column %v is %v, want %v", i, c, g[i], w[i])
			}
		}
	}
	return nil
}

// cut is the part of a frame, with some of its columns, in a plain way.
func cut(f *window.Frame, columns window.Columns, from, to int64) *window.Frame {
	var c window.Frame
	c.Reset(f.Granularity, columns)
	for i, t := range f.Starts {
		if t >= from && t < to {
			c.Grow(1)
			n := c.Len() - 1
			c.Starts[n] = t
			for column := range columns.All() {
				c.Values(column)[n] = f.Values(column)[i]
			}
		}
	}
	return &c
}

func someColumns(r *rand.Rand, f *window.Frame) window.Columns {
	var s window.Columns
	for c := range f.Columns.All() {
		if r.IntN(2) == 0 || c == window.Count.Rate() {
			s.Add(c)
		}
	}
	return s
}

// someTime is a time around the windows of a frame.
func someTime(r *rand.Rand, f *window.Frame) int64 {
	switch r.IntN(6) {
	case 0:
		return math.MinInt64
	case 1:
		return math.MaxInt64
	}
	return f.Starts[r.IntN(f.Len())] + []int64{0, 1, -1, f.Granularity}[r.IntN(4)]
}

func TestFramesComeBack(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		var frames []*window.Frame
		for range 1 + r.IntN(5) {
			frames = append(frames, randomFrame(r, minute))
		}
		b := file(t, frames...)
		reader := open(t, b)
		if len(reader.Damage()) > 0 {
			t.Errorf("seed %d: damage %v", seed, reader.Damage())
		}
		var got window.Frame
		for ref, f := range frames {
			got.Reset(minute, f.Columns)
			if err := reader.Read(uint64(ref), math.MinInt64, math.MaxInt64, &got); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if err := equalFrames(&got, f); err != nil {
				t.Fatalf("seed %d, metric %d: %v", seed, ref, err)
			}
			for range 8 {
				columns, from, to := someColumns(r, f), someTime(r, f), someTime(r, f)
				got.Reset(minute, columns)
				if err := reader.Read(uint64(ref), from, to, &got); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if err := equalFrames(&got, cut(f, columns, from, to)); err != nil {
					t.Fatalf("seed %d, metric %d from %d to %d: %v", seed, ref, from, to, err)
				}
			}
		}
		s, err := Verify(bytes.NewReader(b), int64(len(b)), func(d *DamageError) { t.Errorf("seed %d: %v", seed, d) })
		windows, first, last := int64(0), int64(math.MaxInt64), int64(math.MinInt64)
		for _, f := range frames {
			windows += int64(f.Len())
			first, last = min(first, f.Starts[0]), max(last, f.Starts[f.Len()-1])
		}
		if want := (Summary{minute, len(frames), windows, int64(len(b)), first, last}); err != nil || s != want {
			t.Errorf("seed %d: summary %+v, want %+v, %v", seed, s, want, err)
		}
	}
}

// Each column may be there alone, after a segment that had all.
func TestColumnsAlone(t *testing.T) {
	all := fold(minute, 10*second, walk("cpu2", 1, 1000), allMethods...)
	frames := []*window.Frame{all}
	for c := range all.Columns.All() {
		frames = append(frames, cut(all, window.ColumnsOf(c), math.MinInt64, all.Starts[all.Len()-1-int(c)%7]))
	}
	r := open(t, file(t, frames...))
	for ref, f := range frames {
		var got window.Frame
		got.Reset(minute, f.Columns)
		if err := r.Read(uint64(ref), math.MinInt64, math.MaxInt64, &got); err != nil {
			t.Fatal(err)
		}
		for c := range f.Columns.All() {
			for i, v := range got.Values(c) {
				if c.IsRate() && i == 0 && ref == 0 {
					continue // without a rate
				}
				if v != f.Values(c)[i] {
					t.Fatalf("metric %d: column %v is %v in window %d, want %v", ref, c, v, i, f.Values(c)[i])
				}
			}
		}
	}
}

// Reading appends: what a frame had stays.
func TestReadAppends(t *testing.T) {
	f := fold(minute, minute, walk("cpu2", 1, 5000), fiveMethods...)
	r := open(t, file(t, f))
	var got window.Frame
	got.Reset(minute, f.Columns)
	middle := f.Starts[1234]
	for _, part := range [][2]int64{{math.MinInt64, middle}, {middle, math.MaxInt64}} {
		if err := r.Read(0, part[0], part[1], &got); err != nil {
			t.Fatal(err)
		}
	}
	if err := equalFrames(&got, f); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	f := fold(minute, minute, walk("cpu2", 1, 10), policy.Mean)
	r := open(t, file(t, f))
	var got window.Frame
	got.Reset(minute, window.ColumnsOf(window.Count))
	if err := r.Read(1, 0, math.MaxInt64, &got); !errors.Is(err, ErrNone) {
		t.Errorf("another metric: %v", err)
	}
	for _, part := range [][2]int64{{0, start}, {start + 10*minute, math.MaxInt64}, {start + 5*minute, start + 5*minute}, {start + minute, start}} {
		if err := r.Read(0, part[0], part[1], &got); err != nil || got.Len() > 0 {
			t.Errorf("%v: %d windows, %v", part, got.Len(), err)
		}
	}
	got.Reset(second, window.ColumnsOf(window.Count))
	if err := r.Read(0, 0, math.MaxInt64, &got); err == nil {
		t.Error("another granularity was read")
	}
	got.Reset(minute, window.ColumnsOf(window.Count, window.Max))
	got.Grow(1)
	var missing *MissingError
	if err := r.Read(0, 0, math.MaxInt64, &got); !errors.As(err, &missing) || missing.Column != window.Max || got.Len() != 1 {
		t.Errorf("another column: %v, %d windows", err, got.Len())
	}

	var empty window.Frame
	empty.Reset(minute, window.ColumnsOf(window.Count))
	r = open(t, file(t, &empty))
	if s := r.Summary(); s.Metrics != 0 || s.Windows != 0 {
		t.Errorf("a file of nothing has %+v", s)
	}
	if err := r.Read(0, 0, math.MaxInt64, &empty); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

func TestReadFromManySides(t *testing.T) {
	var frames []*window.Frame
	for seed := range uint64(20) {
		frames = append(frames, fold(minute, 10*second, walk("cpu2", seed, 12_000), sixMethods...))
	}
	r := open(t, file(t, frames...))
	var group sync.WaitGroup
	for k := range 8 {
		group.Go(func() {
			var got window.Frame
			for i := range 40 {
				ref := (i*7 + k) % len(frames)
				columns := []window.Column{window.Sum, window.Min, window.Deviation}[i%3]
				got.Reset(minute, window.ColumnsOf(window.Count, columns))
				if err := r.Read(uint64(ref), 0, math.MaxInt64, &got); err != nil {
					t.Error(err)
				} else if err := equalFrames(&got, frames[ref]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func TestWriterRefuses(t *testing.T) {
	good := fold(minute, minute, walk("cpu2", 1, 10), policy.Mean)
	bad := func(change func(*window.Frame)) *window.Frame {
		f := fold(minute, minute, walk("cpu2", 1, 10), policy.Mean)
		change(f)
		return f
	}
	for name, f := range map[string]*window.Frame{
		"another granularity": bad(func(f *window.Frame) { f.Granularity = second }),
		"no multiple":         bad(func(f *window.Frame) { f.Starts[3]++ }),
		"first no multiple":   bad(func(f *window.Frame) { f.Starts[0]-- }),
		"same start":          bad(func(f *window.Frame) { f.Starts[3] = f.Starts[2] }),
		"backwards":           bad(func(f *window.Frame) { f.Starts[3] = 0 }),
		"unknown column":      bad(func(f *window.Frame) { f.Columns.Add(120) }),
	} {
		w := NewWriter(new(bytes.Buffer), minute)
		if err := w.Add(1, f); err == nil {
			t.Errorf("%s: written", name)
		} else if again := w.Add(2, good); again != err {
			t.Errorf("%s: after %v: %v", name, err, again)
		} else if _, again := w.Close(); again != err {
			t.Errorf("%s: after %v: %v", name, err, again)
		}
	}
	for _, refs := range [][]uint64{{3, 3}, {3, 2}} {
		w := NewWriter(new(bytes.Buffer), minute)
		if err := w.Add(refs[0], good); err != nil {
			t.Error(err)
		}
		if err := w.Add(refs[1], good); err == nil {
			t.Errorf("refs %v were written", refs)
		}
	}
	w := NewWriter(new(bytes.Buffer), minute)
	if _, err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Add(1, good); err == nil {
		t.Error("written behind the end")
	}
	if err := NewWriter(new(bytes.Buffer), 0).Add(1, good); err == nil {
		t.Error("windows of 0 ns were written")
	}
	full := NewWriter(failing{}, minute)
	for ref := range uint64(10_000) {
		full.Add(ref, good) //nolint:errcheck // Close tells
	}
	if _, err := full.Close(); !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
}

var errFull = errors.New("no space left")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

// Windows as far from each other as times can be, and refs that use all bits.
func TestLimits(t *testing.T) {
	f := frameAt([]int64{math.MinInt64 + 1, -5, 0, 7, math.MaxInt64 - 1}, 1)
	var b bytes.Buffer
	w := NewWriter(&b, 1)
	for _, ref := range []uint64{0, 1, math.MaxInt64, math.MaxUint64} {
		if err := w.Add(ref, f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, b.Bytes())
	for _, ref := range []uint64{0, 1, math.MaxInt64, math.MaxUint64} {
		var got window.Frame
		got.Reset(1, f.Columns)
		if err := r.Read(ref, math.MinInt64, math.MaxInt64, &got); err != nil {
			t.Fatal(err)
		}
		if err := equalFrames(&got, f); err != nil {
			t.Error(err)
		}
	}
	for _, ref := range []uint64{2, math.MaxInt64 - 1, math.MaxInt64 + 1, math.MaxUint64 - 1} {
		if _, ok := r.Entry(ref); ok {
			t.Errorf("metric %d was found", ref)
		}
	}
	if err := NewWriter(new(bytes.Buffer), 1).Add(0, frameAt([]int64{math.MinInt64}, 1)); err == nil {
		t.Error("a window was written that has no number")
	}
}

// frameAt is a frame of windows that start then.
func frameAt(starts []int64, granularity int64) *window.Frame {
	var f window.Frame
	f.Reset(granularity, window.ColumnsOf(window.Count))
	f.Grow(len(starts))
	copy(f.Starts, starts)
	for i := range starts {
		f.Values(window.Count)[i] = float64(i + 1)
	}
	return &f
}
