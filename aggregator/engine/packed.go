package engine

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// Packed points are a row of blocks of up to maxBlock points each. All integers
// are little-endian or varints.
//
//	1 byte   bits 0-1: how times are kept, 2-3: their unit (1 ns, µs, ms, s), 4-5: how values are kept
//	1 byte   number of points - 1
//	times, t₀ relative to the time before it (of the block before, or the row's base):
//	  timesFollow   step                                      (t₀ is a step after the time before)
//	  timesRegular  t₀, step
//	  timesPacked   t₀, smallest step, width, n-1 steps less the smallest, width bits each
//	  timesRaw      t₀ (raw as well), n-1 steps of 8 bytes
//	values:
//	  valuesRaw       n times 8 bytes, the bits of the float
//	  valuesSame      8 bytes, the bits of all
//	  valuesIntegers  exponent, width, smallest (zigzag), n values less the smallest, width bits each
//	  valuesDeltas    exponent, width, first (zigzag), smallest difference (zigzag), n-1 differences less the smallest
//
// Integers m with the exponent e stand for the floats m/10^e. Every float comes
// back bit for bit.
const (
	timesFollow = iota
	timesRegular
	timesPacked
	timesRaw

	valuesRaw = iota - 4
	valuesSame
	valuesIntegers
	valuesDeltas
)

const (
	maxBlock    = 128
	maxExponent = 9
	maxWidth    = 57 // so that eight bytes hold a number at any bit
	padding     = 8  // bytes that unpacking may read beyond the end
)

var errPacked = errors.New("packed points are damaged")

var (
	units  = [4]int64{1, 1e3, 1e6, 1e9}
	powers = [maxExponent + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}
)

// pack appends a block of 1 to maxBlock points in ascending order of time, the first
// of which is later than before, or equal to it at the beginning of a row.
func pack(dst []byte, before int64, times []int64, values []float64) []byte {
	head := len(dst)
	dst = append(dst, 0, byte(len(times)-1))
	dst, kind := packTimes(dst, before, times)
	dst, valueKind := packValues(dst, values)
	dst[head] = kind | valueKind<<4
	return dst
}

func packTimes(dst []byte, before int64, times []int64) ([]byte, byte) {
	gap := times[0] - before
	if len(times) == 1 {
		u := unit(gap)
		dst = binary.AppendUvarint(dst, uint64(gap/units[u]))
		return binary.AppendUvarint(dst, 0), timesRegular | u<<2
	}
	low, high, all := int64(math.MaxInt64), int64(0), int64(0)
	last := times[0]
	for _, t := range times[1:] {
		d := t - last
		low, high, all, last = min(low, d), max(high, d), all|d, t
	}
	if low == high {
		if gap == low {
			u := unit(low)
			return binary.AppendUvarint(dst, uint64(low/units[u])), timesFollow | u<<2
		}
		u := min(unit(gap), unit(low))
		dst = binary.AppendUvarint(dst, uint64(gap/units[u]))
		return binary.AppendUvarint(dst, uint64(low/units[u])), timesRegular | u<<2
	}
	u := min(unit(gap), unit(low), unit(high))
	for last, i := times[0], 1; i < len(times) && u > 0; i++ {
		u = min(u, unit(times[i]-last))
		last = times[i]
	}
	width := bits.Len64(uint64((high - low) / units[u]))
	if width > maxWidth {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(gap))
		for i, t := range times[1:] {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(t-times[i]))
		}
		return dst, timesRaw
	}
	dst = binary.AppendUvarint(dst, uint64(gap/units[u]))
	dst = binary.AppendUvarint(dst, uint64(low/units[u]))
	dst = append(dst, byte(width))
	var steps [maxBlock]uint64
	for i, t := range times[1:] {
		steps[i] = uint64((t - times[i] - low) / units[u])
	}
	return packBits(dst, steps[:len(times)-1], width), timesPacked | u<<2
}

// unit is the largest unit of which d is a multiple.
func unit(d int64) byte {
	switch {
	case d%1e3 != 0:
		return 0
	case d%1e6 != 0:
		return 1
	case d%1e9 != 0:
		return 2
	}
	return 3
}

