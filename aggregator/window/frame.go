package window

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/nephoscope/nepho/aggregator/policy"
)

// Frame is windows of one metric at one granularity, oldest first: the starts of
// the windows, and for each column a value per window. The zero value is an empty
// frame without columns; [Frame.Reset] says what it is to hold, and keeps the
// memory that it had.
type Frame struct {
	Granularity int64   // nanoseconds
	Starts      []int64 // of windows, nanoseconds since 1970, ascending, multiples of Granularity
	Columns     Columns // those that are there; only Reset changes it
	values      [][]float64
}

// Reset makes the frame one without windows, of the given granularity (in
// nanoseconds) and columns.
func (f *Frame) Reset(granularity int64, columns Columns) {
	f.Granularity, f.Columns = granularity, columns
	f.Starts = f.Starts[:0]
	n := columns.Len()
	if n > cap(f.values) {
		f.values = append(f.values[:cap(f.values)], make([][]float64, n-cap(f.values))...)
	}
	f.values = f.values[:n]
	for i := range f.values {
		f.values[i] = f.values[i][:0]
	}
}

// Len is the number of windows.
func (f *Frame) Len() int { return len(f.Starts) }

// Values is a column, as long as Starts, for reading and writing. It is valid until
// the frame changes. Nil if the frame does not have the column. In columns of rates the values of
// windows without a rate, those whose count of rates is 0, mean nothing.
func (f *Frame) Values(c Column) []float64 {
	if !f.Columns.Has(c) {
		return nil
	}
	return f.values[f.Columns.Index(c)]
}

// Grow adds n windows. The caller must set their starts and the values of all columns,
// which are undefined.
func (f *Frame) Grow(n int) {
	f.Starts = grow(f.Starts, n)
	for i, v := range f.values {
		f.values[i] = grow(v, n)
	}
}

func grow[E any](s []E, n int) []E { return slices.Grow(s, n)[:len(s)+n] }

// Append adds the windows of other, which must be after those of f, of the same
// granularity, and have all columns of f; those that f does not have are left out.
func (f *Frame) Append(other *Frame) {
	if f.Granularity != other.Granularity || !other.Columns.Contains(f.Columns) {
		panic(fmt.Sprintf("BUG: frame of %v ns with columns %v appended to one of %v ns with columns %v",
			other.Granularity, other.Columns, f.Granularity, f.Columns))
	}
	f.Starts = append(f.Starts, other.Starts...)
	i := 0
	for c := range f.Columns.All() {
		f.values[i] = append(f.values[i], other.Values(c)...)
		i++
	}
}

// Cut keeps the windows with from <= start < to.
func (f *Frame) Cut(from, to int64) {
	first, end := between(f.Starts, from, to)
	f.Starts = keep(f.Starts, first, end)
	for i, v := range f.values {
		f.values[i] = keep(v, first, end)
	}
}

// between is the range of ascending times with from <= time < to.
func between(times []int64, from, to int64) (first, end int) {
	first = sort.Search(len(times), func(i int) bool { return times[i] >= from })
	end = sort.Search(len(times), func(i int) bool { return times[i] >= to })
	return first, max(first, end)
}

// keep moves s[first:end] to the front, so that the memory before it is not lost.
func keep[E any](s []E, first, end int) []E {
	if first > 0 {
		copy(s, s[first:end])
	}
	return s[:end-first]
}

// A MissingError says that a frame does not have the columns that a method needs.
type MissingError struct{ Method policy.Method }

func (e *MissingError) Error() string {
	return fmt.Sprintf("the windows were made without what the method %v needs", e.Method)
}

// Series appends the aggregates of a method. Windows for which it has no value
// are left out: the deviation of one point, and rates of none. The error is a
// *[MissingError].
//
// The mean is Sum/Count and within 1.5 units in the last place of the true one, the
// deviation sqrt(Deviation/(n(n−1))) and within 4, where sums, and squares of
// distances from the mean, neither overflow nor underflow.
func (f *Frame) Series(m policy.Method, into *Series) error {
	if !f.Columns.Contains(needs(m)) {
		return &MissingError{m}
	}
	if m.Plain() == policy.Std {
		f.deviations(m, into)
		return nil
	}
	n := into.Len()
	into.Times = append(into.Times, f.Starts...)
	into.Values = append(into.Values, f.Values(like(m, valuesOf(m)))...)
	into.finish(m, n, f.Values(like(m, Count)))
	return nil
}

// Take makes of a frame that is not needed any more what [Frame.Series] appends. The
// two exchange memory instead of copying it; after that the frame has no windows.
func (f *Frame) Take(m policy.Method, into *Series) error {
	if !f.Columns.Contains(needs(m)) {
		return &MissingError{m}
	}
	into.Reset()
	if m.Plain() == policy.Std {
		f.deviations(m, into)
	} else {
		counts := f.Values(like(m, Count))
		values := &f.values[f.Columns.Index(like(m, valuesOf(m)))]
		into.Times, f.Starts = f.Starts, into.Times
		into.Values, *values = *values, into.Values
		into.finish(m, 0, counts)
	}
	f.Reset(f.Granularity, f.Columns)
	return nil
}

// like is the column of rates if the method is of rates.
func like(m policy.Method, c Column) Column {
	if m.IsRate() {
		return c.Rate()
	}
	return c
}

// valuesOf is the column that becomes a method's values, all but the deviation's.
func valuesOf(m policy.Method) Column {
	if m = m.Plain(); m != policy.Mean {
		return columnOf(m)
	}
	return Sum
}

func (f *Frame) deviations(m policy.Method, into *Series) {
	counts, deviations := f.Values(like(m, Count)), f.Values(like(m, Deviation))
	into.Times, into.Values = slices.Grow(into.Times, len(counts)), slices.Grow(into.Values, len(counts))
	for i, count := range counts {
		if count > 1 { // and not of windows without a rate either
			into.Times = append(into.Times, f.Starts[i])
			into.Values = append(into.Values, math.Sqrt(deviations[i]/(count*(count-1))))
		}
	}
}

// finish makes of sums what they are for, from the n-th on, and leaves out windows
// without a rate.
func (s *Series) finish(m policy.Method, n int, counts []float64) {
	if m.Plain() == policy.Mean {
		out := s.Values[n:]
		for i, count := range counts {
			if count != 1 { // a division takes long
				out[i] /= count
			}
		}
	}
	if m.IsRate() {
		s.drop(n, counts)
	}
}

// Reset empties the series and keeps its memory.
func (s *Series) Reset() { s.Times, s.Values = s.Times[:0], s.Values[:0] }

// Len is the number of aggregates.
func (s *Series) Len() int { return len(s.Values) }

// Cut keeps the aggregates with from <= time < to.
func (s *Series) Cut(from, to int64) {
	first, end := between(s.Times, from, to)
	s.Times, s.Values = keep(s.Times, first, end), keep(s.Values, first, end)
}

// drop removes the aggregates from the n-th on whose count is 0.
func (s *Series) drop(n int, counts []float64) {
	to := n
	for i, count := range counts {
		if count > 0 {
			s.Times[to], s.Values[to] = s.Times[n+i], s.Values[n+i]
			to++
		}
	}
	s.Times, s.Values = s.Times[:to], s.Values[:to]
}
