package block

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

func benchmarkFile(b *testing.B, kind string, granularity, step int64, points int, methods ...policy.Method) *Reader {
	var file bytes.Buffer
	w := NewWriter(&file, granularity)
	for ref := range uint64(100) {
		if err := w.Add(ref, fold(granularity, step, walk(kind, ref, points), methods...)); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		b.Fatal(err)
	}
	r, err := Open(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func BenchmarkRead(b *testing.B) {
	medium := []policy.Method{policy.Mean, policy.Min, policy.Max, policy.Sum, policy.Std, policy.Count}
	for _, c := range []struct {
		kind    string
		windows int
		raw     int // points a window
		method  policy.Method
	}{
		{"cpu2", 1440, 6, policy.Mean},
		{"cpu2", 9070, 6, policy.Mean},
		{"cpu2", 9070, 1, policy.Mean},
		{"cpuf", 1440, 6, policy.Mean},
		{"cpu2", 1440, 6, policy.Min},
		{"cpu2", 1440, 6, policy.Std},
	} {
		b.Run(fmt.Sprintf("%s/%s/%d windows of %d", c.kind, c.method, c.windows, c.raw), func(b *testing.B) {
			r := benchmarkFile(b, c.kind, minute, minute/int64(c.raw), c.windows*c.raw, medium...)
			var f window.Frame
			var s window.Series
			b.ReportAllocs()
			ref := uint64(0)
			for b.Loop() {
				f.Reset(minute, window.Needs(policy.SetOf(c.method)))
				s.Reset()
				if err := r.Read(ref%100, math.MinInt64, math.MaxInt64, &f); err != nil {
					b.Fatal(err)
				}
				if err := f.Series(c.method, &s); err != nil || s.Len() != c.windows {
					b.Fatal(s.Len(), err)
				}
				ref++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.windows), "ns/window")
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	medium := []policy.Method{policy.Mean, policy.Min, policy.Max, policy.Sum, policy.Std, policy.Count}
	for _, c := range []struct {
		kind    string
		windows int
		raw     int // points a window
	}{
		{"cpu2", 1440, 6}, {"cpu2", 120, 6}, {"cpu2", 1440, 1}, {"counter", 1440, 6}, {"cpuf", 1440, 6}, {"gauge", 1440, 6},
	} {
		b.Run(fmt.Sprintf("%s/%d windows of %d", c.kind, c.windows, c.raw), func(b *testing.B) {
			f := fold(minute, minute/int64(c.raw), walk(c.kind, 1, c.windows*c.raw), medium...)
			b.ReportAllocs()
			w := NewWriter(io.Discard, minute)
			ref := uint64(0)
			for b.Loop() {
				if err := w.Add(ref, f); err != nil {
					b.Fatal(err)
				}
				ref++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.windows), "ns/window")
		})
	}
}
