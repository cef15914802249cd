package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// Alarm is an alarm as it is stored.
type Alarm struct {
	def.Alarm
	def.Status
}

// columns are those that scan reads.
const columns = "id, version, name, description, type, rule, enabled, severity, actions, repeat_actions, constraints, project, owner, admin, origin, changed, " +
	"state, reason, since, evaluated, status_version"

// scan reads a row of columns.
func scan(rows *sql.Rows) (*Alarm, error) {
	var a Alarm
	var kind, rule, actions, constraints string
	var severity, state, changed, since, evaluated int64
	err := rows.Scan(&a.ID, &a.Alarm.Version, &a.Name, &a.Description, &kind, &rule, &a.Enabled, &severity, &actions, &a.Repeat, &constraints,
		&a.Project, &a.User, &a.Admin, &a.Origin, &changed, &state, &a.Reason, &since, &evaluated, &a.Status.Version)
	if err != nil {
		return nil, err
	}
	a.Severity, a.State = def.Severity(severity), def.State(state)
	a.Changed, a.Since, a.Evaluated = fromMicros(changed), fromMicros(since), fromMicros(evaluated)
	if a.Rule, err = def.ReadRule(kind, []byte(rule)); err == nil {
		err = json.Unmarshal([]byte(actions), &a.Actions)
	}
	if err == nil && constraints != "" {
		err = json.Unmarshal([]byte(constraints), &a.Constraints)
	}
	if err != nil {
		return nil, fmt.Errorf("alarm %s is damaged in the database: %w", a.ID, err)
	}
	return &a, nil
}

// definition gives the values of a definition's columns, in the order of
// definitionColumns.
func definition(a *def.Alarm) ([]any, error) {
	actions, err := json.Marshal(a.Actions)
	if err != nil {
		return nil, err
	}
	var constraints []byte
	if len(a.Constraints) > 0 {
		if constraints, err = json.Marshal(a.Constraints); err != nil {
			return nil, err
		}
	}
	return []any{
		a.Version, a.Name, a.Description, a.Rule.Type(), string(def.AppendJSON(nil, def.Fields(a.Rule))), a.Enabled, int64(a.Severity),
		string(actions), a.Repeat, string(constraints), a.Project, a.User, a.Admin, a.Origin, micros(a.Changed),
	}, nil
}

const definitionColumns = "version, name, description, type, rule, enabled, severity, actions, repeat_actions, constraints, project, owner, admin, origin, changed"

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(v).UTC()
}

// Shard is the part that an alarm belongs to.
func Shard(id uuid.UUID) int64 { return int64(id[15] % Shards) }

// Limits are the most alarms that an owner may have; below 0: any number.
type Limits struct{ Project, User int }

// Create stores a new alarm, whose Version becomes 1. The project's quota, if it has
// one, overrules that of limits. Its error may be [ErrQuota].
func (s *Store) Create(ctx context.Context, a *Alarm, limits Limits, c *Change) error {
	a.Alarm.Version, a.Status.Version = 1, 1
	values, err := definition(&a.Alarm)
	if err != nil {
		return err
	}
	return s.change(ctx, func(ctx context.Context, db *database.Session) error {
		if err := checkQuota(ctx, db, a, limits); err != nil {
			return err
		}
		all := append([]any{db.UUID(a.ID), Shard(a.ID)}, values...)
		all = append(all, int64(a.State), a.Reason, micros(a.Since), micros(a.Evaluated), a.Status.Version)
		if _, err := db.Insert(ctx, "alarm (id, shard, "+definitionColumns+", state, reason, since, evaluated, status_version)", len(all), all, ""); err != nil {
			return err
		}
		if err := count(ctx, db, &a.Alarm, 1); err != nil {
			return err
		}
		return record(ctx, db, c)
	})
}