func packValues(dst []byte, values []float64) ([]byte, byte) {
	var ints [maxBlock]int64
	exponent, ok := scale(values, ints[:len(values)])
	if !ok {
		return packRaw(dst, values)
	}
	n := len(values)
	first := ints[0]
	low, high := first, first
	lowStep, highStep := int64(math.MaxInt64), int64(math.MinInt64)
	last := first
	for _, v := range ints[1:n] {
		d := v - last
		low, high = min(low, v), max(high, v)
		lowStep, highStep = min(lowStep, d), max(highStep, d)
		last = v
	}
	var rest [maxBlock]uint64
	width := bits.Len64(uint64(high - low))
	if n == 1 || width <= bits.Len64(uint64(highStep-lowStep)) {
		dst = append(dst, byte(exponent), byte(width))
		dst = binary.AppendVarint(dst, low)
		for i, v := range ints[:n] {
			rest[i] = uint64(v - low)
		}
		return packBits(dst, rest[:n], width), valuesIntegers
	}
	width = bits.Len64(uint64(highStep - lowStep))
	dst = append(dst, byte(exponent), byte(width))
	dst = binary.AppendVarint(dst, first)
	dst = binary.AppendVarint(dst, lowStep)
	last = first
	for i, v := range ints[1:n] {
		rest[i] = uint64(v - last - lowStep)
		last = v
	}
	return packBits(dst, rest[:n-1], width), valuesDeltas
}

func packRaw(dst []byte, values []float64) ([]byte, byte) {
	first, same := math.Float64bits(values[0]), true
	for _, v := range values {
		same = same && math.Float64bits(v) == first
	}
	if same {
		return binary.LittleEndian.AppendUint64(dst, first), valuesSame
	}
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst, valuesRaw
}

// scale writes to ints what values are times 10^exponent, for the smallest
// exponent with which all are integers below 2^53 that give the values again.
// It is [column.Scale] for the few points of a block.
func scale(values []float64, ints []int64) (exponent int, ok bool) {
	p := powers[0]
	for i, v := range values {
		m, ok := integer(v, p)
		for !ok {
			// Quotients with ten times the divisor and the dividend are the same floats.
			if exponent++; exponent > maxExponent || !timesTen(ints[:i]) {
				return 0, false
			}
			p = powers[exponent]
			m, ok = integer(v, p)
		}
		ints[i] = m
	}
	return exponent, true
}

// timesTen multiplies integers, if they stay below 2^53.
func timesTen(ints []int64) bool {
	const limit = (1<<53 - 1) / 10
	for _, m := range ints {
		if m > limit || m < -limit {
			return false
		}
	}
	for i := range ints {
		ints[i] *= 10
	}
	return true
}

// integer is the m with which m/p is v, bit for bit.
func integer(v, p float64) (int64, bool) {
	const limit = 1 << 53
	s := v * p
	if !(s > -limit && s < limit) {
		return 0, false
	}
	m := int64(s + math.Copysign(0.5, s))
	return m, math.Float64bits(float64(m)/p) == math.Float64bits(v)
}

// packBits appends numbers below 2^width.
func packBits(dst []byte, v []uint64, width int) []byte {
	if width == 0 {
		return dst
	}
	var word uint64
	filled := 0
	for _, x := range v {
		word |= x << filled
		if filled += width; filled >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, word)
			filled -= 64
			word = x >> (width - filled)
		}
	}
	for ; filled > 0; filled -= 8 {
		dst = append(dst, byte(word))
		word >>= 8
	}
	return dst
}

// unpack appends the points of a row to times and values. src ends with padding
// bytes that belong to no block. The points that are sound come back also with
// an error.
func unpack(src []byte, base int64, times []int64, values []float64) ([]int64, []float64, error) {
	r := unpacker{src: src, end: len(src) - padding, last: base}
	for r.at < r.end {
		n, ok := 0, false
		was := len(times)
		if times, values, n, ok = r.block(times, values); !ok {
			return times[:was], values[:was], errPacked
		}
		r.last = times[was+n-1]
	}
	return times, values, nil
}

type unpacker struct {
	src  []byte
	at   int
	end  int
	last int64 // time before
}

// block appends the points of the next block, n in number.
func (r *unpacker) block(times []int64, values []float64) ([]int64, []float64, int, bool) {
	kind, n, ok := r.header()
	if !ok {
		return times, values, 0, false
	}
	times, values = grow(times, n), grow(values, n)
	ok = r.times(kind, times[len(times)-n:]) && r.values(kind>>4, values[len(values)-n:])
	return times, values, n, ok
}

// blockTimes appends the times of the next block.
func (r *unpacker) blockTimes(times []int64) ([]int64, bool) {
	kind, n, ok := r.header()
	if !ok {
		return times, false
	}
	times = grow(times, n)
	return times, r.times(kind, times[len(times)-n:]) && r.skipValues(kind>>4, n)
}

func (r *unpacker) header() (kind byte, n int, ok bool) {
	if r.end-r.at < 2 {
		return 0, 0, false
	}
	kind, n = r.src[r.at], int(r.src[r.at+1])+1
	r.at += 2
	return kind, n, n <= maxBlock
}

