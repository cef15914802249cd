package block

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// split writes the windows of metrics to several files, cut at these times.
func split(t *testing.T, frames []*window.Frame, cuts []int64) []*Reader {
	var readers []*Reader
	from := int64(math.MinInt64)
	for _, to := range append(cuts, math.MaxInt64) {
		var parts []*window.Frame
		for _, f := range frames {
			parts = append(parts, cut(f, f.Columns, from, to))
		}
		readers = append(readers, open(t, file(t, parts...)))
		from = to
	}
	return readers
}

func merge(t *testing.T, refs int, from int64, report func(*Reader, *DamageError), sources ...*Reader) *Reader {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, sources[0].footer.granularity)
	for ref := range uint64(refs) {
		if err := w.Merge(ref, from, sources, report); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(bytes.NewReader(b.Bytes()), int64(b.Len()), func(d *DamageError) { t.Error(d) }); err != nil {
		t.Error(err)
	}
	return open(t, b.Bytes())
}

func noDamage(t *testing.T) func(*Reader, *DamageError) {
	return func(_ *Reader, d *DamageError) { t.Error(d) }
}

// check compares all that a file has with what it should have.
func compare(t *testing.T, r *Reader, frames []*window.Frame) {
	t.Helper()
	metrics := 0
	for ref, f := range frames {
		var got window.Frame
		got.Reset(f.Granularity, f.Columns)
		err := r.Read(uint64(ref), math.MinInt64, math.MaxInt64, &got)
		if f.Len() > 0 {
			metrics++
		} else if err == ErrNone {
			err = nil
		}
		if err != nil {
			t.Errorf("metric %d: %v", ref, err)
		} else if err := equalFrames(&got, f); err != nil {
			t.Errorf("metric %d: %v", ref, err)
		}
	}
	if s := r.Summary(); s.Metrics != metrics {
		t.Errorf("%d metrics, want %d", s.Metrics, metrics)
	}
}

func TestMerge(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		var frames []*window.Frame
		for range 1 + r.IntN(5) {
			frames = append(frames, randomFrame(r, minute))
		}
		var cuts []int64
		for range r.IntN(12) {
			cuts = append(cuts, someTime(r, frames[r.IntN(len(frames))]))
		}
		slices.Sort(cuts)
		from := someTime(r, frames[0])
		merged := merge(t, len(frames), from, noDamage(t), split(t, frames, cuts)...)
		var want []*window.Frame
		for _, f := range frames {
			want = append(want, cut(f, f.Columns, from, math.MaxInt64))
		}
		compare(t, merged, want)
	}
}

