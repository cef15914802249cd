package api

import (
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// regroup makes longer windows of measures, as if these were points. It keeps
// memory for the next time.
type regroup struct {
	folder window.Folder
	folded window.Frame
	starts []int64 // of the periods, by measure
}

// resample replaces measures by one per period, made by a method: so the sum of
// sums, the mean of means, and the number of measures.
func (g *regroup) resample(s *window.Series, period timetext.Period, method policy.Method) error {
	g.starts = g.starts[:0]
	start, next := int64(0), int64(0)
	for i, t := range s.Times {
		if i == 0 || t >= next {
			start, next = period.Bounds(t)
		}
		g.starts = append(g.starts, start)
	}
	g.folded.Reset(int64(period.Span), window.Needs(policy.SetOf(method)))
	g.folder.FoldGroups(&g.folded, nil, g.starts, s.Values)
	s.Reset()
	return g.folded.Series(method, s)
}
