package index

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
)

// current is the number of a resource's current revision.
const current = -1

// resourceOrder is the usual order of lists of resources.
var resourceOrder = []SortKey{{Name: "revision_start"}, {Name: "started_at"}}

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
	resources := make([]*Resource, len(list))
	for i, r := range list {
		resources[i] = &r.Resource
	}
	return resources, nil
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
	resources := make([]*Resource, len(list))
	for i, r := range list {
		resources[i] = &r.Resource
	}
	return resources, nil
}

// listing is a list of resources that is being put together.
type listing struct {
	s       *database.Session
	q       ResourceQuery
	t       *storedType
	only    *uuid.UUID // nil for all
	usual   []SortKey
	uniques []string
	now     time.Time
	advice  *candidate // where to look first, or nil
}

// list reads a page of rows.
func (x *Index) list(ctx context.Context, s *database.Session, q ResourceQuery, only *uuid.UUID) ([]*row, error) {
	t, err := readType(ctx, s, q.Type, "")
	if err != nil {
		return nil, err
	}
	l := &listing{s: s, q: q, t: t, only: only, usual: resourceOrder, uniques: []string{"id"}, now: x.now()}
	if q.History {
		l.uniques = append(l.uniques, "revision")
	}
	var marker []any
	if q.Page.Marker != "" {
		if marker, err = l.marker(ctx); err != nil {
			return nil, err
		}
	}
	arm := func(to *statement, past bool) (keys []sortKey, err error) {
		if l.advice, err = l.advise(ctx, past); err != nil {
			return nil, err
		}
		return l.arm(to, past, marker)
	}
	var all statement
	keys, err := arm(&all, false)
	if err != nil {
		return nil, err
	}
	if q.History {
		// Both parts are sorted and limited, which an index may do for each; then there is
		// little left to sort.
		text, args := all.text.String(), all.args
		var past statement
		if _, err := arm(&past, true); err != nil {
			return nil, err
		}
		all = statement{}
		all.add("SELECT * FROM ("+text+") AS x UNION ALL SELECT * FROM (", args...)
		all.add(past.text.String()+") AS y"+orderBy(keys, true)+" LIMIT "+strconv.Itoa(l.limit()), past.args...)
	}
	var list []*row
	var rest []any
	if q.History {
		var ignored any
		rest = slices.Repeat([]any{&ignored}, len(keys))
	}
	rows, err := s.QueryOnce(ctx, all.text.String(), all.args...)
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		r, err := scanRow(rows, rest...)
		list = append(list, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list resources: %w", err)
	}
	return list, nil
}

func (l *listing) limit() int { return max(1, l.q.Page.Limit) }

func (l *listing) keys(past bool) ([]sortKey, error) {
	return l.q.Page.sortKeys(func(name string) (column, bool) {
		return resourceColumn(l.t, name, l.q.History, past)
	}, l.usual, l.uniques...)
}

// from starts a statement: columns, tables and the type. attributes says that the
// table of the attributes is needed. With CROSS JOIN SQLite takes the tables in
// their order.
func (l *listing) from(s *statement, columns string, past, attributes bool) {
	table, join := "resource", "a.id = r.id"
	if past {
		table, join = "resource_history", "a.revision = r.revision"
	}
	s.add("SELECT " + columns + " FROM ")
	where := " WHERE 1 = 1"
	if l.advice != nil {
		s.add("("+l.advice.text.String()+") AS d CROSS JOIN ", l.advice.args...)
		where = " WHERE r." + l.advice.key + " = d." + l.advice.key
	}
	s.add(table + " r")
	if attributes {
		s.add(" CROSS JOIN " + l.t.table(past) + " a")
		where += " AND " + join
	}
	s.add(where)
	if l.t.name != Generic {
		s.add(" AND r.type = " + strconv.FormatInt(l.t.id, 10))
	}
}

// arm puts together the statement for the current revisions, or the past ones.
func (l *listing) arm(s *statement, past bool, marker []any) ([]sortKey, error) {
	keys, err := l.keys(past)
	if err != nil {
		return nil, err
	}
	var conditions statement
	attributes := slices.ContainsFunc(keys, func(k sortKey) bool { return k.attribute })
	if l.only != nil {
		conditions.add(" AND r.id = ?", l.s.UUID(*l.only))
	}
	if l.q.Scope.Project != "" {
		conditions.add(" AND (r.project_id = ? OR r.creator IN (SELECT id FROM creator WHERE project_id = ?))", l.q.Scope.Project, l.q.Scope.Project)
	}
	if l.q.Filter != nil {
		conditions.add(" AND ")
		f := l.newFilter(&conditions, past)
		if err := f.node(l.q.Filter); err != nil {
			return nil, err
		}
		attributes = attributes || f.attributes
	}
	if marker != nil {
		conditions.add(" AND ")
		conditions.after(keys, marker)
	}
	columns := rowColumns(past)
	if l.q.History {
		columns += ", " + sorted(keys) // by which both parts are sorted once more
	}
	l.from(s, columns, past, attributes)
	s.add(conditions.text.String()+orderBy(keys, l.q.History)+" LIMIT "+strconv.Itoa(l.limit()), conditions.args...)
	return keys, nil
}

// newFilter adds searches to a statement.
func (l *listing) newFilter(s *statement, past bool) *filter {
	return &filter{statement: s, session: l.s, asker: l.q.Asker, now: l.now,
		column: func(name string) (column, bool) {
			if name == "revision" { // only sorted by
				return column{}, false
			}
			return resourceColumn(l.t, name, l.q.History, past)
		},
		missing: func(name string) error {
			return &InvalidError{fmt.Sprintf("Resource type %s has no %s attribute", l.t.name, name)}
		}}
}

// marker reads the values that the keys have at the marker.
func (l *listing) marker(ctx context.Context) ([]any, error) {
	id, revision, err := l.q.Page.marker(l.q.History)
	if err != nil {
		return nil, err
	}
	past := l.q.History && revision != current
	keys, err := l.keys(past)
	if err != nil {
		return nil, err
	}
	var one statement
	attributes := slices.ContainsFunc(keys, func(k sortKey) bool { return k.attribute })
	l.from(&one, sorted(keys), past, attributes) // l has no advice yet
	one.add(" AND r.id = ?", l.s.UUID(id))
	if past {
		one.add(" AND r.revision = ?", revision)
	}
	return readMarker(ctx, l.s, &one, len(keys), l.q.Page.Marker)
}

// readMarker runs the statement for the values of keys at a marker.
func readMarker(ctx context.Context, s *database.Session, one *statement, keys int, marker string) ([]any, error) {
	values, into := make([]any, keys), make([]any, keys)
	for i := range into {
		into[i] = &values[i]
	}
	found := false
	rows, err := s.QueryOnce(ctx, one.text.String(), one.args...)
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(into...)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot find the marker: %w", err)
	}
	if !found {
		return nil, errMarker(marker)
	}
	return values, nil
}

// compareNames orders names of metrics within resources.
func compareNames(a, b Name) int {
	return cmp.Or(slices.Compare(a.Resource[:], b.Resource[:]), cmp.Compare(a.Metric, b.Metric))
}
