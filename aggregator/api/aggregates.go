package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/operations"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// aggregation is what is made of the series of several metrics: an operation, and
// the parameters of a request.
type aggregation struct {
	operation *operations.Operation
	interval
	granularity time.Duration // 0: all that the metrics have in common
	fill        operations.Fill
	overlap     float64
}

// column is a series that an operation is about.
type column struct {
	entry     *index.Entry
	reference int             // place in Operation.References
	resource  *index.Resource // nil where metrics are named by id
	name      string          // of the metric; its id where it is named by that
	policy    *policy.Policy
	method    policy.Method
}

// computed is what an operation made of columns, by granularity, coarsest first.
type computed struct {
	columns []column
	results []operations.Result
}

// aggregation reads the parameters that are about the computation. overlap is how
// many percent of the times have to be common to all series if the request does not
// say.
func (d *dataPlane) aggregation(q query) (a aggregation, err error) {
	if q.has("needed_overlap") {
		if a.overlap, err = strconv.ParseFloat(q.text("needed_overlap"), 64); err != nil || math.IsNaN(a.overlap) {
			return a, badArgument("needed_overlap", "Must be a number")
		}
	}
	if a.interval, err = d.interval(q); err != nil {
		return a, err
	}
	if a.granularity, err = q.granularity(); err != nil {
		return a, err
	}
	if q.has("fill") {
		if a.fill, err = operations.ParseFill(q.text("fill")); err != nil {
			return a, refuseOperation(err)
		}
	}
	return a, nil
}

// refuseOperation makes a fault of an operation the answer.
func refuseOperation(err error) error {
	var e *operations.Error
	if errors.As(err, &e) {
		return badRequest(e)
	}
	return err
}

// compute reads the columns and computes the operation of each granularity. What it
// gives is valid until the reader is used again.
func (d *dataPlane) compute(ctx context.Context, rd *reader, a *aggregation, columns []column) (computed, error) {
	out := computed{columns: columns}
	granularities, err := a.granularities(columns)
	if err != nil {
		return out, err
	}
	for _, g := range granularities {
		in := operations.Input{
			Granularity:   g,
			Columns:       make([]operations.Column, len(columns)),
			Fill:          a.fill,
			NeededOverlap: a.overlap,
			HasStart:      a.from != earliest,
			HasStop:       a.to != math.MaxInt64,
		}
		series, err := d.seriesOf(ctx, rd, a.interval, g, columns)
		if err != nil {
			return out, err
		}
		for i, c := range columns {
			in.Columns[i] = operations.Column{Reference: c.reference, Series: series[i]}
		}
		result, err := a.operation.Evaluate(ctx, in)
		if err != nil {
			return out, refuseOperation(err)
		}
		for _, s := range result.Series {
			if err := rd.holdMore(s.Len()); err != nil {
				return out, err
			}
		}
		out.results = append(out.results, result)
	}
	return out, nil
}

// Limits of one request for aggregates, besides [operations.MaxCells].
const (
	maxHeld      = 1 << 23 // windows that are read and values that are answered
	maxResources = 50_000
	maxColumns   = 250_000
)

// holdMore counts windows or values that stay in memory until the answer is there.
func (rd *reader) holdMore(n int) error {
	if rd.held += n; rd.held > maxHeld {
		return badRequest(fmt.Sprintf("The request is about more than %d windows: ask for fewer metrics, less time or a coarser granularity", maxHeld))
	}
	return nil
}

// seriesOf reads columns of one granularity.
func (d *dataPlane) seriesOf(ctx context.Context, rd *reader, span interval, g time.Duration, columns []column) ([]window.Series, error) {
	series := rd.take(len(columns))
	if span.from > span.to {
		return series, nil
	}
	queries := make([]engine.Query, len(columns))
	for i, c := range columns {
		queries[i] = engine.Query{Ref: c.entry.Ref, Granularity: g, Methods: policy.SetOf(c.method), From: span.from, To: span.to}
	}
	add := func(i int, frame *window.Frame) error {
		if err := frame.Take(columns[i].method, &series[i]); err != nil {
			return err
		}
		return rd.holdMore(series[i].Len())
	}
	err := d.o.Engine.Frames(ctx, queries, add)
	return series, d.mend(ctx, rd, err, queries, add)
}

