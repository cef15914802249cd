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
	of := func(c Column) []float64 {
		if m.IsRate() {
			c = c.Rate()
		}
		return f.Values(c)
	}
	n := len(into.Values)
	switch m.Plain() {
	case policy.Mean:
		into.Times, into.Values = append(into.Times, f.Starts...), append(into.Values, of(Sum)...)
		out := into.Values[n:]
		for i, count := range of(Count) {
			out[i] /= count
		}
	case policy.Std:
		counts, deviations := of(Count), of(Deviation)
		into.Times, into.Values = slices.Grow(into.Times, len(counts)), slices.Grow(into.Values, len(counts))
		for i, count := range counts {
			if count > 1 {
				into.Times = append(into.Times, f.Starts[i])
				into.Values = append(into.Values, math.Sqrt(deviations[i]/(count*(count-1))))
			}
		}
		return nil // it has left out windows without a rate as well
	default:
		into.Times, into.Values = append(into.Times, f.Starts...), append(into.Values, of(columnOf(m.Plain()))...)
	}
	if m.IsRate() {
		into.drop(n, of(Count))
	}
	return nil
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
