package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
)

// DeleteResource deletes a resource of a type with its history, and marks its
// metrics as deleted. If revision is not zero, the resource must not have been
// changed since: see [Change]. The error is a [*NotFoundError] or [ErrRevision].
func (x *Index) DeleteResource(ctx context.Context, typ string, id uuid.UUID, revision time.Time) error {
	return x.update(ctx, func(u *update) error {
		r, err := readResource(ctx, u.Session, typ, id, u.ForUpdate())
		if err != nil {
			return err
		}
		if !revision.IsZero() && !revision.Equal(r.RevisionStart) {
			return ErrRevision
		}
		return x.deleteRow(ctx, u, r)
	})
}

func (x *Index) deleteRow(ctx context.Context, u *update, r *row) error {
	list, err := readAttached(ctx, u, "resource = ?", u.UUID(r.ID))
	if err != nil {
		return err
	}
	x.forgetLater(u, list)
	id := u.UUID(r.ID)
	if _, err := u.Exec(ctx, "UPDATE metric SET deleted_at = ?, resource = NULL WHERE resource = ?", u.now.UnixMicro(), id); err != nil {
		return fmt.Errorf("cannot delete the metrics of a resource: %w", err)
	}
	var statements []string
	if r.Type != Generic {
		t := storedType{id: r.typeID}
		statements = append(statements,
			"DELETE FROM "+t.table(true)+" WHERE revision IN (SELECT revision FROM resource_history WHERE id = ?)",
			"DELETE FROM "+t.table(false)+" WHERE id = ?")
	}
	statements = append(statements, "DELETE FROM resource_history WHERE id = ?", "DELETE FROM resource WHERE id = ?")
	for _, statement := range statements {
		if _, err := u.Exec(ctx, statement, id); err != nil {
			return fmt.Errorf("cannot delete a resource: %w", err)
		}
	}
	return nil
}

// DeleteResources deletes the resources that a query selects, all of them, whatever
// its page says, and gives how many there were. It does so in several transactions,
// so that others need not wait: when it fails, some are deleted. What others change
// meanwhile, so that it is no longer selected, stays.
func (x *Index) DeleteResources(ctx context.Context, q ResourceQuery) (int, error) {
	q.History = false
	q.Page = Page{Limit: 500}
	deleted := 0
	for {
		n, removed, changed := 0, 0, false
		err := x.update(ctx, func(u *update) error {
			list, err := x.list(ctx, u.Session, q, nil)
			if err != nil {
				return err
			}
			ids := make([]uuid.UUID, len(list))
			revisions := make(map[uuid.UUID]time.Time, len(list))
			for i, r := range list {
				ids[i], revisions[r.ID] = r.ID, r.RevisionStart
			}
			n, removed, changed = len(list), 0, false
			// Those that others deleted meanwhile are not among the locked ones, and those that
			// others changed may not be selected any more: the next round looks.
			rows, err := readRows(ctx, u.Session, ids, u.ForUpdate())
			if err != nil {
				return err
			}
			for _, r := range rows {
				if !r.RevisionStart.Equal(revisions[r.ID]) {
					changed = true
					continue
				}
				if err := x.deleteRow(ctx, u, r); err != nil {
					return err
				}
				removed++
			}
			return nil
		})
		if err != nil {
			return deleted, err
		}
		deleted += removed
		if n < q.Page.Limit && !changed {
			return deleted, nil
		}
	}
}

// DeleteMetric marks a metric as deleted and takes it from its resource. The error
// is a [*NotFoundError].
func (x *Index) DeleteMetric(ctx context.Context, id uuid.UUID) error {
	return x.update(ctx, func(u *update) error {
		list, err := readAttached(ctx, u, "id = ?", u.UUID(id))
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return &NotFoundError{KindMetric, id.String()}
		}
		x.forgetLater(u, list)
		_, err = u.Exec(ctx, "UPDATE metric SET deleted_at = ?, resource = NULL WHERE id = ?", u.now.UnixMicro(), u.UUID(id))
		return err
	})
}

// Purge removes metrics for good that were marked at the given time or before, the
// first of them up to a limit, and gives their refs. It writes nothing when there are
// none.
func (x *Index) Purge(ctx context.Context, before time.Time, limit int) ([]engine.Ref, error) {
	due := false
	err := x.read(ctx, func(s *database.Session) (err error) {
		due, err = s.One(ctx, "SELECT ref FROM metric WHERE deleted_at IS NOT NULL AND deleted_at <= ? LIMIT 1", []any{before.UnixMicro()}, new(engine.Ref))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for deleted metrics: %w", err)
	}
	if !due {
		return nil, nil
	}
	var refs []engine.Ref
	err = x.update(ctx, func(u *update) error {
		refs = refs[:0]
		var labelled []*metricRow
		rows, err := u.Query(ctx, "SELECT ref, labels FROM metric WHERE deleted_at IS NOT NULL AND deleted_at <= ? ORDER BY deleted_at LIMIT ?"+u.ForUpdate(),
			before.UnixMicro(), limit)
		err = database.Each(rows, err, func(rows *sql.Rows) error {
			var (
				m      = &metricRow{}
				labels sql.NullString
			)
			if err := rows.Scan(&m.ref, &labels); err != nil {
				return err
			}
			refs = append(refs, m.ref)
			if !labels.Valid {
				return nil
			}
			labelled = append(labelled, m)
			return json.Unmarshal([]byte(labels.String), &m.Labels)
		})
		if err != nil {
			return fmt.Errorf("cannot read deleted metrics: %w", err)
		}
		if err := deleteLabels(ctx, u, labelled); err != nil {
			return err
		}
		return eachChunk(refs, func(chunk []engine.Ref) error {
			_, err := u.Exec(ctx, "DELETE FROM metric WHERE ref IN "+places("?", len(chunk)), numberArgs(chunk)...)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return refs, nil
}
