package column

import (
	"encoding/binary"
	"math"
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

// Plan is how a column of integers will be packed.
type Plan struct {
	form     int
	constant bool
	factor   int64 // that all differences are multiples of
	centre   int64 // typical difference, divided by the factor
	size     int
}

// AppendInts appends v, packed, to dst.
func AppendInts(dst []byte, v []int64) []byte {
	p := PlanInts(v)
	return p.Append(dst, v)
}

// Size is roughly how many bytes [Plan.Append] will append. It is known from a part of
// the integers only.
func (p *Plan) Size() int { return p.size }

// Append appends the integers that the plan was made for, packed, to dst.
func (p *Plan) Append(dst []byte, v []int64) []byte {
	if len(v) == 0 {
		return dst
	}
	start := len(dst)
	dst = p.append(dst, v)
	if p.constant || !runsMayBeSmaller(v) {
		return dst
	}
	end := len(dst)
	dst = appendRuns(dst, v)
	if len(dst)-end < end-start {
		return append(dst[:start], dst[end:]...)
	}
	return dst[:end]
}

// PlanInts finds how to pack v, without doing it. It is for those who have several
// columns to choose from.
func PlanInts(v []int64) Plan {
	best := Plan{factor: 1, size: 3}
	if constantDifference(v) {
		best.form, best.constant = formDifferences, true
		if len(v) > 1 {
			best.centre = v[1] - v[0]
		}
		return best
	}
	p := Plan{factor: factor(v)}
	centres := p.centres(v)
	try := func(form int) (size int) {
		p.form, p.centre = form, centres[form]
		p.size = p.estimate(v)
		if best.constant = false; p.size < best.size {
			best = p
		}
		return p.size
	}
	best.size = math.MaxInt
	// What is no smaller for the first differences is not for the second ones.
	if try(formDifferences) < try(formValues) {
		try(formSlopes)
	}
	return best
}

func constantDifference(v []int64) bool {
	for i := 2; i < len(v); i++ {
		if v[i]-v[i-1] != v[1]-v[0] {
			return false
		}
	}
	return true
}

// factor is the greatest integer that all differences in v are multiples of; 1 if one of these
// may overflow.
func factor(v []int64) int64 {
	f := int64(0)
	for _, x := range v {
		d := x - v[0]
		if (d < 0) != (x < v[0]) || d <= -1<<62 || d >= 1<<62 {
			return 1
		}
		d = max(d, -d)
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
func (p *Plan) first() int {
	if p.form == formSlopes {
		return 2
	}
	return 1
}

// differences fills r with what is stored of v from index i on.
func (p *Plan) differences(v []int64, i int, r []int64) {
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

// centres are typical differences for each form: the median of a few, about that of many.
func (p *Plan) centres(v []int64) (centres [3]int64) {
	for form := range centres {
		var sample [15]int64
		first := 1
		if form == formSlopes {
			first = 2
		}
		n := len(v) - first
		k := min(n, len(sample))
		for j := range k {
			i := first + j*n/k
			switch form {
			case formValues:
				sample[j] = v[i] - v[0]
			case formDifferences:
				sample[j] = v[i] - v[i-1]
			case formSlopes:
				sample[j] = v[i] - v[i-1] - (v[i-1] - v[i-2])
			}
		}
		if k < len(sample) {
			slices.Sort(sample[:k])
			centres[form] = sample[k/2]
		} else {
			centres[form] = aboutMedian(&sample)
		}
		if p.factor > 1 {
			centres[form] /= p.factor
		}
	}
	return centres
}

// aboutMedian is the median of five medians of three.
func aboutMedian(v *[15]int64) int64 {
	var m [5]int64
	for i := range m {
		m[i] = middleOf(v[3*i], v[3*i+1], v[3*i+2])
	}
	low := max(min(m[0], m[1]), min(m[2], m[3]))
	high := min(max(m[0], m[1]), max(m[2], m[3]))
	return middleOf(low, high, m[4])
}

func middleOf(a, b, c int64) int64 { return max(min(a, b), min(max(a, b), c)) }

// estimate is roughly how many bytes v will take beside its first integer; of a long column only some parts are
// looked at.
func (p *Plan) estimate(v []int64) int {
	const look = blockLength / 2
	var r [look]int64
	n := len(v) - p.first()
	step := n // of short ones, of a part
	if n > 4*look {
		step = n / 4
	}
	size, seen := 0, 0
	for at := 0; at < n; at += step {
		part := r[:min(look, n-at)]
		p.differences(v, p.first()+at, part)
		size += estimateBlock(part, p.centre)
		seen += len(part)
	}
	front := 2 + signedBits(p.centre)/8
	if p.form == formSlopes {
		front += signedBits((v[1]-v[0])/p.factor) / 8
	}
	return front + int(float64(size)/float64(seen)*float64(n)/8) + n/blockLength
}

func (p *Plan) append(dst []byte, v []int64) []byte {
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
