package store

import (
	"context"
	"database/sql"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// Kinds of owners in alarm_count.
const (
	byProject = iota
	byUser
)

// count adds to the numbers of alarms of an alarm's owners, which are kept so that
// to make an alarm takes as long with a hundred thousand others as with none.
func count(ctx context.Context, db *database.Session, a *def.Alarm, n int) error {
	_, err := db.Insert(ctx, "alarm_count (kind, owner, alarms)", 3, []any{byProject, a.Project, n, byUser, a.User, n},
		"ON CONFLICT (kind, owner) DO UPDATE SET alarms = alarm_count.alarms + excluded.alarms")
	return err
}

// checkQuota gives ErrQuota if the owners of an alarm can't have one more. Operators, who set
// quotas, write alarms in files without.
func checkQuota(ctx context.Context, db *database.Session, a *Alarm, limits Limits) error {
	if a.Origin != "" {
		return nil
	}
	var most int
	found, err := db.One(ctx, "SELECT most FROM alarm_quota WHERE project = ? AND resource = 'alarms'", []any{a.Project}, &most)
	if err != nil {
		return err
	}
	if found {
		limits.Project = most
	}
	for kind, limit := range []int{byProject: limits.Project, byUser: limits.User} {
		if limit < 0 {
			continue
		}
		owner := a.Project
		if kind == byUser {
			owner = a.User
		}
		n := 0
		if _, err := db.One(ctx, "SELECT alarms FROM alarm_count WHERE kind = ? AND owner = ?", []any{kind, owner}, &n); err != nil {
			return err
		}
		if n >= limit {
			return ErrQuota
		}
	}
	return nil
}

// Quota is the most that a project may have of something: of alarms. Below 0: any number.
type Quota struct {
	Resource string
	Limit    int
}

// Quotas gives the quotas of a project that were set.
func (s *Store) Quotas(ctx context.Context, project string) (list []Quota, err error) {
	err = s.db.Read(ctx, func(db *database.Session) error {
		list = nil
		rows, err := db.Query(ctx, "SELECT resource, most FROM alarm_quota WHERE project = ? ORDER BY resource", project)
		return database.Each(rows, err, func(rows *sql.Rows) error {
			var q Quota
			err := rows.Scan(&q.Resource, &q.Limit)
			list = append(list, q)
			return err
		})
	})
	return list, err
}

// SetQuotas sets quotas of a project; others that it has stay. Of several for one resource the
// last counts.
func (s *Store) SetQuotas(ctx context.Context, project string, quotas []Quota) error {
	last := map[string]int{} // PostgreSQL refuses to set a row twice in one statement
	for _, q := range quotas {
		last[q.Resource] = q.Limit
	}
	var values []any
	for resource, limit := range last {
		values = append(values, project, resource, limit)
	}
	return s.change(ctx, func(ctx context.Context, db *database.Session) error {
		_, err := db.Insert(ctx, "alarm_quota (project, resource, most)", 3, values, "ON CONFLICT (project, resource) DO UPDATE SET most = excluded.most")
		return err
	})
}

// DeleteQuotas takes all quotas of a project away; [ErrNotFound] if it has none.
func (s *Store) DeleteQuotas(ctx context.Context, project string) error {
	return s.change(ctx, func(ctx context.Context, db *database.Session) error {
		n, err := db.Exec(ctx, "DELETE FROM alarm_quota WHERE project = ?", project)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}
