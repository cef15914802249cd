package engine

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// shapes are kinds of values, as functions of the place in the series.
var shapes = map[string]func(r *rand.Rand, i int) float64{
	"two decimals": func(r *rand.Rand, i int) float64 { return math.Round(r.Float64()*1e4) / 100 },
	"precise":      func(r *rand.Rand, i int) float64 { return r.NormFloat64() },
	"counter":      func(r *rand.Rand, i int) float64 { return float64(i)*1234567 + float64(r.IntN(1000)) },
	"constant":     func(r *rand.Rand, i int) float64 { return 4096 },
	"constant pi":  func(r *rand.Rand, i int) float64 { return math.Pi },
	"negative":     func(r *rand.Rand, i int) float64 { return -float64(r.IntN(1e6)) / 1e3 },
	"limits": func(r *rand.Rand, i int) float64 {
		return []float64{1<<53 - 1, -(1<<53 - 1), 1 << 53, -1 << 53, 1<<53 - 2, 0}[r.IntN(6)]
	},
	"odd": func(r *rand.Rand, i int) float64 {
		return []float64{0, math.Copysign(0, -1), math.NaN(), math.Float64frombits(0x7ff0dead00000001), math.Inf(1), math.Inf(-1),
			math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1, 1e-9, 123456789.123456789, 9007199254740993}[r.IntN(12)]
	},
	"any bits": func(r *rand.Rand, i int) float64 { return math.Float64frombits(r.Uint64()) },
}

// clocks are kinds of times, as steps.
var clocks = map[string]func(r *rand.Rand) int64{
	"10 s":       func(r *rand.Rand) int64 { return 10e9 },
	"1 ns":       func(r *rand.Rand) int64 { return 1 },
	"gaps":       func(r *rand.Rand) int64 { return 10e9 * int64(1+r.IntN(20)/19*r.IntN(100)) },
	"jitter, ms": func(r *rand.Rand) int64 { return 10e9 + int64(r.IntN(100)-50)*1e6 },
	"jitter, ns": func(r *rand.Rand) int64 { return 10e9 + int64(r.IntN(1e8)) },
	"huge":       func(r *rand.Rand) int64 { return 1 + r.Int64N(1<<53) },
	"two eras":   func(r *rand.Rand) int64 { return 1 + int64(r.IntN(100)/99)<<61 },
}

func TestPackedPointsComeBackBitForBit(t *testing.T) {
	for clock, step := range clocks {
		for shape, value := range shapes {
			r := rand.New(rand.NewPCG(1, 2))
			for _, n := range []int{1, 2, 3, 31, 32, 33, 127, 128, 129, 1000} {
				times, values := make([]int64, n), make([]float64, n)
				at := int64(MinTime) + r.Int64N(1<<60)
				if clock != "two eras" {
					at = 1.7e18
				}
				for i := range n {
					times[i], values[i] = at, value(r, i)
					if d := step(r); at < 1<<62-d {
						at += d
					} else {
						at++
					}
				}
				row := append(packAll(nil, times, values), make([]byte, padding)...)
				gotTimes, gotValues, err := unpack(row, times[0], nil, nil)
				if err != nil || !slices.Equal(gotTimes, times) || !slices.EqualFunc(gotValues, values, sameBits) {
					t.Fatalf("%s, %s, %d points: other points come back (%v)", clock, shape, n, err)
				}
			}
		}
	}
}

func sameBits(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

func TestPackedSizes(t *testing.T) {
	f := func(shape string, most float64) {
		t.Helper()
		r := rand.New(rand.NewPCG(1, 2))
		const n = 720
		times, values := make([]int64, n), make([]float64, n)
		walk := 5000.0
		for i := range n {
			walk = math.Round(min(max(walk+r.NormFloat64()*200, 0), 1e4))
			times[i], values[i] = 1.7e18+int64(i)*10e9, walk/100
			if shape != "walk" {
				values[i] = shapes[shape](r, i)
			}
		}
		var row []byte
		before := times[0]
		for i := 0; i < n; i += tailLen {
			end := min(i+tailLen, n)
			row = pack(row, before, times[i:end], values[i:end])
			before = times[end-1]
		}
		if got := float64(len(row)) / n; got > most {
			t.Errorf("%s: %.2f bytes a point, more than %v", shape, got, most)
		} else {
			t.Logf("%s: %.2f bytes a point", shape, got)
		}
	}
	f("walk", 1.8)
	f("two decimals", 2.1)
	f("precise", 8.2)
	f("counter", 1.8)
	f("constant", 0.3)
	f("constant pi", 0.5)
}

func FuzzUnpack(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for clock := range clocks {
		for shape := range shapes {
			times, values := []int64{}, []float64{}
			at := int64(1.7e18)
			for i := range 40 {
				times, values = append(times, at), append(values, shapes[shape](r, i))
				at += clocks[clock](r)%1e15 + 1
			}
			f.Add(packAll(nil, times, values), times[0])
		}
	}
	f.Fuzz(func(t *testing.T, row []byte, base int64) {
		times, values, err := unpack(append(slices.Clip(row), make([]byte, padding)...), base, nil, nil)
		if len(times) != len(values) {
			t.Fatalf("%d times, %d values", len(times), len(values))
		}
		if err == nil && len(row) > 0 && len(times) == 0 {
			t.Fatal("no points of a row, and no error")
		}
	})
}

func BenchmarkPack(b *testing.B) {
	for _, shape := range []string{"two decimals", "precise", "counter", "constant"} {
		r := rand.New(rand.NewPCG(1, 2))
		times, values := make([]int64, tailLen), make([]float64, tailLen)
		for i := range times {
			times[i], values[i] = 1.7e18+int64(i)*10e9, shapes[shape](r, i)
		}
		b.Run(shape, func(b *testing.B) {
			var dst []byte
			for b.Loop() {
				dst = pack(dst[:0], times[0]-10e9, times, values)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*tailLen), "ns/point")
		})
		row := append(pack(nil, times[0]-10e9, times, values), make([]byte, padding)...)
		b.Run(shape+"/unpack", func(b *testing.B) {
			var times []int64
			var values []float64
			for b.Loop() {
				times, values, _ = unpack(row, 1.7e18-10e9, times[:0], values[:0])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*tailLen), "ns/point")
		})
	}
}
