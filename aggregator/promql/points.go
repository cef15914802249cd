package promql

import (
	"slices"
	"sort"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// points is a series in memory. A window is a point at its start. Where no range of points
// is asked for, a window that is longer than the time for which a point counts is several,
// so that its value holds for all of it; these are made while they are read.
type points struct {
	labels      labels.Labels
	method      policy.Method
	list        []point // ascending in time
	times       int64   // how many points each of the list is, lookback apart
	first, last int64   // milliseconds: points before and after these are none
}

// point is a window's value.
type point struct {
	t int64 // milliseconds
	v float64
}

// fill adds windows that were read.
func (p *points) fill(from *window.Series) {
	p.list = slices.Grow(p.list, len(from.Times))
	for i, t := range from.Times {
		m := floorDiv(t, int64(time.Millisecond))
		switch n := len(p.list); {
		case m > p.last || m+(p.times-1)*lookback.Milliseconds() < p.first:
		case n > 0 && p.list[n-1].t >= m: // windows shorter than milliseconds
			p.list[n-1].v = from.Values[i]
		default:
			p.list = append(p.list, point{m, from.Values[i]})
		}
	}
}

// at is the nth point.
func (p *points) at(n int) point {
	of := p.list[n/int(p.times)]
	of.t += int64(n) % p.times * lookback.Milliseconds()
	return of
}

// bounds are the first point that counts, and the one after the last.
func (p *points) bounds() (from, to int) {
	all := len(p.list) * int(p.times)
	from = sort.Search(all, func(n int) bool { return p.at(n).t >= p.first })
	return from, from + sort.Search(all-from, func(n int) bool { return p.at(from+n).t > p.last })
}

func (p *points) count() int {
	from, to := p.bounds()
	return to - from
}

// Labels implements [storage.Series].
func (p *points) Labels() labels.Labels { return p.labels }

// Iterator implements [storage.Series].
func (p *points) Iterator(chunkenc.Iterator) chunkenc.Iterator {
	from, to := p.bounds()
	return storage.NewListSeriesIterator(&reading{of: p, from: from, to: to})
}

// reading implements [storage.Samples]. It has one sample only, which is another one as
// soon as that is asked for: the iterator keeps none.
type reading struct {
	of       *points
	from, to int
	now      point
}

// Len implements [storage.Samples].
func (r *reading) Len() int { return r.to - r.from }

// Get implements [storage.Samples].
func (r *reading) Get(i int) chunks.Sample {
	r.now = r.of.at(r.from + i)
	return &r.now
}

// point implements [chunks.Sample]; there are no histograms.

func (p *point) T() int64                      { return p.t }
func (p *point) F() float64                    { return p.v }
func (p *point) ST() int64                     { return 0 }
func (p *point) H() *histogram.Histogram       { return nil }
func (p *point) FH() *histogram.FloatHistogram { return nil }
func (p *point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p *point) Copy() chunks.Sample           { c := *p; return &c }
