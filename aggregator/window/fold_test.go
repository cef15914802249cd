package window

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/nephoscope/nepho/aggregator/policy"
)

// everything is all columns but most percentiles.
func everything() Columns {
	plain := ColumnsOf(Count, Sum, Min, Max, First, Last, Deviation)
	for _, p := range []int{1, 5, 25, 33, 50, 75, 90, 95, 99} {
		plain.Add(Percentile(p))
	}
	all := plain
	for c := range plain.All() {
		all.Add(c.Rate())
	}
	return all
}

// shapes of values; each makes the next of a series.
var shapes = map[string]func(r *rand.Rand, last float64) float64{
	"integers":       func(r *rand.Rand, _ float64) float64 { return float64(r.IntN(2000) - 1000) },
	"two decimals":   func(r *rand.Rand, _ float64) float64 { return float64(r.IntN(20000)-10000) / 100 },
	"any decimals":   func(r *rand.Rand, _ float64) float64 { return float64(r.IntN(2e6)-1e6) / powers[r.IntN(10)] },
	"nine decimals":  func(r *rand.Rand, _ float64) float64 { return float64(r.Int64N(1<<53)-1<<52) / 1e9 },
	"ten decimals":   func(r *rand.Rand, _ float64) float64 { return float64(r.Int64N(1<<50)) / 1e10 },
	"full precision": func(r *rand.Rand, _ float64) float64 { return r.NormFloat64() },
	"counter":        func(r *rand.Rand, last float64) float64 { return last + float64(r.Int64N(2e10)) },
	"slow counter":   func(r *rand.Rand, last float64) float64 { return last + float64(r.IntN(3)) },
	"large integers": func(r *rand.Rand, _ float64) float64 { return float64(r.Int64() >> r.IntN(12)) },
	"near 2^53":      func(r *rand.Rand, _ float64) float64 { return float64(r.Int64N(8) + 1<<53 - 6) },
	"near 2^53/10":   func(r *rand.Rand, _ float64) float64 { return float64(r.Int64N(40)+1<<53-30) / 10 },
	"constant":       func(*rand.Rand, float64) float64 { return 42.42 },
	"one third":      func(*rand.Rand, float64) float64 { return 1.0 / 3 },
	"nearly equal": func(r *rand.Rand, _ float64) float64 {
		return math.Float64frombits(math.Float64bits(1e6/3.0) + r.Uint64N(4))
	},
	"huge": func(r *rand.Rand, _ float64) float64 { return r.NormFloat64() * 1e300 },
	"tiny": func(r *rand.Rand, _ float64) float64 { return r.NormFloat64() * 1e-300 },
	"wide": func(r *rand.Rand, _ float64) float64 { return math.Ldexp(r.NormFloat64(), r.IntN(200)-100) },
	"cancelling": func(r *rand.Rand, last float64) float64 {
		return -last + float64(r.IntN(2))/3 + 1e16*float64(r.IntN(2))
	},
	"minus zeros": func(r *rand.Rand, _ float64) float64 {
		return math.Copysign(float64(r.IntN(2)), -1+2*float64(r.IntN(2)))
	},
	"special": func(r *rand.Rand, _ float64) float64 {
		return []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0, 1.5, math.MaxFloat64, -math.MaxFloat64, 5e-324}[r.IntN(9)]
	},
	"rarely special": func(r *rand.Rand, _ float64) float64 {
		if r.IntN(30) == 0 {
			return []float64{math.NaN(), math.Inf(1), math.Copysign(0, -1), 0.1234567890123}[r.IntN(4)]
		}
		return float64(r.IntN(1000)) / 10
	},
}

// A workload is points and how they are to be folded.
type workload struct {
	granularity int64
	before      *Point
	times       []int64
	values      []float64
}

func randomWorkload(r *rand.Rand, shape func(*rand.Rand, float64) float64) workload {
	w := workload{granularity: []int64{1, 7, 1e9, 60e9, 3600e9}[r.IntN(5)]}
	step := max(1, w.granularity*int64(1+r.IntN(3))/int64(1+r.IntN(12)))
	at := r.Int64N(4e18) - 2e18
	if r.IntN(4) == 0 {
		at = r.Int64N(20*step) - 10*step // across 1970
	}
	value := 0.0
	next := func() Point {
		at += 1 + r.Int64N(2*step)
		if r.IntN(20) == 0 {
			at += w.granularity * int64(r.IntN(5))
		}
		value = shape(r, value)
		return Point{at, value}
	}
	if r.IntN(2) == 0 {
		p := next()
		w.before = &p
	}
	for range 1 + r.IntN(60) {
		p := next()
		w.times, w.values = append(w.times, p.Time), append(w.values, p.Value)
	}
	return w
}

