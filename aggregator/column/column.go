// Package column packs columns of numbers: integers and floating-point numbers
// that are alike or change little from one to the next, such as times and
// measurements, into few bytes, and unpacks them fast.
package column

import "errors"

// ErrDamaged says that bytes are not what this package wrote.
var ErrDamaged = errors.New("column is damaged")

// MaxExponent is the largest exponent that [Scale] tries.
const MaxExponent = 9

// AppendInts appends v, packed, to dst.
func AppendInts(dst []byte, v []int64) []byte { return dst }

// Ints appends the n integers that src begins with to dst, and gives what follows
// them in src. It fails with [ErrDamaged].
func Ints(src []byte, n int, dst []int64) (v []int64, rest []byte, err error) {
	return dst, src, ErrDamaged
}

// AppendFloats appends v, packed, to dst. Each value comes back bit for bit, which
// includes the bits of NaNs and the sign of zero.
func AppendFloats(dst []byte, v []float64) []byte { return dst }

// Floats appends the n numbers that src begins with to dst, and gives what follows
// them in src. It fails with [ErrDamaged].
func Floats(src []byte, n int, dst []float64) (v []float64, rest []byte, err error) {
	return dst, src, ErrDamaged
}

// Scale writes to ints, which must be as long as v, what v are times 10^exponent, for the smallest exponent
// from 0 to [MaxExponent] with which all are integers m below 2^53 whose quotients
// float64(m)/10^exponent are v again, bit for bit. There may be none: -0, NaN, infinities and numbers
// with more decimals are no such quotients. Then ints hold nothing of use.
func Scale(v []float64, ints []int64) (exponent int, ok bool) { return 0, false }

// ScaleFrom is [Scale] for values whose exponent is known or likely: the exponent that it finds is not below
// the least one it is given, though a smaller one might do. It is as fast as one look at each
// value when that exponent is right.
func ScaleFrom(least int, v []float64, ints []int64) (exponent int, ok bool) { return 0, false }
