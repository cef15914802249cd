package engine

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// model is an engine as slow and obvious as it can be: it keeps all points that
// were ever accepted, and makes windows of all of them for each query.
type model struct {
	policies map[uint32]*policy.Policy
	metrics  map[Ref]*modelMetric
	future   time.Duration
}

type modelMetric struct {
	policy    uint32
	points    map[int64]float64
	newest    int64
	forgotten bool
}

func newModel(future time.Duration, all ...*policy.Policy) *model {
	m := &model{policies: map[uint32]*policy.Policy{}, metrics: map[Ref]*modelMetric{}, future: future}
	for _, p := range all {
		m.policies[p.ID] = p
	}
	return m
}

// write applies a batch, and counts what became of its points.
func (m *model) write(now time.Time, b *Batch) (accepted, late, future, forgotten int) {
	type limits struct{ from int64 }
	before := map[Ref]limits{}
	for i, e := range b.metrics {
		for _, p := range b.of(i) {
			if p.Time > now.Add(m.future).UnixNano() {
				future++
				continue
			}
			metric := m.metrics[e.ref]
			if metric == nil {
				metric = &modelMetric{policy: e.policy, points: map[int64]float64{}}
				m.metrics[e.ref] = metric
			}
			if metric.forgotten {
				forgotten++
				continue
			}
			limit, ok := before[e.ref]
			if !ok {
				limit.from = math.MinInt64
				if len(metric.points) > 0 {
					p := m.policies[metric.policy]
					coarsest := int64(0)
					for _, d := range p.Definitions {
						coarsest = max(coarsest, int64(d.Granularity))
					}
					back := int64(p.BackWindow)
					if slices.ContainsFunc(p.Methods.List(), policy.Method.IsRate) {
						back++
					}
					limit.from = start(metric.newest, coarsest) - back*coarsest
				}
				before[e.ref] = limit
			}
			if p.Time < limit.from {
				late++
				continue
			}
			if len(metric.points) == 0 || p.Time > metric.newest {
				metric.newest = p.Time
			}
			metric.points[p.Time] = p.Value
			accepted++
		}
	}
	return accepted, late, future, forgotten
}

// start is the start of the window of a time.
func start(t, granularity int64) int64 {
	n := t / granularity
	if t%granularity < 0 {
		n--
	}
	return n * granularity
}

func (m *model) forget(refs []Ref) {
	for _, ref := range refs {
		m.metrics[ref] = &modelMetric{forgotten: true}
	}
}

// frame is the answer to a query.
func (m *model) frame(q Query) *window.Frame {
	g := int64(q.Granularity)
	f := &window.Frame{}
	f.Reset(g, window.Needs(q.Methods))
	metric := m.metrics[q.Ref]
	if metric == nil || len(metric.points) == 0 {
		return f
	}
	var kept policy.Definition
	for _, d := range m.policies[metric.policy].Definitions {
		if d.Granularity == q.Granularity {
			kept = d
		}
	}
	times := slices.Sorted(maps.Keys(metric.points))
	windows := map[int64][]int{}
	for i, t := range times {
		windows[start(t, g)] = append(windows[start(t, g)], i)
	}
	newest := start(metric.newest, g)
	for _, s := range slices.Sorted(maps.Keys(windows)) {
		if s >= q.To || q.From > MinTime && s < start(q.From, g) || kept.Points > 0 && s <= newest-kept.Points*g {
			continue
		}
		var before *window.Point
		if i := windows[s][0]; i > 0 {
			before = &window.Point{Time: times[i-1], Value: metric.points[times[i-1]]}
		}
		var values []float64
		for _, i := range windows[s] {
			values = append(values, metric.points[times[i]])
		}
		f.Append(oneWindow(f, s, before, values))
	}
	return f
}

// oneWindow is a window of values. What it takes arithmetic for is the window
// package's, of this window alone; the rest is here again.
func oneWindow(f *window.Frame, s int64, before *window.Point, values []float64) *window.Frame {
	one := &window.Frame{}
	one.Reset(f.Granularity, f.Columns)
	times := make([]int64, len(values))
	for i := range times {
		times[i] = s + int64(i)
	}
	new(window.Folder).Fold(one, before, times, values)
	if one.Len() != 1 || one.Starts[0] != s {
		panic("more windows than one")
	}
	set := func(c window.Column, v float64) {
		if column := one.Values(c); column != nil {
			column[0] = v
		}
	}
	set(window.Count, float64(len(values)))
	set(window.First, values[0])
	set(window.Last, values[len(values)-1])
	low, high := values[0], values[0]
	for _, v := range values {
		low, high = math.Min(low, v), math.Max(high, v)
	}
	if slices.ContainsFunc(values, math.IsNaN) {
		low, high = math.NaN(), math.NaN()
	}
	set(window.Min, low)
	set(window.Max, high)
	rates := float64(len(values) - 1)
	if before != nil {
		rates++
	}
	set(window.Count.Rate(), rates)
	return one
}

// same tells of frames that should be equal, bit for bit, but for the bits of NaNs and for
// what rates are in windows without any. It gives the first place where they are not.
func same(got, want *window.Frame) (c window.Column, place int, ok bool) {
	if !slices.Equal(got.Starts, want.Starts) || got.Columns != want.Columns {
		return 0, -1, false
	}
	for c := range want.Columns.All() {
		for i, v := range want.Values(c) {
			if c.IsRate() && want.Values(window.Count.Rate())[i] == 0 && c != window.Count.Rate() {
				continue
			}
			if w := got.Values(c)[i]; math.Float64bits(v) != math.Float64bits(w) && !(v != v && w != w) {
				return c, i, false
			}
		}
	}
	return 0, 0, true
}
