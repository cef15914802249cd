package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/operations"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
)

// The endpoints of this file are Gnocchi's older ones, which /v1/aggregates replaces.

// getAggregation aggregates across the metrics that the query names.
func (d *dataPlane) getAggregation(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	names := q.all("metric")
	ids := make([]uuid.UUID, len(names))
	for i, name := range names {
		if ids[i], err = uuid.Parse(name); err != nil {
			return badRequest("Invalid input: not a valid value @ data[" + strconv.Itoa(i) + "]: must be the id of a metric")
		}
	}
	return d.aggregateIDs(w, r, q, ids)
}

// postAggregation aggregates across the metrics that the body lists.
func (d *dataPlane) postAggregation(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	ids, err := d.bodyIDs(w, r)
	if err != nil {
		return err
	}
	return d.aggregateIDs(w, r, q, ids)
}

// bodyIDs reads a body that is a list of ids of metrics.
func (d *dataPlane) bodyIDs(w http.ResponseWriter, r *http.Request) ([]uuid.UUID, error) {
	in, err := d.input(w, r)
	if err != nil {
		return nil, err
	}
	var ids []uuid.UUID
	for _, item := range in.list(0) {
		text, _ := item.scalar()
		id, err := uuid.Parse(text)
		if err != nil {
			item.invalid("must be the id of a metric")
		}
		ids = append(ids, id)
	}
	return ids, in.err()
}

func (d *dataPlane) aggregateIDs(w http.ResponseWriter, r *http.Request, q query, ids []uuid.UUID) error {
	ids = unique(ids)
	entries, err := d.o.Index.Lookup(r.Context(), ids, nil)
	if err != nil {
		return err
	}
	for i, entry := range entries {
		if entry == nil {
			return &index.NotFoundError{Kind: index.KindMetric, Name: ids[i].String()}
		}
	}
	a, err := d.reaggregation(q)
	if err != nil {
		return err
	}
	rd := d.reader()
	defer d.doneReading(rd)
	result, err := d.reaggregate(r, rd, &a, entries)
	if err != nil {
		return err
	}
	rd.json.start(w)
	rd.json.rows(&result)
	return d.finish(r.Context(), rd, &rd.json.pieces)
}

// unique is a list with each id once, in the order of their first coming.
func unique(ids []uuid.UUID) []uuid.UUID {
	seen := make(map[uuid.UUID]bool, len(ids))
	return slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}

// reaggregation is the parameters of a request to the older endpoints.
type reaggregation struct {
	aggregation
	name, function string // of the stored series, and across them
	period         timetext.Period
	resample       bool
}

func (d *dataPlane) reaggregation(q query) (a reaggregation, err error) {
	if a.aggregation, err = d.aggregation(q); err != nil {
		return a, err
	}
	if !q.has("needed_overlap") {
		a.overlap = 100
	}
	if a.period, a.resample, err = q.resample(); err != nil {
		return a, err
	}
	a.name = "mean"
	if q.has("aggregation") {
		a.name = q.text("aggregation")
	}
	a.function = a.name
	if q.has("reaggregation") {
		a.function = q.text("reaggregation")
	}
	// The data is always fresh; but a value that is no boolean is a mistake.
	_, err = q.boolean("refresh", false)
	return a, err
}

// reaggregate aggregates across metrics. One metric gives its measures as they are,
// none gives nothing.
func (d *dataPlane) reaggregate(r *http.Request, rd *reader, a *reaggregation, entries []*index.Entry) (computed, error) {
	ctx := r.Context()
	for _, entry := range entries {
		if err := requireEntry(ctx, entry, false); err != nil {
			return computed{}, err
		}
	}
	if len(entries) == 0 {
		return computed{}, nil
	}
	method, unknown := policy.ParseMethod(a.name)
	columns := make([]column, len(entries))
	references := make([]operations.Reference, len(entries))
	for i, entry := range entries {
		c := column{entry: entry, reference: i, name: entry.ID.String(), method: method}
		var err error
		if c.policy, err = d.policy(entry); err != nil {
			return computed{}, err
		}
		if err := a.check(&c, unknown == nil && c.policy.Methods.Has(method), len(entries) == 1); err != nil {
			return computed{}, err
		}
		columns[i] = c
		references[i] = operations.Reference{Metric: c.name, Aggregation: a.name}
	}
	if len(columns) == 1 {
		return d.measuresOf(ctx, rd, a, columns[0])
	}
	var resampling *operations.Resampling
	if a.resample {
		resampling = &operations.Resampling{Method: method, Period: a.period}
	}
	var err error
	if a.operation, err = operations.Reaggregate(a.function, references, resampling); err != nil {
		return computed{}, refuseOperation(err)
	}
	return d.compute(ctx, rd, &a.aggregation, columns)
}

