package index

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
)

// resourceOrder is the usual order of lists of resources.
var resourceOrder = []SortKey{{Name: "revision_start"}, {Name: "started_at"}}

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
