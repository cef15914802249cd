package block

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/nephoscope/nepho/aggregator/column"
	"github.com/nephoscope/nepho/aggregator/window"
)

// packer packs segments. It keeps its buffers.
type packer struct {
	frame   *window.Frame
	order   []window.Column
	columns [256]packing
	numbers []int64    // of windows
	means   [2]packing // floor(Sum/Count), of plain values and of rates; decimal if it can be told
	trial   []int64    // differences that are looked at
	best    []int64    // the best ones yet
	rest    []int64    // of Sum, when it is shared out
	body    []byte     // of a column
}

// packing is a column of the segment that is being packed.
type packing struct {
	values   []float64
	filled   []float64 // buffer of values that had to be replaced
	ints     []int64   // values times 10^exponent
	ulps     []int64   // of near ones: how many numbers each value is above its decimal
	exponent int
	decimal  bool // ints are there
	near     bool // so are ulps
	same     bool // as another column, and stored as that
}

// segment appends the segment of the windows i to j of a frame.
func (p *packer) segment(dst []byte, ref uint64, f *window.Frame, i, j int) []byte {
	start := len(dst)
	first := f.Starts[i] / f.Granularity
	if last := f.Starts[j-1] / f.Granularity; last-first != int64(j-i-1) {
		p.numbers = p.numbers[:0]
		for _, t := range f.Starts[i:j] {
			p.numbers = append(p.numbers, t/f.Granularity-first)
		}
		dst = column.AppendInts(dst, p.numbers)
	}

	p.frame, p.order = f, order(f.Columns, p.order[:0])
	for _, c := range p.order {
		p.load(c, f.Values(c)[i:j])
	}
	exponent := p.scale(window.Count, 0)
	p.scale(window.Count.Rate(), exponent)

	dst = append(dst, byte(len(p.order)))
	for k, c := range p.order {
		dst = append(dst, byte(c))
		dst = p.column(dst, c, p.order[:k])
	}
	return binary.LittleEndian.AppendUint32(dst, segmentSum(ref, first, dst[start:]))
}

// load takes the values of a column. Those of windows without a rate mean nothing
// and become like their neighbours.
func (p *packer) load(c window.Column, values []float64) {
	col := &p.columns[c]
	col.values, col.exponent, col.decimal, col.near, col.same = values, 0, false, false, false
	if !c.IsRate() || c.Plain() == window.Count || !p.has(window.Count.Rate()) {
		return
	}
	counts := p.columns[window.Count.Rate()].values
	if !slices.Contains(counts, 0) {
		return
	}
	first := slices.IndexFunc(counts, func(n float64) bool { return n != 0 })
	before := 0.0
	if first >= 0 {
		before = values[first]
	}
	col.filled = append(col.filled[:0], values...)
	for i, n := range counts {
		if n == 0 {
			col.filled[i] = before
		}
		before = col.filled[i]
	}
	col.values = col.filled
}

// scale makes integers of the plain columns, or of those of rates: count tells which. The
// exponent is common to all but percentiles, which may need more decimals, and the
// deviation, which has its own. It is least or more.
func (p *packer) scale(count window.Column, least int) (exponent int) {
	exponent = least
	p.scaleOne(count, 0)
	for plain := window.Sum; plain <= window.Last; plain++ {
		if c := of(count, plain); p.scaleOne(c, exponent) {
			exponent = p.columns[c].exponent
		}
	}
	for plain := window.Sum; plain <= window.Last; plain++ {
		if c := of(count, plain); p.columns[c].decimal && p.columns[c].exponent < exponent {
			p.scaleOne(c, exponent)
		}
	}
	for _, c := range p.order {
		if c.IsRate() == count.IsRate() && c.Percentile() > 0 && !p.scaleOne(c, exponent) {
			// They were interpolated, so they are decimals but for the last bits.
			col := &p.columns[c]
			col.ulps = resize(col.ulps, len(col.values))
			col.exponent, col.near = column.ScaleNear(exponent, col.values, col.ints, col.ulps)
			col.decimal = col.near
		}
	}

	mean := p.mean(count)
	sum, counts := &p.columns[of(count, window.Sum)], &p.columns[count]
	if mean.decimal = p.has(of(count, window.Sum)) && sum.decimal && p.has(count) && counts.decimal; mean.decimal {
		mean.exponent = sum.exponent
		mean.ints = resize(mean.ints, len(sum.ints))
		means(mean.ints, sum.ints, counts.ints)
	}
	return exponent
}

func (p *packer) has(c window.Column) bool { return p.frame.Columns.Has(c) }

func (p *packer) mean(c window.Column) *packing {
	if c.IsRate() {
		return &p.means[1]
	}
	return &p.means[0]
}

func (p *packer) scaleOne(c window.Column, least int) bool {
	if !p.has(c) {
		return false
	}
	col := &p.columns[c]
	col.ints = resize(col.ints, len(col.values))
	col.exponent, col.decimal = column.ScaleFrom(least, col.values, col.ints)
	return col.decimal
}

