// Package policy holds archive policies: which windows of a metric are kept for
// how long, and what is known of each.
package policy

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Method is an aggregation method: what is made of the points in a window. The
// methods and their names are Gnocchi's.
type Method uint8

// The plain methods. [Percentile] gives the others, and [Method.Rate] the same of
// the differences between points.
const (
	Mean Method = iota
	Sum
	Last
	Max
	Min
	Std // sample deviation (n-1); a window of one point has none
	Median
	First
	Count
	firstPercentile // 1pct; 99 of them
)

const (
	plain = Method(firstPercentile + 99)
	// Methods is the number of methods.
	Methods = 2 * int(plain)
)

var plainNames = [...]string{"mean", "sum", "last", "max", "min", "std", "median", "first", "count"}

// Percentile is the method of the p-th percentile, p from 1 to 99, with linear
// interpolation between ranks.
func Percentile(p int) Method { return firstPercentile + Method(p-1) }

// Rate is the same method of the differences between each point and the one
// before it, each of which counts to the window of the later point. A method
// that is one already stays it.
func (m Method) Rate() Method {
	if m.IsRate() {
		return m
	}
	return m + plain
}

// IsRate reports whether the method is of differences.
func (m Method) IsRate() bool { return m >= plain }

// Plain is the method without rate.
func (m Method) Plain() Method {
	if m.IsRate() {
		return m - plain
	}
	return m
}

// Percentile is the percentile of a plain method: 1 to 99, 50 of the median, 0
// if it is none.
func (m Method) Percentile() int {
	switch m = m.Plain(); {
	case m == Median:
		return 50
	case m >= firstPercentile:
		return int(m-firstPercentile) + 1
	}
	return 0
}

func (m Method) String() string {
	if m.IsRate() {
		return "rate:" + m.Plain().String()
	}
	if m < firstPercentile {
		return plainNames[m]
	}
	return strconv.Itoa(m.Percentile()) + "pct"
}

// ParseMethod is the method of a name such as mean, 95pct or rate:mean.
func ParseMethod(name string) (Method, error) {
	rest, rate := strings.CutPrefix(name, "rate:")
	m, ok := parsePlain(rest)
	if !ok {
		return 0, fmt.Errorf("unknown aggregation method %q", name)
	}
	if rate {
		m = m.Rate()
	}
	return m, nil
}

func parsePlain(name string) (Method, bool) {
	if digits, ok := strings.CutSuffix(name, "pct"); ok {
		p, err := strconv.Atoi(digits)
		return Percentile(p), err == nil && p >= 1 && p <= 99 && strconv.Itoa(p) == digits
	}
	i := slices.Index(plainNames[:], name)
	return Method(i), i >= 0
}

// Set is a set of methods. The zero value is empty.
type Set [(Methods + 63) / 64]uint64

// SetOf is the set of some methods.
func SetOf(methods ...Method) Set {
	var s Set
	for _, m := range methods {
		s.Add(m)
	}
	return s
}

// Add adds a method.
func (s *Set) Add(m Method) { s[m/64] |= 1 << (m % 64) }

// Remove removes a method.
func (s *Set) Remove(m Method) { s[m/64] &^= 1 << (m % 64) }

// Has reports whether the set holds a method.
func (s Set) Has(m Method) bool { return s[m/64]&(1<<(m%64)) != 0 }

// HasRates reports whether the set holds a method of differences.
func (s Set) HasRates() bool {
	const word, bit = plain / 64, plain % 64 // of the first of them
	rates := s[word] >> bit
	for _, w := range s[word+1:] {
		rates |= w
	}
	return rates != 0
}

// All is the set's methods in the order of their numbers.
func (s Set) All() iter.Seq[Method] {
	return func(yield func(Method) bool) {
		for i, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(Method(i*64 + bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}

// List is [Set.All] as a slice.
func (s Set) List() []Method { return slices.Collect(s.All()) }
