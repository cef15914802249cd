package column

import "math"

// mostUlps is how far a number may be from a decimal to be near it, in units in the last
// place.
const mostUlps = 1 << 10

// ScaleNear is [ScaleFrom] for numbers that are decimals but for what calculations
// with floating-point numbers make of them, such as 0.1+0.2. It writes to ulps, which
// must be as long as v, how many floating-point numbers each is above the quotient.
func ScaleNear(least int, v []float64, ints, ulps []int64) (exponent int, ok bool) {
	e := least
	ints, ulps = ints[:len(v)], ulps[:len(v)]
	for i, x := range v {
		m, u, ok := nearest(x, tens[e])
		for !ok {
			if e >= MaxExponent || !timesTen(ints[:i]) {
				return e, false
			}
			e++
			m, u, ok = nearest(x, tens[e])
		}
		ints[i], ulps[i] = m, u
	}
	return e, true
}

// nearest is the integer that is closest to x times ten, and how far x is from its
// quotient.
func nearest(x, ten float64) (m, ulps int64, ok bool) {
	r := math.RoundToEven(x * ten)
	if !(math.Abs(r) < limit) {
		return 0, 0, false
	}
	m = int64(r)
	ulps = ordered(x) - ordered(float64(m)/ten)
	return m, ulps, -mostUlps < ulps && ulps < mostUlps
}

// timesTen multiplies integers, if they stay below the limit.
func timesTen(v []int64) bool {
	for _, m := range v {
		if m > limit/10 || -m > limit/10 {
			return false
		}
	}
	for i := range v {
		v[i] *= 10
	}
	return true
}

// UnscaleNear is the reverse of [ScaleNear].
func UnscaleNear(ints []int64, exponent int, ulps []int64, v []float64) {
	Unscale(ints, exponent, v)
	move(v, ulps)
}

// move replaces numbers by those that are so many above them.
func move(v []float64, ulps []int64) {
	ulps = ulps[:len(v)]
	for i, x := range v {
		v[i] = unordered(ordered(x) + ulps[i])
	}
}

// ordered is an integer made of the bits of x. Integers are in the order of the
// numbers, and those of neighbours follow each other.
func ordered(x float64) int64 {
	b := int64(math.Float64bits(x))
	return b ^ int64(uint64(b>>63)>>1)
}

func unordered(i int64) float64 {
	return math.Float64frombits(uint64(i ^ int64(uint64(i>>63)>>1)))
}