// The windows of all shapes are what the reference says.
func TestFold(t *testing.T) {
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(7, uint64(len(name))))
			var folder Folder // used again and again, as in earnest
			var frame Frame
			for range 25 {
				w := randomWorkload(r, shape)
				frame.Reset(w.granularity, everything())
				folder.Fold(&frame, w.before, w.times, w.values)
				if err := check(&frame, w); err != nil {
					t.Fatalf("%v\n%+v", err, w)
				}
			}
		})
	}
}

func check(f *Frame, w workload) error {
	want := referenceWindows(w.granularity, w.before, w.times, w.values)
	if len(want) != f.Len() {
		return fmt.Errorf("%d windows, want %d", f.Len(), len(want))
	}
	for i, ref := range want {
		if f.Starts[i] != ref.start {
			return fmt.Errorf("window %d starts at %d, want %d", i, f.Starts[i], ref.start)
		}
		for c := range f.Columns.All() {
			numbers := ref.points
			if c.IsRate() {
				numbers = ref.rates
			}
			if len(numbers.floats) == 0 {
				if got := f.Values(c)[i]; got != 0 {
					return fmt.Errorf("window %d: %v is %v of nothing", i, c, got)
				}
				continue
			}
			if err := checkColumn(c.Plain(), f.Values(c)[i], numbers); err != nil {
				return fmt.Errorf("window %d (%d): %v: %w of %v", i, ref.start, c, err, numbers.floats)
			}
		}
		for _, m := range []policy.Method{policy.Mean, policy.Std, policy.Mean.Rate(), policy.Std.Rate()} {
			if err := checkMethod(f, m, ref); err != nil {
				return fmt.Errorf("window %d (%d): %v: %w", i, ref.start, m, err)
			}
		}
	}
	return nil
}

// checkColumn is to the last bit, but for sums and deviations of what is not decimal.
func checkColumn(c Column, got float64, n numbers) error {
	var want float64
	switch {
	case c == Count:
		want = float64(len(n.floats))
	case c == First:
		want = n.floats[0]
	case c == Last:
		want = n.floats[len(n.floats)-1]
	case c.Percentile() > 0:
		want = n.percentile(c.Percentile())
	case c == Deviation && len(n.floats) == 1:
		want = 0
	case n.hasNaN():
		want = math.NaN()
	case c == Min:
		want = n.min()
	case c == Max:
		want = n.max()
	case c == Sum:
		if want = n.plainSum(); math.IsNaN(want) || math.IsInf(want, 0) || len(n.floats) == 1 {
			break
		}
		if !n.decimal {
			bound := new(big.Rat).Mul(n.magnitude(), new(big.Rat).SetFloat64(math.Ldexp(float64(len(n.floats)*len(n.floats)), -106)))
			return near(got, n.sum(), 0.5, bound)
		}
		want, _ = n.sum().Float64()
	case c == Deviation:
		if n.decimal {
			want, _ = n.deviation().Float64()
			break
		}
		return nil // by its square root, see checkMethod
	}
	if math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
		return fmt.Errorf("%v, want %v", got, want)
	}
	return nil
}

// near reports if got is further from want than so many units in the last place and
// a bound.
func near(got float64, want *big.Rat, units float64, bound *big.Rat) error {
	if math.IsNaN(got) || math.IsInf(got, 0) {
		return fmt.Errorf("%v, want %s", got, want.FloatString(20))
	}
	ulp := math.Nextafter(math.Abs(got), math.Inf(1)) - math.Abs(got)
	if math.IsInf(ulp, 0) {
		ulp = math.Abs(got) - math.Nextafter(math.Abs(got), 0)
	}
	most := new(big.Rat).Mul(new(big.Rat).SetFloat64(ulp), new(big.Rat).SetFloat64(units))
	if bound != nil {
		most.Add(most, bound)
	}
	off := new(big.Rat).Sub(new(big.Rat).SetFloat64(got), want)
	if off.Abs(off).Cmp(most) > 0 {
		away, _ := off.Quo(off, new(big.Rat).SetFloat64(ulp)).Float64()
		return fmt.Errorf("%v is %.2f units from %s", got, away, want.FloatString(20))
	}
	return nil
}

