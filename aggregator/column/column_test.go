package column

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// shapes are columns like those that are measured.
func shapes(n int) map[string][]float64 {
	r := rand.New(rand.NewPCG(1, 2))
	cpu2, cpuf, counter, constant, gauge := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	walk, exact, total, level := 50.0, 50.0, 1e9, 7.5
	step := func(v float64) float64 { return min(max(v+1.5*r.NormFloat64(), 0), 100) }
	for i := range n {
		walk = math.Round(step(walk)*100) / 100
		exact = step(exact)
		total += float64(r.IntN(400_000))
		if r.IntN(60) == 0 {
			level = float64(r.IntN(100)) / 4
		}
		cpu2[i], cpuf[i], counter[i], constant[i], gauge[i] = walk, exact, total, 42.25, level
	}
	return map[string][]float64{"cpu2": cpu2, "cpuf": cpuf, "counter": counter, "constant": constant, "gauge": gauge}
}

// The sizes are part of what the package is for. They do not depend on the machine.
func TestSizes(t *testing.T) {
	most := map[string]float64{"cpu2": 1.27, "cpuf": 6.52, "counter": 2.4, "constant": 0.002, "gauge": 0.06}
	for name, v := range shapes(8640) {
		got := float64(len(AppendFloats(nil, v))) / float64(len(v))
		t.Logf("%-8s %.4f B a value", name, got)
		if got > most[name] {
			t.Errorf("%s takes %.4f B a value, want at most %v", name, got, most[name])
		}
	}
}

// intColumns are columns of all kinds, of lengths around those of mini-blocks.
func intColumns() map[string][]int64 {
	r := rand.New(rand.NewPCG(3, 4))
	columns := map[string][]int64{}
	kinds := []struct {
		name string
		next func(i int, before int64) int64
	}{
		{"constant", func(int, int64) int64 { return -7 }},
		{"line", func(i int, _ int64) int64 { return 1_700_000_000e9 + int64(i)*10e9 }},
		{"wraps", func(i int, _ int64) int64 { return int64(i) * (math.MaxInt64 / 3) }},
		{"small", func(int, int64) int64 { return r.Int64N(7) }},
		{"negative", func(int, int64) int64 { return -r.Int64N(1e6) }},
		{"walk", func(_ int, b int64) int64 { return b + r.Int64N(2001) - 1000 }},
		{"factor", func(_ int, b int64) int64 { return b + 4096*(r.Int64N(100)-3) }},
		{"curve", func(i int, _ int64) int64 { return int64(i)*int64(i)*1000 + r.Int64N(3) }},
		{"random", func(int, int64) int64 { return int64(r.Uint64()) }},
		{"extremes", func(int, int64) int64 { return []int64{math.MinInt64, math.MaxInt64, 0, -1}[r.IntN(4)] }},
		{"runs", func(i int, b int64) int64 { return pick(r.IntN(40) == 0, r.Int64N(1e9), b) }},
		{"resets", func(_ int, b int64) int64 { return pick(r.IntN(200) == 0, 0, b+r.Int64N(5000)) }},
		{"late", func(i int, _ int64) int64 { return int64(i)*1000 + pick(r.IntN(50) == 0, r.Int64N(1e12), 0) }},
		{"up and down", func(i int, _ int64) int64 { return pick(i%2 == 0, math.MaxInt64, math.MinInt64) }},
		{"wide", func(int, int64) int64 { return int64(r.Uint64() >> (1 + r.IntN(60))) }},
		{"one of 63 bits", func(i int, _ int64) int64 { return pick(i == 70, 1<<62, int64(i%3)) }},
		{"one of 64 bits", func(i int, _ int64) int64 { return pick(i == 70, math.MinInt64, int64(i%3)) }},
		{"62 bits or less", func(int, int64) int64 { return r.Int64N(1 << 62) }},
		{"58 bits", func(int, int64) int64 { return r.Int64N(1 << 58) }},
	}
	for _, kind := range kinds {
		for _, n := range []int{0, 1, 2, 3, 4, 8, 127, 128, 129, 130, 131, 257, 1000} {
			v := make([]int64, n)
			before := int64(1000)
			for i := range v {
				before = kind.next(i, before)
				v[i] = before
			}
			columns[fmt.Sprint(kind.name, " ", n)] = v
		}
	}
	return columns
}

