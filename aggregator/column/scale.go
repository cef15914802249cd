package column

import "math"

// MaxExponent is the largest exponent that [Scale] tries.
const MaxExponent = 9

// tens are powers of ten. All are exact, and there are enough of them for squares
// of numbers with MaxExponent decimals.
var tens = [2*MaxExponent + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// limit is where integers end that are all exact as floating-point numbers.
const limit = 1 << 53

// Scale writes to ints, which must be as long as v, the integers that v are when
// multiplied by 10^exponent, for the smallest exponent from 0 to [MaxExponent] with
// which there are such: integers m, |m| < 2^53, whose quotient float64(m)/10^exponent
// is the value again, bit for bit. There are none for -0, NaN, infinities, and
// numbers with more decimals; then ok is false, and ints hold nothing of use.
func Scale(v []float64, ints []int64) (exponent int, ok bool) { return ScaleFrom(0, v, ints) }

// ScaleFrom is [Scale] for values whose exponent is known or likely. It begins with
// the exponent least, up to 18, and what it finds is not below that, even if less
// would do. When least is right it is fast, as it looks at each value once.
func ScaleFrom(least int, v []float64, ints []int64) (exponent int, ok bool) {
	exponent, _, ok = scale(least, v, ints, nil, 0)
	return exponent, ok
}

// Unscale is the reverse of [Scale]: it writes the quotients ints/10^exponent to v,
// which must be as long. The exponent is at most 18.
func Unscale(ints []int64, exponent int, v []float64) {
	v = v[:len(ints)]
	if exponent == 0 {
		for i, m := range ints {
			v[i] = float64(m)
		}
		return
	}
	ten := tens[exponent]
	for i, m := range ints {
		v[i] = float64(m) / ten
	}
}

// scale is ScaleFrom that leaves out some values, up to so many, and appends
// their places to odd. In ints, they are like the value before.
func scale(least int, v []float64, ints []int64, odd []int, allowed int) (exponent int, oddOnes []int, ok bool) {
	e := least
	ints = ints[:len(v)]
	for i := 0; i < len(v); {
		i += scaleRun(v[i:], ints[i:], tens[e])
		if i == len(v) {
			break
		}
		if higher, m, ok := growExponent(v[i], e, ints[:i]); ok {
			e, ints[i] = higher, m
		} else {
			if allowed--; allowed < 0 {
				return e, odd, false
			}
			odd = append(odd, i)
			ints[i] = 0
			if i > 0 {
				ints[i] = ints[i-1]
			}
		}
		i++
	}
	return e, odd, true
}

// scaleRun scales values until one that is no multiple of 1/ten, and tells how many
// came before it.
func scaleRun(v []float64, ints []int64, ten float64) int {
	// Adding and subtracting it rounds numbers below 2^51 to integers.
	const rounding = 3 << 51
	ints = ints[:len(v)]
	for i, x := range v {
		r := float64(x*ten) + rounding - rounding
		if math.Float64bits(r/ten) != math.Float64bits(x) || !(math.Abs(r) < 1<<51) {
			m, ok := scaleOne(x, ten)
			if !ok {
				return i
			}
			r = float64(m)
		}
		ints[i] = int64(r)
	}
	return len(v)
}

// scaleOne is scaleRun for any one value.
func scaleOne(x, ten float64) (int64, bool) {
	r := math.RoundToEven(x * ten)
	switch {
	case !(math.Abs(r) < limit):
		return 0, false
	case r/ten == x:
		return int64(r), x != 0 || !math.Signbit(x)
	case math.Abs(r) < 1<<51:
		return 0, false
	}
	// The product of a value so large may be off by as much as 2.
	for _, off := range [...]float64{1, -1, 2, -2} {
		if m := r + off; math.Abs(m) < limit && m/ten == x {
			return int64(m), true
		}
	}
	return 0, false
}

// growExponent finds the next exponent that fits x, and rescales the integers
// before it.
func growExponent(x float64, e int, before []int64) (exponent int, m int64, ok bool) {
	for higher := e + 1; higher <= MaxExponent; higher++ {
		m, ok := scaleOne(x, tens[higher])
		if !ok {
			continue
		}
		factor := int64(tens[higher-e])
		for _, b := range before {
			if b > limit/factor || -b > limit/factor {
				return 0, 0, false
			}
		}
		for i := range before {
			before[i] *= factor
		}
		return higher, m, true
	}
	return 0, 0, false
}