// checkMethod checks mean and deviation to the bounds that Series states.
func checkMethod(f *Frame, m policy.Method, ref reference) error {
	var s Series
	if err := f.Series(m, &s); err != nil {
		return err
	}
	n := ref.points
	if m.IsRate() {
		n = ref.rates
	}
	least := 1
	if m.Plain() == policy.Std {
		least = 2
	}
	i, found := slices.BinarySearch(s.Times, ref.start)
	if found != (len(n.floats) >= least) {
		return fmt.Errorf("there is a value: %v, of %v", found, n.floats)
	}
	if !found {
		return nil
	}
	got, count := s.Values[i], int64(len(n.floats))
	sum := n.plainSum()
	if math.IsNaN(sum) || math.IsInf(sum, 0) { // not in range
		if !math.IsNaN(got) && !math.IsInf(got, 0) {
			return fmt.Errorf("%v of %v", got, n.floats)
		}
		return nil
	}
	if m.Plain() == policy.Mean {
		mean := n.sum()
		var bound *big.Rat
		if !n.decimal {
			bound = new(big.Rat).Mul(n.magnitude(), new(big.Rat).SetFloat64(math.Ldexp(float64(count*count), -106)))
		}
		if abs, _ := new(big.Rat).Abs(mean).Float64(); abs != 0 && abs < 1e-290 {
			return nil // units of such numbers are all the same
		}
		return near(got, mean.Quo(mean, new(big.Rat).SetInt64(count)), 1.5, bound)
	}
	variance := n.deviation()
	if v, _ := variance.Float64(); v > 1e300 || variance.Sign() != 0 && v < 1e-250 {
		return nil
	}
	variance.Quo(variance, new(big.Rat).SetInt64(count*(count-1)))
	root := new(big.Float).SetPrec(200).SetRat(variance)
	want, _ := root.Sqrt(root).Rat(nil)
	if want == nil {
		want = new(big.Rat)
	}
	return near(got, want, 4, nil)
}

// Folding in pieces, each with the point before it, is folding at once, to the last
// bit, whatever else is in a piece.
func TestFoldInPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	names := make([]string, 0, len(shapes))
	for name := range shapes {
		names = append(names, name)
	}
	slices.Sort(names)
	for range 250 {
		w := randomWorkload(r, func(r *rand.Rand, last float64) float64 {
			return shapes[names[r.IntN(len(names))]](r, last)
		})
		if r.IntN(2) == 0 { // one shape for a while, then another
			first, second := shapes[names[r.IntN(len(names))]], shapes[names[r.IntN(len(names))]]
			left := r.IntN(40)
			w = randomWorkload(r, func(r *rand.Rand, last float64) float64 {
				if left--; left > 0 {
					return first(r, last)
				}
				return second(r, last)
			})
		}
		var whole, pieces Frame
		whole.Reset(w.granularity, everything())
		pieces.Reset(w.granularity, everything())
		var a, b Folder
		a.Fold(&whole, w.before, w.times, w.values)

		from, before := 0, w.before
		for i := 1; i <= len(w.times); i++ {
			newWindow := i == len(w.times) || policy.Floor(w.times[i], w.granularity) != policy.Floor(w.times[i-1], w.granularity)
			if !newWindow || i < len(w.times) && r.IntN(3) != 0 {
				continue
			}
			b.Fold(&pieces, before, w.times[from:i], w.values[from:i])
			from, before = i, &Point{w.times[i-1], w.values[i-1]}
		}
		if !slices.Equal(whole.Starts, pieces.Starts) {
			t.Fatalf("%v, %v", whole.Starts, pieces.Starts)
		}
		for c := range whole.Columns.All() {
			for i, v := range whole.Values(c) {
				p := pieces.Values(c)[i]
				if math.Float64bits(v) != math.Float64bits(p) && !(math.IsNaN(v) && math.IsNaN(p)) {
					t.Fatalf("%v of window %d: %v at once, %v in pieces\n%+v", c, i, v, p, w)
				}
			}
		}
	}
}

