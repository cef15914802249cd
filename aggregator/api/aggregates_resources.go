package api

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/operations"
	"github.com/nephoscope/nepho/aggregator/search"
)

// filter reads a search for resources: a tree, or text.
func (b *aggregatesBody) filter() (search.Node, error) {
	if b.search.kind() != '"' {
		return search.ParseJSON(b.search.raw)
	}
	text := b.search.text(0, math.MaxInt)
	if err := b.search.err(); err != nil {
		return nil, err
	}
	return search.Parse(text)
}

// found are the resources of a type that a filter lets through and that the asker
// may see, in the order of the attributes that they are grouped by.
func (d *dataPlane) found(ctx context.Context, typ string, filter search.Node, groupby []string) ([]*index.Resource, error) {
	visible, err := scope(ctx)
	if err != nil {
		return nil, err
	}
	order := []index.SortKey{{Name: "revision_start"}, {Name: "started_at"}}
	if len(groupby) > 0 {
		order = nil
		for _, name := range groupby {
			order = append(order, index.SortKey{Name: name})
		}
	}
	resources, err := d.o.Index.Resources(ctx, index.ResourceQuery{
		Type: typ, Filter: filter, Scope: visible, Asker: auth.From(ctx).Creator(),
		Page: index.Page{Limit: maxResources + 1, Sort: order},
	})
	if len(resources) > maxResources {
		return nil, badRequest(fmt.Sprintf("The search finds more than %d resources: search for fewer", maxResources))
	}
	return resources, err
}

// group is resources with the same values of some attributes.
type group struct {
	key       []byte // {"attribute": value, ...}
	resources []*index.Resource
}

// grouped are the groups of resources, in the order of these. Without attributes to
// group by all of them are one without a key.
func grouped(resources []*index.Resource, groupby []string) []group {
	if len(groupby) == 0 {
		return []group{{resources: resources}}
	}
	var groups []group
	places := map[string]int{}
	for _, resource := range resources {
		var o object
		o.begin()
		for _, name := range groupby {
			o.attribute(name, attributeOf(resource, name))
		}
		o.end()
		place, known := places[string(o.b)]
		if !known {
			place = len(groups)
			places[string(o.b)] = place
			groups = append(groups, group{key: o.b})
		}
		groups[place].resources = append(groups[place].resources, resource)
	}
	return groups
}

// attributeOf is the value of any attribute of a resource.
func attributeOf(r *index.Resource, name string) any {
	owner := func(v *string) any {
		if v == nil {
			return nil
		}
		return *v
	}
	switch name {
	case "id":
		return r.ID.String()
	case "original_resource_id":
		return r.Original
	case "type":
		return r.Type
	case "creator":
		return r.Creator
	case "user_id":
		return owner(r.User)
	case "project_id":
		return owner(r.Project)
	case "created_by_user_id":
		user, _ := splitCreator(r.Creator)
		return user
	case "created_by_project_id":
		_, project := splitCreator(r.Creator)
		return project
	case "started_at":
		return r.Started
	case "revision_start":
		return r.RevisionStart
	case "ended_at":
		if r.Ended != nil {
			return *r.Ended
		}
		return nil
	case "revision_end":
		return nil // they are the current ones
	}
	return r.Attributes[name]
}