func pick(condition bool, yes, no int64) int64 {
	if condition {
		return yes
	}
	return no
}

func TestIntsComeBack(t *testing.T) {
	for name, v := range intColumns() {
		src := AppendInts([]byte("front"), v)
		if string(src[:5]) != "front" {
			t.Errorf("%s: what was in dst is %q", name, src[:5])
		}
		src = src[5:]
		if worst := 16 + len(v)*8 + (len(v)+127)/128*11; len(src) > worst {
			t.Errorf("%s: %d bytes, more than %d", name, len(src), worst)
		}
		for _, tail := range []string{"", "tail"} { // reading ahead must not matter
			got, rest, err := Ints(slices.Concat(src, []byte(tail)), len(v), []int64{5})
			if err != nil || string(rest) != tail || got[0] != 5 || !slices.Equal(got[1:], v) {
				t.Errorf("%s: wrote %v, read %v, rest %q, %v", name, v, got, rest, err)
			}
		}
		// Every cut is noticed.
		for cut := range src {
			if cut%17 != 0 && cut < len(src)-10 {
				continue
			}
			if got, _, err := Ints(src[:cut], len(v), nil); !errors.Is(err, ErrDamaged) || len(got) > 0 {
				t.Errorf("%s: cut to %d of %d bytes: read %v, %v", name, cut, len(src), got, err)
			}
		}
	}
}

func TestPlannedSizeIsAboutRight(t *testing.T) {
	for name, v := range intColumns() {
		p := PlanInts(v)
		got, real := p.Size(), len(p.Append(nil, v))
		if low, high := real/2-16, real*2+16; got < low || got > high {
			// Runs and what only a part of the mini-blocks have are not looked at.
			t.Logf("%s: %d, really %d", name, got, real)
			if got < low {
				t.Errorf("%s: %d bytes told, but it takes %d", name, got, real)
			}
		}
	}
}

var oddFloats = []float64{
	0, math.Copysign(0, -1), math.NaN(), math.Float64frombits(0x7ff4000000000001), math.Float64frombits(0xfff8000000000123),
	math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64,
	1e300, 1e-300, 0.1, 0.2, 0.1 + 0.2, 1.0 / 3, 1<<53 - 1, 1 << 53, -1 << 53, 1<<63 + 1<<11, 123456789.123456789, 1e-9, 1e-10, 4503599627370497.5,
}

func floatColumns() map[string][]float64 {
	r := rand.New(rand.NewPCG(5, 6))
	columns := shapes(2000)
	columns["nothing"] = nil
	columns["odd"] = oddFloats
	columns["random bits"] = make([]float64, 1000)
	columns["some are no decimals"] = make([]float64, 1000)
	columns["single precision"] = make([]float64, 1000)
	columns["more decimals later"] = make([]float64, 1000)
	columns["calculated"] = make([]float64, 1000)
	for i := range 1000 {
		columns["random bits"][i] = math.Float64frombits(r.Uint64())
		columns["some are no decimals"][i] = float64(r.IntN(1000)) / 100
		if r.IntN(50) == 0 {
			columns["some are no decimals"][i] = oddFloats[r.IntN(len(oddFloats))]
		}
		columns["calculated"][i] = float64(r.IntN(2000)-1000)/100 + float64(r.IntN(1000))/1000*0.5
		columns["single precision"][i] = float64(float32(50 + r.NormFloat64()))
		columns["more decimals later"][i] = math.Round(r.Float64()*1e9) / tens[i/120+1] / tens[8-i/120]
	}
	for i, v := range oddFloats {
		columns[fmt.Sprint("one ", i)] = []float64{v}
		columns[fmt.Sprint("many ", i)] = slices.Repeat([]float64{v}, 300)
		columns[fmt.Sprint("behind decimals ", i)] = append(slices.Repeat([]float64{0.25, 0.5, 17}, 100), v)
		columns[fmt.Sprint("before decimals ", i)] = append([]float64{v}, slices.Repeat([]float64{0.25, 0.5, 17}, 100)...)
	}
	return columns
}