// Groups are windows whose starts are given.
func TestFoldGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 13))
	var d Folder
	for range 100 {
		w := randomWorkload(r, shapes["rarely special"])
		var windows, groups Frame
		windows.Reset(w.granularity, everything())
		groups.Reset(0, everything())
		d.Fold(&windows, w.before, w.times, w.values)
		starts := make([]int64, len(w.times))
		for i, at := range w.times {
			starts[i] = policy.Floor(at, w.granularity)
		}
		d.FoldGroups(&groups, w.before, starts, w.values)
		if !slices.Equal(windows.Starts, groups.Starts) {
			t.Fatalf("%v, %v", windows.Starts, groups.Starts)
		}
		for c := range windows.Columns.All() {
			if !slices.EqualFunc(windows.Values(c), groups.Values(c), func(a, b float64) bool { return a == b || a != a && b != b }) {
				t.Fatalf("%v: %v, %v", c, windows.Values(c), groups.Values(c))
			}
		}
	}
	var none Frame
	none.Reset(0, everything())
	d.FoldGroups(&none, nil, nil, nil)
	if none.Len() != 0 {
		t.Error(none)
	}
}

// What the prototypes got wrong: a window whose later points have more decimals,
// and squares beyond 64 bits.
func TestFoldKnownFaults(t *testing.T) {
	fold := func(values ...float64) *Frame {
		times := make([]int64, len(values))
		for i := range times {
			times[i] = int64(i)
		}
		f := &Frame{}
		f.Reset(1e9, ColumnsOf(Sum, Min, Max, Deviation, Count))
		new(Folder).Fold(f, nil, times, values)
		return f
	}
	f := fold(1, 2, 0.5, 0.25, 0.125)
	for c, want := range map[Column]float64{Sum: 3.875, Min: 0.125, Max: 2, Deviation: 5*(1+4+0.25+0.0625+0.015625) - 3.875*3.875} {
		if got := f.Values(c)[0]; got != want {
			t.Errorf("%v is %v, want %v", c, got, want)
		}
	}
	f = fold(0.1, 0.2, 0.3)
	if got := f.Values(Sum)[0]; got != 0.6 {
		t.Errorf("0.1+0.2+0.3 = %v", got)
	}
	f = fold(0, 1.25e10, 2.5e10, 3.75e10) // 10 Gbit/s
	if got, want := f.Values(Deviation)[0], 20*1.25e10*1.25e10; got != want {
		t.Errorf("deviation is %v, want %v", got, want)
	}
	var s Series
	if err := f.Series(policy.Std, &s); err != nil || s.Values[0] != 1.25e10*math.Sqrt(5.0/3) {
		t.Errorf("%v, %v", s, err)
	}
	// Each value is in range, the sum of all is not.
	f = fold(slices.Repeat([]float64{1<<53 - 1}, 1025)...)
	if sum, deviation := f.Values(Sum)[0], f.Values(Deviation)[0]; sum != 1025*(1<<53-1) || deviation != 0 {
		t.Errorf("sum %v, deviation %v", sum, deviation)
	}
}

// Sums that are just in range, and just not.
func TestFoldLimits(t *testing.T) {
	for _, n := range []int{511, 512, 513, 514, 1023, 1024, 1025, 1026} {
		w := workload{granularity: 1e9}
		for i := range n {
			w.times = append(w.times, int64(i))
			w.values = append(w.values, (1<<53-1)*float64(1-2*(i%2)))
		}
		var f Frame
		f.Reset(w.granularity, everything())
		new(Folder).Fold(&f, nil, w.times, w.values)
		if err := check(&f, w); err != nil {
			t.Errorf("%d points: %.200s", n, err.Error())
		}
	}
}

func TestFoldMinusZero(t *testing.T) {
	minus := math.Copysign(0, -1)
	var f Frame
	f.Reset(10, ColumnsOf(Sum, Max))
	new(Folder).Fold(&f, nil, []int64{0, 1, 10, 11}, []float64{minus, minus, 0, minus})
	if sum := f.Values(Sum); !math.Signbit(sum[0]) || math.Signbit(sum[1]) {
		t.Errorf("sums are %v", sum)
	}
	if high := f.Values(Max); !math.Signbit(high[0]) || math.Signbit(high[1]) {
		t.Errorf("maxima are %v", high)
	}
}

