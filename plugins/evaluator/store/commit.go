package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// Transition is a change of a status that evaluation found. It is made only if the
// alarm still has the versions that were judged.
type Transition struct {
	ID                   uuid.UUID
	Definition, Previous int64 // versions of the definition and of the status
	// Status is the new one; its Version becomes that of Previous and one. Nil: nothing but
	// deliveries, of actions that are repeated.
	Status *def.Status
	// Seen, if not zero and there is no Status, replaces Evaluated, which raises no version.
	Seen time.Time
	// Change is its line of history; nil: none.
	Change *Change
	// Deliveries are what it makes necessary.
	Deliveries []*Delivery
}

// Commit makes transitions of different alarms in one transaction, and tells for each
// whether it was made: if not, the alarm was changed or deleted in the meantime. Those
// that were made are in the history and in the queues.
func (s *Store) Commit(ctx context.Context, list []*Transition) (made []bool, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	err = s.change(ctx, func(ctx context.Context, db *database.Session) error {
		made = make([]bool, len(list))
		current, err := versions(ctx, db, list)
		if err != nil {
			return err
		}
		var changes []*Change
		var deliveries []*Delivery
		for i, t := range list {
			if current[t.ID] != [2]int64{t.Definition, t.Previous} {
				continue
			}
			if t.Status != nil {
				if err := setStatus(ctx, db, t.ID, t.Status, t.Previous+1); err != nil {
					return err
				}
			}
			if t.Status == nil && !t.Seen.IsZero() {
				if _, err := db.Exec(ctx, "UPDATE alarm SET evaluated = ? WHERE id = ?", micros(t.Seen), db.UUID(t.ID)); err != nil {
					return err
				}
			}
			made[i] = true
			changes = append(changes, t.Change)
			deliveries = append(deliveries, t.Deliveries...)
		}
		if err := record(ctx, db, changes...); err != nil {
			return err
		}
		return owe(ctx, db, deliveries)
	})
	if err != nil {
		return nil, err
	}
	for i, t := range list {
		if made[i] && t.Status != nil {
			t.Status.Version = t.Previous + 1
		}
	}
	return made, nil
}

// maxListed is how many ids are in one statement at most.
const maxListed = 512

