package promql

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
)

// series answers with the labels of the series that selectors mean.
func (s *Server) series(r *http.Request) (reply, error) {
	if len(r.Form["match[]"]) == 0 {
		return reply{}, badData("no match[] parameter: give a selector such as cpu_util")
	}
	limit, err := number(r, "limit")
	if err != nil {
		return reply{}, err
	}
	list, err := s.matching(r)
	if err != nil {
		return reply{}, err
	}
	a := reply{data: []byte{'['}}
	for i, m := range list {
		if limit > 0 && i == limit {
			a.warnings = append(a.warnings, truncated)
			break
		}
		if i > 0 {
			a.data = append(a.data, ',')
		}
		a.data = appendLabels(a.data, m.labels)
	}
	a.data = append(a.data, ']')
	return a, nil
}

// matching gives the series that any of a request's selectors means and that have a
// point since its start.
func (s *Server) matching(r *http.Request) ([]series, error) {
	start, err := s.time(r, "start", time.Time{})
	if err != nil {
		return nil, err
	}
	var list []series
	seen := map[string]bool{}
	for _, text := range r.Form["match[]"] {
		if err := checkSelector(text); err != nil {
			return nil, err
		}
		matchers, err := parser.ParseMetricSelector(text)
		if err != nil {
			return nil, badData("match[] %q is no selector: %v", text, err)
		}
		c, rest := cut(matchers)
		found, err := s.find.find(r.Context(), rest)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			newest, ok := s.o.Engine.Newest(m.metric.Ref)
			if !ok || newest.Time < start.UnixNano() && !start.IsZero() {
				continue
			}
			if len(c.methods) > 0 || len(c.granularity) > 0 {
				expanded, err := s.expand(c, m)
				if err != nil {
					return nil, err
				}
				list = append(list, expanded...)
			} else if id := m.metric.ID.String(); !seen[id] {
				seen[id] = true
				list = append(list, m)
			}
		}
		if len(list) > s.o.MaxSeries {
			return nil, s.find.tooMany()
		}
	}
	slices.SortFunc(list, func(a, b series) int { return labels.Compare(a.labels, b.labels) })
	return list, nil
}

// expand gives a series for each method and granularity that a selector asks for.
func (s *Server) expand(c choice, m series) ([]series, error) {
	p, ok := s.o.Index.PolicyByID(m.metric.PolicyID)
	if !ok {
		return nil, s.find.unknownPolicy(m.metric)
	}
	granularities, err := c.granularities(p, span{}, 0)
	if err != nil {
		return nil, err
	}
	var list []series
	for _, g := range granularities {
		for _, method := range c.methodsOf(p, "", m.metric.Labels != nil) {
			list = append(list, series{m.metric, c.label(m.labels, method, g)})
		}
	}
	return list, nil
}

// labelNames answers with the names of labels.
func (s *Server) labelNames(r *http.Request) (reply, error) {
	return s.list(r, func(ctx context.Context, limit int) ([]string, error) {
		names := map[string]bool{}
		if len(r.Form["match[]"]) > 0 {
			list, err := s.matching(r)
			for _, m := range list {
				m.labels.Range(func(l labels.Label) { names[l.Name] = true })
			}
			return slices.Collect(maps.Keys(names)), err
		}
		sc, err := scope(ctx)
		if err != nil {
			return nil, err
		}
		own, err := s.o.Index.LabelNames(ctx, nil, sc, "", limit)
		if err != nil {
			return nil, err
		}
		for _, name := range own {
			names[name] = true
		}
		types, err := s.o.Index.Types(ctx)
		for _, t := range types {
			for a := range t.Attributes {
				names[labelName(a)] = true
			}
		}
		for _, name := range []string{labelMetricName, labelMetric, labelResource, labelType, labelProject, labelUser, labelMethod, labelGranularity} {
			names[name] = true
		}
		return slices.Collect(maps.Keys(names)), err
	})
}