// Many small parts become as small a file as if they had come at once; large ones
// are copied, and what is in between is packed anew.
func TestMergePacks(t *testing.T) {
	frames := []*window.Frame{fold(minute, minute, walk("cpu2", 1, 3*1440), sixMethods...)}
	var cuts []int64
	for i := range int64(36) {
		cuts = append(cuts, start+(i+1)*120*minute)
	}
	parts := split(t, frames, cuts)
	merged := merge(t, 1, math.MinInt64, noDamage(t), parts...)
	compare(t, merged, frames)
	if got, want := merged.Summary().Bytes, open(t, file(t, frames...)).Summary().Bytes; got != want {
		t.Errorf("merged of many parts: %d bytes, at once %d", got, want)
	}

	days := split(t, frames, []int64{start + 1440*minute, start + 1500*minute, start + 2900*minute})
	from := start + 7*minute
	merged = merge(t, 1, from, noDamage(t), days...)
	compare(t, merged, []*window.Frame{cut(frames[0], frames[0].Columns, from, math.MaxInt64)})
	var b reading
	var lengths []int
	e, _ := merged.footer.find(0)
	if err := merged.segments(&b, e, math.MinInt64, math.MaxInt64, func(s *segment, _ []byte) error {
		lengths = append(lengths, s.windows)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []int{1493, 1400, 1420}; !slices.Equal(lengths, want) {
		t.Errorf("segments of %v windows, want %v", lengths, want)
	}
}

// Windows that two files have are taken from the first one.
func TestMergeOverlapping(t *testing.T) {
	a, b := fold(minute, minute, walk("cpu2", 1, 3000), fiveMethods...), fold(minute, minute, walk("cpu2", 2, 4500), fiveMethods...)
	merged := merge(t, 1, 0, noDamage(t), open(t, file(t, a)), open(t, file(t, b)))
	want := cut(a, a.Columns, math.MinInt64, math.MaxInt64)
	want.Append(cut(b, b.Columns, a.Starts[2999]+1, math.MaxInt64))
	compare(t, merged, []*window.Frame{want})
}

// A policy whose methods were changed leaves windows with other columns.
func TestMergeOtherColumns(t *testing.T) {
	v := walk("cpu2", 1, 900)
	f := fold(minute, minute, v, fiveMethods...)
	g := fold(minute, minute, v, policy.Mean)
	middle := f.Starts[450]
	merged := merge(t, 1, 0, noDamage(t),
		open(t, file(t, cut(f, f.Columns, 0, middle))), open(t, file(t, cut(g, g.Columns, middle, math.MaxInt64))))
	compare(t, merged, []*window.Frame{g})
	var got window.Frame
	got.Reset(minute, f.Columns)
	if err := merged.Read(0, 0, middle, &got); err != nil || got.Len() != 450 {
		t.Errorf("%d windows, %v", got.Len(), err)
	}
}

func TestMergeLeavesOutDamage(t *testing.T) {
	frames := []*window.Frame{
		fold(minute, minute, walk("cpu2", 1, 6000), fiveMethods...),
		fold(minute, minute, walk("cpu2", 2, 600), fiveMethods...),
	}
	b := file(t, frames...)
	first, _ := open(t, b).Entry(0)
	second, _ := open(t, b).Entry(1)
	b[first.Offset+3000] ^= 1
	b[second.Offset+1] ^= 1
	bad := open(t, b)
	var damage []*DamageError
	merged := merge(t, 2, 0, func(r *Reader, d *DamageError) {
		if r != bad {
			t.Error("damage is told of another file")
		}
		damage = append(damage, d)
	}, bad)
	if len(damage) != 2 || damage[0].Part != Segment || damage[0].Ref != 0 || damage[1].Part != Chunk || damage[1].Ref != 1 {
		t.Fatalf("damage: %v", damage)
	}
	want := cut(frames[0], frames[0].Columns, 0, damage[0].From)
	want.Append(cut(frames[0], frames[0].Columns, damage[0].To, math.MaxInt64))
	if want.Len() != 4000 {
		t.Errorf("%d windows are left", want.Len())
	}
	var nothing window.Frame
	nothing.Reset(minute, frames[1].Columns)
	compare(t, merged, []*window.Frame{want, &nothing})
}

func BenchmarkMerge(b *testing.B) {
	for _, c := range []struct {
		name           string
		files, windows int
	}{{"12 files of 2 hours", 12, 120}, {"30 files of a day", 30, 1440}} {
		b.Run(c.name, func(b *testing.B) {
			v := walk("cpu2", 1, c.files*c.windows*6)
			var sources []*Reader
			for i := range c.files {
				f := fold(minute, 10*second, v, sixMethods...)
				f.Cut(start+int64(i*c.windows)*minute, start+int64((i+1)*c.windows)*minute)
				sources = append(sources, open(b, file(b, f)))
			}
			w := NewWriter(new(bytes.Buffer), minute)
			b.ReportAllocs()
			for ref := uint64(0); b.Loop(); ref++ {
				w.begin(0)
				if err := w.Merge(0, 0, sources, func(*Reader, *DamageError) {}); err != nil {
					b.Fatal(err)
				}
				w.footer = footer{granularity: minute}
				w.w.Reset(new(bytes.Buffer))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.files*c.windows), "ns/window")
		})
	}
}
