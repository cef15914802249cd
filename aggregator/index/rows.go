package index

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
)

// current is the number of a resource's current revision.
const current = -1

// row is a resource as the tables have it.
type row struct {
	Resource
	typeID  int64
	creator sql.NullInt64
}

// rowColumns are the columns of a row, of the current revisions or the past ones.
func rowColumns(past bool) string {
	const all = `r.id, r.type, (SELECT name FROM resource_type t WHERE t.id = r.type), r.original, r.creator,
		(SELECT name FROM creator c WHERE c.id = r.creator), r.user_id, r.project_id, r.started_at, r.ended_at, r.revision_start, `
	if past {
		return all + "r.revision, r.revision_end"
	}
	return all + "CAST(-1 AS BIGINT), CAST(NULL AS BIGINT)"
}

// scanRow scans a row, and after its columns others into rest.
func scanRow(rows *sql.Rows, rest ...any) (*row, error) {
	var (
		r                      = &row{}
		creator, user, project sql.NullString
		started, revisionStart int64
		ended, revisionEnd     sql.NullInt64
	)
	err := rows.Scan(append([]any{&r.ID, &r.typeID, &r.Type, &r.Original, &r.creator, &creator, &user, &project,
		&started, &ended, &revisionStart, &r.Revision, &revisionEnd}, rest...)...)
	if err != nil {
		return nil, err
	}
	r.Creator, r.User, r.Project = creator.String, textOrNil(user), textOrNil(project)
	r.Started, r.RevisionStart = time.UnixMicro(started).UTC(), time.UnixMicro(revisionStart).UTC()
	r.Ended, r.RevisionEnd = timeOrNil(ended), timeOrNil(revisionEnd)
	return r, nil
}

func textOrNil(s sql.NullString) *string {
	if !s.Valid {
		return nil
	}
	return &s.String
}

func timeOrNil(n sql.NullInt64) *time.Time {
	if !n.Valid {
		return nil
	}
	t := time.UnixMicro(n.Int64).UTC()
	return &t
}

