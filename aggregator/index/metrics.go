package index

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
)

// compareNames orders names of metrics within resources.
func compareNames(a, b Name) int {
	return cmp.Or(slices.Compare(a.Resource[:], b.Resource[:]), cmp.Compare(a.Metric, b.Metric))
}

// metricColumns are the columns of a metric.
const metricColumns = `m.ref, m.id, m.name, m.unit, (SELECT name FROM creator c WHERE c.id = m.creator),
	m.policy, (SELECT name FROM policy p WHERE p.id = m.policy), m.resource, m.created_at, m.deleted_at, m.labels`

func scanMetric(rows *sql.Rows) (*Metric, error) {
	var (
		m                           = &Metric{}
		name, unit, creator, labels sql.NullString
		resource                    uuid.NullUUID
		created                     int64
		deleted                     sql.NullInt64
	)
	if err := rows.Scan(&m.Ref, &m.ID, &name, &unit, &creator, &m.PolicyID, &m.Policy, &resource, &created, &deleted, &labels); err != nil {
		return nil, err
	}
	m.Name, m.Unit, m.Creator, m.Resource = name.String, unit.String, creator.String, resource.UUID
	m.Created, m.Deleted = time.UnixMicro(created).UTC(), deleted.Valid
	if labels.Valid {
		if err := json.Unmarshal([]byte(labels.String), &m.Labels); err != nil {
			return nil, fmt.Errorf("labels of metric %s: %w", m.ID, err)
		}
	}
	return m, nil
}

func scanMetrics(rows *sql.Rows, err error, f func(*Metric)) error {
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		m, err := scanMetric(rows)
		if err == nil {
			f(m)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot read metrics: %w", err)
	}
	return nil
}

// Metric is the metric of an id that is not marked as deleted. The error is a [*NotFoundError].
func (x *Index) Metric(ctx context.Context, id uuid.UUID) (m *Metric, err error) {
	err = x.read(ctx, func(s *database.Session) error {
		rows, err := s.Query(ctx, "SELECT "+metricColumns+" FROM metric m WHERE m.deleted_at IS NULL AND m.id = ?", s.UUID(id))
		return scanMetrics(rows, err, func(found *Metric) { m = found })
	})
	if err == nil && m == nil {
		err = &NotFoundError{KindMetric, id.String()}
	}
	if err != nil {
		return nil, err
	}
	return m, x.know(ctx, m.PolicyID)
}

// metricSort are the columns that metrics can be sorted by.
var metricSort = map[string]column{
	"id":                  {expr: "m.id"},
	"name":                {expr: "m.name", nullable: true},
	"unit":                {expr: "m.unit", nullable: true},
	"creator":             {expr: "(SELECT name FROM creator c WHERE c.id = m.creator)", nullable: true},
	"archive_policy_name": {expr: "(SELECT name FROM policy p WHERE p.id = m.policy)"},
	"resource_id":         {expr: "m.resource", nullable: true},
}

// add adds the condition that metrics are within a scope.
func (s Scope) add(to *statement) {
	if s.Project == "" {
		return
	}
	to.add(` AND (m.creator IN (SELECT id FROM creator WHERE project_id = ?)
		OR m.resource IN (SELECT id FROM resource WHERE project_id = ?))`, s.Project, s.Project)
}

// Metrics lists metrics, by id unless the page sorts them otherwise. The error is a [*PageError].
func (x *Index) Metrics(ctx context.Context, q MetricQuery) ([]*Metric, error) {
	keys, err := q.Page.sortKeys(func(name string) (column, bool) {
		c, ok := metricSort[name]
		return c, ok
	}, nil, "id")
	if err != nil {
		return nil, err
	}
	var list []*Metric
	err = x.view(ctx, func(s *database.Session) error {
		list = nil
		var all statement
		all.add("SELECT " + metricColumns + " FROM ")
		if err := q.advise(ctx, s, &all); err != nil {
			return err
		}
		all.add(" AND m.deleted_at IS ")
		if q.Deleted {
			all.add("NOT ")
		}
		all.add("NULL")
		q.conditions(s, &all)
		q.Scope.add(&all)
		if q.Page.Marker != "" {
			id, _, err := q.Page.marker(false)
			if err != nil {
				return err
			}
			var one statement
			one.add("SELECT "+sorted(keys)+" FROM metric m WHERE m.id = ?", s.UUID(id))
			values, err := readMarker(ctx, s, &one, len(keys), q.Page.Marker)
			if err != nil {
				return err
			}
			all.add(" AND ")
			all.after(keys, values)
		}
		all.add(orderBy(keys, false) + " LIMIT " + strconv.Itoa(max(1, q.Page.Limit)))
		rows, err := s.QueryOnce(ctx, all.text.String(), all.args...)
		return scanMetrics(rows, err, func(m *Metric) { list = append(list, m) })
	})
	if err != nil {
		return nil, err
	}
	return list, x.knowMetrics(ctx, list)
}

