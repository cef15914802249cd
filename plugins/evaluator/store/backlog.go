package store

import (
	"context"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
)

// Backlog is how much is owed.
type Backlog struct {
	// Pending is how many deliveries are still to be done, Dead how many were given up.
	Pending, Dead int
	// Oldest is when what has waited longest was made; zero: nothing waits.
	Oldest time.Time
}

// Backlog tells how much is owed, or was shortly before: counting reads an entry of an index
// for each delivery, and where these are many it is done the less often.
func (s *Store) Backlog(ctx context.Context) (Backlog, error) {
	return s.backlog.Get(func() (b Backlog, err error) {
		err = s.db.Read(ctx, func(db *database.Session) error {
			b, err = backlog(ctx, db)
			return err
		})
		return b, err
	})
}

func backlog(ctx context.Context, db *database.Session) (b Backlog, err error) {
	var first *int64
	if _, err := db.One(ctx, "SELECT count(*), min(ref) FROM alarm_delivery WHERE dead = 0", nil, &b.Pending, &first); err != nil {
		return b, err
	}
	if _, err := db.One(ctx, "SELECT count(*) FROM alarm_delivery WHERE dead > 0", nil, &b.Dead); err != nil || first == nil {
		return b, err
	}
	var created int64
	found, err := db.One(ctx, "SELECT created FROM alarm_delivery WHERE ref = ?", []any{*first}, &created)
	if found {
		b.Oldest = fromMicros(created)
	}
	return b, err
}
