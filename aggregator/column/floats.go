package column

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
)

// First byte of a column of floating-point numbers: the exponent of decimals, or
// bitwise. A column of integers follows.
const (
	bitwise = 0x40 // integers in the order of the numbers, made of their bits
	patched = 0x80 // of decimals: those that are none follow: their number, and of each the distance from the one before and its bits
)

var scratch = sync.Pool{New: func() any { return new(buffers) }}

type buffers struct {
	ints []int64
	odd  []int
}

// AppendFloats appends v, packed, to dst. Each value comes back bit for bit, which
// includes those of NaNs and the sign of zero.
func AppendFloats(dst []byte, v []float64) []byte { return AppendFloatsFrom(0, dst, v) }

// AppendFloatsFrom is AppendFloats for decimals whose exponent is known or likely;
// see [ScaleFrom].
func AppendFloatsFrom(least int, dst []byte, v []float64) []byte {
	if len(v) == 0 {
		return dst
	}
	b := scratch.Get().(*buffers)
	defer scratch.Put(b)
	b.ints = slices.Grow(b.ints[:0], len(v))[:len(v)]
	var e int
	var ok bool
	// One that is no decimal takes 9 bytes: as much as some ten decimals save.
	e, b.odd, ok = scale(least, v, b.ints, b.odd[:0], len(v)/16)
	if !ok {
		dst = append(dst, bitwise)
		for i, x := range v {
			b.ints[i] = ordered(x)
		}
		return AppendInts(dst, b.ints)
	}
	if len(b.odd) == 0 {
		return AppendInts(append(dst, byte(e)), b.ints)
	}
	dst = AppendInts(append(dst, byte(e)|patched), b.ints)
	dst = binary.AppendUvarint(dst, uint64(len(b.odd)))
	before := 0
	for _, i := range b.odd {
		dst = binary.AppendUvarint(dst, uint64(i-before))
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v[i]))
		before = i
	}
	return dst
}

// ordered is an integer made of the bits of x, in the order of the numbers: of close
// numbers the integers are close.
func ordered(x float64) int64 {
	b := int64(math.Float64bits(x))
	return b ^ int64(uint64(b>>63)>>1)
}

func unordered(i int64) float64 {
	return math.Float64frombits(uint64(i ^ int64(uint64(i>>63)>>1)))
}

// Floats appends the n numbers that src begins with to dst, and gives what follows
// them in src. It fails with [ErrDamaged], and then gives dst as it was.
func Floats(src []byte, n int, dst []float64) (v []float64, rest []byte, err error) {
	if n <= 0 {
		return dst, src, nil
	}
	if len(src) == 0 {
		return dst, nil, ErrDamaged
	}
	kind, isPatched := src[0]&^patched, src[0]&patched != 0
	r, ok := openInts(src[1:], n)
	if !ok || kind != bitwise && int(kind) >= len(tens) {
		return dst, nil, ErrDamaged
	}
	v = slices.Grow(dst, n)[:len(dst)+n]
	var ints [blockLength]int64
	for out := v[len(dst):]; len(out) > 0; {
		k := r.next(ints[:])
		if k == 0 {
			return dst, nil, ErrDamaged
		}
		if kind == bitwise {
			for i, m := range ints[:k] {
				out[i] = unordered(m)
			}
		} else {
			Unscale(ints[:k], int(kind), out)
		}
		out = out[k:]
	}
	if isPatched && !patch(&r.src, v[len(dst):]) {
		return dst, nil, ErrDamaged
	}
	return v, r.src, nil
}

// patch reads the values that are no decimals.
func patch(src *[]byte, v []float64) bool {
	n, rest, ok := unsigned(*src)
	i := uint64(0)
	for ; n > 0 && ok; n-- {
		var distance uint64
		distance, rest, ok = unsigned(rest)
		i += distance
		if !ok || distance >= uint64(len(v)) || i >= uint64(len(v)) || len(rest) < 8 {
			return false
		}
		v[i] = math.Float64frombits(binary.LittleEndian.Uint64(rest))
		rest = rest[8:]
	}
	*src = rest
	return ok
}