// granularities are those that are computed. All columns have them.
func (a *aggregation) granularities(columns []column) ([]time.Duration, error) {
	if a.granularity != 0 {
		var missing []any
		for _, c := range columns {
			if _, ok := c.policy.Definition(a.granularity); !ok {
				missing = append(missing, []any{c.name, c.method.String(), json.RawMessage(jsonSpan(a.granularity))})
			}
		}
		if missing != nil {
			return nil, badRequest(operations.Unaggregable("Granularities are missing", missing))
		}
		return []time.Duration{a.granularity}, nil
	}
	policies := make([]*policy.Policy, len(columns))
	for i, c := range columns {
		policies[i] = c.policy
	}
	common := operations.CommonGranularities(policies)
	if len(common) == 0 {
		return nil, badRequest(operations.Unaggregable("No granularity match", namesOf(columns)))
	}
	return common, nil
}

// namesOf is the columns as errors tell them.
func namesOf(columns []column) [][2]string {
	names := make([][2]string, len(columns))
	for i, c := range columns {
		names[i] = [2]string{c.name, c.method.String()}
	}
	return names
}

// setMethod sets a column's policy and method. An error is that the policy does not
// keep the method.
func (d *dataPlane) setMethod(c *column, aggregation string) error {
	var err error
	if c.policy, err = d.policy(c.entry); err != nil {
		return err
	}
	c.method, err = policy.ParseMethod(aggregation)
	if err != nil || !c.policy.Methods.Has(c.method) {
		return notFound(Cause{Cause: "Metrics with unknown aggregation", Detail: [][2]string{{c.entry.ID.String(), aggregation}}})
	}
	return nil
}

// aggregatesBody is the body of a request for dynamic aggregates.
type aggregatesBody struct {
	operation *operations.Operation
	// Metrics are searched for by name in resources if typ is not "".
	typ    string
	search input
}

func readAggregates(in input) (b aggregatesBody, err error) {
	body := in.object("operations", "resource_type", "search")
	o := body.need("operations")
	searched := body.get("resource_type").given() || body.get("search").given()
	if searched {
		b.typ = body.need("resource_type").text(1, maxName)
		b.search = body.need("search")
	}
	if err := in.err(); err != nil {
		return b, err
	}
	b.operation, err = operations.Parse(o.raw)
	return b, refuseOperation(err)
}

// postAggregates computes an operation of the series of metrics.
func (d *dataPlane) postAggregates(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	details, err := q.boolean("details", false)
	if err != nil {
		return err
	}
	a, err := d.aggregation(q)
	if err != nil {
		return err
	}
	if !q.has("fill") && !q.has("needed_overlap") {
		a.fill = operations.FillDrop
	}
	in, err := d.input(w, r)
	if err != nil {
		return err
	}
	body, err := readAggregates(in)
	if err != nil {
		return err
	}
	a.operation = body.operation
	rd := d.reader()
	defer d.doneReading(rd)
	if body.typ != "" {
		return d.aggregateResources(w, r, rd, &a, body, q.all("groupby"), details)
	}
	columns, err := d.columnsByID(r.Context(), a.operation.References)
	if err != nil {
		return err
	}
	c, err := d.compute(r.Context(), rd, &a, columns)
	if err != nil {
		return err
	}
	var references []byte
	if details {
		if references, err = d.metricDetails(r.Context(), columns); err != nil {
			return err
		}
	}
	rd.json.start(w)
	if err := d.writeComputed(r.Context(), rd, &c, references); err != nil {
		return err
	}
	return d.finish(r.Context(), rd, &rd.json.pieces)
}

