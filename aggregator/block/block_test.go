package block

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

const (
	second = int64(1e9)
	minute = 60 * second
	start  = 1_760_000_400 * second // of the points of walks: a whole minute
)

var (
	fiveMethods = []policy.Method{policy.Count, policy.Max, policy.Sum, policy.Min, policy.Mean}
	sixMethods  = []policy.Method{policy.Mean, policy.Min, policy.Max, policy.Sum, policy.Std, policy.Count}
)

// walk are points of a kind, like those that are measured.
func walk(kind string, seed uint64, n int) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float64, n)
	x := 20 + 60*r.Float64()
	if kind == "counter" {
		x = float64(r.IntN(1e9))
	}
	for i := range v {
		switch kind {
		case "cpu2", "cpuf":
			x = min(max(x+1.5*r.NormFloat64(), 0), 100)
			if kind == "cpu2" {
				x = math.Round(x*100) / 100
			}
		case "counter":
			x += float64(r.IntN(400_000))
		case "gauge":
			if i == 0 || r.IntN(360) == 0 {
				x = float64(r.IntN(400)) / 4
			}
		case "constant":
			x = 42.25
		}
		v[i] = x
	}
	return v
}

// fold makes windows of points that are step apart.
func fold(granularity, step int64, v []float64, methods ...policy.Method) *window.Frame {
	times := make([]int64, len(v))
	for i := range times {
		times[i] = start + int64(i)*step
	}
	return foldAt(granularity, times, v, methods...)
}

func foldAt(granularity int64, times []int64, v []float64, methods ...policy.Method) *window.Frame {
	var f window.Frame
	f.Reset(granularity, window.Needs(policy.SetOf(methods...)))
	new(window.Folder).Fold(&f, nil, times, v)
	return &f
}

// file is a file with these metrics, whose refs are their places.
func file(t testing.TB, frames ...*window.Frame) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, frames[0].Granularity)
	for ref, f := range frames {
		if err := w.Add(uint64(ref), f); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := w.Close(); err != nil || s.Bytes != int64(b.Len()) {
		t.Fatalf("%d bytes were written: %+v, %v", b.Len(), s, err)
	}
	return b.Bytes()
}

func open(t testing.TB, b []byte) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The sizes are what the format is for. They do not depend on the machine.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		kind              string
		granularity, step int64
		points            int
		methods           []policy.Method
		most              float64 // bytes a window
	}{
		{"cpu2", second, second, 86_400, fiveMethods, 1.35},
		{"cpuf", second, second, 86_400, fiveMethods, 6.6},
		{"counter", second, second, 86_400, fiveMethods, 2.6},
		{"constant", second, second, 86_400, fiveMethods, 0.03},
		{"gauge", second, second, 86_400, fiveMethods, 0.03},
		{"cpu2", minute, 10 * second, 8_640, sixMethods, 7.0},
		{"cpu2", minute, 10 * second, 720, sixMethods, 7.5},
		{"counter", minute, 10 * second, 8_640, sixMethods, 14},
		{"gauge", minute, 10 * second, 8_640, sixMethods, 0.4},
		{"cpuf", minute, 10 * second, 8_640, sixMethods, 27},
	} {
		var frames []*window.Frame
		for seed := range uint64(max(4, 72_000/c.points)) {
			frames = append(frames, fold(c.granularity, c.step, walk(c.kind, seed, c.points), c.methods...))
		}
		b := file(t, frames...)
		s := open(t, b).Summary()
		got := float64(s.Bytes) / float64(s.Windows)
		t.Logf("%-8s %6d windows of %3.0f s with %d points, %d methods: %6.3f B a window, %.3f a method", c.kind,
			s.Windows/int64(len(frames)), float64(c.granularity)/1e9, c.granularity/c.step, len(c.methods), got, got/float64(len(c.methods)))
		if got > c.most {
			t.Errorf("%s: %v B a window, want at most %v", c.kind, got, c.most)
		}
	}
}
