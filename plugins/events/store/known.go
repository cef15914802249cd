package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sort"
	"sync"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/sdk"
)

// known remembers the hashes of the message ids of some chunks: those that new events
// may be in already, since their times overlap. Chunks don't change, so that it is never
// wrong.
type known struct {
	mu   sync.Mutex
	ids  map[int64][]uint64
	size int
}

// maxKnown is the most hashes that are remembered, of 8 bytes each.
const maxKnown = 512 << 10

func (k *known) get(chunk int64) ([]uint64, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ids, ok := k.ids[chunk]
	return ids, ok
}

func (k *known) put(chunk int64, ids []uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ids == nil {
		k.ids = map[int64][]uint64{}
	}
	k.drop(chunk)
	for other := range k.ids {
		if k.size+len(ids) <= maxKnown {
			break
		}
		k.drop(other)
	}
	k.ids[chunk] = ids
	k.size += len(ids)
}

// forget forgets chunks that are gone.
func (k *known) forget(chunks []int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range chunks {
		k.drop(id)
	}
}

func (k *known) drop(chunk int64) {
	k.size -= len(k.ids[chunk])
	delete(k.ids, chunk)
}

// overlapping finds the chunks that have something of a span of time: first those that end
// in it or on its last day. Their ends find them, since most chunks are older.
var overlapping = func() string {
	query := "SELECT " + storedColumns + " FROM event_chunk c WHERE c.last >= ? AND c.last <= ? AND +c.first <= ?"
	for _, where := range odd {
		query += " UNION ALL SELECT " + storedColumns + " FROM event_chunk c WHERE " + where + " AND c.last > ? AND c.first <= ?"
	}
	return query
}()

// there gives the places of those sorted events that are stored already.
func (s *Store) there(ctx context.Context, w *database.Session, events []sdk.Event) (map[int]bool, error) {
	var overlap []stored
	from, to := events[0].Generated.UnixNano(), events[len(events)-1].Generated.UnixNano()
	_, midnight := midnights(from, to)
	rows, err := w.Query(ctx, overlapping, from, midnight, to, midnight, to, midnight, to)
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		var c stored
		err := rows.Scan(c.scan()...)
		overlap = append(overlap, c)
		return err
	})
	if err != nil || len(overlap) == 0 {
		return nil, err
	}
	hashes := make([]uint64, len(events))
	for i := range events {
		hashes[i] = chunk.Hash(events[i].MessageID)
	}
	var there map[int]bool
	for i := range overlap {
		c := &overlap[i]
		from := sort.Search(len(events), func(i int) bool { return events[i].Generated.UnixNano() >= c.first })
		to := sort.Search(len(events), func(i int) bool { return events[i].Generated.UnixNano() > c.last })
		if from >= to {
			continue
		}
		r := c.reader(ctx, w)
		ids, ok := s.known.get(c.id)
		if !ok {
			if ids, err = r.IDs(); errors.Is(err, chunk.ErrDamaged) {
				continue // whoever reads it will say so
			} else if err != nil {
				return nil, err
			}
			s.known.put(c.id, ids)
		}
		for i := from; i < to; i++ {
			if _, found := slices.BinarySearch(ids, hashes[i]); !found || there[i] {
				continue
			}
			at := events[i].Generated.UnixNano()
			rows, err := r.Match(&chunk.Query{From: at, To: at, ID: &events[i].MessageID})
			if err != nil && !errors.Is(err, chunk.ErrDamaged) {
				return nil, err
			}
			if len(rows) > 0 {
				if there == nil {
					there = map[int]bool{}
				}
				there[i] = true
			}
		}
	}
	return there, nil
}
