package operations

import (
	"math"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// Resampler makes series coarser. It keeps memory, so that it allocates nothing
// when it is used again. Not for concurrent use. The zero value is ready.
type Resampler struct {
	folder window.Folder
	frame  window.Frame
	starts []int64
}

// Resample appends, for each period in which the series has values, what the method makes of them
// as if they were points: the mean of means, the sum of sums, the number of
// aggregates. Their times are the starts of the periods. Periods for which the method has no value are left out.
func (r *Resampler) Resample(s window.Series, by Resampling, into *window.Series) error {
	r.starts = r.starts[:0]
	var start, next int64
	for i, t := range s.Times {
		if i == 0 || t >= next {
			start, next = by.Period.Bounds(t)
		}
		r.starts = append(r.starts, start)
	}
	r.frame.Reset(0, window.Needs(policy.SetOf(by.Method)))
	r.folder.FoldGroups(&r.frame, nil, r.starts, s.Values)
	return r.frame.Series(by.Method, into)
}

// resample makes each column coarser, by itself and without what is NaN, and puts
// what comes out on common times.
func (e *evaluator) resample(n *node, g grid) (grid, error) {
	var r Resampler
	var present window.Series
	out := make([]window.Series, len(g.columns))
	for i, c := range g.columns {
		if err := e.ctx.Err(); err != nil {
			return g, err
		}
		present.Reset()
		for row, v := range c {
			if v == v {
				present.Times, present.Values = append(present.Times, g.times[row]), append(present.Values, v)
			}
		}
		if err := r.Resample(present, Resampling{n.method, n.period}, &out[i]); err != nil {
			return g, err
		}
		if n.variance {
			for j, v := range out[i].Values {
				out[i].Values[j] = v * v
			}
		}
	}
	coarse, err := e.align(out, n.period, math.NaN())
	coarse.aggregated, coarse.owned = g.aggregated, true
	return coarse, err
}
