package column

import (
	"encoding/binary"
	"slices"
)

// Header byte of a column of integers: its form, and flags. The first integer follows,
// and, of a column of two or more, what the form needs.
const (
	formValues      = 0 // differences from the first
	formDifferences = 1 // differences from the one before
	formSlopes      = 2 // differences of those; the first difference comes first
	formRuns        = 3 // runs of the same value: how many more, then the difference to the next

	formMask = 0x03
	constant = 0x04 // all differences are the centre; there are no mini-blocks
	factored = 0x08 // all differences are to be multiplied with a factor, which comes first
)

// plan is how a column is to be packed.
type plan struct {
	form     int
	constant bool
	factor   int64 // that all differences are multiples of
	centre   int64 // typical difference, divided by the factor
}

// AppendInts appends v, packed, to dst.
func AppendInts(dst []byte, v []int64) []byte {
	if len(v) == 0 {
		return dst
	}
	p := makePlan(v)
	start := len(dst)
	dst = p.append(dst, v)
	if p.constant || !runsMayBeSmaller(v) {
		return dst
	}
	end := len(dst)
	dst = appendRuns(dst, v)
	if len(dst)-end < end-start {
		dst = append(dst[:start], dst[end:]...)
		return dst
	}
	return dst[:end]
}

// IntsSize is roughly how many bytes AppendInts makes of v. It looks at a part of
// v only.
func IntsSize(v []int64) int {
	if len(v) == 0 {
		return 0
	}
	p := makePlan(v)
	if p.constant {
		return 4
	}
	return 4 + p.bits(v)/8
}

func makePlan(v []int64) plan {
	p := plan{factor: 1}
	if constantDifference(v) {
		p.form, p.constant = formDifferences, true
		if len(v) > 1 {
			p.centre = v[1] - v[0]
		}
		return p
	}
	p.factor = factor(v)
	least := p
	size := -1
	for _, form := range []int{formDifferences, formValues, formSlopes} {
		p.form = form
		p.centre = p.findCentre(v)
		if s := p.bits(v); size < 0 || s < size {
			least, size = p, s
		}
	}
	return least
}

func constantDifference(v []int64) bool {
	for i := 2; i < len(v); i++ {
		if v[i]-v[i-1] != v[1]-v[0] {
			return false
		}
	}
	return true
}

// factor is the greatest integer that all differences in v are multiples of.
func factor(v []int64) int64 {
	least, most := slices.Min(v), slices.Max(v)
	if most-least < 0 { // overflow
		return 1
	}
	f := int64(0)
	for _, x := range v {
		d := x - least
		if f != 0 && d%f == 0 {
			continue
		}
		for d != 0 {
			f, d = d, f%d
		}
		if f == 1 {
			break
		}
	}
	return f
}

// first is the number of integers that are not stored in mini-blocks.
func (p *plan) first() int {
	if p.form == formSlopes {
		return 2
	}
	return 1
}

// differences fills r with what is stored of v from index i on.
func (p *plan) differences(v []int64, i int, r []int64) {
	if p.form == formValues {
		for k, x := range v[i : i+len(r)] {
			r[k] = x - v[0]
		}
	} else {
		before := v[i-1]
		for k, x := range v[i : i+len(r)] {
			r[k] = x - before
			before = x
		}
	}
	if p.factor > 1 {
		for k := range r {
			r[k] /= p.factor
		}
	}
	if p.form == formSlopes {
		slope := (v[i-1] - v[i-2]) / p.factor
		for k, d := range r {
			r[k] = d - slope
			slope = d
		}
	}
}

// findCentre is the median of some differences.
func (p *plan) findCentre(v []int64) int64 {
	var sample [33]int64
	n := len(v) - p.first()
	k := min(n, len(sample))
	for i := range k {
		p.differences(v, p.first()+i*n/k, sample[i:i+1])
	}
	slices.Sort(sample[:k])
	return sample[k/2]
}

// bits is roughly what the mini-blocks take; of a long column only some are looked at.
func (p *plan) bits(v []int64) int {
	var r [blockLength]int64
	const looks = 4
	n := len(v) - p.first()
	blocks := (n + blockLength - 1) / blockLength
	step := max(1, blocks/looks)
	size, seen := 0, 0
	for b := step / 2; b < blocks; b += step {
		at := b * blockLength
		part := r[:min(blockLength, n-at)]
		p.differences(v, p.first()+at, part)
		plan := planBlock(part, p.centre)
		size += plan.bits
		seen += len(part)
	}
	return size/seen*n + size%seen*n/seen + blocks*8
}

func (p *plan) append(dst []byte, v []int64) []byte {
	header := byte(p.form)
	if p.constant {
		header |= constant
	}
	if p.factor > 1 {
		header |= factored
	}
	dst = append(dst, header)
	dst = appendSigned(dst, v[0])
	if len(v) == 1 {
		return dst
	}
	if p.factor > 1 {
		dst = binary.AppendUvarint(dst, uint64(p.factor))
	}
	if p.form == formSlopes {
		dst = appendSigned(dst, (v[1]-v[0])/p.factor)
	}
	dst = appendSigned(dst, p.centre)
	if p.constant {
		return dst
	}
	var r [blockLength]int64
	for i := p.first(); i < len(v); {
		part := r[:min(blockLength, len(v)-i)]
		p.differences(v, i, part)
		dst = appendBlock(dst, part, p.centre)
		i += len(part)
	}
	return dst
}

// runsMayBeSmaller tells whether v has few enough changes to look at its runs.
func runsMayBeSmaller(v []int64) bool {
	left := len(v) / 8
	for i := 1; i < len(v); i++ {
		if v[i] != v[i-1] {
			if left--; left < 0 {
				return false
			}
		}
	}
	return true
}

func appendRuns(dst []byte, v []int64) []byte {
	dst = append(dst, formRuns)
	dst = appendSigned(dst, v[0])
	for i := 0; i < len(v); {
		end := i + 1
		for end < len(v) && v[end] == v[i] {
			end++
		}
		dst = binary.AppendUvarint(dst, uint64(end-i-1))
		if end < len(v) {
			dst = appendSigned(dst, v[end]-v[i])
		}
		i = end
	}
	return dst
}
