package aggregator

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/definitions"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
	"github.com/nephoscope/nepho/sdk"
)

// maxAnswer is the most samples of an answer to another plugin.
const maxAnswer = 1_000_000

// maxMetrics is the most metrics that a question of another plugin is about.
const maxMetrics = 20_000

// rows is how many rows of the index are asked for at once.
const rows = 1000

// Query implements sdk.Storage. Samples are aggregates: one of each window, at its
// start. Without a granularity it is the shortest that reaches back to the start;
// without an aggregation the mean, or what the archive policy has instead. Metrics
// whose policy lacks what is asked for are left out, unless all of them do.
func (s *store) Query(ctx context.Context, q sdk.Query) iter.Seq2[*sdk.Batch, error] {
	return func(yield func(*sdk.Batch, error) bool) {
		batches, err := s.answer(ctx, q)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, b := range batches {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// asked is a metric that a query asks for, and what is made of its points.
type asked struct {
	metric   *index.Metric
	resource *index.Resource
	method   policy.Method
}

func (s *store) answer(ctx context.Context, q sdk.Query) ([]*sdk.Batch, error) {
	var method *policy.Method
	if q.Aggregation != "" {
		m, err := policy.ParseMethod(q.Aggregation)
		if err != nil {
			return nil, err
		}
		method = &m
	}
	metrics, err := s.find(ctx, q)
	if err != nil {
		return nil, err
	}
	// Samples of one time are in this order.
	slices.SortFunc(metrics, func(a, b asked) int {
		return cmp.Or(cmp.Compare(s.nameOf(a.resource), s.nameOf(b.resource)), cmp.Compare(a.metric.Name, b.metric.Name), slices.Compare(a.metric.ID[:], b.metric.ID[:]))
	})
	var list []asked
	var queries []engine.Query
	for _, a := range metrics {
		p, ok := s.index.PolicyByID(a.metric.PolicyID)
		if !ok {
			return nil, fmt.Errorf("the archive policy of metric %s is not known", a.metric.ID)
		}
		newest, ok := s.engine.Newest(a.metric.Ref)
		if !ok {
			continue // never written
		}
		granularity, ok := choose(p, q, newest.Time)
		if a.method = defaultMethod(p); method != nil {
			a.method = *method
		}
		if !ok || !p.Methods.Has(a.method) {
			continue
		}
		list = append(list, a)
		queries = append(queries, engine.Query{Ref: a.metric.Ref, Granularity: granularity, Methods: policy.SetOf(a.method), From: q.From.UnixNano(), To: q.To.UnixNano()})
	}
	if len(list) == 0 && len(metrics) > 0 && (method != nil || q.Granularity > 0) {
		return nil, fmt.Errorf("no archive policy of the %d metrics keeps %s by %v", len(metrics), cmp.Or(q.Aggregation, "anything"), q.Granularity)
	}
	return s.build(ctx, list, queries)
}

// choose chooses a granularity of a policy.
func choose(p *policy.Policy, q sdk.Query, newest int64) (time.Duration, bool) {
	if q.Granularity > 0 {
		_, ok := p.Definition(q.Granularity)
		return q.Granularity, ok
	}
	// The shortest that reaches back; of those that don't the furthest.
	best := p.Definitions[0]
	reach := func(d policy.Definition) int64 {
		if d.Points == 0 {
			return q.From.UnixNano()
		}
		return max(q.From.UnixNano(), newest-int64(d.Timespan()))
	}
	for _, d := range p.Definitions[1:] {
		if c := cmp.Compare(reach(d), reach(best)); c < 0 || c == 0 && d.Granularity < best.Granularity {
			best = d
		}
	}
	return best.Granularity, true
}

func defaultMethod(p *policy.Policy) policy.Method {
	for _, m := range []policy.Method{policy.Mean, policy.Last} {
		if p.Methods.Has(m) {
			return m
		}
	}
	return p.Methods.List()[0]
}

// build reads windows and makes samples of them, oldest first.
func (s *store) build(ctx context.Context, list []asked, queries []engine.Query) ([]*sdk.Batch, error) {
	type point struct {
		t    int64
		v    float64
		from int
	}
	var points []point
	var one window.Series
	err := s.engine.Frames(ctx, queries, func(i int, frame *window.Frame) error {
		one.Times, one.Values = one.Times[:0], one.Values[:0]
		if err := frame.Series(list[i].method, &one); err != nil {
			return err
		}
		if len(points)+len(one.Times) > maxAnswer {
			return fmt.Errorf("the answer has more than %d samples: ask for fewer resources, or for a shorter time", maxAnswer)
		}
		for n, t := range one.Times {
			points = append(points, point{t, one.Values[n], i})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(points, func(a, b point) int { return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.from, b.from)) })
	resources := make([]sdk.Resource, len(list))
	for i, a := range list {
		resources[i] = sdk.Resource{ID: s.nameOf(a.resource), ProjectID: deref(a.resource.Project), UserID: deref(a.resource.User)}
	}
	return sdk.Build(s.instance, func(out *sdk.Builder) error {
		for _, p := range points {
			out.At(time.Unix(0, p.t))
			out.On(resources[p.from]).Gauge(list[p.from].metric.Name, list[p.from].metric.Unit, p.v)
		}
		return nil
	})
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// find gives the metrics that a query asks for, with their resources.
func (s *store) find(ctx context.Context, q sdk.Query) ([]asked, error) {
	names := make([]string, len(q.Meters))
	for i, m := range q.Meters {
		names[i] = definitions.MetricName(m)
	}
	if len(q.Resources) > 0 {
		return s.findOn(ctx, q.Resources, names)
	}
	if len(names) == 0 {
		for after := ""; ; {
			part, err := s.index.MetricNames(ctx, index.Scope{}, after, rows)
			if err != nil {
				return nil, err
			}
			names = append(names, part...)
			if len(part) < rows {
				break
			}
			after = part[len(part)-1]
		}
	}
	var list []asked
	for _, name := range names {
		q := index.MetricQuery{Name: &name, Page: index.Page{Limit: rows}}
		for {
			part, err := s.index.Metrics(ctx, q)
			if err != nil {
				return nil, err
			}
			if list, err = s.withResources(ctx, list, part); err != nil {
				return nil, err
			}
			if len(list) > maxMetrics {
				return nil, errTooMany
			}
			if len(part) < rows {
				break
			}
			q.Page.Marker = part[len(part)-1].ID.String()
		}
	}
	return list, nil
}

// withResources adds metrics that belong to resources.
func (s *store) withResources(ctx context.Context, list []asked, metrics []*index.Metric) ([]asked, error) {
	var ids []uuid.UUID
	for _, m := range metrics {
		if m.Resource != uuid.Nil {
			ids = append(ids, m.Resource)
		}
	}
	resources, err := s.index.ResourcesByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, m := range metrics {
		if r := resources[m.Resource]; r != nil {
			list = append(list, asked{metric: m, resource: r})
		}
	}
	return list, nil
}

// findOn gives the metrics of resources, which are named as samples name them or by
// their UUIDs.
func (s *store) findOn(ctx context.Context, texts, names []string) ([]asked, error) {
	ids := make([]uuid.UUID, 0, len(texts))
	for _, t := range texts {
		// Others may have resources of their own that they call the same.
		if id, err := index.ResourceID(definitions.ResourceID(t), s.Creator); err == nil {
			ids = append(ids, id)
		} // else there is none: it could not be made
	}
	resources, err := s.index.ResourcesByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	var list []asked
	for part := range slices.Chunk(slices.Collect(maps.Keys(resources)), rows) {
		metrics, err := s.index.ResourceMetrics(ctx, part, names...)
		if err != nil {
			return nil, err
		}
		for id, of := range metrics {
			for _, m := range of {
				list = append(list, asked{metric: m, resource: resources[id]})
			}
		}
		if len(list) > maxMetrics {
			return nil, errTooMany
		}
	}
	return list, nil
}

var errTooMany = fmt.Errorf("the question is about more than %d metrics: name meters, or fewer resources", maxMetrics)

// nameOf is how samples name a resource. One that others made, who may call it as samples
// call another, has its UUID.
func (s *store) nameOf(r *index.Resource) string {
	if r.Original == "" || r.Creator != s.Creator {
		return r.ID.String()
	}
	return r.Original
}