func same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

func TestFloatsComeBack(t *testing.T) {
	for name, v := range floatColumns() {
		src := AppendFloats(nil, v)
		got, rest, err := Floats(append(src[:len(src):len(src)], "tail"...), len(v), []float64{5})
		if err != nil || string(rest) != "tail" || got[0] != 5 || !same(got[1:], v) {
			t.Errorf("%s: wrote %v, read %v, rest %q, %v", name, v, got, rest, err)
		}
		for _, from := range []int{0, 1, 2, len(v) / 3, len(v) - 1} {
			for _, n := range []int{1, len(v) / 2, len(v) - from} {
				if from < 0 || from >= len(v) || from+n > len(v) {
					continue
				}
				part := make([]float64, n)
				if err := FloatsFrom(src, len(v), from, part); err != nil || !same(part, v[from:from+n]) {
					t.Errorf("%s: %d from %d on: %v, %v", name, n, from, part, err)
				}
			}
		}
		for cut := range src {
			if cut%17 != 0 && cut < len(src)-10 {
				continue
			}
			if got, _, err := Floats(src[:cut], len(v), nil); !errors.Is(err, ErrDamaged) || len(got) > 0 {
				t.Errorf("%s: cut to %d of %d bytes: read %v, %v", name, cut, len(src), got, err)
			}
		}
	}
}

// A few values that are no decimals do not cost the others their small size.
func TestFewOddValuesAreCheap(t *testing.T) {
	v := shapes(4096)["cpu2"]
	plain := len(AppendFloats(nil, v))
	v[17], v[800], v[4000] = math.NaN(), 1.0/3, math.Copysign(0, -1)
	if got := len(AppendFloats(nil, v)); got > plain+60 {
		t.Errorf("%d bytes with three odd values, %d without", got, plain)
	}
}

// Decimals that lost their last bits in calculations are not much larger than others.
func TestCalculatedDecimalsAreCheap(t *testing.T) {
	a, b := shapes(4096)["cpu2"], shapes(4096)["cpu2"]
	v := make([]float64, len(a))
	for i := range v {
		v[i] = a[i] + (b[(i+1)%len(b)]-a[i])*0.75
	}
	if _, ok := Scale(v, make([]int64, len(v))); ok {
		t.Fatal("these are just decimals")
	}
	if got := float64(len(AppendFloats(nil, v))) / float64(len(v)); got > 2 {
		t.Errorf("%.3f B a value", got)
	}
}

// isQuotient is Scale's definition for one value and exponent, by big numbers.
func isQuotient(x float64, e int) bool {
	if math.IsNaN(x) || math.IsInf(x, 0) || x == 0 && math.Signbit(x) {
		return false
	}
	ten := new(big.Float).SetPrec(200).SetFloat64(tens[e])
	product, _ := new(big.Float).SetPrec(200).Mul(new(big.Float).SetFloat64(x), ten).Int(nil)
	for off := int64(-2); off <= 2; off++ {
		m := new(big.Int).Add(product, big.NewInt(off))
		if m.CmpAbs(big.NewInt(limit)) >= 0 {
			continue
		}
		quotient, _ := new(big.Rat).SetFrac(m, big.NewInt(int64(tens[e]))).Float64()
		if quotient == x {
			return true
		}
	}
	return false
}

