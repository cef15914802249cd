package window

import (
	"math"
	"slices"

	"github.com/nephoscope/nepho/aggregator/column"
	"github.com/nephoscope/nepho/aggregator/policy"
)

// Folder makes windows of points. It keeps buffers, so that it allocates nothing
// when it is used again. Not for concurrent use. The zero value is ready.
//
// What a window holds depends on nothing but its points, and for rates on the one
// before them as well: points may be folded all at once or window by window.
//
// When all values of a window are decimals of at most nine places (m/10^e with |m| up to
// 2^52, or 2^53 for integers), and as long as sums stay within 63 bits, everything is exact: Sum is the
// float64 nearest to the decimal sum, a rate that nearest to the decimal difference, Deviation that
// nearest to n·Σx² − (Σx)². Other windows have compensated sums, and deviations from the mean in two passes,
// so that a Sum is off by half a unit in the last place and n²·2^-106 of the sum of magnitudes at most;
// rates are differences as float64 gives them.
//
// NaN and infinities go the way of IEEE 754: a NaN makes sum, min, max, deviation and percentiles of its
// window NaN, and is counted. A sum that leaves the range of float64 on its way is infinite. -0 is less than 0.
// Of one point the sum is the point, the deviation 0.
type Folder struct {
	bounds []int     // where each window starts in the points, and the end of the last
	values []float64 // the points, with the one before them
	ints   []int64   // all points as integers
	rates  []int64   // differences of ints
	own    []int64   // the points of one window as integers
	steps  []float64 // the rates of one window
	plain  sink
	rate   sink
}

// Fold appends to f the windows of points, which are in ascending order of time,
// without equal times, and in windows after those of f. The point before the
// first one, if there is one, is needed for rates only.
func (d *Folder) Fold(f *Frame, before *Point, times []int64, values []float64) {
	if len(times) == 0 {
		return
	}
	base := f.Len()
	d.split(f, times)
	d.fill(f, base, before, values)
}

// FoldGroups is Fold for windows of any lengths: starts has, for each point, the
// start of its window, in ascending order. The granularity of f says nothing then.
func (d *Folder) FoldGroups(f *Frame, before *Point, starts []int64, values []float64) {
	if len(starts) == 0 {
		return
	}
	base := f.Len()
	d.bounds = d.bounds[:0]
	for i, start := range starts {
		if i == 0 || start != starts[i-1] {
			f.Starts = append(f.Starts, start)
			d.bounds = append(d.bounds, i)
		}
	}
	d.bounds = append(d.bounds, len(starts))
	d.fill(f, base, before, values)
}

// fill adds the columns of the windows that bounds tell, from the window base on.
func (d *Folder) fill(f *Frame, base int, before *Point, values []float64) {
	for i, v := range f.values {
		f.values[i] = grow(v, f.Len()-base)
	}
	var lead int // points before the first
	if f.Columns.HasRates() && before != nil {
		d.values = append(append(d.values[:0], before.Value), values...)
		values, lead = d.values, 1
	}
	// Windows of up to limit points are exact with the integers of all points.
	limit := 0
	d.ints = sized(d.ints, len(values))
	exponent, ok := column.Scale(values, d.ints)
	if ok {
		limit = pointLimit(d.ints, exponent)
	}
	if d.plain.open(f, base, false) {
		for w := range len(d.bounds) - 1 {
			from, to := d.bounds[w]+lead, d.bounds[w+1]+lead
			switch {
			case to-from == 1:
				d.plain.one(w, values[from])
			case to-from <= limit:
				d.plain.exact(w, d.ints[from:to], exponent)
			default:
				d.window(w, values[from:to])
			}
		}
	}
	if d.rate.open(f, base, true) {
		limit /= 2 // differences may be twice as large
		if limit > 0 {
			d.rates = sized(d.rates, len(values))
			for i := 1; i < len(d.ints); i++ {
				d.rates[i] = d.ints[i] - d.ints[i-1]
			}
		}
		for w := range len(d.bounds) - 1 {
			from, to := max(d.bounds[w]+lead, 1), d.bounds[w+1]+lead
			switch {
			case from == to:
				d.rate.none(w)
			case to-from == 1 && limit > 0:
				d.rate.one(w, quotient(d.rates[from], exponent))
			case to-from <= limit:
				d.rate.exact(w, d.rates[from:to], exponent)
			default:
				d.rateWindow(w, values[from-1:to])
			}
		}
	}
}

// split finds the windows of the points and adds their starts to the frame.
func (d *Folder) split(f *Frame, times []int64) {
	d.bounds = append(d.bounds[:0], 0)
	length := f.Granularity
	start := policy.Floor(times[0], length)
	f.Starts = append(f.Starts, start)
	for i, t := range times {
		// The difference is never negative, though it may take all 64 bits.
		if past := uint64(t - start); past >= uint64(length) {
			if start += length; past >= 2*uint64(length) {
				start = policy.Floor(t, length)
			}
			f.Starts = append(f.Starts, start)
			d.bounds = append(d.bounds, i)
		}
	}
	d.bounds = append(d.bounds, len(times))
}

// pointLimit is how many of the integers may be added within 63 bits, or less but more than
// twice as many as there are; 0 if any of them may be one of several that stand for the same float64.
func pointLimit(ints []int64, exponent int) int {
	// A bound that is quick to find will do for nearly all.
	all := uint64(1)
	for _, m := range ints {
		all |= uint64(m ^ m>>63)
	}
	if bound := int64(all) + 1; bound <= 1<<52 {
		if limit := math.MaxInt64 / bound; limit > 2*int64(len(ints)) {
			return int(min(limit, math.MaxInt32))
		}
	}
	largest := int64(1)
	for _, m := range ints {
		largest = max(largest, m, -m)
	}
	if exponent > 0 && largest > 1<<52 {
		return 0
	}
	return int(min(math.MaxInt64/largest, math.MaxInt32))
}

// window sums up a window of a run that is not exact as a whole.
func (d *Folder) window(w int, values []float64) {
	if exponent, limit := d.scaleWindow(values); len(values) <= limit {
		d.plain.exact(w, d.own, exponent)
		return
	}
	d.plain.float(w, values)
}

// rateWindow does the same for rates; the first value is that before the window.
func (d *Folder) rateWindow(w int, values []float64) {
	n := len(values) - 1
	if exponent, limit := d.scaleWindow(values); n <= limit/2 {
		for i := range n {
			d.own[i] = d.own[i+1] - d.own[i]
		}
		d.rate.exact(w, d.own[:n], exponent)
		return
	}
	d.steps = sized(d.steps, n)
	for i := range n {
		d.steps[i] = values[i+1] - values[i]
	}
	if n == 1 {
		d.rate.one(w, d.steps[0])
		return
	}
	d.rate.float(w, d.steps)
}

// scaleWindow makes integers of the points of one window, in d.own, and tells how
// many may be added; 0 if the points are no decimals.
func (d *Folder) scaleWindow(values []float64) (exponent, limit int) {
	// A small number that has more decimals than there may be is found out at once;
	// most points of a run that are no decimals have such neighbours.
	const places = 1e9
	if r := values[0] * places; math.Abs(r) < 1<<51 && math.RoundToEven(r)/places != values[0] {
		return 0, 0
	}
	d.own = sized(d.own, len(values))
	exponent, ok := column.Scale(values, d.own)
	if !ok {
		return 0, 0
	}
	return exponent, pointLimit(d.own, exponent)
}

// sized is s with the length n; its elements are undefined.
func sized[E any](s []E, n int) []E { return slices.Grow(s[:0], n)[:n] }
