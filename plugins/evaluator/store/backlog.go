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

// Backlog counts deliveries. It reads an entry of an index for each, and takes about a
// millisecond per ten thousand.
func (s *Store) Backlog(ctx context.Context) (b Backlog, err error) {
	err = s.db.Read(ctx, func(db *database.Session) error {
		b = Backlog{}
		var first *int64
		if _, err := db.One(ctx, "SELECT count(*), min(ref) FROM alarm_delivery WHERE dead = 0", nil, &b.Pending, &first); err != nil {
			return err
		}
		if _, err := db.One(ctx, "SELECT count(*) FROM alarm_delivery WHERE dead > 0", nil, &b.Dead); err != nil {
			return err
		}
		if first == nil {
			return nil
		}
		var created int64
		found, err := db.One(ctx, "SELECT created FROM alarm_delivery WHERE ref = ?", []any{*first}, &created)
		if found {
			b.Oldest = fromMicros(created)
		}
		return err
	})
	return b, err
}
