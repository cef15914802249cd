package block

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

const second, minute = int64(1e9), int64(60e9)

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
	const start = 1_760_000_400 * second // a whole minute
	times := make([]int64, len(v))
	for i := range times {
		times[i] = start + int64(i)*step
	}
	var f window.Frame
	f.Reset(granularity, window.Needs(policy.SetOf(methods...)))
	new(window.Folder).Fold(&f, nil, times, v)
	return &f
}

func TestSizes(t *testing.T) {
	five := []policy.Method{policy.Count, policy.Max, policy.Sum, policy.Min, policy.Mean}
	medium := []policy.Method{policy.Mean, policy.Min, policy.Max, policy.Sum, policy.Std, policy.Count}
	for _, c := range []struct {
		kind              string
		granularity, step int64
		points            int
		methods           []policy.Method
		most              float64 // bytes a window
	}{
		{"cpu2", second, second, 86_400, five, 1.35},
		{"cpuf", second, second, 86_400, five, 6.6},
		{"counter", second, second, 86_400, five, 2.6},
		{"constant", second, second, 86_400, five, 0.03},
		{"gauge", second, second, 86_400, five, 0.06},
		{"cpu2", minute, 10 * second, 8_640, medium, 7.5},
		{"counter", minute, 10 * second, 8_640, medium, 14},
		{"gauge", minute, 10 * second, 8_640, medium, 0.8},
		{"cpuf", minute, 10 * second, 8_640, medium, 28},
		{"cpu2", minute, 10 * second, 720, medium, 7.5},
	} {
		var file bytes.Buffer
		w := NewWriter(&file, c.granularity)
		const metrics = 20
		for ref := range uint64(metrics) {
			if err := w.Add(ref, fold(c.granularity, c.step, walk(c.kind, ref, c.points), c.methods...)); err != nil {
				t.Fatal(err)
			}
		}
		s, err := w.Close()
		if err != nil || s.Bytes != int64(file.Len()) {
			t.Fatal(s, file.Len(), err)
		}
		got := float64(s.Bytes) / float64(s.Windows)
		t.Logf("%-8s %6d windows of %3.0fs, %d methods: %7.4f B a window, %.3f a method", c.kind, s.Windows/metrics, float64(c.granularity)/1e9, len(c.methods), got, got/float64(len(c.methods)))
		if got > c.most {
			t.Errorf("%s: %v B a window, want at most %v", c.kind, got, c.most)
		}
	}
}