// labelValues answers with the values of a label.
func (s *Server) labelValues(r *http.Request) (reply, error) {
	name := r.PathValue("name")
	return s.list(r, func(ctx context.Context, limit int) ([]string, error) {
		values := map[string]bool{}
		switch {
		case name == labelMethod || name == labelGranularity:
			all, err := s.o.Index.Policies(ctx)
			return choices(name, all), err
		case len(r.Form["match[]"]) > 0:
			list, err := s.matching(r)
			for _, m := range list {
				values[m.labels.Get(name)] = true
			}
			delete(values, "")
			return slices.Collect(maps.Keys(values)), err
		}
		sc, err := scope(ctx)
		if err != nil {
			return nil, err
		}
		own, err := s.o.Index.LabelValues(ctx, name, nil, sc, "", limit)
		if err != nil {
			return nil, err
		}
		for _, v := range own {
			values[v] = true
		}
		switch name {
		case labelMetricName, labelMetric:
			known, err := s.find.metricNames(ctx, sc, stale)
			if err != nil {
				return nil, err
			}
			for _, n := range known {
				if shown := metricName(n); name == labelMetricName {
					values[shown] = true
				} else if shown != n {
					values[n] = true
				}
			}
		case labelType:
			types, err := s.o.Index.Types(ctx)
			if err != nil {
				return nil, err
			}
			for _, t := range types {
				values[t.Name] = true
			}
		default:
			if err := s.find.valuesOfResources(ctx, sc, name, limit, values); err != nil {
				return nil, err
			}
		}
		return slices.Collect(maps.Keys(values)), nil
	})
}

// choices gives the methods or granularities of all archive policies.
func choices(label string, all []*policy.Policy) []string {
	values := map[string]bool{}
	for _, p := range all {
		if label == labelMethod {
			for _, m := range p.Methods.List() {
				values[m.String()] = true
			}
			continue
		}
		for _, d := range p.Definitions {
			values[seconds(d.Granularity)] = true
		}
	}
	return slices.Collect(maps.Keys(values))
}

// list answers with texts, sorted and at most so many as the request's limit.
func (s *Server) list(r *http.Request, f func(ctx context.Context, limit int) ([]string, error)) (reply, error) {
	limit, err := number(r, "limit")
	if err != nil {
		return reply{}, err
	}
	if limit == 0 || limit > s.o.MaxSeries {
		limit = s.o.MaxSeries
	}
	texts, err := f(r.Context(), limit+1)
	if err != nil {
		return reply{}, err
	}
	slices.Sort(texts)
	cut := len(texts) > limit
	if cut {
		texts = texts[:limit]
	}
	if texts == nil {
		texts = []string{}
	}
	a, err := with(texts)
	if cut {
		a.warnings = append(a.warnings, truncated)
	}
	return a, err
}

// valuesOfResources adds the values that a label has of resources, until there are as
// many as the limit.
func (f *finder) valuesOfResources(ctx context.Context, sc index.Scope, label string, limit int, values map[string]bool) error {
	types, err := f.x.Types(ctx)
	if err != nil {
		return err
	}
	var queries []index.ResourceQuery
	switch label {
	case labelResource, labelProject, labelUser:
		queries = []index.ResourceQuery{{Type: generic}}
	default:
		for _, t := range types {
			if slices.ContainsFunc(slices.Collect(maps.Keys(t.Attributes)), func(a string) bool { return labelName(a) == label }) {
				queries = append(queries, index.ResourceQuery{Type: t.Name})
			}
		}
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, q := range queries {
		q.Scope, q.WithoutMetrics, q.Page = sc, true, index.Page{Limit: page}
		for len(values) < limit {
			list, err := f.x.Resources(ctx, q)
			if err != nil {
				return err
			}
			for _, r := range list {
				b.Reset(labels.EmptyLabels())
				resourceLabels(b, r)
				if v := b.Get(label); v != "" {
					values[v] = true
				}
			}
			if len(list) < page {
				break
			}
			q.Page.Marker = list[len(list)-1].ID.String()
		}
	}
	return nil
}