// conditions adds what the query selects by. A + keeps databases from looking into
// an index that would give metrics in another order than that of their ids: so many
// have the same policy that it is faster to go through all in that order.
func (q *MetricQuery) conditions(on *database.Session, s *statement) {
	if q.ID != uuid.Nil {
		s.add(" AND m.id = ?", on.UUID(q.ID))
	}
	if q.Name != nil {
		s.text.WriteString(" AND m.name ")
		s.equal(*q.Name)
	}
	if q.Unit != nil {
		s.text.WriteString(" AND m.unit ")
		s.equal(*q.Unit)
	}
	switch {
	case q.Creator == nil:
	case *q.Creator == "":
		s.add(" AND m.creator IS NULL")
	default:
		s.add(" AND m.creator = (SELECT id FROM creator WHERE name = ?)", *q.Creator)
	}
	if q.Policy != "" {
		s.add(" AND +m.policy = (SELECT id FROM policy WHERE name = ?)", q.Policy)
	}
	if q.Resource != uuid.Nil {
		s.add(" AND m.resource = ?", on.UUID(q.Resource))
	}
}

// equal compares a text that is null when it is empty.
func (s *statement) equal(text string) {
	switch {
	case text == "":
		s.add("IS NULL")
	case checkText("", text) != nil: // there can be none
		s.add("IS NULL AND 1 = 0")
	default:
		s.add("= ?", text)
	}
}

func (x *Index) knowMetrics(ctx context.Context, list []*Metric) error {
	for _, m := range list {
		if err := x.know(ctx, m.PolicyID); err != nil {
			return err
		}
	}
	return nil
}

// ResourceMetrics gives the metrics of resources, ordered by name; with names, only
// those that have one of these.
func (x *Index) ResourceMetrics(ctx context.Context, resources []uuid.UUID, names ...string) (map[uuid.UUID][]*Metric, error) {
	found := make(map[uuid.UUID][]*Metric, len(resources))
	var all []*Metric
	err := x.view(ctx, func(s *database.Session) error {
		add := func(m *Metric) { all = append(all, m) }
		clear(all)
		all = all[:0]
		if len(names) == 0 {
			return eachChunk(resources, func(chunk []uuid.UUID) error {
				rows, err := s.Query(ctx, "SELECT "+metricColumns+" FROM metric m WHERE m.resource IN "+places("?", len(chunk)), uuids(s, chunk)...)
				return scanMetrics(rows, err, add)
			})
		}
		var wanted []Name
		for _, r := range resources {
			for _, n := range names {
				if checkText("", n) == nil {
					wanted = append(wanted, Name{r, n})
				}
			}
		}
		return eachChunk(wanted, func(chunk []Name) error {
			rows, err := s.Query(ctx, "SELECT DISTINCT "+metricColumns+" FROM "+namesTable(s, len(chunk))+
				" CROSS JOIN metric m WHERE m.resource = w.column1 AND m.name = w.column2", nameArgs(s, chunk)...)
			return scanMetrics(rows, err, add)
		})
	})
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		found[m.Resource] = append(found[m.Resource], m)
	}
	for id, list := range found {
		found[id] = unique(list, func(a, b *Metric) int { return compareNames(Name{Metric: a.Name}, Name{Metric: b.Name}) })
	}
	return found, x.knowMetrics(ctx, all)
}

// Reserve makes sure that no new metric gets a ref up to the given one. After a
// snapshot was restored, call it with the highest ref that the engine knows.
func (x *Index) Reserve(ctx context.Context, highest engine.Ref) error {
	return x.update(ctx, func(u *update) error {
		for _, statement := range reservations(u.Session) {
			if _, err := u.Exec(ctx, statement, int64(highest)); err != nil {
				return fmt.Errorf("cannot reserve numbers of metrics: %w", err)
			}
		}
		return nil
	})
}

// MetricNames lists the different names of metrics without labels that belong to
// resources, ascending, after the given one.
func (x *Index) MetricNames(ctx context.Context, scope Scope, after string, limit int) ([]string, error) {
	var names []string
	err := x.view(ctx, func(s *database.Session) error {
		names = nil
		// One look into the index for each name, however many metrics have it.
		for name := after; len(names) < limit; {
			var one statement
			one.add("SELECT m.name FROM metric m WHERE m.deleted_at IS NULL AND m.resource IS NOT NULL AND m.labels IS NULL AND m.name > ?", name)
			scope.add(&one)
			one.add(" ORDER BY m.name LIMIT 1")
			found, err := s.One(ctx, one.text.String(), one.args, &name)
			if err != nil {
				return fmt.Errorf("cannot list names of metrics: %w", err)
			}
			if !found {
				return nil
			}
			names = append(names, name)
		}
		return nil
	})
	return names, err
}
