package promql

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// reader reads series for one query: it is its [storage.Queryable], and its
// [storage.Querier].
type reader struct {
	s     *Server
	share share
}

// Querier implements [storage.Queryable].
func (r *reader) Querier(_, _ int64) (storage.Querier, error) { return r, nil }

// Close implements [storage.Querier]. What was read is in use for longer.
func (r *reader) Close() error { return nil }

// LabelValues implements [storage.LabelQuerier]; the engine asks for none.
func (r *reader) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// LabelNames implements [storage.LabelQuerier]; the engine asks for none.
func (r *reader) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// Select implements [storage.Querier].
func (r *reader) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	list, warnings, err := r.read(ctx, hints, matchers)
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

// perSeries is how many points' memory a series takes besides its points: mostly its
// labels.
const perSeries = 32

// unread is a series that is to be read.
type unread struct {
	points *points
	query  engine.Query
}

// read reads the points that a selector means. What of them is lost by damage is no
// reason to give nothing: it is a warning.
func (r *reader) read(ctx context.Context, hints *storage.SelectHints, matchers []*labels.Matcher) ([]*points, annotations.Annotations, error) {
	c, rest := cut(matchers)
	metrics, err := r.s.find.find(ctx, rest)
	if err != nil {
		return nil, nil, err
	}
	ask := span{
		from:   hints.Start * int64(time.Millisecond),
		step:   time.Duration(hints.Step) * time.Millisecond,
		window: time.Duration(hints.Range) * time.Millisecond,
	}
	to := hints.End*int64(time.Millisecond) + 1
	var left []unread
	var made []*points
	for _, m := range metrics {
		p, ok := r.s.o.Index.PolicyByID(m.metric.PolicyID)
		if !ok {
			return nil, nil, r.s.find.unknownPolicy(m.metric)
		}
		newest, ok := r.s.o.Engine.Newest(m.metric.Ref)
		if !ok {
			continue // it was never written
		}
		granularities, err := c.granularities(p, ask, newest.Time)
		if err != nil {
			return nil, nil, err
		}
		for _, g := range granularities {
			// Where windows may be.
			from, to := ask.from, min(to, policy.Floor(newest.Time, int64(g.is))+int64(g.is))
			if d, ok := p.Definition(g.is); ok && d.Points > 0 {
				from = max(from, newest.Time-int64(d.Timespan())-int64(g.is))
			}
			for _, method := range c.methodsOf(p, hints.Func, m.metric.Labels != nil) {
				q := engine.Query{Ref: m.metric.Ref, Granularity: g.is, Methods: policy.SetOf(method), From: from, To: to}
				if q.From >= q.To {
					continue
				}
				if err := r.share.take(perSeries); err != nil {
					return nil, nil, err
				}
				one := &points{method: method, labels: c.label(m.labels, method, g), first: hints.Start, last: hints.End, times: 1}
				if hints.Range == 0 {
					one.times = int64((g.is + lookback - 1) / lookback)
				}
				made = append(made, one)
				left = append(left, unread{one, q})
			}
		}
	}
	var warnings annotations.Annotations
	for len(left) > 0 {
		if left, err = r.readPart(ctx, left, &warnings); err != nil {
			return nil, nil, err
		}
	}
	return slices.DeleteFunc(made, func(p *points) bool { return p.count() == 0 }), warnings, nil
}

// maxPart is how many windows of a series are read at once: what there is to read is not
// known before, and the limit of points is no use if it is reached after it was read.
const maxPart = 200_000

// readPart reads the first part of each series, and gives what is left.
func (r *reader) readPart(ctx context.Context, all []unread, warnings *annotations.Annotations) (left []unread, err error) {
	queries := make([]engine.Query, len(all))
	for i, w := range all {
		now := w.query
		// The next part begins with a window, so that none is read twice.
		if end := policy.Floor(now.From, int64(now.Granularity)) + maxPart*int64(now.Granularity); end < now.To {
			now.To, w.query.From = end, end
			left = append(left, w)
		}
		queries[i] = now
	}
	var one window.Series
	err = r.s.o.Engine.Frames(ctx, queries, func(i int, frame *window.Frame) error {
		one.Times, one.Values = one.Times[:0], one.Values[:0]
		if err := frame.Series(all[i].points.method, &one); err != nil {
			return err
		}
		if err := r.share.take(len(one.Times)); err != nil {
			return err
		}
		all[i].points.fill(&one)
		return nil
	})
	damage, err := lost(err)
	warnings.Merge(damage)
	return left, err
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

// seconds is how a granularity is written where the selector does not say.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

func floorDiv(a, b int64) int64 { return policy.Floor(a, b) / b }

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
