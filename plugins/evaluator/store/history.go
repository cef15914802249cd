package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/filter"
)

// record writes lines of history, and their deliveries; nil is none.
func record(ctx context.Context, db *database.Session, changes ...*Change) error {
	values := make([]any, 0, 9*len(changes))
	var deliveries []*Delivery
	for _, c := range changes {
		if c != nil {
			deliveries = append(deliveries, c.Deliveries...)
			values = append(values, db.UUID(c.ID), db.UUID(c.Alarm), int64(c.Kind), storable(c.Detail), c.User, c.Project, c.OnBehalfOf, int64(c.Severity), micros(c.At))
		}
	}
	_, err := db.Insert(ctx, "alarm_history (id, alarm, type, detail, owner, project, on_behalf_of, severity, at)", 9, values, "")
	if err != nil {
		return err
	}
	return owe(ctx, db, deliveries)
}

// Changes gives lines of history.
func (s *Store) Changes(ctx context.Context, q Query) (list []*Change, err error) {
	err = s.EachChange(ctx, q, func(part []*Change) error {
		list = append(list, part...)
		return nil
	})
	return list, err
}

// EachChange calls f with lines of history, some at a time. Its memory is that of those, and
// eight bytes for each of all. What was given when there is an error is not all.
func (s *Store) EachChange(ctx context.Context, q Query, f func([]*Change) error) error {
	return each(ctx, s, &historyTable, q, func(rows *sql.Rows) (*Change, error) {
		var c Change
		var kind, severity, at int64
		err := rows.Scan(&c.ID, &c.Alarm, &kind, &c.Detail, &c.User, &c.Project, &c.OnBehalfOf, &severity, &at)
		c.Kind, c.Severity, c.At = Kind(kind), def.Severity(severity), fromMicros(at)
		return &c, err
	}, f)
}

// Alarms gives alarms.
func (s *Store) Alarms(ctx context.Context, q Query) (list []*Alarm, err error) {
	err = s.EachAlarm(ctx, q, func(part []*Alarm) error {
		list = append(list, part...)
		return nil
	})
	return list, err
}

// EachAlarm calls f with alarms, as EachChange does with lines of history.
func (s *Store) EachAlarm(ctx context.Context, q Query, f func([]*Alarm) error) error {
	return each(ctx, s, &alarmTable, q, scan, f)
}

// Query asks for rows.
type Query struct {
	// Where is nil for all.
	Where filter.Expr
	// Order is that of the rows; the newest come first if it is empty.
	Order []filter.Order
	// Limit is the most rows; 0: any number.
	Limit int
	// Marker is the id of the last row of the page before. [ErrNotFound] if it is not there.
	Marker uuid.UUID
}

// expired is how many rows one transaction of Expire deletes at most, so that it keeps
// others from writing for a moment only.
const expired = 1000

// Expire deletes lines of history and dead letters that are older than the store keeps
// them. It returns when there are none any more.
func (s *Store) Expire(ctx context.Context, now time.Time) error {
	if s.o.History == 0 {
		return nil
	}
	before := micros(now.Add(-s.o.History))
	for _, statement := range []string{
		"DELETE FROM alarm_history WHERE ref IN (SELECT ref FROM alarm_history WHERE at < ? ORDER BY at LIMIT ?)",
		"DELETE FROM alarm_delivery WHERE ref IN (SELECT ref FROM alarm_delivery WHERE dead > 0 AND dead < ? ORDER BY dead LIMIT ?)",
	} {
		for n := int64(expired); n == expired; {
			err := s.change(ctx, func(ctx context.Context, db *database.Session) (err error) {
				n, err = db.Exec(ctx, statement, before, expired)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Summary is what is told of an alarm when its state changes.
type Summary struct {
	ID       uuid.UUID
	Name     string
	Severity def.Severity
	Project  string
	// Actions are URLs by state.
	Actions [3][]string
}

// Summaries gives those of alarms, without those that are not there.
func (s *Store) Summaries(ctx context.Context, ids []uuid.UUID) (found map[uuid.UUID]*Summary, err error) {
	found = make(map[uuid.UUID]*Summary, len(ids))
	for len(ids) > 0 {
		n := 1 // powers of two, so that few different statements are prepared
		for 2*n <= min(len(ids), maxListed) {
			n *= 2
		}
		part := ids[:n]
		ids = ids[n:]
		err := s.db.Read(ctx, func(db *database.Session) error {
			args := make([]any, n)
			for i, id := range part {
				args[i] = db.UUID(id)
			}
			rows, err := db.Query(ctx, "SELECT id, name, severity, project, actions FROM alarm WHERE id IN (?"+strings.Repeat(", ?", n-1)+")", args...)
			return database.Each(rows, err, func(rows *sql.Rows) error {
				var a Summary
				var actions string
				var severity int64
				if err := rows.Scan(&a.ID, &a.Name, &severity, &a.Project, &actions); err != nil {
					return err
				}
				a.Severity = def.Severity(severity)
				found[a.ID] = &a
				return json.Unmarshal([]byte(actions), &a.Actions)
			})
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}