func TestScale(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	columns := floatColumns()
	for e := range MaxExponent + 1 {
		for digits := range 17 {
			var v []float64
			for range 50 {
				v = append(v, float64(r.Int64N(int64(math.Pow10(digits))))/tens[e])
			}
			columns[fmt.Sprintf("%d digits, %d decimals", digits, e)] = v
			columns[fmt.Sprintf("%d digits, %d decimals, next", digits, e)] = []float64{math.Nextafter(v[0], 1e99)}
		}
	}
	for name, v := range columns {
		want, wantOK := 0, true
		for _, x := range v {
			for wantOK && !isQuotient(x, want) {
				if want++; want > MaxExponent {
					wantOK = false
				}
			}
		}
		// An exponent that a later value needs may be too much for an earlier one.
		for _, x := range v {
			wantOK = wantOK && isQuotient(x, want)
		}
		ints := make([]int64, len(v))
		e, ok := Scale(v, ints)
		if ok != wantOK || ok && e != want {
			t.Errorf("%s: exponent %d, %v; want %d, %v", name, e, ok, want, wantOK)
		}
		if !ok {
			continue
		}
		for _, least := range []int{0, e, min(e+1, MaxExponent), 2 * MaxExponent} {
			from, ok := ScaleFrom(least, v, ints)
			if ok && from < least || !ok && least <= e {
				t.Errorf("%s: exponent %d, %v from %d on", name, from, ok, least)
			}
			if !ok {
				continue
			}
			for i, m := range ints {
				if math.Abs(float64(m)) >= limit || math.Float64bits(float64(m)/tens[from]) != math.Float64bits(v[i]) {
					t.Errorf("%s: %v became %d / 10^%d", name, v[i], m, from)
				}
			}
		}
	}
}

// Counts in garbage must not make memory.
func TestGarbageIsRefused(t *testing.T) {
	for name, src := range map[string][]byte{
		"nothing":            {},
		"unknown flag":       {0x10, 0, 0},
		"cut number":         {formValues, 0x80},
		"endless number":     slices.Repeat([]byte{0xff}, 40),
		"no centre":          {formDifferences | constant, 2},
		"no factor":          {formDifferences | factored, 2},
		"run too long":       append([]byte{formRuns, 2}, binary.AppendUvarint(nil, math.MaxUint64)...),
		"run cut":            {formRuns, 2, 1},
		"exception too far":  {formValues, 0, 0, exceptions, 1, 99, 2},
		"exception cut":      {formValues, 0, 0, exceptions, 1},
		"exceptions cut":     {formValues, 0, 0, exceptions},
		"base cut":           {formValues, 0, 0, ownBase},
		"packed numbers cut": {formValues, 0, 0, 17, 1, 2, 3},
	} {
		if v, _, err := Ints(src, 100, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	line := AppendInts(nil, []int64{1, 2, 3})
	for name, src := range map[string][]byte{
		"nothing":          {},
		"unknown exponent": append([]byte{19}, line...),
		"unknown kind":     append([]byte{0x41}, line...),
		"no patches":       append([]byte{patched}, line...),
		"patch too far":    slices.Concat([]byte{patched}, line, []byte{1, 3}, make([]byte, 8)),
		"patch cut":        slices.Concat([]byte{patched}, line, []byte{1, 2}, make([]byte, 7)),
		"too many patches": slices.Concat([]byte{patched}, line, []byte{200, 1, 2}, make([]byte, 8)),
	} {
		if v, _, err := Floats(src, 3, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
		if err := FloatsFrom(src, 3, 1, make([]float64, 2)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v from the second on", name, err)
		}
	}
	if err := FloatsFrom(append([]byte{0}, line...), 3, 2, make([]float64, 2)); !errors.Is(err, ErrDamaged) {
		t.Errorf("more than there are: %v", err)
	}
}

func FuzzFloatsComeBack(f *testing.F) {
	for _, v := range [][]float64{{1, 2, 3}, {0.1, 0.25, math.NaN()}, oddFloats} {
		var b []byte
		for _, x := range v {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
		f.Add(b, uint8(3))
		f.Add(b, uint8(200))
	}
	f.Fuzz(func(t *testing.T, b []byte, repeat uint8) {
		var v []float64
		var ints []int64
		for ; len(b) >= 8; b = b[8:] {
			u := binary.LittleEndian.Uint64(b)
			for range repeat%5 + 1 {
				v = append(v, math.Float64frombits(u), float64(int32(u))/100)
				ints = append(ints, int64(u), int64(int16(u)))
			}
		}
		gotFloats, rest, err := Floats(AppendFloatsFrom(int(repeat)%19, nil, v), len(v), nil)
		if err != nil || len(rest) > 0 || !same(gotFloats, v) {
			t.Errorf("wrote %v, read %v, rest %v, %v", v, gotFloats, rest, err)
		}
		gotInts, rest, err := Ints(AppendInts(nil, ints), len(ints), nil)
		if err != nil || len(rest) > 0 || !slices.Equal(gotInts, ints) {
			t.Errorf("wrote %v, read %v, rest %v, %v", ints, gotInts, rest, err)
		}
	})
}

func FuzzGarbage(f *testing.F) {
	for _, v := range [][]int64{{1}, {1, 2, 4, 8}, slices.Repeat([]int64{1, 1, 1, 5}, 70), intColumns()["late 257"]} {
		f.Add(AppendInts(nil, v), uint16(len(v)))
		f.Add(AppendInts([]byte{2 | patched}, v), uint16(len(v)))
	}
	f.Add(AppendFloats(nil, floatColumns()["some are no decimals"]), uint16(1000))
	f.Fuzz(func(t *testing.T, src []byte, n uint16) {
		if v, _, err := Ints(src, int(n), nil); err == nil && len(v) != int(n) {
			t.Errorf("%d integers instead of %d", len(v), n)
		}
		if v, _, err := Floats(src, int(n), nil); err == nil && len(v) != int(n) {
			t.Errorf("%d numbers instead of %d", len(v), n)
		} else if part := make([]float64, (int(n)+1)/2); err == nil && (FloatsFrom(src, int(n), int(n)/2, part) != nil || !same(part, v[int(n)/2:])) {
			t.Errorf("a part is %v, not %v", part, v[int(n)/2:])
		}
	})
}

func BenchmarkAppendFloats(b *testing.B) {
	for name, v := range shapes(4096) {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendFloats(dst[:0], v)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(v)), "ns/value")
			b.ReportMetric(float64(len(dst))/float64(len(v)), "B/value")
		})
	}
}

