package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/operations"
	"github.com/nephoscope/nepho/sdk"
)

// Compute implements sdk.SeriesReader, for operations.
func (g *Gnocchi) Compute(ctx context.Context, q sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	switch {
	case q.Language == "promql":
		return nil, sdk.Refuse(errors.New("Gnocchi does not know promql: rules of the type prometheus need the URL of a Prometheus in the evaluator's table prometheus"))
	case q.Language != "operations":
		return nil, sdk.Refuse(fmt.Errorf("Gnocchi does not know the language %q, but operations", q.Language))
	case q.Granularity <= 0:
		return nil, sdk.Refuse(errors.New("operations need a granularity"))
	}
	parse := operations.ParseText
	if strings.HasPrefix(strings.TrimSpace(q.Expression), "[") {
		parse = func(text string) (*operations.Operation, error) { return operations.Parse([]byte(text)) }
	}
	operation, err := parse(q.Expression)
	if err != nil {
		return nil, sdk.Refuse(err)
	}
	// As it was understood here: it must not have other metrics there.
	body := map[string]any{"operations": operation}
	if q.Search == nil {
		err = g.mayCompute(ctx, &q.Scope, operation)
	} else {
		err = searchIn(body, &q)
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		Measures map[string]json.RawMessage
	}
	if _, err := g.post(ctx, "/v1/aggregates", span(q.From, q.To, q.Granularity), body, &answer); err != nil {
		var f *failure
		if errors.As(err, &f) {
			if cause, _ := f.cause(); cause == noneFound {
				return nil, nil // there may be some later
			}
		}
		return nil, refuse(err)
	}
	return computed(answer.Measures, q.Search != nil)
}

// searchIn adds to the body of a request in which resources its names are looked for.
func searchIn(body map[string]any, q *sdk.ComputeQuery) error {
	if q.Search.Type == "" || len(q.Search.Meters) > 0 {
		return sdk.Refuse(errors.New("the search of operations has a type of resources, and no meters: the expression names them"))
	}
	filter, err := scoped(&q.Scope, q.Search.Filter)
	if err != nil {
		return sdk.Refuse(err)
	}
	body["resource_type"], body["search"] = q.Search.Type, tree(filter)
	return nil
}

// mayCompute refuses operations about metrics that the scope has not.
func (g *Gnocchi) mayCompute(ctx context.Context, scope *sdk.Scope, o *operations.Operation) error {
	if scope.All {
		return nil
	}
	var unknown []string
	for _, ref := range o.References {
		id, err := uuid.Parse(ref.Metric)
		if err != nil {
			return sdk.Refuse(fmt.Errorf("%q is no id of a metric; names need a search for resources", ref.Metric))
		}
		if s, ok := g.seen.get(id); !ok {
			unknown = append(unknown, id.String())
		} else if !sees(scope, s.Creator, s.Project) {
			return noMetric(id.String())
		}
	}
	found, err := g.describe(ctx, unknown)
	if err != nil {
		return refuse(err)
	}
	for i, s := range found {
		if s == nil || !sees(scope, s.Creator, s.Project) {
			return noMetric(unknown[i])
		}
	}
	return nil
}

// noMetric says the same of metrics that are not there and of those of others.
func noMetric(id string) error { return sdk.Refuse(fmt.Errorf("metric %s does not exist", id)) }

// computed are the series of an answer, in the order of their names.
func computed(measures map[string]json.RawMessage, byResource bool) ([]sdk.ComputedSeries, error) {
	var list []sdk.ComputedSeries
	add := func(points []point, labels map[string]string) error {
		times, values, err := columns(points)
		list = append(list, sdk.ComputedSeries{Labels: labels, Times: times, Values: values})
		return err
	}
	// An answer of Gnocchi has series (all that is one), or series by metric and
	// aggregation, or by resource, name and aggregation.
	for _, key := range slices.Sorted(maps.Keys(measures)) {
		var one []point
		var some map[string][]point
		var many map[string]map[string][]point
		var into any = &some
		switch {
		case key == "aggregated":
			into = &one
		case byResource:
			into = &many
		}
		if err := json.Unmarshal(measures[key], into); err != nil {
			return nil, fmt.Errorf("the answer of Gnocchi to operations is none of Gnocchi: %w", err)
		}
		var errs []error
		if key == "aggregated" {
			errs = append(errs, add(one, map[string]string{}))
		}
		for _, aggregation := range slices.Sorted(maps.Keys(some)) {
			errs = append(errs, add(some[aggregation], map[string]string{"series": key, "aggregation": aggregation}))
		}
		for _, meter := range slices.Sorted(maps.Keys(many)) {
			for _, aggregation := range slices.Sorted(maps.Keys(many[meter])) {
				errs = append(errs, add(many[meter][aggregation], map[string]string{"resource": key, "meter": meter, "aggregation": aggregation}))
			}
		}
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
	}
	return list, nil
}
