package promql

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// Querier implements [storage.Queryable].
func (s *Server) Querier(_, _ int64) (storage.Querier, error) { return querier{s}, nil }

// querier reads series for one query.
type querier struct{ s *Server }

// Close implements [storage.Querier].
func (querier) Close() error { return nil }

// LabelValues implements [storage.LabelQuerier]; the engine asks for none.
func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// LabelNames implements [storage.LabelQuerier]; the engine asks for none.
func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// Select implements [storage.Querier].
func (q querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	list, warnings, err := q.s.read(ctx, hints, matchers)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	if sorted {
		slices.SortFunc(list, func(a, b *points) int { return labels.Compare(a.labels, b.labels) })
	}
	return &set{list: list, at: -1, warnings: warnings}
}

// choice says which method and granularity a selector asks for.
type choice struct {
	methods     []*labels.Matcher
	granularity []*labels.Matcher
}

// cut takes the matchers on methods and granularities out of a selector.
func cut(matchers []*labels.Matcher) (c choice, rest []*labels.Matcher) {
	for _, m := range matchers {
		switch m.Name {
		case labelMethod:
			c.methods = append(c.methods, m)
		case labelGranularity:
			c.granularity = append(c.granularity, m)
		default:
			rest = append(rest, m)
		}
	}
	return c, rest
}

