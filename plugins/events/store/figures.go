package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

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

// sized is what there was when it was last looked.
type sized struct {
	mu sync.Mutex
	Size
	at   time.Time
	took time.Duration
}

// share is the part of the time that may be spent on looking how much there is: a
// hundredth.
const share = 100

// Size tells how much there is, or was shortly before: looking goes over all chunks, and
// where these are many it is done the less often.
func (s *Store) Size(ctx context.Context) (Size, error) {
	z := &s.sized
	z.mu.Lock()
	defer z.mu.Unlock()
	begun := time.Now()
	if begun.Sub(z.at) < share*z.took {
		return z.Size, nil
	}
	var now Size
	err := s.db.Read(ctx, func(v *database.Session) error {
		_, err := v.One(ctx, "SELECT count(*), CAST(coalesce(sum(events), 0) AS BIGINT), CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM event_chunk", nil, &now.Chunks, &now.Events, &now.Bytes)
		return err
	})
	if err == nil {
		z.Size, z.at, z.took = now, begun, time.Since(begun)
	}
	return now, err
}
