// Package window makes windows of points, and aggregates of windows.
//
// A window holds what the stored methods need of its points, in columns: mean is
// derived from sum and count, the deviation from count and the sum of squared
// distances, and so on. So no method costs anything twice.
package window

// Point is a measure.
type Point struct {
	Time  int64 // nanoseconds since 1970, UTC
	Value float64
}

// Series is aggregates of one method at one granularity, oldest first. Times are
// the starts of windows; windows for which the method has no value are left out.
type Series struct {
	Times  []int64 // nanoseconds since 1970, UTC
	Values []float64
}