// read reads the points that a selector means. What of them is lost by damage is no
// reason to give nothing: it is a warning.
func (s *Server) read(ctx context.Context, hints *storage.SelectHints, matchers []*labels.Matcher) ([]*points, annotations.Annotations, error) {
	sc, err := scope(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, rest := cut(matchers)
	metrics, err := s.find.find(ctx, sc, rest)
	if err != nil {
		return nil, nil, err
	}
	ask := span{
		from:   hints.Start * int64(time.Millisecond),
		step:   time.Duration(hints.Step) * time.Millisecond,
		window: time.Duration(hints.Range) * time.Millisecond,
	}
	var queries []engine.Query
	var made []*points
	budget := int64(s.o.MaxSamples)
	for _, m := range metrics {
		p, ok := s.o.Index.PolicyByID(m.metric.PolicyID)
		if !ok {
			return nil, nil, s.find.unknownPolicy(m.metric)
		}
		newest, ok := s.o.Engine.Newest(m.metric.Ref)
		if !ok {
			continue // it was never written
		}
		granularities, err := c.granularities(p, ask, newest.Time)
		if err != nil {
			return nil, nil, err
		}
		for _, g := range granularities {
			for _, method := range c.methodsOf(p, hints.Func, m.metric.Labels != nil) {
				e := engine.Query{Ref: m.metric.Ref, Granularity: g.is, Methods: policy.SetOf(method), From: ask.from, To: hints.End*int64(time.Millisecond) + 1}
				// Every window counts, also those that are empty: what there is to read is
				// not known before.
				if budget -= max(0, min(e.To, newest.Time)-e.From)/int64(g.is) + 1; budget < 0 {
					return nil, nil, badData("the query would read more than %d points: ask for a shorter time, or raise max_samples of the aggregator's option promql", s.o.MaxSamples)
				}
				queries = append(queries, e)
				made = append(made, &points{method: method, labels: c.label(m.labels, method, g)})
			}
		}
	}
	var one window.Series
	err = s.o.Engine.Frames(ctx, queries, func(i int, frame *window.Frame) error {
		one.Times, one.Values = one.Times[:0], one.Values[:0]
		if err := frame.Series(made[i].method, &one); err != nil {
			return err
		}
		made[i].fill(&one, queries[i].Granularity, hints)
		return nil
	})
	warnings, err := lost(err)
	return slices.DeleteFunc(made, func(p *points) bool { return len(p.list) == 0 }), warnings, err
}

// lost makes warnings of those errors of queries that say that windows are damaged.
func lost(err error) (annotations.Annotations, error) {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	var warnings annotations.Annotations
	for _, e := range list {
		if e != nil && !errors.As(e, new(*engine.LostError)) {
			return nil, err
		}
		if e != nil {
			warnings.Add(e)
		}
	}
	return warnings, nil
}

// granularity is one that a series is read at, and how the selector wrote it.
type granularity struct {
	is   time.Duration
	text string
}

// granularities gives those that a selector asks for, or the one that suits it.
func (c choice) granularities(p *policy.Policy, ask span, newest int64) ([]granularity, error) {
	if len(c.granularity) == 0 {
		return []granularity{{is: granularityFor(p, ask, newest)}}, nil
	}
	var list []granularity
	for _, d := range p.Definitions {
		text := seconds(d.Granularity)
		all := true
		for _, m := range c.granularity {
			if m.Type == labels.MatchEqual {
				asked, err := timetext.ParseSpan(m.Value)
				if err != nil {
					return nil, badData("granularity %q is no timespan such as 300, 5m or 1h", m.Value)
				}
				all = all && asked == d.Granularity
				text = m.Value
				continue
			}
			all = all && m.Matches(text)
		}
		if all {
			list = append(list, granularity{d.Granularity, text})
		}
	}
	return list, nil
}

// methodsOf gives the methods that a selector asks for, or the one that suits it.
func (c choice) methodsOf(p *policy.Policy, function string, own bool) []policy.Method {
	if len(c.methods) == 0 {
		return []policy.Method{methodFor(p, function, own)}
	}
	return slices.DeleteFunc(p.Methods.List(), func(m policy.Method) bool {
		return slices.ContainsFunc(c.methods, func(l *labels.Matcher) bool { return !l.Matches(m.String()) })
	})
}

// label adds the labels that the selector asks for.
func (c choice) label(l labels.Labels, m policy.Method, g granularity) labels.Labels {
	if len(c.methods) == 0 && len(c.granularity) == 0 {
		return l
	}
	b := labels.NewBuilder(l)
	if len(c.methods) > 0 {
		b.Set(labelMethod, m.String())
	}
	if len(c.granularity) > 0 {
		b.Set(labelGranularity, g.text)
	}
	return b.Labels()
}

// points is a series in memory.
type points struct {
	labels labels.Labels
	method policy.Method
	list   []point // ascending in time
}

// Labels implements [storage.Series].
func (p *points) Labels() labels.Labels { return p.labels }

// fill takes over what was read. A window is a point at its start. Where no range of
// points is asked for, a window that is longer than the time for which a point counts
// becomes several, so that its value holds for all of it.
func (p *points) fill(from *window.Series, g time.Duration, hints *storage.SelectHints) {
	const ms = int64(time.Millisecond)
	for i, t := range from.Times {
		last := t
		if hints.Range == 0 {
			last = t + int64(g) - 1
		}
		for at := t; at <= last; at += int64(lookback) {
			m := floorDiv(at, ms)
			switch n := len(p.list); {
			case m > hints.End:
				return
			case m < hints.Start:
			case n > 0 && p.list[n-1].t >= m: // windows shorter than milliseconds
				p.list[n-1].v = from.Values[i]
			default:
				p.list = append(p.list, point{m, from.Values[i]})
			}
		}
	}
}

// seconds is how a granularity is written where the selector does not say.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

func floorDiv(a, b int64) int64 { return policy.Floor(a, b) / b }

// Iterator implements [storage.Series].
func (p *points) Iterator(chunkenc.Iterator) chunkenc.Iterator {
	return storage.NewListSeriesIterator(p)
}

// Len implements [storage.Samples].
func (p *points) Len() int { return len(p.list) }

// Get implements [storage.Samples].
func (p *points) Get(i int) chunks.Sample { return &p.list[i] }

// point implements [chunks.Sample]; there are no histograms.
type point struct {
	t int64 // milliseconds
	v float64
}

func (p *point) T() int64                      { return p.t }
func (p *point) F() float64                    { return p.v }
func (p *point) ST() int64                     { return 0 }
func (p *point) H() *histogram.Histogram       { return nil }
func (p *point) FH() *histogram.FloatHistogram { return nil }
func (p *point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p *point) Copy() chunks.Sample           { c := *p; return &c }

// set implements [storage.SeriesSet].
type set struct {
	list     []*points
	at       int
	warnings annotations.Annotations
}

func (s *set) Next() bool                        { s.at++; return s.at < len(s.list) }
func (s *set) At() storage.Series                { return s.list[s.at] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return s.warnings }