// readRows reads the current revisions of resources, without attributes; lock is
// "", or one of the session's.
func readRows(ctx context.Context, s *database.Session, ids []uuid.UUID, lock string) (map[uuid.UUID]*row, error) {
	found := make(map[uuid.UUID]*row, len(ids))
	// In one order, so that those who lock never wait for each other in a circle.
	ids = unique(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	for _, chunk := range padded(ids) {
		query := "SELECT " + rowColumns(false) + " FROM resource r WHERE r.id IN " + places("?", len(chunk))
		if lock != "" {
			query += " ORDER BY r.id" + lock + " OF r"
		}
		rows, err := s.Query(ctx, query, uuids(s, chunk)...)
		err = database.Each(rows, err, func(rows *sql.Rows) error {
			r, err := scanRow(rows)
			if err == nil {
				found[r.ID] = r
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("cannot read resources: %w", err)
		}
	}
	return found, nil
}

// readAttributes fills in the attributes of rows' types.
func readAttributes(ctx context.Context, s *database.Session, list []*row) error {
	byType := map[int64]map[bool][]*row{}
	var numbers []any
	for _, r := range list {
		if byType[r.typeID] == nil {
			byType[r.typeID] = map[bool][]*row{}
			numbers = append(numbers, r.typeID)
		}
		past := r.Revision != current
		byType[r.typeID][past] = append(byType[r.typeID][past], r)
	}
	for _, chunk := range padded(numbers) {
		types, err := readTypes(ctx, s, "WHERE id IN "+places("?", len(chunk)), chunk...)
		if err != nil {
			return err
		}
		for _, t := range types {
			for past, rows := range byType[t.id] {
				if err := t.readAttributes(ctx, s, rows, past); err != nil {
					return fmt.Errorf("cannot read attributes of resources: %w", err)
				}
			}
		}
	}
	return nil
}

func (t *storedType) readAttributes(ctx context.Context, s *database.Session, list []*row, past bool) error {
	if t.name == Generic {
		return nil
	}
	key, byKey := "id", map[any]*row{}
	if past {
		key = "revision"
	}
	args := make([]any, len(list))
	for i, r := range list {
		if past {
			byKey[r.Revision], args[i] = r, r.Revision
		} else {
			byKey[r.ID], args[i] = r, s.UUID(r.ID)
		}
		r.Attributes = make(map[string]any, len(t.attributes))
		for j := range t.attributes {
			r.Attributes[t.attributes[j].Name] = nil
		}
	}
	if len(t.attributes) == 0 {
		return nil
	}
	var (
		id       uuid.UUID
		revision int64
		values   = make([]any, len(t.attributes))
		into     = make([]any, 1, 1+len(values))
	)
	into[0] = &id
	if past {
		into[0] = &revision
	}
	for i := range values {
		into = append(into, &values[i])
	}
	for _, chunk := range padded(args) {
		rows, err := s.Query(ctx, "SELECT "+key+t.columns("")+" FROM "+t.table(past)+" WHERE "+key+" IN "+places("?", len(chunk)), chunk...)
		err = database.Each(rows, err, func(rows *sql.Rows) error {
			if err := rows.Scan(into...); err != nil {
				return err
			}
			r := byKey[any(id)]
			if past {
				r = byKey[any(revision)]
			}
			for i := range t.attributes {
				v, err := value(t.attributes[i].Type, values[i])
				if err != nil {
					return err
				}
				r.Attributes[t.attributes[i].Name] = v
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readMetricNames fills in the metrics of resources.
func readMetricNames(ctx context.Context, s *database.Session, list []*row) error {
	byID := make(map[uuid.UUID]map[string]uuid.UUID, len(list))
	ids := make([]uuid.UUID, 0, len(list))
	for _, r := range list {
		if byID[r.ID] == nil {
			byID[r.ID] = map[string]uuid.UUID{}
			ids = append(ids, r.ID)
		}
		r.Metrics = byID[r.ID]
	}
	for _, chunk := range padded(ids) {
		rows, err := s.Query(ctx, "SELECT resource, name, id FROM metric WHERE resource IN "+places("?", len(chunk)), uuids(s, chunk)...)
		err = database.Each(rows, err, func(rows *sql.Rows) error {
			var (
				resource, id uuid.UUID
				name         string
			)
			if err := rows.Scan(&resource, &name, &id); err != nil {
				return err
			}
			byID[resource][name] = id
			return nil
		})
		if err != nil {
			return fmt.Errorf("cannot read the metrics of resources: %w", err)
		}
	}
	return nil
}

// readResource reads the current revision of a resource of a type, with its
// attributes and metrics. The error is a [*NotFoundError] of either.
func readResource(ctx context.Context, s *database.Session, typ string, id uuid.UUID, lock string) (*row, error) {
	t, err := readType(ctx, s, typ, "")
	if err != nil {
		return nil, err
	}
	found, err := readRows(ctx, s, []uuid.UUID{id}, lock)
	if err != nil {
		return nil, err
	}
	r := found[id]
	if r == nil || typ != Generic && r.typeID != t.id {
		return nil, &NotFoundError{KindResource, id.String()}
	}
	if lock != "" {
		// Neither may the type change from here on.
		if _, err := readTypes(ctx, s, "WHERE id = ?"+s.ForShare(), r.typeID); err != nil {
			return nil, err
		}
	}
	if err := readAttributes(ctx, s, []*row{r}); err != nil {
		return nil, err
	}
	return r, readMetricNames(ctx, s, []*row{r})
}

// insertRows inserts resources of one type. It gives how many it could insert: not
// those whose ids were taken.
func (t *storedType) insertRows(ctx context.Context, u *update, list []*row) (int64, error) {
	inserted := int64(0)
	for _, chunk := range chunks(list) {
		var args []any
		for _, r := range chunk {
			args = append(args, u.UUID(r.ID), t.id, r.Original, r.creator, r.User, r.Project,
				r.Started.UnixMicro(), microsOrNil(r.Ended), r.RevisionStart.UnixMicro())
		}
		n, err := u.Exec(ctx, `INSERT INTO resource (id, type, original, creator, user_id, project_id, started_at, ended_at, revision_start)
			VALUES `+listed("(?,?,?,?,?,?,?,?,?)", len(chunk))+" ON CONFLICT DO NOTHING", args...)
		if err != nil {
			return 0, fmt.Errorf("cannot create resources: %w", err)
		}
		inserted += n
		if n < int64(len(chunk)) {
			return inserted, nil
		}
		if err := t.insertAttributes(ctx, u, chunk); err != nil {
			return 0, fmt.Errorf("cannot create resources: %w", err)
		}
	}
	return inserted, nil
}

func microsOrNil(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMicro()
}

func (t *storedType) insertAttributes(ctx context.Context, u *update, chunk []*row) error {
	if t.name == Generic {
		return nil
	}
	var args []any
	for _, r := range chunk {
		args = append(args, u.UUID(r.ID))
		for i := range t.attributes {
			a := &t.attributes[i]
			args = append(args, argument(u.Session, a.Type, r.Attributes[a.Name]))
		}
	}
	_, err := u.Exec(ctx, "INSERT INTO "+t.table(false)+" (id"+t.columns("")+") VALUES "+
		listed(places("?", 1+len(t.attributes)), len(chunk)), args...)
	return err
}

// saveRevision makes the current revision of a resource a past one, and gives the
// start of the new one, which is later in any case.
func (u *update) saveRevision(ctx context.Context, t *storedType, old *row) (time.Time, error) {
	now := u.now
	if !now.After(old.RevisionStart) {
		now = old.RevisionStart.Add(time.Microsecond)
	}
	var revision int64
	found, err := u.One(ctx, `INSERT INTO resource_history (id, type, original, creator, user_id, project_id, started_at, ended_at, revision_start, revision_end)
		SELECT id, type, original, creator, user_id, project_id, started_at, ended_at, revision_start, ? FROM resource WHERE id = ? RETURNING revision`,
		[]any{now.UnixMicro(), u.UUID(old.ID)}, &revision)
	if err == nil && !found {
		err = database.ErrAgain
	}
	if err == nil && t.name != Generic {
		_, err = u.Exec(ctx, "INSERT INTO "+t.table(true)+" (revision"+t.columns("")+") SELECT "+place(u.Session, "bigint")+t.columns("")+
			" FROM "+t.table(false)+" WHERE id = ?", revision, u.UUID(old.ID))
	}
	if err != nil {
		return now, fmt.Errorf("cannot keep the revision of a resource: %w", err)
	}
	return now, nil
}

// saveRow writes what a resource has become.
func (u *update) saveRow(ctx context.Context, t *storedType, r *row) error {
	_, err := u.Exec(ctx, "UPDATE resource SET type = ?, user_id = ?, project_id = ?, started_at = ?, ended_at = ?, revision_start = ? WHERE id = ?",
		t.id, r.User, r.Project, r.Started.UnixMicro(), microsOrNil(r.Ended), r.RevisionStart.UnixMicro(), u.UUID(r.ID))
	if err == nil && len(t.attributes) > 0 {
		var set []string
		var args []any
		for i := range t.attributes {
			a := &t.attributes[i]
			set = append(set, a.column()+" = ?")
			args = append(args, argument(u.Session, a.Type, r.Attributes[a.Name]))
		}
		_, err = u.Exec(ctx, "UPDATE "+t.table(false)+" SET "+strings.Join(set, ", ")+" WHERE id = ?", append(args, u.UUID(r.ID))...)
	}
	if err != nil {
		return fmt.Errorf("cannot change a resource: %w", err)
	}
	return nil
}