// uniqueGroups are the attributes to group by, each once, in alphabetical order.
func uniqueGroups(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// aggregateResources computes an operation of the metrics of resources, or of each
// group of them.
func (d *dataPlane) aggregateResources(w http.ResponseWriter, r *http.Request, rd *reader, a *aggregation, body aggregatesBody, groupby []string, details bool) error {
	ctx := r.Context()
	if _, err := d.o.Index.Type(ctx, body.typ); err != nil {
		return unknownType(err, body.typ)
	}
	filter, err := body.filter()
	if err != nil {
		return err
	}
	groupby = uniqueGroups(groupby)
	resources, err := d.found(ctx, body.typ, filter, groupby)
	if err != nil {
		return err
	}
	type answer struct {
		computed   computed
		references []byte
	}
	var answers []answer
	var keys [][]byte
	for _, g := range grouped(resources, groupby) {
		columns, err := d.columnsByName(ctx, g.resources, a.operation.References)
		if err != nil {
			return err
		}
		if len(columns) == 0 {
			continue
		}
		var next answer
		if next.computed, err = d.compute(ctx, rd, a, columns); err != nil {
			return err
		}
		if details {
			next.references = resourceDetails(columns)
		}
		answers, keys = append(answers, next), append(keys, g.key)
	}
	if answers == nil {
		return badRequest(Cause{Cause: "Metrics not found", Detail: referred(a.operation.References)})
	}
	return d.writeGroups(w, r, rd, keys, func(i int) error { return d.writeComputed(ctx, rd, &answers[i].computed, answers[i].references) })
}

// writeGroups answers with {"group": KEY, "measures": ...} of each group of resources, or
// with what is made of all if that has no key. measures appends those of the i-th.
func (d *dataPlane) writeGroups(w http.ResponseWriter, r *http.Request, rd *reader, keys [][]byte, measures func(i int) error) error {
	j := &rd.json
	j.start(w)
	list := len(keys) != 1 || keys[0] != nil
	if list {
		j.raw("[")
	}
	for i, key := range keys {
		if i > 0 {
			j.raw(",")
		}
		if list {
			j.raw(`{"group":`)
			j.b = append(j.b, key...)
			j.raw(`,"measures":`)
		}
		if err := measures(i); err != nil {
			return err
		}
		if list {
			j.raw("}")
		}
	}
	if list {
		j.raw("]")
	}
	return d.finish(r.Context(), rd, &j.pieces)
}

// referred are the names of metrics in references, in alphabetical order.
func referred(references []operations.Reference) []string {
	names := map[string]bool{}
	for _, r := range references {
		names[r.Metric] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// columnsByName are the series of resources' metrics whose names match references.
func (d *dataPlane) columnsByName(ctx context.Context, resources []*index.Resource, references []operations.Reference) ([]column, error) {
	var columns []column
	var ids []uuid.UUID
	for _, resource := range resources {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case len(columns) > maxColumns:
			return nil, badRequest(fmt.Sprintf("The request is about more than %d metrics: search for fewer resources", maxColumns))
		}
		names := slices.Sorted(maps.Keys(resource.Metrics))
		for place, reference := range references {
			for _, name := range names {
				if index.Match(reference.Metric, name) {
					columns = append(columns, column{reference: place, resource: resource, name: name})
					ids = append(ids, resource.Metrics[name])
				}
			}
		}
	}
	entries, err := d.o.Index.Lookup(ctx, ids, nil)
	if err != nil {
		return nil, err
	}
	kept := columns[:0]
	for i, c := range columns {
		if c.entry = entries[i]; c.entry == nil {
			continue // deleted just now
		}
		if err := d.setMethod(&c, references[c.reference].Aggregation); err != nil {
			return nil, err
		}
		kept = append(kept, c)
	}
	return kept, nil
}

// resourceDetails is the resources of columns as JSON, each once.
func resourceDetails(columns []column) []byte {
	o := object{b: []byte{'['}}
	told := map[uuid.UUID]bool{}
	for _, c := range columns {
		if told[c.resource.ID] {
			continue
		}
		if len(told) > 0 {
			o.b = append(o.b, ',')
		}
		told[c.resource.ID] = true
		o.resource(c.resource, true)
	}
	return append(o.b, ']')
}

// unknownType refuses a resource type that a body names.
func unknownType(err error, typ string) error {
	if e := refusal(err); e != nil && e.Code == http.StatusNotFound {
		return badRequest(Cause{Cause: "Resource type does not exist", Detail: typ})
	}
	return err
}
