package operations

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// MaxCells is how many values a computation may hold that are not those it was given:
// 128 MiB of them.
const MaxCells = 1 << 24

// Column is a series that an operation is about.
type Column struct {
	Reference int // the place in Operation.References of the one that it was found by
	// Series has times that are multiples of the granularity. It is read, not changed,
	// and may become a part of the result.
	Series window.Series
}

// Input is the series of one granularity, in the range of time that was asked for.
type Input struct {
	Granularity time.Duration
	// Columns are in the order in which results are wanted.
	Columns []Column
	Fill    Fill
	// NeededOverlap is, if Fill is nothing, how many percent of the times must be common
	// to all series. Gnocchi's default is 100.
	NeededOverlap float64
	// HasStart and HasStop tell that the range was given. Where it was not, and Fill
	// is nothing, it ends with the first and last common times.
	HasStart, HasStop bool
}

// Result is what was computed.
type Result struct {
	// Period is that of the times: the granularity, unless the operation resamples.
	Period timetext.Period
	// Aggregated says that there is one series, made of all. Otherwise there is one for
	// each column of the input, in the same order.
	Aggregated bool
	Series     []window.Series // may share memory with each other and with the input
}

// Evaluate computes the operation. An operation whose result is made of several series,
// and has several itself, as the sum of two metrics with wildcards has, gives the first of these, as
// Gnocchi does. The error is an *[Error], or the context's.
func (o *Operation) Evaluate(ctx context.Context, in Input) (Result, error) {
	e := evaluator{ctx: ctx, operation: o, in: &in}
	series := make([]window.Series, len(in.Columns))
	for i, c := range in.Columns {
		series[i] = c.Series
	}
	var err error
	if e.stored, err = e.align(series, timetext.Period{Span: in.Granularity}, in.Fill.missing()); err != nil {
		return Result{}, err
	}
	if in.Fill.mode == fillNothing {
		if err := e.overlap(&e.stored); err != nil {
			return Result{}, err
		}
	}
	g, err := e.evaluate(&o.root)
	if err != nil {
		return Result{}, err
	}
	result := Result{Period: g.period, Aggregated: g.aggregated}
	if g.aggregated {
		g.columns = g.columns[:1]
	}
	for _, c := range g.columns {
		s := window.Series{Times: g.times, Values: c}
		if in.Fill.mode == fillDrop {
			s = dropped(s)
		}
		result.Series = append(result.Series, s)
	}
	return result, nil
}

// dropped is a series without NaN and infinities.
func dropped(s window.Series) window.Series {
	missing := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
	n := 0
	for _, v := range s.Values {
		if missing(v) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	kept := window.Series{Times: make([]int64, 0, s.Len()-n), Values: make([]float64, 0, s.Len()-n)}
	for i, v := range s.Values {
		if !missing(v) {
			kept.Times, kept.Values = append(kept.Times, s.Times[i]), append(kept.Values, v)
		}
	}
	return kept
}

// evaluator computes one operation once.
type evaluator struct {
	ctx       context.Context
	operation *Operation
	in        *Input
	stored    grid // all columns of the input
	used      int  // cells
}

// cells is memory for so many values, which are not set.
func (e *evaluator) cells(n int) ([]float64, error) {
	if e.used += n; e.used > MaxCells {
		return nil, e.unaggregable(fmt.Sprintf("More than %d values at a time: ask for fewer metrics, less time or a coarser granularity", MaxCells))
	}
	return make([]float64, n), nil
}

// columns is memory for so many columns of so many values.
func (e *evaluator) columns(n, length int) ([][]float64, error) {
	cells, err := e.cells(n * length)
	if err != nil {
		return nil, err
	}
	columns := make([][]float64, n)
	for i := range columns {
		columns[i] = cells[i*length : (i+1)*length : (i+1)*length]
	}
	return columns, nil
}

// unaggregable is the error about all series of the input.
func (e *evaluator) unaggregable(reason string) *Error {
	detail := make([][2]string, len(e.in.Columns))
	for i, c := range e.in.Columns {
		r := e.operation.References[c.Reference]
		detail[i] = [2]string{r.Metric, r.Aggregation}
	}
	return Unaggregable(reason, detail)
}

func (e *evaluator) evaluate(n *node) (grid, error) {
	if err := e.ctx.Err(); err != nil {
		return grid{}, err
	}
	switch n.kind {
	case number:
		return grid{columns: [][]float64{{n.number}}, isOne: true}, nil
	case metric:
		return e.metrics(n)
	case binary:
		return e.binary(n)
	case clip:
		return e.clip(n)
	case aggregate:
		return e.aggregate(n)
	}
	g, err := e.evaluate(&n.operands[0])
	if err != nil {
		return g, err
	}
	switch n.kind {
	case unary:
		return e.unary(n, g)
	case rateOfChange:
		return e.differences(g)
	case rolling:
		return e.rolling(n, g)
	case resample:
		return e.resample(n, g)
	}
	panic(fmt.Sprintf("BUG: operation of the kind %d", n.kind))
}

// metrics is the columns of the metrics that a node names.
func (e *evaluator) metrics(n *node) (grid, error) {
	g := e.stored
	if len(n.metrics) < len(e.operation.References) {
		named := make([]bool, len(e.operation.References))
		for _, i := range n.metrics {
			named[i] = true
		}
		g.columns = nil
		for i, c := range e.in.Columns {
			if named[c.Reference] {
				g.columns = append(g.columns, e.stored.columns[i])
			}
		}
	}
	if len(g.columns) == 0 {
		var names []string
		for _, i := range n.metrics {
			names = append(names, e.operation.References[i].Metric)
		}
		return g, &Error{Cause: "Metrics not found", Detail: names}
	}
	g.columns = slices.Clone(g.columns)
	return g, nil
}
