package operations_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nephoscope/nepho/aggregator/operations"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// The mean of two metrics in bits, where one of them has no value in between.
func Example() {
	operation, err := operations.Parse([]byte(`["aggregate", "mean", ["*", 8, ["metric", ["in", "mean"], ["out", "mean"]]]]`))
	if err != nil {
		fmt.Println(err)
		return
	}
	const minute = int64(time.Minute)
	stored := map[string]window.Series{
		"in":  {Times: []int64{0, minute, 2 * minute}, Values: []float64{1, 2, 3}},
		"out": {Times: []int64{0, 2 * minute}, Values: []float64{5, 7}},
	}
	in := operations.Input{Granularity: time.Minute, Fill: operations.FillDrop}
	for i, reference := range operation.References {
		in.Columns = append(in.Columns, operations.Column{Reference: i, Series: stored[reference.Metric]})
	}
	result, err := operation.Evaluate(context.Background(), in)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, t := range result.Series[0].Times {
		fmt.Println(timetext.FormatTime(t), result.Period, result.Series[0].Values[i])
	}
	// Output:
	// 1970-01-01T00:00:00+00:00 0:01:00 24
	// 1970-01-01T00:01:00+00:00 0:01:00 16
	// 1970-01-01T00:02:00+00:00 0:01:00 40
}
