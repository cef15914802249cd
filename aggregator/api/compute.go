package api

import (
	"context"
	"net/http"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/operations"
	"github.com/nephoscope/nepho/aggregator/search"
	"github.com/nephoscope/nepho/aggregator/window"
)

// Computation is a question for dynamic aggregates, see [Compute].
type Computation struct {
	Operation *operations.Operation
	// Type, if not "", is that of the resources in which metrics are looked for by
	// name; Filter chooses among them, nil is all. Else metrics are named by id.
	Type   string
	Filter search.Node
	// From and To are as in [engine.Query].
	From, To    int64
	Granularity time.Duration
}

// Computed is a series that was computed.
type Computed struct {
	Series window.Series
	// Resource is that of the metric, nil where metrics are named by id, or where the
	// series is made of all. Metric is a name or an id, Aggregation a method; "" where
	// the series is made of all.
	Resource            *index.Resource
	Metric, Aggregation string
}

// Compute answers within the process what POST /v1/aggregates answers, for the
// identity in ctx. Where a search finds no metrics there is nothing. An error that is
// an [*Error] says that the question is wrong, or not allowed.
func Compute(ctx context.Context, o Options, q Computation) ([]Computed, error) {
	o.setDefaults()
	d := &dataPlane{Server: &Server{o: o}}
	list, err := d.computeFor(ctx, q)
	if e := refusal(err); e != nil && e.Code < http.StatusInternalServerError {
		return nil, e
	}
	return list, err
}

func (d *dataPlane) computeFor(ctx context.Context, q Computation) ([]Computed, error) {
	a := aggregation{operation: q.Operation, interval: interval{q.From, q.To}, granularity: q.Granularity, fill: operations.FillDrop}
	var columns []column
	var err error
	if q.Type == "" {
		columns, err = d.columnsByID(ctx, q.Operation.References)
	} else {
		columns, err = d.columnsFound(ctx, q)
	}
	if err != nil || len(columns) == 0 {
		return nil, err
	}
	c, err := d.compute(ctx, &reader{}, &a, columns)
	if err != nil {
		return nil, err
	}
	result := c.results[0]
	if result.Aggregated {
		return []Computed{{Series: result.Series[0]}}, nil
	}
	list := make([]Computed, len(result.Series))
	for i, s := range result.Series {
		c := columns[i]
		list[i] = Computed{Series: s, Resource: c.resource, Metric: c.name, Aggregation: c.method.String()}
	}
	return list, nil
}

// columnsFound are the series of the metrics in resources that a search finds.
func (d *dataPlane) columnsFound(ctx context.Context, q Computation) ([]column, error) {
	if _, err := d.o.Index.Type(ctx, q.Type); err != nil {
		return nil, unknownType(err, q.Type)
	}
	resources, err := d.found(ctx, q.Type, q.Filter, nil)
	if err != nil {
		return nil, err
	}
	return d.columnsByName(ctx, resources, q.Operation.References)
}

// Sees reports whether an identity may see what a creator made and what belongs to a
// resource of a project, which may be "".
func Sees(who auth.Identity, creator, project string) bool { return sees(who, creator, project) }
