package column

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
)

// First byte of a column of floating-point numbers: the exponent of decimals, or
// bitwise, and a flag. A column of integers follows.
const (
	near    = 0x20 // to decimals: another column of integers follows, how many numbers each is above the decimal
	bitwise = 0x40 // integers in the order of the numbers, made of their bits
	patched = 0x80 // decimals but for some, which follow: how many, and of each the distance from the one before and the bits
)

var scratch = sync.Pool{New: func() any { return new(buffers) }}

type buffers struct {
	ints, ulps, bits []int64
	odd              []int
	floats           []float64
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
		return b.appendUneven(least, dst, v)
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

// appendUneven appends numbers many of which are no decimals.
func (b *buffers) appendUneven(least int, dst []byte, v []float64) []byte {
	b.bits = slices.Grow(b.bits[:0], len(v))[:len(v)]
	for i, x := range v {
		b.bits[i] = ordered(x)
	}
	p := PlanInts(b.bits)
	b.ulps = slices.Grow(b.ulps[:0], len(v))[:len(v)]
	if e, ok := ScaleNear(least, v, b.ints, b.ulps); ok {
		ints, ulps := PlanInts(b.ints), PlanInts(b.ulps)
		if ints.Size()+ulps.Size() < p.Size() {
			dst = ints.Append(append(dst, byte(e)|near), b.ints)
			return ulps.Append(dst, b.ulps)
		}
	}
	return p.Append(append(dst, bitwise), b.bits)
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
	kind, flag := src[0]&^(near|patched), src[0]&(near|patched)
	r, ok := openInts(src[1:], n)
	if !ok || kind != bitwise && int(kind) >= len(tens) || flag == near|patched || flag != 0 && kind == bitwise {
		return dst, nil, ErrDamaged
	}
	v = slices.Grow(dst, n)[:len(dst)+n]
	ok = r.floats(v[len(dst):], kind)
	rest = r.src
	switch {
	case ok && flag == near:
		if r, ok = openInts(rest, n); ok {
			ok = r.floats(v[len(dst):], near)
		}
		rest = r.src
	case ok && flag == patched:
		rest, ok = patch(rest, v[len(dst):])
	}
	if !ok {
		return dst, nil, ErrDamaged
	}
	return v, rest, nil
}

// FloatsFrom fills v with those from the i-th on of the n numbers that src begins with.
// It does not look at what is behind them, and so tells less of damage than [Floats].
func FloatsFrom(src []byte, n, i int, v []float64) error {
	switch {
	case len(v) == 0:
		return nil
	case i < 0 || i+len(v) > n || len(src) == 0:
		return ErrDamaged
	}
	kind := src[0]
	if kind != bitwise && int(kind) >= len(tens) {
		// It has a second part.
		b := scratch.Get().(*buffers)
		defer scratch.Put(b)
		all, _, err := Floats(src, n, b.floats[:0])
		if err == nil {
			b.floats = all
			copy(v, all[i:])
		}
		return err
	}
	r, ok := openInts(src[1:], n)
	if !ok {
		return ErrDamaged
	}
	if r.repeats() {
		if !r.repeat(v, kind) {
			return ErrDamaged
		}
		return nil
	}
	var ints [blockLength]int64
	for len(v) > 0 {
		k := r.next(ints[:])
		if k == 0 {
			return ErrDamaged
		}
		if i >= k {
			i -= k
			continue
		}
		part := ints[i:min(k, i+len(v))]
		unscale(part, kind, v)
		v, i = v[len(part):], 0
	}
	return nil
}

// repeats reports whether all integers are the first.
func (r *intReader) repeats() bool {
	return r.constant && r.form == formDifferences && r.centre == 0
}

// unscale makes numbers of integers that have the exponent or the bits that kind tells.
func unscale(ints []int64, kind byte, v []float64) {
	if kind != bitwise {
		Unscale(ints, int(kind), v)
		return
	}
	v = v[:len(ints)]
	for i, m := range ints {
		v[i] = unordered(m)
	}
}

// floats makes numbers of the integers that are left: those that have the exponent
// or the bits that kind tells, or, if it is near, those that are so many above v.
func (r *intReader) floats(v []float64, kind byte) bool {
	if kind != near && r.repeats() {
		return r.repeat(v, kind)
	}
	var ints [blockLength]int64
	for len(v) > 0 {
		k := r.next(ints[:])
		switch {
		case k == 0:
			return false
		case kind == near:
			move(v[:k], ints[:k])
		default:
			unscale(ints[:k], kind, v)
		}
		v = v[k:]
	}
	return true
}

// repeat is floats of a constant.
func (r *intReader) repeat(v []float64, kind byte) bool {
	r.form = formValues // of which the first is read
	if !r.floats(v[:1], kind) {
		return false
	}
	for i := range v {
		v[i] = v[0]
	}
	return true
}

// patch reads the values that are no decimals.
func patch(src []byte, v []float64) (rest []byte, ok bool) {
	n, rest, ok := unsigned(src)
	i := uint64(0)
	for ; n > 0 && ok; n-- {
		var distance uint64
		distance, rest, ok = unsigned(rest)
		i += distance
		if !ok || distance >= uint64(len(v)) || i >= uint64(len(v)) || len(rest) < 8 {
			return nil, false
		}
		v[i] = math.Float64frombits(binary.LittleEndian.Uint64(rest))
		rest = rest[8:]
	}
	return rest, ok
}
