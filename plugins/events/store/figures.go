package store

import (
	"context"
	"sync/atomic"

	"github.com/nephoscope/nepho/aggregator/database"
)

// Counters tell how many events were added since the start, how many of those that came
// were there already, and how many went with age.
type Counters struct{ Added, Repeated, Expired uint64 }

// Counters gives the counters.
func (s *Store) Counters() Counters {
	return Counters{s.counted.added.Load(), s.counted.repeated.Load(), s.counted.expired.Load()}
}

type counted struct{ added, repeated, expired atomic.Uint64 }

// Size is how much there is.
type Size struct {
	Events, Chunks int64
	Bytes          int64 // of the chunks' parts, compressed
}

// Size tells how much there is, or was shortly before: looking goes over all chunks, and
// where these are many it is done the less often.
func (s *Store) Size(ctx context.Context) (Size, error) {
	return s.size.Get(func() (now Size, err error) {
		err = s.db.Read(ctx, func(v *database.Session) error {
			_, err := v.One(ctx, "SELECT count(*), CAST(coalesce(sum(events), 0) AS BIGINT), CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM event_chunk", nil, &now.Chunks, &now.Events, &now.Bytes)
			return err
		})
		return now, err
	})
}