// column appends a column in its smallest form.
func (p *packer) column(dst []byte, c window.Column, earlier []window.Column) []byte {
	col := &p.columns[c]
	for _, other := range earlier {
		if o := &p.columns[other]; !o.same && other.IsRate() == c.IsRate() && equal(col.values, o.values) {
			col.same = true
			return append(dst, byte(formSame), byte(other))
		}
	}
	if !col.decimal {
		return p.own(dst, c)
	}
	b := p.choose(c, earlier)
	var ulps column.Plan
	if col.near {
		// As bits they would take some 6 bytes a value.
		if ulps = column.PlanInts(col.ulps); b.plan.Size()+ulps.Size() > 5*len(col.values) {
			col.decimal = false
			return p.own(dst, c)
		}
	}
	p.body = p.body[:0]
	if b.form.refers() {
		p.body = append(p.body, byte(b.other))
	}
	exponent := byte(col.exponent)
	if col.near {
		exponent |= nearDecimals
	}
	p.body = b.plan.Append(append(p.body, exponent), b.ints)
	switch {
	case b.form == formShare:
		p.body = column.AppendInts(p.body, p.rest)
	case col.near:
		p.body = ulps.Append(p.body, col.ulps)
	}
	return appendBody(append(dst, byte(b.form)), p.body)
}

// own appends a column that is not made of integers.
func (p *packer) own(dst []byte, c window.Column) []byte {
	least := 0
	if sum := &p.columns[of(c, window.Sum)]; c.Plain() == window.Deviation && p.has(of(c, window.Sum)) && sum.decimal {
		least = min(2*sum.exponent, 2*column.MaxExponent) // it is one of squares
	}
	p.body = column.AppendFloatsFrom(least, p.body[:0], p.columns[c].values)
	return appendBody(append(dst, byte(formOwn)), p.body)
}

func appendBody(dst, body []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(body))), body...)
}

// choice is the integers that a form stores.
type choice struct {
	form  form
	other window.Column // that they refer to
	ints  []int64
	plan  column.Plan
}

// choose finds the form that takes the fewest bytes for integers. What a Sum
// that is shared out stores besides is in p.rest.
func (p *packer) choose(c window.Column, earlier []window.Column) choice {
	col := &p.columns[c]
	best := choice{formOwn, 0, col.ints, column.PlanInts(col.ints)}
	less := func(f form, than window.Column, o *packing) {
		if !o.decimal || o.exponent > col.exponent {
			return
		}
		p.trial = resize(p.trial, len(col.ints))
		subtract(f, col.ints, o.ints, between(o.exponent, col.exponent), p.trial)
		if plan := column.PlanInts(p.trial); plan.Size() < best.plan.Size() {
			best = choice{f, than, p.trial, plan}
			p.trial, p.best = p.best, p.trial
		}
	}
	lessColumn := func(f form, than window.Column) {
		if slices.Contains(earlier, than) {
			less(f, than, &p.columns[than])
		}
	}
	mean := p.mean(c)
	switch plain := c.Plain(); {
	case plain == window.Count || plain == window.Deviation:
	case c == window.Sum:
		counts := p.columns[window.Count].ints
		if !mean.decimal || slices.Min(counts) == slices.Max(counts) {
			break
		}
		p.rest = resize(p.rest, len(col.ints))
		for i, s := range col.ints {
			p.rest[i] = s - mean.ints[i]*counts[i]
		}
		plan, rest := column.PlanInts(mean.ints), column.PlanInts(p.rest)
		if plan.Size()+rest.Size() < best.plan.Size() {
			best = choice{formShare, 0, mean.ints, plan}
		}
	case plain == window.Sum:
		// A sum of differences is the difference of the last values.
		for _, last := range []window.Column{window.Last, window.Sum} {
			if p.has(last) {
				lessColumn(formChange, last)
				break
			}
		}
	default:
		less(formMean, 0, mean)
		switch {
		case plain == window.Max:
			lessColumn(formLess, of(c, window.Min))
		case plain == window.First:
			lessColumn(formBefore, of(c, window.Last))
		case c.Percentile() > 0 && len(earlier) > 0 && earlier[len(earlier)-1].Percentile() > 0:
			lessColumn(formLess, earlier[len(earlier)-1])
		}
	}
	return best
}

// subtract fills d with what a form stores of v, which refers to o times factor.
func subtract(f form, v, o []int64, factor int64, d []int64) {
	o, d = o[:len(v)], d[:len(v)]
	switch f {
	case formMean, formLess:
		for i, x := range v {
			d[i] = x - o[i]*factor
		}
	case formBefore:
		before := o[0]
		for i, x := range v {
			d[i] = x - before*factor
			before = o[i]
		}
	case formChange:
		before := o[0]
		for i, x := range v {
			d[i] = x - (o[i]-before)*factor
			before = o[i]
		}
	}
}

// add is the reverse of subtract: it makes v of the differences in it.
func add(f form, v, o []int64, factor int64) {
	o = o[:len(v)]
	switch f {
	case formMean, formLess:
		for i := range v {
			v[i] += o[i] * factor
		}
	case formBefore:
		before := o[0]
		for i := range v {
			v[i] += before * factor
			before = o[i]
		}
	case formChange:
		before := o[0]
		for i := range v {
			v[i] += (o[i] - before) * factor
			before = o[i]
		}
	}
}

// between is the factor from one exponent to a larger one.
func between(exponent, larger int) int64 {
	factor := int64(1)
	for ; exponent < larger; exponent++ {
		factor *= 10
	}
	return factor
}

func equal(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

// resize gives a buffer of n elements, of undefined values.
func resize[E any](s []E, n int) []E { return slices.Grow(s[:0], n)[:n] }