func (r *unpacker) times(kind byte, t []int64) bool {
	var gap, step int64
	width, unit := 0, units[kind>>2&3]
	switch kind & 3 {
	case timesFollow:
		step = r.uvarint(unit)
		gap = step
	case timesRegular:
		gap, step = r.uvarint(unit), r.uvarint(unit)
	case timesPacked:
		gap, step = r.uvarint(unit), r.uvarint(unit)
		width = r.width()
		if !r.bits(width, t[1:]) {
			return false
		}
	case timesRaw:
		if r.end-r.at < 8*len(t) {
			return false
		}
		for i := range t {
			r.last += int64(binary.LittleEndian.Uint64(r.src[r.at+8*i:]))
			t[i] = r.last
		}
		r.at += 8 * len(t)
		return true
	}
	if r.at > r.end {
		return false
	}
	now := r.last + gap
	t[0] = now
	if width == 0 {
		for i := 1; i < len(t); i++ {
			now += step
			t[i] = now
		}
		return true
	}
	for i := 1; i < len(t); i++ {
		now += step + t[i]*unit
		t[i] = now
	}
	return true
}

func (r *unpacker) values(kind byte, v []float64) bool {
	switch kind {
	case valuesRaw:
		if r.end-r.at < 8*len(v) {
			return false
		}
		for i := range v {
			v[i] = math.Float64frombits(binary.LittleEndian.Uint64(r.src[r.at+8*i:]))
		}
		r.at += 8 * len(v)
		return true
	case valuesSame:
		if r.end-r.at < 8 {
			return false
		}
		x := math.Float64frombits(binary.LittleEndian.Uint64(r.src[r.at:]))
		for i := range v {
			v[i] = x
		}
		r.at += 8
		return true
	case valuesIntegers, valuesDeltas:
	default:
		return false
	}
	if r.end-r.at < 2 || r.src[r.at] > maxExponent {
		return false
	}
	p := powers[r.src[r.at]]
	r.at++
	width := r.width()
	first := r.varint()
	var buffer [maxBlock]int64
	ints := buffer[:len(v)]
	if kind == valuesDeltas {
		step := r.varint()
		if !r.bits(width, ints[1:]) {
			return false
		}
		now := first
		ints[0] = now
		for i := 1; i < len(ints); i++ {
			now += ints[i] + step
			ints[i] = now
		}
	} else {
		if !r.bits(width, ints) {
			return false
		}
		for i := range ints {
			ints[i] += first
		}
	}
	if p == 1 {
		for i, m := range ints {
			v[i] = float64(m)
		}
		return true
	}
	for i, m := range ints {
		v[i] = float64(m) / p
	}
	return true
}

func (r *unpacker) skipValues(kind byte, n int) bool {
	switch kind {
	case valuesRaw:
		r.at += 8 * n
	case valuesSame:
		r.at += 8
	case valuesIntegers, valuesDeltas:
		r.at++
		width := r.width()
		r.varint()
		if kind == valuesDeltas {
			r.varint()
			n--
		}
		r.at += (n*width + 7) / 8
	default:
		return false
	}
	return r.at <= r.end
}

// uvarint reads a time in a unit. Damage moves it beyond the end, where bits and times find it.
func (r *unpacker) uvarint(unit int64) int64 {
	v, n := binary.Uvarint(r.src[min(r.at, r.end):r.end])
	if n <= 0 {
		r.at = len(r.src) + 1
		return 0
	}
	r.at += n
	return int64(v) * unit
}

func (r *unpacker) varint() int64 {
	v, n := binary.Varint(r.src[min(r.at, r.end):r.end])
	if n <= 0 {
		r.at = len(r.src) + 1
		return 0
	}
	r.at += n
	return v
}

func (r *unpacker) width() int {
	if r.at >= r.end || r.src[r.at] > maxWidth {
		r.at = len(r.src) + 1
		return 0
	}
	r.at++
	return int(r.src[r.at-1])
}

// bits reads numbers of a width.
func (r *unpacker) bits(width int, dst []int64) bool {
	size := (len(dst)*width + 7) / 8
	if r.at > r.end || r.end-r.at < size {
		return false
	}
	src := r.src[r.at : r.at+size+padding]
	mask := uint64(1)<<width - 1
	for i, bit := 0, 0; i < len(dst); i, bit = i+1, bit+width {
		dst[i] = int64(binary.LittleEndian.Uint64(src[bit>>3:]) >> (bit & 7) & mask)
	}
	r.at += size
	return true
}

func grow[E any](s []E, n int) []E {
	if len(s)+n <= cap(s) {
		return s[:len(s)+n]
	}
	return append(s, make([]E, n)...)
}
