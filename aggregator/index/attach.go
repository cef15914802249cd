package index

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
)

// newMetrics prepares metrics that a resource is to get.
func (x *Index) newMetrics(ctx context.Context, resource uuid.UUID, creator string, create []NewMetric) ([]*metricRow, error) {
	list := make([]*metricRow, len(create))
	for i, m := range create {
		m.Resource = resource
		if m.Creator == "" {
			m.Creator = creator
		}
		list[i] = &metricRow{NewMetric: m}
		if err := list[i].check(); err != nil {
			return nil, err
		}
	}
	return list, x.numberCreators(ctx, list)
}

// setMetrics attaches and creates metrics of a resource.
func (x *Index) setMetrics(ctx context.Context, u *update, r *row, attach map[string]uuid.UUID, create []*metricRow) error {
	for _, name := range slices.Sorted(maps.Keys(attach)) {
		if err := x.attach(ctx, u, r, name, attach[name]); err != nil {
			return err
		}
	}
	if len(create) == 0 {
		return nil
	}
	if err := x.place(ctx, u, create); err != nil {
		return err
	}
	taken, err := insertMetrics(ctx, u, create)
	switch {
	case database.IsForeign(err):
		return database.ErrAgain
	case err == nil && len(taken) > 0:
		return errTaken(ctx, u, taken[0])
	}
	return err
}

// attach gives a metric to a resource, under a name.
func (x *Index) attach(ctx context.Context, u *update, r *row, name string, id uuid.UUID) error {
	if err := checkText("name", name); err != nil {
		return err
	}
	old, err := readAttached(ctx, u, "id = ?", u.UUID(id))
	if err != nil {
		return err
	}
	if len(old) == 0 || old[0].creator != r.creator {
		return &NotFoundError{KindMetric, id.String()}
	}
	_, err = u.Exec(ctx, "UPDATE metric SET resource = ?, name = ? WHERE id = ?", u.UUID(r.ID), name, u.UUID(id))
	if database.IsUnique(err) {
		return &NamedMetricError{name}
	}
	x.forgetLater(u, old)
	return err
}

// attached is what memory may have of a metric.
type attached struct {
	id       uuid.UUID
	ref      engine.Ref
	resource uuid.UUID
	name     string
	creator  sql.NullInt64
}

// readAttached reads metrics, and locks them.
func readAttached(ctx context.Context, u *update, condition string, args ...any) ([]attached, error) {
	var list []attached
	rows, err := u.Query(ctx, "SELECT id, ref, resource, name, creator FROM metric WHERE deleted_at IS NULL AND "+condition+u.ForUpdate(), args...)
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		var (
			a        attached
			resource uuid.NullUUID
			name     sql.NullString
		)
		err := rows.Scan(&a.id, &a.ref, &resource, &name, &a.creator)
		a.resource, a.name = resource.UUID, name.String
		list = append(list, a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read metrics: %w", err)
	}
	return list, nil
}

// forgetLater drops metrics from memory when the transaction is over.
func (x *Index) forgetLater(u *update, list []attached) {
	u.afterwards(func() {
		for _, a := range list {
			x.cache.forget(a.id, a.ref, a.resource, a.name)
		}
	})
}

// forgetMetricsOf has the metrics of a resource dropped from memory.
func (x *Index) forgetMetricsOf(ctx context.Context, u *update, resource uuid.UUID) error {
	list, err := readAttached(ctx, u, "resource = ?", u.UUID(resource))
	if err == nil {
		x.forgetLater(u, list)
	}
	return err
}

// detach takes a resource's metrics away from it, but for those that it is to have
// under the very name.
func (x *Index) detach(ctx context.Context, u *update, r *row, keep map[string]uuid.UUID) error {
	list, err := readAttached(ctx, u, "resource = ?", u.UUID(r.ID))
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(a attached) bool { return keep[a.name] == a.id })
	for _, chunk := range chunks(list) {
		args := make([]any, len(chunk))
		for i, a := range chunk {
			args[i] = int64(a.ref)
		}
		if _, err := u.Exec(ctx, "UPDATE metric SET resource = NULL WHERE ref IN "+places("?", len(chunk)), args...); err != nil {
			return fmt.Errorf("cannot detach metrics: %w", err)
		}
	}
	x.forgetLater(u, list)
	return nil
}
