package index

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
)

// Series is a metric with what others need to know of its resource.
type Series struct {
	Ref  engine.Ref
	ID   uuid.UUID
	Name string // "" for none
	Unit string
	// Creator is that of the metric, "" for none.
	Creator string
	// Resource is uuid.Nil for none; then what follows is "".
	Resource uuid.UUID
	// Original is the resource's id as it was given; Project is "" for none.
	Original, Type, Project string
}

const seriesQuery = `SELECT m.ref, m.id, m.name, m.unit, (SELECT name FROM creator c WHERE c.id = m.creator), m.resource,
	r.original, (SELECT name FROM resource_type t WHERE t.id = r.type), r.project_id
	FROM metric m LEFT JOIN resource r ON r.id = m.resource WHERE m.deleted_at IS NULL AND `

// SeriesByRef gives the metrics of the engine's numbers, in any order. Those that are
// not there, or were deleted, are left out.
func (x *Index) SeriesByRef(ctx context.Context, refs []engine.Ref) ([]*Series, error) {
	return series(ctx, x, refs, "m.ref", func(_ *database.Session, chunk []engine.Ref) []any { return numberArgs(chunk) })
}

// SeriesByID is [Index.SeriesByRef] by the metrics' ids.
func (x *Index) SeriesByID(ctx context.Context, ids []uuid.UUID) ([]*Series, error) {
	return series(ctx, x, ids, "m.id", uuids)
}

func series[K comparable](ctx context.Context, x *Index, keys []K, column string, args func(*database.Session, []K) []any) ([]*Series, error) {
	var list []*Series
	err := x.view(ctx, func(s *database.Session) error {
		list = make([]*Series, 0, len(keys))
		told := make(map[engine.Ref]bool, len(keys))
		for _, chunk := range padded(keys) {
			rows, err := s.Query(ctx, seriesQuery+column+" IN "+places("?", len(chunk)), args(s, chunk)...)
			err = database.Each(rows, err, func(rows *sql.Rows) error {
				m, err := x.scanSeries(rows)
				if err == nil && !told[m.Ref] {
					told[m.Ref] = true
					list = append(list, m)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read series: %w", err)
	}
	return list, nil
}

func (x *Index) scanSeries(rows *sql.Rows) (*Series, error) {
	var (
		s                                                    Series
		name, unit, creator, original, resourceType, project sql.NullString
		resource                                             uuid.NullUUID
	)
	if err := rows.Scan(&s.Ref, &s.ID, &name, &unit, &creator, &resource, &original, &resourceType, &project); err != nil {
		return nil, err
	}
	s.Name, s.Unit, s.Creator = name.String, unit.String, x.cache.texts.same(creator.String)
	s.Resource, s.Original, s.Type, s.Project = resource.UUID, original.String, x.cache.texts.same(resourceType.String), x.cache.texts.same(project.String)
	return &s, nil
}
