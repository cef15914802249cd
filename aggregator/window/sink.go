package window

import (
	"math"
	"math/bits"
	"slices"
)

// sink takes what windows hold into the columns of a frame, or into those of rates.
// Columns that the frame does not have are nil.
type sink struct {
	count, sum, min, max, first, last, deviation []float64
	percentiles                                  []percentile
	sorted                                       []int64
}

type percentile struct {
	p      int
	values []float64
}

// open sets the columns, from the window base on. It is false if there are none.
func (s *sink) open(f *Frame, base int, rates bool) bool {
	*s = sink{percentiles: s.percentiles[:0], sorted: s.sorted}
	words, place := f.Columns[:2], 0
	if rates {
		words, place = f.Columns[2:], f.Columns.Index(Count.Rate())
	}
	for i, word := range words {
		for ; word != 0; word &= word - 1 {
			c := Column(i*64 + bits.TrailingZeros64(word))
			s.set(c, f.values[place][base:])
			place++
		}
	}
	return words[0]|words[1] != 0
}

func (s *sink) set(c Column, values []float64) {
	switch c {
	case Count:
		s.count = values
	case Sum:
		s.sum = values
	case Min:
		s.min = values
	case Max:
		s.max = values
	case First:
		s.first = values
	case Last:
		s.last = values
	case Deviation:
		s.deviation = values
	default:
		s.percentiles = append(s.percentiles, percentile{c.Percentile(), values})
	}
}

// none is a window without values.
func (s *sink) none(w int) {
	for _, column := range [...][]float64{s.count, s.sum, s.min, s.max, s.first, s.last, s.deviation} {
		if column != nil {
			column[w] = 0
		}
	}
	for _, p := range s.percentiles {
		p.values[w] = 0
	}
}

// one is a window of one value.
func (s *sink) one(w int, v float64) {
	if s.count != nil {
		s.count[w] = 1
	}
	for _, column := range [...][]float64{s.sum, s.min, s.max, s.first, s.last} {
		if column != nil {
			column[w] = v
		}
	}
	if s.deviation != nil {
		s.deviation[w] = 0
	}
	for _, p := range s.percentiles {
		p.values[w] = v
	}
}

// exact is a window of decimals, m/10^exponent each, of which len(m) times the
// largest is below 2^63.
func (s *sink) exact(w int, m []int64, exponent int) {
	first := m[0]
	low, high := first, first
	var sum int64      // of distances from the first
	var squares uint64 // of them; without what is above 64 bits
	for _, v := range m {
		low, high = min(low, v), max(high, v)
		v -= first
		sum += v
		squares += uint64(v * v)
	}
	n := int64(len(m))
	ten := powers[exponent]
	if s.count != nil {
		s.count[w] = float64(n)
	}
	if s.sum != nil {
		s.sum[w] = quotient(n*first+sum, exponent)
	}
	if s.min != nil {
		s.min[w] = quotient(low, exponent)
	}
	if s.max != nil {
		s.max[w] = quotient(high, exponent)
	}
	if s.first != nil {
		s.first[w] = quotient(first, exponent)
	}
	if s.last != nil {
		s.last[w] = quotient(m[n-1], exponent)
	}
	if s.deviation != nil {
		var over uint64
		// No distance is larger than that from low to high.
		if 2*bits.Len64(uint64(high-low))+bits.Len64(uint64(n)) > 64 {
			over, squares = squareSum(m, first)
		}
		s.deviation[w] = deviation(uint64(n), over, squares, sum, exponent)
	}
	if len(s.percentiles) > 0 {
		s.sorted = append(s.sorted[:0], m...)
		slices.Sort(s.sorted)
		for _, p := range s.percentiles {
			i, j, between := rank(p.p, len(m))
			p.values[w] = interpolate(float64(s.sorted[i])/ten, float64(s.sorted[j])/ten, between)
		}
	}
}

// squareSum is the sum of squared distances from first.
func squareSum(m []int64, first int64) (high, low uint64) {
	for _, v := range m {
		distance := uint64(max(v-first, first-v))
		h, l := bits.Mul64(distance, distance)
		var carry uint64
		low, carry = bits.Add64(low, l, 0)
		high += h + carry
	}
	return high, low
}

// deviation is n·squares − sum², for numbers that are 10^exponent times too large.
// It fits in 128 bits, see exact.
func deviation(n, squaresHigh, squaresLow uint64, sum int64, exponent int) float64 {
	high, low := bits.Mul64(n, squaresLow)
	high += n * squaresHigh
	distance := uint64(max(sum, -sum))
	h, l := bits.Mul64(distance, distance)
	low, borrow := bits.Sub64(low, l, 0)
	high, _ = bits.Sub64(high, h, borrow)
	return wideQuotient(high, low, 2*exponent)
}

// float is a window of any numbers.
func (s *sink) float(w int, x []float64) {
	low, high := x[0], x[0]
	total := adder{sum: x[0]}
	for _, v := range x[1:] {
		low, high = min(low, v), max(high, v)
		total.add(v)
	}
	n := float64(len(x))
	if s.count != nil {
		s.count[w] = n
	}
	if s.sum != nil {
		s.sum[w] = total.value()
	}
	if s.min != nil {
		s.min[w] = low
	}
	if s.max != nil {
		s.max[w] = high
	}
	if s.first != nil {
		s.first[w] = x[0]
	}
	if s.last != nil {
		s.last[w] = x[len(x)-1]
	}
	if s.deviation != nil {
		s.deviation[w] = n * total.squares(x)
	}
	if len(s.percentiles) > 0 {
		s.floatPercentiles(w, x)
	}
}

func (s *sink) floatPercentiles(w int, x []float64) {
	s.sorted = s.sorted[:0]
	nan := false
	for _, v := range x {
		nan = nan || v != v
		s.sorted = append(s.sorted, ordered(int64(math.Float64bits(v))))
	}
	slices.Sort(s.sorted)
	value := func(i int) float64 { return math.Float64frombits(uint64(ordered(s.sorted[i]))) }
	for _, p := range s.percentiles {
		if nan {
			p.values[w] = math.NaN()
			continue
		}
		i, j, between := rank(p.p, len(x))
		p.values[w] = interpolate(value(i), value(j), between)
	}
}

// ordered makes the bits of floating-point numbers integers of the same order, and
// back.
func ordered(v int64) int64 { return v ^ int64(uint64(v>>63)>>1) }

// rank is where the p-th percentile of n sorted values is: so far from the i-th to
// the j-th.
func rank(p, n int) (i, j int, between float64) {
	at := p * (n - 1)
	i = at / 100
	if at%100 == 0 {
		return i, i, 0
	}
	return i, i + 1, float64(at%100) / 100
}

// interpolate is linear, as numpy does it below the middle.
func interpolate(a, b, between float64) float64 {
	if a == b {
		return a // of infinities as well, and whatever between is
	}
	if gap := b - a; !math.IsInf(gap, 0) || math.IsInf(a, 0) || math.IsInf(b, 0) {
		// The conversions keep processors from fusing the operations: all give the same.
		return a + float64(gap*between)
	}
	return float64(a*(1-between)) + float64(b*between)
}