func TestFoldNothing(t *testing.T) {
	var f Frame
	f.Reset(1e9, everything())
	new(Folder).Fold(&f, &Point{}, nil, nil)
	if f.Len() != 0 {
		t.Error(f)
	}
}

// The times of a window can be as far apart as integers are.
func TestFoldFarTimes(t *testing.T) {
	const edge = math.MaxInt64
	var f Frame
	f.Reset(1e9, ColumnsOf(Count))
	times := []int64{-edge, -1, 0, 1, edge}
	new(Folder).Fold(&f, nil, times, make([]float64, 5))
	var want []int64
	for _, r := range referenceWindows(1e9, nil, times, make([]float64, 5)) {
		want = append(want, r.start)
	}
	if !slices.Equal(f.Starts, want) {
		t.Errorf("%v, want %v", f.Starts, want)
	}
}

func TestWideQuotient(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 11))
	for range 100_000 {
		high, low := r.Uint64()>>r.IntN(65), r.Uint64()>>r.IntN(65)
		if r.IntN(3) == 0 {
			high = 0
		}
		exponent := r.IntN(19)
		n := new(big.Int).SetUint64(high)
		n.Add(n.Lsh(n, 64), new(big.Int).SetUint64(low))
		want, _ := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(exponent)), nil)).Float64()
		if got := wideQuotient(high, low, exponent); got != want {
			t.Fatalf("%v/10^%d = %v, want %v", n, exponent, got, want)
		}
		m := int64(low)
		want, _ = new(big.Rat).SetFrac(big.NewInt(m), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(exponent)), nil)).Float64()
		if got := quotient(m, exponent); got != want {
			t.Fatalf("%v/10^%d = %v, want %v", m, exponent, got, want)
		}
	}
}

func BenchmarkFold(b *testing.B) {
	six := policy.SetOf(policy.Mean, policy.Min, policy.Max, policy.Sum, policy.Std, policy.Count)
	percentiles := six
	percentiles.Add(policy.Median)
	percentiles.Add(policy.Percentile(95))
	rates := six
	rates.Add(policy.Mean.Rate())
	walk := func(step func(*rand.Rand) float64) []float64 {
		r := rand.New(rand.NewPCG(1, 1))
		v, out := 50.0, make([]float64, 8640)
		for i := range out {
			v += step(r)
			out[i] = v
		}
		return out
	}
	cpu2 := walk(func(r *rand.Rand) float64 { return r.NormFloat64() })
	for i, v := range cpu2 {
		cpu2[i] = math.Round(v*100) / 100
	}
	cpuf := walk((*rand.Rand).NormFloat64)
	counter := walk(func(r *rand.Rand) float64 { return float64(r.Int64N(2.5e10)) })
	gauge := slices.Repeat([]float64{42}, 8640)
	times := make([]int64, 8640)
	for i := range times {
		times[i] = int64(i) * 10e9
	}
	for _, c := range []struct {
		name        string
		granularity int64
		methods     policy.Set
		values      []float64
	}{
		{"six methods/2 decimals", 60e9, six, cpu2},
		{"six methods/counter", 60e9, six, counter},
		{"six methods/constant", 60e9, six, gauge},
		{"six methods/full precision", 60e9, six, cpuf},
		{"six methods, hours/2 decimals", 3600e9, six, cpu2},
		{"six methods, windows of 1/2 decimals", 10e9, six, cpu2},
		{"six methods, windows of 1/full precision", 10e9, six, cpuf},
		{"with percentiles/2 decimals", 60e9, percentiles, cpu2},
		{"with percentiles/full precision", 60e9, percentiles, cpuf},
		{"with percentiles, hours/2 decimals", 3600e9, percentiles, cpu2},
		{"with rates/2 decimals", 60e9, rates, cpu2},
		{"with rates/full precision", 60e9, rates, cpuf},
	} {
		b.Run(c.name, func(b *testing.B) {
			var f Frame
			var d Folder
			b.ReportAllocs()
			before := processorSeconds(b)
			for b.Loop() {
				f.Reset(c.granularity, Needs(c.methods))
				d.Fold(&f, nil, times, c.values)
			}
			b.ReportMetric(float64(b.N)*float64(len(times))/1e6/(processorSeconds(b)-before), "Mpoints/CPU-s")
		})
	}
}

// processorSeconds is what this process has used: on a busy machine, time says less.
func processorSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
