package promql

import (
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
)

// methodFor chooses what is made of the points in a window. Functions that are about
// the points themselves get the method that answers them exactly, where the policy
// has it; all others the mean, and series that came from Prometheus the last value,
// which is what Prometheus would have stored.
func methodFor(p *policy.Policy, function string, own bool) policy.Method {
	var first []policy.Method
	switch function {
	case "rate", "irate", "increase", "resets", "last_over_time":
		first = []policy.Method{policy.Last}
	case "max_over_time":
		first = []policy.Method{policy.Max}
	case "min_over_time":
		first = []policy.Method{policy.Min}
	case "sum_over_time":
		first = []policy.Method{policy.Sum}
	case "first_over_time":
		first = []policy.Method{policy.First}
	}
	if own {
		first = append(first, policy.Last)
	}
	for _, m := range append(first, policy.Mean, policy.Last, policy.Max) {
		if p.Methods.Has(m) {
			return m
		}
	}
	return p.Methods.List()[0]
}

// span is what a selector asks for.
type span struct {
	from         int64         // nanoseconds since 1970
	step, window time.Duration // of the query and of the range, 0 for none
}

// granularityFor chooses among the granularities of a policy that reach back to the
// start: the longest of which each step has a window of its own, and each range
// four, so that no step costs more windows than it needs; else the shortest. Where
// none reaches back far enough it is the one that reaches furthest. newest is the
// time of the metric's newest point, which what is kept is counted from.
func granularityFor(p *policy.Policy, s span, newest int64) time.Duration {
	most := s.step
	if s.window > 0 {
		most = s.window / 4
	}
	var best policy.Definition
	reaches := false
	for _, d := range p.Definitions {
		r := d.Points == 0 || newest-int64(d.Timespan()) <= s.from
		switch {
		case best.Granularity == 0, r && !reaches:
			best, reaches = d, r
		case reaches && !r:
		case reaches:
			// Both reach back.
			if fits, fit := d.Granularity <= most, best.Granularity <= most; fits != fit {
				if fits {
					best = d
				}
			} else if fits == (d.Granularity > best.Granularity) {
				best = d
			}
		case d.Timespan() > best.Timespan() || d.Timespan() == best.Timespan() && d.Granularity < best.Granularity:
			best = d
		}
	}
	return best.Granularity
}
