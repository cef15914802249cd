package window

import (
	"iter"
	"math/bits"
	"strconv"

	"github.com/nephoscope/nepho/aggregator/policy"
)

// Column is something that is kept of the points in a window. Its number goes
// into files and never changes:
//
//	  0        Count
//	  1        Sum
//	  2        Min
//	  3        Max
//	  4        First
//	  5        Last
//	  6        Deviation
//	  7..105   percentiles 1 to 99 (56: the median)
//	106..127   unused
//	128..255   the same of the rates: 128 more than the plain column
type Column uint8

// The plain columns. [Percentile] gives those of percentiles, [Column.Rate] that
// of the differences between points.
const (
	Count Column = iota // of points
	Sum
	Min
	Max
	First // the value of the earliest point
	Last  // the value of the latest point
	// Deviation is n·Σx² − (Σx)² of n points, which is n times the sum of their
	// squared distances from the mean. The sample variance is Deviation/(n(n−1)).
	Deviation

	percentiles        = Deviation // column of percentile 0, which there is not
	plainColumns       = percentiles + 99 + 1
	rates        uint8 = 128
)

// Percentile is the column of the p-th percentile, p from 1 to 99; that of the
// median is 50.
func Percentile(p int) Column { return percentiles + Column(p) }

// Rate is the same column of the differences between points. A column that is
// one already stays it.
func (c Column) Rate() Column { return c | Column(rates) }

// IsRate reports whether the column is of differences.
func (c Column) IsRate() bool { return c >= Column(rates) }

// Plain is the column without rate.
func (c Column) Plain() Column { return c &^ Column(rates) }

// Percentile is the percentile of a column, 1 to 99, or 0 if it is none.
func (c Column) Percentile() int {
	if c = c.Plain(); c > percentiles && c < plainColumns {
		return int(c - percentiles)
	}
	return 0
}

var columnNames = [...]string{"count", "sum", "min", "max", "first", "last", "deviation"}

// String is the column's name, such as sum, 95pct or rate:last.
func (c Column) String() string {
	switch p := c.Percentile(); {
	case c.IsRate():
		return "rate:" + c.Plain().String()
	case p > 0:
		return strconv.Itoa(p) + "pct"
	case int(c) < len(columnNames):
		return columnNames[c]
	}
	return "column " + strconv.Itoa(int(c))
}

// Columns is a set of columns; column c is bit c%64 of word c/64, in files as well.
// The zero value is empty.
type Columns [4]uint64

// ColumnsOf is the set of some columns.
func ColumnsOf(columns ...Column) Columns {
	var s Columns
	for _, c := range columns {
		s.Add(c)
	}
	return s
}

// Add adds a column.
func (s *Columns) Add(c Column) { s[c/64] |= 1 << (c % 64) }

// Has reports whether the set holds a column.
func (s Columns) Has(c Column) bool { return s[c/64]&(1<<(c%64)) != 0 }

// Len is the number of columns in the set.
func (s Columns) Len() int {
	return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) + bits.OnesCount64(s[2]) + bits.OnesCount64(s[3])
}

// Index is the number of columns in the set that are before c: the place of c
// among them, if the set holds it.
func (s Columns) Index(c Column) int {
	n := bits.OnesCount64(s[c/64] & (1<<(c%64) - 1))
	for _, word := range s[:c/64] {
		n += bits.OnesCount64(word)
	}
	return n
}

// Contains reports whether the set holds all columns of other.
func (s Columns) Contains(other Columns) bool {
	for i, word := range other {
		if word&^s[i] != 0 {
			return false
		}
	}
	return true
}

// Union is the columns that are in s, or in other, or in both.
func (s Columns) Union(other Columns) Columns {
	for i, word := range other {
		s[i] |= word
	}
	return s
}

// Known reports whether every column of the set has a meaning. A set that was
// read from a file may have columns of a later version.
func (s Columns) Known() bool {
	const last = 1<<(plainColumns%64) - 1
	return s[1]&^last == 0 && s[3]&^last == 0
}

// HasRates reports whether the set holds a column of differences.
func (s Columns) HasRates() bool { return s[2]|s[3] != 0 }

// All is the columns of the set in the order of their numbers.
func (s Columns) All() iter.Seq[Column] {
	return func(yield func(Column) bool) {
		for i, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(Column(i*64 + bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}

// Needs is the columns that the methods are made of. Methods of rates always
// need the count of rates, which tells the windows that have one.
func Needs(methods policy.Set) Columns {
	var s Columns
	for m := range methods.All() {
		s = s.Union(needs(m))
	}
	return s
}

func needs(m policy.Method) Columns {
	if m.IsRate() {
		plain := needs(m.Plain())
		plain.Add(Count)
		return Columns{2: plain[0], 3: plain[1]}
	}
	switch m {
	case policy.Mean:
		return ColumnsOf(Count, Sum)
	case policy.Std:
		return ColumnsOf(Count, Deviation)
	}
	return ColumnsOf(columnOf(m))
}

// columnOf is the column that is a plain method's values as they are.
func columnOf(m policy.Method) Column {
	switch m {
	case policy.Sum:
		return Sum
	case policy.Last:
		return Last
	case policy.Max:
		return Max
	case policy.Min:
		return Min
	case policy.First:
		return First
	case policy.Count:
		return Count
	}
	return Percentile(m.Percentile())
}