// Update replaces a definition that has the version that a has, which is raised. With a
// status, that is replaced, too, whatever it was: its Version is raised. The status of a
// becomes the one that the alarm has afterwards, which evaluation may have changed since a
// was read. Its error may be [ErrNotFound] or [ErrChanged]. What an alarm still owes is
// not changed. A trust that its actions do not have any more is owed to [TrustTarget].
func (s *Store) Update(ctx context.Context, a *Alarm, status *def.Status, c *Change) error {
	was := a.Alarm.Version
	next := a.Alarm
	next.Version++
	values, err := definition(&next)
	if err != nil {
		return err
	}
	var present def.Status
	err = s.change(ctx, func(ctx context.Context, db *database.Session) error {
		var version, state, since, evaluated int64
		var actions string
		former := def.Alarm{ID: a.ID}
		found, err := db.One(ctx, "SELECT version, project, owner, actions, state, reason, since, evaluated, status_version FROM alarm WHERE id = ?"+db.ForUpdate(),
			[]any{db.UUID(a.ID)}, &version, &former.Project, &former.User, &actions, &state, &present.Reason, &since, &evaluated, &present.Version)
		switch {
		case err != nil:
			return err
		case !found:
			return ErrNotFound
		case version != was:
			return ErrChanged
		}
		present.State, present.Since, present.Evaluated = def.State(state), fromMicros(since), fromMicros(evaluated)
		set := "UPDATE alarm SET (" + definitionColumns + ") = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?"
		if _, err := db.Exec(ctx, set, append(values, db.UUID(a.ID))...); err != nil {
			return err
		}
		if status != nil {
			version := present.Version + 1
			present = *status
			present.Version = version
			if err := setStatus(ctx, db, a.ID, status, version); err != nil {
				return err
			}
		}
		if former.Project != a.Project || former.User != a.User {
			if err := count(ctx, db, &former, -1); err != nil {
				return err
			}
			if err := count(ctx, db, &a.Alarm, 1); err != nil {
				return err
			}
		}
		if err := untrust(ctx, db, &former, actions, a.Trust()); err != nil {
			return err
		}
		return record(ctx, db, c)
	})
	if err == nil {
		a.Alarm.Version, a.Status = was+1, present
	}
	return err
}

func setStatus(ctx context.Context, db *database.Session, id uuid.UUID, s *def.Status, version int64) error {
	_, err := db.Exec(ctx, "UPDATE alarm SET since = CASE state WHEN ? THEN since ELSE ? END, state = ?, reason = ?, evaluated = ?, status_version = ? WHERE id = ?",
		int64(s.State), micros(s.Since), int64(s.State), storable(s.Reason), micros(s.Evaluated), version, db.UUID(id))
	return err
}

// SetState sets the status of an alarm, whatever it was; Version is raised.
func (s *Store) SetState(ctx context.Context, id uuid.UUID, status *def.Status, c *Change) error {
	var version int64
	err := s.change(ctx, func(ctx context.Context, db *database.Session) error {
		found, err := db.One(ctx, "SELECT status_version FROM alarm WHERE id = ?"+db.ForUpdate(), []any{db.UUID(id)}, &version)
		if err != nil {
			return err
		}
		if !found {
			return ErrNotFound
		}
		version++
		if err := setStatus(ctx, db, id, status, version); err != nil {
			return err
		}
		return record(ctx, db, c)
	})
	if err == nil {
		status.Version = version
	}
	return err
}

// Delete deletes an alarm and what it still owes. Its history stays, with the change,
// until that is expired. Its trust is owed to [TrustTarget].
func (s *Store) Delete(ctx context.Context, id uuid.UUID, c *Change) error {
	err := s.change(ctx, func(ctx context.Context, db *database.Session) error {
		var actions string
		a := def.Alarm{ID: id}
		found, err := db.One(ctx, "SELECT project, owner, actions FROM alarm WHERE id = ?"+db.ForUpdate(), []any{db.UUID(id)}, &a.Project, &a.User, &actions)
		if err != nil {
			return err
		}
		if !found {
			return ErrNotFound
		}
		if _, err := db.Exec(ctx, "DELETE FROM alarm WHERE id = ?", db.UUID(id)); err != nil {
			return err
		}
		if _, err := db.Exec(ctx, "DELETE FROM alarm_delivery WHERE alarm = ? AND dead = 0 AND target <> ?", db.UUID(id), TrustTarget); err != nil {
			return err
		}
		if err := untrust(ctx, db, &a, actions, ""); err != nil {
			return err
		}
		if err := count(ctx, db, &a, -1); err != nil {
			return err
		}
		return record(ctx, db, c)
	})
	if err == nil {
		s.deletions.Add(1)
	}
	return err
}

// Deletions is how many alarms were deleted here since the store was opened. While it stays
// the same, deliveries that were read are still owed.
func (s *Store) Deletions() int64 { return s.deletions.Load() }

// Alarm gives an alarm, or [ErrNotFound].
func (s *Store) Alarm(ctx context.Context, id uuid.UUID) (a *Alarm, err error) {
	err = s.db.Read(ctx, func(db *database.Session) error {
		a = nil
		rows, err := db.Query(ctx, "SELECT "+columns+" FROM alarm WHERE id = ?", db.UUID(id))
		return database.Each(rows, err, func(rows *sql.Rows) error {
			a, err = scan(rows)
			return err
		})
	})
	if err == nil && a == nil {
		err = ErrNotFound
	}
	return a, err
}

// isRefusal reports whether an error of a change says that it changed nothing, and
// why it never will.
func isRefusal(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrChanged) || errors.Is(err, ErrQuota)
}
