// Package timetext reads and writes times and timespans as Gnocchi does: times as
// ISO 8601, seconds since 1970, or relative to now; timespans as seconds, with
// units, or like a clock.
//
// Times are nanoseconds since 1970-01-01T00:00:00Z, which reach to 2262. All digits
// count: 1414767600.123456789 is that very nanosecond, though no float64 is.
package timetext

import (
	"math"
	"math/bits"
)

// Error is why a text was refused, in the words that Gnocchi's clients know as an
// answer's reason. The text itself is not part of it.
type Error string

// The errors of this package.
const (
	ErrTime  Error = "Must be a datetime or a timestamp"
	ErrEpoch Error = "Timestamp must be after Epoch"
	ErrLate  Error = "Timestamp must be before 2262-04-11"
	ErrSpan  Error = "Unable to parse timespan"
	ErrSign  Error = "Timespan must be positive"
)

func (e Error) Error() string { return string(e) }

// maxDigits is how many digits of a number count; others are below what a time or
// timespan resolves, or far beyond its range.
const maxDigits = 19

// decimal is a number without sign: mantissa·10^exponent.
type decimal struct {
	mantissa uint64
	exponent int
}

// cutDecimal reads digits with at most one point among them from the start of s.
func cutDecimal(s string) (d decimal, rest string, ok bool) {
	kept, point := 0, false
	for len(s) > 0 {
		switch c := s[0]; {
		case c >= '0' && c <= '9':
			ok = true
			if kept == maxDigits {
				if !point {
					d.exponent++
				}
				break
			}
			if d.mantissa != 0 || c != '0' {
				kept++
			}
			d.mantissa = d.mantissa*10 + uint64(c-'0')
			if point {
				d.exponent--
			}
		case c == '.' && !point:
			point = true
		default:
			return d, s, ok
		}
		s = s[1:]
	}
	return d, s, ok
}

// parseDecimal reads a whole number with sign and power of ten, as in JSON; a plus,
// and a point at either end, are fine too.
func parseDecimal(s string) (d decimal, negative, ok bool) {
	s, negative = cutSign(s)
	d, s, ok = cutDecimal(s)
	if !ok || s == "" {
		return d, negative, ok
	}
	if s[0] != 'e' && s[0] != 'E' {
		return d, negative, false
	}
	s, down := cutSign(s[1:])
	power, digits := 0, len(s)
	for ; len(s) > 0 && s[0] >= '0' && s[0] <= '9'; s = s[1:] {
		power = min(power*10+int(s[0]-'0'), 1e6) // far beyond any time, and no overflow
	}
	if down {
		power = -power
	}
	d.exponent += power
	return d, negative, s == "" && digits > 0
}

// cutSign removes a sign.
func cutSign(s string) (rest string, negative bool) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[1:], s[0] == '-'
	}
	return s, false
}

// powers are those of ten that fit.
var powers = func() (p [maxDigits + 1]uint64) {
	p[0] = 1
	for i := range maxDigits {
		p[i+1] = p[i] * 10
	}
	return p
}()

// times is d·unit without what is behind the point, and false if it is out of range.
func (d decimal) times(unit uint64) (int64, bool) {
	high, low := bits.Mul64(d.mantissa, unit)
	if high == 0 && low == 0 {
		return 0, true
	}
	e := d.exponent
	if e > maxDigits {
		return 0, false
	}
	if e > 0 {
		over, product := bits.Mul64(low, powers[e])
		low, high = product, high|over
	}
	for ; e < 0 && high|low != 0; e += maxDigits {
		by := powers[min(-e, maxDigits)]
		rest := high % by
		high /= by
		low, _ = bits.Div64(rest, low, by)
	}
	return int64(low), high == 0 && low <= math.MaxInt64
}

// floorDiv is the quotient rounded down, and the rest, which is never negative.
func floorDiv(t, by int64) (quotient, rest int64) {
	quotient, rest = t/by, t%by
	if rest < 0 {
		quotient, rest = quotient-1, rest+by
	}
	return quotient, rest
}