// columnsByID are the series that references name by the ids of metrics.
func (d *dataPlane) columnsByID(ctx context.Context, references []operations.Reference) ([]column, error) {
	ids := make([]uuid.UUID, len(references))
	for i, reference := range references {
		var err error
		if ids[i], err = uuid.Parse(reference.Metric); err != nil {
			detail := make([][2]string, len(references))
			for k, r := range references {
				detail[k] = [2]string{r.Metric, r.Aggregation}
			}
			return nil, badRequest(Cause{Cause: "Invalid metric references", Reason: "badly formed hexadecimal UUID string", Detail: detail})
		}
	}
	entries, err := d.entries(ctx, ids)
	if err != nil {
		return nil, err
	}
	columns := make([]column, len(entries))
	for i, entry := range entries {
		columns[i] = column{entry: entry, reference: i, name: entry.ID.String()}
		if err := d.setMethod(&columns[i], references[i].Aggregation); err != nil {
			return nil, err
		}
	}
	return columns, nil
}

// metricDetails is the metrics of columns as JSON, each once.
func (d *dataPlane) metricDetails(ctx context.Context, columns []column) ([]byte, error) {
	o := object{b: []byte{'['}}
	told := map[uuid.UUID]bool{}
	for _, c := range columns {
		if told[c.entry.ID] {
			continue
		}
		m, err := d.o.Index.Metric(ctx, c.entry.ID)
		if err != nil {
			return nil, err
		}
		if len(told) > 0 {
			o.b = append(o.b, ',')
		}
		told[c.entry.ID] = true
		o.metric(m, c.policy)
	}
	return append(o.b, ']'), nil
}

// writeComputed appends {"measures": ..., "references": ...}.
func (d *dataPlane) writeComputed(ctx context.Context, rd *reader, c *computed, references []byte) error {
	j := &rd.json
	j.raw(`{"measures":`)
	if len(c.results) > 0 && c.results[0].Aggregated {
		j.raw(`{"aggregated":[`)
		j.results(c, 0, true)
		j.raw("]}")
	} else {
		leaves, end := c.leaves()
		err := d.inOrder(ctx, len(leaves), rd, &j.pieces, func(_ context.Context, part *reader, i int) error {
			part.json.b = append(append(part.json.b, leaves[i].before...), '[')
			first := true
			for _, column := range leaves[i].columns {
				first = part.json.results(c, column, first)
			}
			part.json.raw("]")
			return nil
		})
		if err != nil {
			return err
		}
		j.b = append(j.b, end...)
	}
	if references != nil {
		j.raw(`,"references":`)
		j.b = append(j.b, references...)
	}
	j.raw("}")
	return nil
}

// results appends the i-th series of each granularity.
func (j *jsonWriter) results(c *computed, i int, first bool) bool {
	for _, result := range c.results {
		first = j.measures(&result.Series[i], jsonPeriod(result.Period), first)
	}
	return first
}

// leaf is columns whose measures are one list in the answer, and what stands before
// it.
type leaf struct {
	before  []byte
	columns []int
}

// leaves are the lists of an answer in which measures are told apart by resource,
// metric and method, and what stands after the last.
func (c *computed) leaves() (leaves []leaf, end []byte) {
	var tree branch
	for i, column := range c.columns {
		path := []string{column.name, column.method.String()}
		if column.resource != nil {
			path = append([]string{column.resource.ID.String()}, path...)
		}
		tree.add(path, i)
	}
	return tree.leaves(nil, nil)
}

// branch is a part of an answer in which series are told apart by names.
type branch struct {
	names    []string // in the order of their coming
	children map[string]*branch
	columns  []int // at the ends
}

func (b *branch) add(path []string, column int) {
	if len(path) == 0 {
		b.columns = append(b.columns, column)
		return
	}
	child := b.children[path[0]]
	if child == nil {
		if b.children == nil {
			b.children = map[string]*branch{}
		}
		child = &branch{}
		b.children[path[0]] = child
		b.names = append(b.names, path[0])
	}
	child.add(path[1:], column)
}

// leaves appends those of the branch, of which the first follows before.
func (b *branch) leaves(leaves []leaf, before []byte) ([]leaf, []byte) {
	if b.columns != nil {
		return append(leaves, leaf{before, b.columns}), nil
	}
	before = append(before, '{')
	for i, name := range b.names {
		if i > 0 {
			before = append(before, ',')
		}
		before = append(appendString(before, name), ':')
		leaves, before = b.children[name].leaves(leaves, before)
	}
	return leaves, append(before, '}')
}
