package window

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// A reference window is what the definitions say of its points, by slow arithmetic
// of any precision.
type reference struct {
	start  int64
	points numbers
	rates  numbers
}

// numbers are the points of a window, or its rates.
type numbers struct {
	floats []float64
	exact  []*big.Rat // what they stand for
	// decimal says that results are those of exact, rounded once.
	decimal bool
}

// referenceWindows groups points by the definition.
func referenceWindows(granularity int64, before *Point, times []int64, values []float64) []reference {
	starts := []int64{}
	groups := map[int64][]int{}
	for i, t := range times {
		quotient := new(big.Int).Div(big.NewInt(t), big.NewInt(granularity)) // rounds down, for the divisor is above 0
		start := quotient.Mul(quotient, big.NewInt(granularity)).Int64()
		if groups[start] == nil {
			starts = append(starts, start)
		}
		groups[start] = append(groups[start], i)
	}
	var out []reference
	for _, start := range starts {
		r := reference{start: start}
		var own []float64
		for _, i := range groups[start] {
			own = append(own, values[i])
		}
		r.points = numbers{own, rationals(own), decimals(own, 1)}

		chain := own
		if first := groups[start][0]; first > 0 {
			chain = append([]float64{values[first-1]}, own...)
		} else if before != nil {
			chain = append([]float64{before.Value}, own...)
		}
		exact := rationals(chain)
		r.rates.decimal = decimals(chain, 2)
		for i := 1; i < len(chain); i++ {
			if r.rates.decimal {
				step := new(big.Rat).Sub(exact[i], exact[i-1])
				nearest, _ := step.Float64()
				r.rates.floats, r.rates.exact = append(r.rates.floats, nearest), append(r.rates.exact, step)
			} else {
				r.rates.floats = append(r.rates.floats, chain[i]-chain[i-1])
			}
		}
		if !r.rates.decimal {
			r.rates.exact = nil
			if allFinite(r.rates.floats) {
				for _, v := range r.rates.floats {
					r.rates.exact = append(r.rates.exact, new(big.Rat).SetFloat64(v))
				}
			}
		}
		out = append(out, r)
	}
	return out
}

func allFinite(v []float64) bool {
	return !slices.ContainsFunc(v, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
}

// rationals are the numbers that the values stand for: shortest decimals if they are
// decimals, their bits if not; nil if some are not finite.
func rationals(values []float64) []*big.Rat {
	if !allFinite(values) {
		return nil
	}
	decimal := decimals(values, 1) || decimals(values, 2)
	var out []*big.Rat
	for _, v := range values {
		r := new(big.Rat).SetFloat64(v)
		if decimal {
			r.SetString(strconv.FormatFloat(v, 'f', -1, 64))
		}
		out = append(out, r)
	}
	return out
}

// decimals reports whether values are exact by the rule that Folder states. Sums are of
// all values, or of the differences of each to the one before, which are one less and
// may be twice as large.
func decimals(values []float64, times int64) bool {
	places := 0
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) || v == 0 && math.Signbit(v) {
			return false
		}
		_, fraction, _ := strings.Cut(strconv.FormatFloat(v, 'f', -1, 64), ".")
		places = max(places, len(fraction))
	}
	if places > 9 {
		return false
	}
	largest := new(big.Int)
	for _, v := range values {
		r, _ := new(big.Rat).SetString(strconv.FormatFloat(v, 'f', -1, 64))
		r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)))
		if m := r.Num(); m.CmpAbs(largest) > 0 {
			largest.Abs(m)
		}
	}
	limit := big.NewInt(1 << 52)
	if places == 0 {
		limit.SetInt64(1<<53 - 1)
	}
	n := int64(len(values)) - (times - 1)
	sum := new(big.Int).Mul(largest, big.NewInt(n*times))
	return largest.Cmp(limit) <= 0 && sum.Cmp(big.NewInt(math.MaxInt64)) <= 0
}

func (n numbers) sum() *big.Rat {
	total := new(big.Rat)
	for _, x := range n.exact {
		total.Add(total, x)
	}
	return total
}

func (n numbers) magnitude() *big.Rat {
	total := new(big.Rat)
	for _, x := range n.exact {
		total.Add(total, new(big.Rat).Abs(x))
	}
	return total
}

// deviation is n·Σx² − (Σx)².
func (n numbers) deviation() *big.Rat {
	squares := new(big.Rat)
	for _, x := range n.exact {
		squares.Add(squares, new(big.Rat).Mul(x, x))
	}
	squares.Mul(squares, new(big.Rat).SetInt64(int64(len(n.exact))))
	total := n.sum()
	return squares.Sub(squares, total.Mul(total, total))
}

func (n numbers) plainSum() float64 {
	total := n.floats[0]
	for _, x := range n.floats[1:] {
		total += x
	}
	return total
}

func (n numbers) hasNaN() bool { return slices.ContainsFunc(n.floats, math.IsNaN) }

func (n numbers) min() float64 {
	return slices.MinFunc(n.floats, compare)
}

func (n numbers) max() float64 {
	return slices.MaxFunc(n.floats, compare)
}

// compare orders numbers, -0 before 0.
func compare(a, b float64) int {
	switch {
	case a < b || a == b && math.Signbit(a) && !math.Signbit(b):
		return -1
	case a == b && math.Signbit(a) == math.Signbit(b):
		return 0
	}
	return 1
}

// percentile is as numpy interpolates: a + (b−a)·f at the rank p/100·(n−1).
func (n numbers) percentile(p int) float64 {
	if n.hasNaN() {
		return math.NaN()
	}
	sorted := slices.SortedFunc(slices.Values(n.floats), compare)
	at := big.NewRat(int64(p)*int64(len(sorted)-1), 100)
	below := new(big.Int).Quo(at.Num(), at.Denom())
	f, _ := at.Sub(at, new(big.Rat).SetInt(below)).Float64()
	a := sorted[below.Int64()]
	if f == 0 {
		return a
	}
	b := sorted[below.Int64()+1]
	switch {
	case a == b:
		return a
	case math.IsInf(b-a, 0) && !math.IsInf(a, 0) && !math.IsInf(b, 0):
		return a*(1-f) + b*f
	}
	return a + (b-a)*f
}