// check refuses a metric that does not keep what is asked for. alone says that it is
// the only metric.
func (a *reaggregation) check(c *column, keeps, alone bool) error {
	if _, ok := c.policy.Definition(a.granularity); a.granularity != 0 && !ok {
		return noGranularity(c.name, a.name, a.granularity)
	}
	switch {
	case keeps:
		return nil
	case alone:
		return noMethod(c.name, a.name)
	case a.granularity != 0:
		return noGranularity(c.name, a.name, a.granularity)
	}
	all := granularities(c.policy)
	return noGranularity(c.name, a.name, all[len(all)-1])
}

// measuresOf is the measures of one metric as they are stored, or resampled.
func (d *dataPlane) measuresOf(ctx context.Context, rd *reader, a *reaggregation, c column) (computed, error) {
	s := selection{ref: c.entry.Ref, method: c.method, interval: a.interval, period: a.period, resample: a.resample}
	s.granularities = granularities(c.policy)
	if a.granularity != 0 {
		s.granularities = []time.Duration{a.granularity}
	}
	out := computed{columns: []column{c}}
	series := rd.take(len(s.granularities))
	for i, g := range s.granularities {
		if err := d.series(ctx, rd, &s, g); err != nil {
			return out, err
		}
		series[i].Times = append(series[i].Times, rd.series.Times...)
		series[i].Values = append(series[i].Values, rd.series.Values...)
		out.results = append(out.results, operations.Result{Period: s.label(g), Series: series[i : i+1]})
	}
	return out, nil
}

// rows appends the only series of each granularity.
func (j *jsonWriter) rows(c *computed) {
	j.raw("[")
	j.results(c, 0, true)
	j.raw("]")
}

// postResourceAggregation aggregates across the metrics of a name of the resources
// that a search finds, or of each group of them.
func (d *dataPlane) postResourceAggregation(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	typ, name := r.PathValue("type"), r.PathValue("name")
	if _, err := d.o.Index.Type(ctx, typ); err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	filter, err := d.filter(w, r)
	if err != nil {
		return err
	}
	groupby := uniqueGroups(q.all("groupby"))
	resources, err := d.found(ctx, typ, filter, groupby)
	if err != nil {
		var page *index.PageError
		if errors.As(err, &page) {
			return badRequest("Invalid groupby attribute: " + strings.Join(groupby, ", "))
		}
		return err
	}
	a, err := d.reaggregation(q)
	if err != nil {
		return err
	}
	groups := grouped(resources, groupby)
	rd := d.reader()
	defer d.doneReading(rd)
	results, keys := make([]computed, len(groups)), make([][]byte, len(groups))
	for i, g := range groups {
		keys[i] = g.key
		var ids []uuid.UUID
		for _, resource := range g.resources {
			if id, ok := resource.Metrics[name]; ok {
				ids = append(ids, id)
			}
		}
		entries, err := d.o.Index.Lookup(ctx, ids, nil)
		if err != nil {
			return err
		}
		entries = slices.DeleteFunc(entries, func(e *index.Entry) bool { return e == nil }) // deleted just now
		if results[i], err = d.reaggregate(r, rd, &a, entries); err != nil {
			return err
		}
	}
	return d.writeGroups(w, r, rd, keys, func(i int) error {
		rd.json.rows(&results[i])
		return nil
	})
}
