package window

import "github.com/nephoscope/nepho/aggregator/policy"

// Frame is windows of one metric at one granularity, oldest first.
type Frame struct {
	Granularity int64   // nanoseconds
	Starts      []int64 // of windows, nanoseconds since 1970, multiples of Granularity
}

// Series appends the aggregates of a method. Windows for which it has no value
// are left out: the deviation of one point, and rates of none.
func (f *Frame) Series(m policy.Method, into *Series) error { return nil }
