package index

import (
	"context"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
)

// Resource is a resource of a type, with its metrics. As one of [Generic], which all
// are, it has no attributes. The error is a [*NotFoundError] of the type or the resource.
func (x *Index) Resource(ctx context.Context, typ string, id uuid.UUID) (*Resource, error) {
	var r *row
	err := x.view(ctx, func(s *database.Session) (err error) {
		r, err = readResource(ctx, s, typ, id, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.as(typ), nil
}

// as is the resource as one of a type that it has.
func (r *row) as(typ string) *Resource {
	if typ == Generic {
		r.Attributes = nil
	}
	return &r.Resource
}

// ResourcesByID gives resources of any type with the attributes of their types,
// without their metrics. Unknown ones are not in the map.
func (x *Index) ResourcesByID(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*Resource, error) {
	found := make(map[uuid.UUID]*Resource, len(ids))
	err := x.view(ctx, func(s *database.Session) error {
		rows, err := readRows(ctx, s, ids, "")
		if err != nil {
			return err
		}
		list := make([]*row, 0, len(rows))
		for id, r := range rows {
			list = append(list, r)
			found[id] = &r.Resource
		}
		return readAttributes(ctx, s, list)
	})
	return found, err
}

// Resources lists resources; with History all their revisions. They are ordered by
// revision_start and started_at unless the page sorts them otherwise. The error is a
// [*NotFoundError] of the type, an [*InvalidError] for the filter, or a [*PageError].
func (x *Index) Resources(ctx context.Context, q ResourceQuery) ([]*Resource, error) {
	var list []*row
	err := x.view(ctx, func(s *database.Session) (err error) {
		if list, err = x.list(ctx, s, q, nil); err != nil {
			return err
		}
		if q.Type != Generic || q.Details {
			if err := readAttributes(ctx, s, list); err != nil {
				return err
			}
		}
		if q.WithoutMetrics {
			return nil
		}
		return readMetricNames(ctx, s, list)
	})
	if err != nil {
		return nil, err
	}
	return resources(list), nil
}

// History lists the revisions of one resource, oldest first unless the page sorts
// them otherwise. The error is a [*NotFoundError] of the type or the resource, or a [*PageError].
func (x *Index) History(ctx context.Context, typ string, id uuid.UUID, p Page) ([]*Resource, error) {
	var list []*row
	err := x.view(ctx, func(s *database.Session) error {
		if _, err := readResource(ctx, s, typ, id, ""); err != nil {
			return err
		}
		var err error
		if list, err = x.list(ctx, s, ResourceQuery{Type: typ, History: true, Page: p}, &id); err != nil {
			return err
		}
		if typ != Generic {
			if err := readAttributes(ctx, s, list); err != nil {
				return err
			}
		}
		return readMetricNames(ctx, s, list)
	})
	if err != nil {
		return nil, err
	}
	return resources(list), nil
}

func resources(list []*row) []*Resource {
	all := make([]*Resource, len(list))
	for i, r := range list {
		all[i] = &r.Resource
	}
	return all
}
