package operations

import (
	"fmt"
	"math"
	"slices"

	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// Fill is what becomes of times at which some of the series have no value. The zero
// value is nothing, and that enough of the times must be common to all.
type Fill struct {
	mode  fillMode
	value float64
}

type fillMode uint8

const (
	fillNothing fillMode = iota
	fillNull
	fillDrop
	fillValue
)

var (
	// FillNull leaves NaN.
	FillNull = Fill{mode: fillNull}
	// FillDrop leaves NaN, and takes NaN and infinities out of the results.
	FillDrop = Fill{mode: fillDrop}
)

// FillWith puts a value where there is none.
func FillWith(v float64) Fill { return Fill{fillValue, v} }

// ParseFill reads null, dropna or a number. The error is an *[Error] about the
// argument fill.
func ParseFill(text string) (Fill, error) {
	switch text {
	case "null":
		return FillNull, nil
	case "dropna":
		return FillDrop, nil
	}
	v, ok := parseNumber(text)
	if !ok {
		return Fill{}, &Error{"Argument value error", "Must be a float, 'dropna' or 'null'", "fill"}
	}
	return FillWith(v), nil
}

// missing is the value of a time at which a series has none.
func (f Fill) missing() float64 {
	if f.mode == fillValue {
		return f.value
	}
	return math.NaN()
}

// grid is series with the same times, or a number.
type grid struct {
	times   []int64
	period  timetext.Period
	columns [][]float64 // as long as times, of each series
	isOne   bool        // a number, in one column
	// owned says that the columns may be written to; they are nobody else's.
	owned bool
	// aggregated says that the columns are no more those of metrics.
	aggregated bool
}

// align puts series on the times of all of them.
func (e *evaluator) align(series []window.Series, period timetext.Period, missing float64) (grid, error) {
	g := grid{period: period, times: unite(series, int64(period.Span)), columns: make([][]float64, len(series))}
	n := len(g.times)
	short := 0 // series that lack some times
	for i, s := range series {
		if len(s.Times) == n {
			g.columns[i] = s.Values[:n:n]
		} else {
			short++
		}
	}
	cells, err := e.cells(short * n)
	if err != nil {
		return grid{}, err
	}
	for i, s := range series {
		if len(s.Times) == n {
			continue
		}
		column := cells[:n:n]
		cells = cells[n:]
		row := 0
		for j, t := range s.Times {
			for ; g.times[row] != t; row++ {
				column[row] = missing
			}
			column[row] = s.Values[j]
			row++
		}
		for ; row < n; row++ {
			column[row] = missing
		}
		g.columns[i] = column
	}
	return g, nil
}

// unite is all times of the series, ascending; it may be those of one of them. If
// span is not 0, all are multiples of it.
func unite(series []window.Series, span int64) []int64 {
	switch len(series) {
	case 0:
		return nil
	case 1:
		return series[0].Times
	}
	middle := len(series) / 2
	a, b := unite(series[:middle], span), unite(series[middle:], span)
	if len(a) < len(b) {
		a, b = b, a
	}
	if holds(a, b, span) {
		return a
	}
	both := make([]int64, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		t := min(a[0], b[0])
		if a[0] == t {
			a = a[1:]
		}
		if b[0] == t {
			b = b[1:]
		}
		both = append(both, t)
	}
	return append(append(both, a...), b...)
}

// holds reports whether all of b is in a, which is as long at least.
func holds(a, b []int64, span int64) bool {
	if len(b) == 0 {
		return true
	}
	from, to := b[0], b[len(b)-1]
	if full(a, span) { // most series are, and need not be compared time by time
		return a[0] <= from && to <= a[len(a)-1]
	}
	if len(a) == len(b) {
		return slices.Equal(a, b)
	}
	for _, t := range b {
		for len(a) > 0 && a[0] < t {
			a = a[1:]
		}
		if len(a) == 0 || a[0] != t {
			return false
		}
	}
	return true
}

// full reports whether times are all multiples of span from the first to the last.
func full(times []int64, span int64) bool {
	n := int64(len(times) - 1)
	return span > 0 && n <= math.MaxInt64/span && times[n]-times[0] == n*span
}

// overlap refuses series of which too few times are common, and cuts them where
// the request left start or end open. NaN is no value.
func (e *evaluator) overlap(g *grid) error {
	gaps := make([]bool, len(g.times))
	for _, c := range g.columns {
		for row, v := range c {
			gaps[row] = gaps[row] || v != v
		}
	}
	common, first, last := 0, 0, 0
	for row, gap := range gaps {
		if gap {
			continue
		}
		if common == 0 {
			first = row
		}
		common, last = common+1, row
	}
	if common == 0 && e.in.NeededOverlap > 0 {
		return e.unaggregable("No overlap")
	}
	if common > 0 {
		from, to := 0, len(g.times)
		if !e.in.HasStart {
			from = first
		}
		if !e.in.HasStop {
			to = last + 1
		}
		g.cut(from, to)
	}
	if len(g.times) == 0 {
		return nil
	}
	if percent := float64(common) * 100 / float64(len(g.times)); percent < e.in.NeededOverlap {
		return e.unaggregable(fmt.Sprintf("Less than %f%% of datapoints overlap in this timespan (%.2f%%)", e.in.NeededOverlap, percent))
	}
	return nil
}

// cut keeps the rows from one to before another.
func (g *grid) cut(from, to int) {
	g.times = g.times[from:to]
	for i, c := range g.columns {
		g.columns[i] = c[from:to]
	}
}