// versions reads the versions of alarms, and keeps others from changing them.
func versions(ctx context.Context, db *database.Session, list []*Transition) (map[uuid.UUID][2]int64, error) {
	current := make(map[uuid.UUID][2]int64, len(list))
	for len(list) > 0 {
		n := 1 // powers of two, so that few different statements are prepared
		for 2*n <= min(len(list), maxListed) {
			n *= 2
		}
		args := make([]any, n)
		for i, t := range list[:n] {
			args[i] = db.UUID(t.ID)
		}
		list = list[n:]
		// In the order of ids, so that two of these can't wait for each other.
		rows, err := db.Query(ctx, "SELECT id, version, status_version FROM alarm WHERE id IN (?"+strings.Repeat(", ?", n-1)+") ORDER BY id"+db.ForUpdate(), args...)
		err = database.Each(rows, err, func(rows *sql.Rows) error {
			var id uuid.UUID
			var v [2]int64
			err := rows.Scan(&id, &v[0], &v[1])
			current[id] = v
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return current, nil
}

// owe writes deliveries.
func owe(ctx context.Context, db *database.Session, list []*Delivery) error {
	values := make([]any, 0, 11*len(list))
	for _, d := range list {
		values = append(values, db.UUID(d.ID), Shard(d.Alarm), db.UUID(d.Alarm), d.Project, d.Target, d.Action, storable(d.Body), micros(d.Created), d.Tries, storable(d.Failed), micros(d.Dead))
	}
	_, err := db.Insert(ctx, "alarm_delivery (id, shard, alarm, project, target, action, body, created, tries, failed, dead)", 11, values, "")
	return err
}

const deliveryColumns = "ref, id, alarm, project, target, action, body, created, tries, failed, dead"

func scanDelivery(rows *sql.Rows) (*Delivery, error) {
	var d Delivery
	var created, dead int64
	err := rows.Scan(&d.Ref, &d.ID, &d.Alarm, &d.Project, &d.Target, &d.Action, &d.Body, &created, &d.Tries, &d.Failed, &dead)
	d.Created, d.Dead = fromMicros(created), fromMicros(dead)
	return &d, err
}

// Targets gives the targets that something is owed to, and how many deliveries.
func (s *Store) Targets(ctx context.Context) (owed map[string]int, err error) {
	err = s.db.Read(ctx, func(db *database.Session) error {
		owed = map[string]int{}
		rows, err := db.Query(ctx, "SELECT target, count(*) FROM alarm_delivery WHERE dead = 0 GROUP BY target")
		return database.Each(rows, err, func(rows *sql.Rows) error {
			var target string
			var n int
			err := rows.Scan(&target, &n)
			owed[target] = n
			return err
		})
	})
	return owed, err
}

// Owed gives the oldest deliveries of a target after one.
func (s *Store) Owed(ctx context.Context, target string, after int64, limit int) (list []*Delivery, err error) {
	err = s.db.Read(ctx, func(db *database.Session) error {
		list = nil
		rows, err := db.Query(ctx, "SELECT "+deliveryColumns+" FROM alarm_delivery WHERE dead = 0 AND target = ? AND ref > ? ORDER BY ref LIMIT ?", target, after, limit)
		return database.Each(rows, err, func(rows *sql.Rows) error {
			d, err := scanDelivery(rows)
			list = append(list, d)
			return err
		})
	})
	return list, err
}

// StillOwed reports whether a delivery is still to be done: it is not if it was done, given
// up, or its alarm was deleted.
func (s *Store) StillOwed(ctx context.Context, ref int64) (owed bool, err error) {
	err = s.db.Read(ctx, func(db *database.Session) error {
		var one int
		owed, err = db.One(ctx, "SELECT 1 FROM alarm_delivery WHERE ref = ? AND dead = 0", []any{ref}, &one)
		return err
	})
	return owed, err
}

// ofProject selects the rows of a project; nil: all.
func ofProject(project *string) (condition string, args []any) {
	if project == nil {
		return "1 = 1", nil
	}
	return "project = ?", []any{*project}
}

// Deliveries lists what is owed, or was given up if dead, of a project or of all (nil)
// after one; the oldest first.
func (s *Store) Deliveries(ctx context.Context, project *string, dead bool, after int64, limit int) (list []*Delivery, err error) {
	which := "dead = 0"
	if dead {
		which = "dead > 0"
	}
	whose, args := ofProject(project)
	err = s.db.Read(ctx, func(db *database.Session) error {
		list = nil
		rows, err := db.Query(ctx, "SELECT "+deliveryColumns+" FROM alarm_delivery WHERE "+which+" AND "+whose+" AND ref > ? ORDER BY ref LIMIT ?", append(slices.Clone(args), after, limit)...)
		return database.Each(rows, err, func(rows *sql.Rows) error {
			d, err := scanDelivery(rows)
			list = append(list, d)
			return err
		})
	})
	return list, err
}

// Delivered removes deliveries that were made.
func (s *Store) Delivered(ctx context.Context, refs ...int64) error {
	return s.change(ctx, func(ctx context.Context, db *database.Session) error {
		for _, ref := range refs {
			if _, err := db.Exec(ctx, "DELETE FROM alarm_delivery WHERE ref = ?", ref); err != nil {
				return err
			}
		}
		return nil
	})
}

// Tried notes that a delivery was tried in vain, and if dead that it is given up.
func (s *Store) Tried(ctx context.Context, ref int64, tries int, failed string, dead time.Time) error {
	return s.change(ctx, func(ctx context.Context, db *database.Session) error {
		_, err := db.Exec(ctx, "UPDATE alarm_delivery SET tries = ?, failed = ?, dead = ? WHERE ref = ?", tries, storable(failed), micros(dead), ref)
		return err
	})
}

// GiveUp puts aside a delivery that was tried in vain once more, and all others of its target
// that were made before a time. It tells how many these are.
func (s *Store) GiveUp(ctx context.Context, ref int64, target string, before time.Time, failed string) (n int, err error) {
	err = s.change(ctx, func(ctx context.Context, db *database.Session) error {
		if _, err := db.Exec(ctx, "UPDATE alarm_delivery SET tries = tries + 1 WHERE ref = ?", ref); err != nil {
			return err
		}
		given, err := db.Exec(ctx, "UPDATE alarm_delivery SET dead = ?, failed = ? WHERE dead = 0 AND target = ? AND (ref = ? OR created < ?)",
			micros(time.Now()), storable(failed), target, ref, micros(before))
		n = int(given)
		return err
	})
	return n, err
}

// Revive puts a dead letter of a project, or of any (nil), at the end of its queue again;
// [ErrNotFound] if there is none.
func (s *Store) Revive(ctx context.Context, ref int64, project *string) (target string, err error) {
	whose, args := ofProject(project)
	err = s.change(ctx, func(ctx context.Context, db *database.Session) error {
		var d *Delivery
		rows, err := db.Query(ctx, "SELECT "+deliveryColumns+" FROM alarm_delivery WHERE dead > 0 AND "+whose+" AND ref = ?", append(slices.Clone(args), ref)...)
		err = database.Each(rows, err, func(rows *sql.Rows) error {
			d, err = scanDelivery(rows)
			return err
		})
		switch {
		case err != nil:
			return err
		case d == nil:
			return ErrNotFound
		}
		if _, err := db.Exec(ctx, "DELETE FROM alarm_delivery WHERE ref = ?", ref); err != nil {
			return err
		}
		target = d.Target
		d.Tries, d.Failed, d.Dead = 0, "", time.Time{}
		d.Created = time.Now() // else it would be too old after one more attempt
		return owe(ctx, db, []*Delivery{d})
	})
	return target, err
}
