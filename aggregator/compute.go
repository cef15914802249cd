package aggregator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/nephoscope/nepho/aggregator/api"
	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/operations"
	"github.com/nephoscope/nepho/aggregator/promql"
	"github.com/nephoscope/nepho/sdk"
)

// Compute implements sdk.SeriesReader. It knows the languages of the HTTP APIs:
// operations, as text or as JSON, and promql.
func (s *store) Compute(ctx context.Context, q sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	ctx = auth.With(ctx, identity(q.Scope))
	switch q.Language {
	case "operations":
		return s.operate(ctx, q)
	case "promql":
		if q.Search != nil {
			return nil, sdk.Refuse(errors.New("promql has selectors instead of a search"))
		}
		return s.evaluate(ctx, q)
	}
	return nil, sdk.Refuse(fmt.Errorf("language %q is neither operations nor promql", q.Language))
}

func (s *store) operate(ctx context.Context, q sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	if q.Granularity <= 0 {
		return nil, sdk.Refuse(errors.New("operations need a granularity"))
	}
	c := api.Computation{From: q.From.UnixNano(), To: q.To.UnixNano(), Granularity: q.Granularity}
	var err error
	if text := strings.TrimSpace(q.Expression); strings.HasPrefix(text, "[") {
		c.Operation, err = operations.Parse([]byte(text))
	} else {
		c.Operation, err = operations.ParseText(text)
	}
	if err != nil {
		return nil, sdk.Refuse(err)
	}
	if q.Search != nil {
		if q.Search.Type == "" || len(q.Search.Meters) > 0 {
			return nil, sdk.Refuse(errors.New("the search of operations has a type of resources, and no meters: the expression names them"))
		}
		c.Type = q.Search.Type
		if c.Filter, err = parseFilter(q.Search.Filter); err != nil {
			return nil, refuseQuestion(err)
		}
	}
	list, err := api.Compute(ctx, api.Options{Index: s.index, Engine: s.engine, Log: s.log}, c)
	if err != nil {
		return nil, refuseQuestion(err)
	}
	result := make([]sdk.ComputedSeries, len(list))
	for i, one := range list {
		names := map[string]string{}
		switch {
		case one.Metric == "":
		case one.Resource == nil:
			names["series"], names["aggregation"] = one.Metric, one.Aggregation
		default:
			names["resource"], names["meter"], names["aggregation"] = one.Resource.Original, one.Metric, one.Aggregation
			if one.Resource.Original == "" {
				names["resource"] = one.Resource.ID.String()
			}
		}
		result[i] = sdk.ComputedSeries{Labels: names, Times: one.Series.Times, Values: one.Series.Values}
	}
	return result, nil
}

func (s *store) evaluate(ctx context.Context, q sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	list, err := s.expressions.Evaluate(ctx, q.Expression, q.From, q.To, q.Granularity)
	if errors.As(err, new(*promql.QueryError)) {
		return nil, sdk.Refuse(err)
	}
	if err != nil {
		return nil, err
	}
	result := make([]sdk.ComputedSeries, len(list))
	for i, one := range list {
		names := map[string]string{}
		one.Labels.Range(func(l labels.Label) { names[l.Name] = l.Value })
		result[i] = sdk.ComputedSeries{Labels: names, Times: one.Times, Values: one.Values}
	}
	return result, nil
}