func BenchmarkFloats(b *testing.B) {
	for name, v := range shapes(4096) {
		b.Run(name, func(b *testing.B) {
			src := AppendFloats(nil, v)
			var dst []float64
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, _, err = Floats(src, len(v), dst[:0]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(v)), "ns/value")
		})
	}
}

func BenchmarkScale(b *testing.B) {
	v := shapes(4096)["cpu2"]
	ints := make([]int64, len(v))
	for _, least := range []int{0, 2} {
		b.Run(fmt.Sprint("from ", least), func(b *testing.B) {
			for b.Loop() {
				if e, ok := ScaleFrom(least, v, ints); !ok || e != 2 {
					b.Fatal(e, ok)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(v)), "ns/value")
		})
	}
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want string
	}{
		{[]float64{7, 7, 7, 7}, "constant"},
		{[]float64{1, 2, 3, 4}, "constant differences"},
		{[]float64{0.25, 0.5, 0.75, 1.5, 4, 4.25, 4.5}, "2 decimals, differences of 25"},
		{[]float64{0.25}, "2 decimals, constant"},
		{shapes(1000)["cpuf"], "bits, differences"},
		{append(shapes(1000)["cpu2"], math.NaN()), "2 decimals, differences, some not"},
		{slices.Repeat([]float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9}, 5), "runs"},
		{nil, "damaged"},
	} {
		if got := Describe(AppendFloats(nil, c.v), len(c.v)); got != c.want {
			t.Errorf("%d values: %q, want %q", len(c.v), got, c.want)
		}
	}
}
