package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
)

// postBatch takes measures of many metrics, by their ids. Either all of the metrics
// are known, or nothing is stored.
func (d *dataPlane) postBatch(w http.ResponseWriter, r *http.Request) error {
	in := d.intake()
	defer d.release(in)
	if err := d.readMeasures(w, r, in, measuresByID); err != nil {
		return err
	}
	var err error
	if in.entries, err = d.o.Index.Lookup(r.Context(), in.posted.ids, in.entries[:0]); err != nil {
		return err
	}
	var unknown []string
	for i, entry := range in.entries {
		if entry == nil {
			unknown = append(unknown, in.posted.ids[i].String())
		}
	}
	if unknown != nil {
		return unknownMetrics(unknown)
	}
	return d.store(w, r, in)
}

// unknownMetrics refuses a batch with metrics that do not exist.
func unknownMetrics(names []string) error {
	slices.Sort(names)
	return badRequest("Unknown metrics: " + strings.Join(slices.Compact(names), ", "))
}

// postNamedBatch takes measures of many metrics, by their resources and names. With
// create_metrics metrics that do not exist are made, but not resources.
func (d *dataPlane) postNamedBatch(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	create, err := q.boolean("create_metrics", false)
	if err != nil {
		return err
	}
	in := d.intake()
	defer d.release(in)
	if err := d.readMeasures(w, r, in, measuresByName); err != nil {
		return err
	}
	ctx := r.Context()
	p := &in.posted
	resources := make([]uuid.UUID, len(p.resources))
	for i, text := range p.resources {
		if resources[i], err = resourceID(ctx, text); err != nil {
			return badRequest(Cause{Cause: "Invalid input", Reason: "extra keys not allowed @ data['" + text + "']", Detail: []string{text}})
		}
	}
	for _, m := range p.named {
		in.names = append(in.names, index.Name{Resource: resources[m.resource], Metric: m.name})
	}
	if in.entries, err = d.o.Index.LookupNames(ctx, in.names, in.entries[:0]); err != nil {
		return err
	}
	var missing []int
	for i, entry := range in.entries {
		if entry == nil {
			missing = append(missing, i)
		}
	}
	switch {
	case missing == nil:
	case create:
		if err := d.createNamed(ctx, in, missing); err != nil {
			return err
		}
	default:
		unknown := make([]string, len(missing))
		for i, place := range missing {
			unknown[i] = in.names[place].Resource.String() + "/" + in.names[place].Metric
		}
		return unknownMetrics(unknown)
	}
	return d.store(w, r, in)
}

// unknownResource is a resource of which a batch has measures, and which does not
// exist. Ceilometer creates it, and sends the batch again.
type unknownResource struct {
	ID       uuid.UUID `json:"resource_id"`
	Original string    `json:"original_resource_id"`
}

// createNamed creates the missing metrics of a batch, given as places in it. Either
// all of them are made, or none.
func (d *dataPlane) createNamed(ctx context.Context, in *intake, missing []int) error {
	p := &in.posted
	ids := map[uuid.UUID]string{}
	for _, i := range missing {
		ids[in.names[i].Resource] = p.resources[p.named[i].resource]
	}
	known, err := d.o.Index.ResourcesByID(ctx, slices.Collect(maps.Keys(ids)))
	if err != nil {
		return err
	}
	who := auth.From(ctx)
	var unknown []unknownResource
	for _, i := range missing {
		id := in.names[i].Resource
		original, open := ids[id]
		if !open {
			continue // told already
		}
		delete(ids, id)
		switch resource := known[id]; {
		case resource == nil:
			unknown = append(unknown, unknownResource{id, original})
		case !owns(who, resource.Creator):
			return forbidden()
		}
	}
	if unknown != nil {
		return badRequest(Cause{Cause: "Unknown resources", Detail: unknown})
	}
	creator := who.Creator()
	wanted := make([]index.NewMetric, len(missing))
	for k, i := range missing {
		m := p.named[i]
		wanted[k] = index.NewMetric{Name: m.name, Unit: m.unit, Policy: m.policy, Creator: creator, Resource: in.names[i].Resource}
		if err := checkNewMetric(&wanted[k]); err != nil {
			return err
		}
	}
	entries, err := d.o.Index.EnsureMetrics(ctx, wanted)
	if err != nil {
		return refusedMetrics(err)
	}
	for k, i := range missing {
		in.entries[i] = entries[k]
	}
	return nil
}

// checkNewMetric refuses names and units that no metric may have.
func checkNewMetric(m *index.NewMetric) error {
	switch {
	case m.Name == "":
		return badRequest("the name of a metric of a resource must not be empty")
	case utf8.RuneCountInString(m.Name) > maxName:
		return badRequest(fmt.Sprintf("the name of a metric must not be longer than %d characters", maxName))
	case utf8.RuneCountInString(m.Unit) > maxUnit:
		return badRequest(fmt.Sprintf("the unit of a metric must not be longer than %d characters", maxUnit))
	}
	return checkMetricName(m.Name)
}
