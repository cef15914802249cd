package window

import (
	"math"
	"math/bits"
)

// powers of ten: all those that are exact, and more than squares of decimals need.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// exactIntegers is where integers end that are all exact as floating-point numbers.
const exactIntegers = 1 << 53

// quotient is the float64 nearest to m/10^exponent; the exponent is 18 at most.
func quotient(m int64, exponent int) float64 {
	if m > -exactIntegers && m < exactIntegers {
		return float64(m) / powers[exponent] // both exact, so rounded once
	}
	if m < 0 {
		return -wideQuotient(0, uint64(-m), exponent)
	}
	return wideQuotient(0, uint64(m), exponent)
}

// wideQuotient is the float64 nearest to (high·2^64 + low)/10^exponent; the exponent
// is 18 at most.
func wideQuotient(high, low uint64, exponent int) float64 {
	if high == 0 && low < exactIntegers {
		return float64(low) / powers[exponent]
	}
	by := uint64(powers[exponent])
	// The quotient's 192 bits: two words before the point and one behind it, which
	// is enough for all that is not below 2^53/10^18.
	rest := high % by
	q2 := high / by
	q1, rest := bits.Div64(rest, low, by)
	q0, rest := bits.Div64(rest, 0, by)
	shift := 64
	for q2 == 0 {
		q2, q1, q0 = q1, q0, 0
		shift -= 64
	}
	// Of the leading 64 bits, the lowest stands for all that follow, so that the
	// conversion rounds as if it saw them.
	zeros := bits.LeadingZeros64(q2)
	leading := q2<<zeros | q1>>(64-zeros)
	if q1<<zeros != 0 || q0 != 0 || rest != 0 {
		leading |= 1
	}
	return math.Ldexp(float64(leading), shift-zeros)
}

// adder is a compensated sum: what additions lose, which is exact as Knuth's
// TwoSum tells it, is summed up as well.
type adder struct{ sum, lost float64 }

func (a *adder) add(v float64) {
	sum := a.sum + v
	added := sum - a.sum
	a.lost += (a.sum - (sum - added)) + (v - added)
	a.sum = sum
}

// value is the sum. When it left the range, or something infinite or NaN was added,
// it is what plain additions give.
func (a *adder) value() float64 {
	if sum := a.sum + a.lost; a.lost != 0 && !math.IsNaN(sum) {
		return sum
	}
	return a.sum // 0 that was added would make 0 of -0
}

// squares is the sum of the squared distances of x from its mean; a is the sum of x.
func (a *adder) squares(x []float64) float64 {
	n := float64(len(x))
	// The mean is mean + more, much closer than one number can be: the values may
	// be so close to each other that it matters.
	mean := a.value() / n
	more := (math.FMA(-mean, n, a.sum) + a.lost) / n
	var total adder
	for _, v := range x {
		distance := v - mean - more
		total.add(float64(distance * distance))
	}
	return total.value()
}
