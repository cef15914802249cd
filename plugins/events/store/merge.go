package store

import (
	"context"
	"database/sql"
	"errors"
	"math/bits"
	"strings"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/sdk"
)

// Chunks of a day that are about as large as each other, of one tier, become one when
// there are some: so each event is written again a few times only. Those of the last
// tier are full.
const (
	fullTier   = 4
	fullEvents = maxEvents / 2
	fullSize   = maxSize / 2
	// Merged are at least mergeFrom chunks, or as many as make a full one, and at most
	// mergeTo.
	mergeFrom = 8
	mergeTo   = 64
)

func tierOf(events, size int) int {
	if events >= fullEvents || size >= fullSize {
		return fullTier
	}
	return max(0, bits.Len(uint(events))-1) / 3 // below 8, 64, 512
}

// mergeTier merges some chunks, if any tier of any day has enough of them.
func (s *Store) mergeTier(ctx context.Context) (merged bool, err error) {
	var d, tier int64
	err = s.db.Read(ctx, func(v *database.Session) (err error) {
		merged, err = v.One(ctx, `SELECT day, tier FROM event_chunk WHERE tier < ? GROUP BY tier, day
HAVING count(*) >= ? OR count(*) > 1 AND (sum(events) >= ? OR sum(size) >= ?) ORDER BY tier, day LIMIT 1`,
			[]any{fullTier, mergeFrom, maxEvents * 3 / 4, maxSize * 3 / 4}, &d, &tier)
		return err
	})
	if err != nil || !merged {
		return false, err
	}
	return true, s.mergeSome(ctx, d, tier, tier)
}

// settle merges all chunks of the next past day, after the given one, on which there
// are several that are not full. more is false if there is none.
func (s *Store) settle(ctx context.Context, after int64) (settled int64, more bool, err error) {
	today := dayOf(s.now().UnixNano())
	err = s.db.Read(ctx, func(v *database.Session) (err error) {
		more, err = v.One(ctx, "SELECT day FROM event_chunk WHERE tier < ? AND day > ? AND (day < ? OR day >= ? AND day < ?) GROUP BY day HAVING count(*) > 1 ORDER BY day LIMIT 1",
			[]any{fullTier, after, today, dayLater, dayLater + today}, &settled)
		return err
	})
	if err != nil || !more {
		return 0, false, err
	}
	return settled, true, s.mergeSome(ctx, settled, 0, fullTier-1)
}

// mergeSome makes one of the oldest chunks of a day and some tiers.
func (s *Store) mergeSome(ctx context.Context, d, from, to int64) error {
	var (
		old    []stored
		events []sdk.Event
	)
	broken := map[int]error{} // by their places in old
	err := s.db.View(ctx, func(v *database.Session) error {
		old, events = nil, nil
		clear(broken)
		rows, err := v.Query(ctx, "SELECT "+storedColumns+" FROM event_chunk c WHERE c.day = ? AND c.tier >= ? AND c.tier <= ? ORDER BY c.first, c.id LIMIT ?", d, from, to, mergeTo)
		count, size := 0, 0
		err = database.Each(rows, err, func(rows *sql.Rows) error {
			var c stored
			err := rows.Scan(c.scan()...)
			if count+c.events <= maxEvents && size+c.size <= maxSize {
				old = append(old, c)
				count, size = count+c.events, size+c.size
			}
			return err
		})
		if err != nil {
			return err
		}
		for i := range old {
			all := make([]int, old[i].events)
			for row := range all {
				all[row] = row
			}
			list, err := old[i].reader(ctx, v).Events(all, nil)
			if errors.Is(err, chunk.ErrDamaged) {
				broken[i] = err
				continue
			}
			if err != nil {
				return err
			}
			events = append(events, list...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, cause := range broken {
		if err := s.setAside(ctx, &old[i], cause); err != nil {
			return err
		}
	}
	if len(broken) > 0 || len(old) < 2 {
		return nil // the others the next time
	}
	c, err := s.merger.Encode(sorted(events))
	if err != nil {
		return err
	}
	return s.replace(ctx, d, old, c)
}

// replace puts a chunk in the place of others, unless another process has done so.
func (s *Store) replace(ctx context.Context, d int64, old []stored, c *chunk.Chunk) error {
	ids := make([]int64, len(old))
	args := make([]any, len(old))
	for i := range old {
		ids[i], args[i] = old[i].id, old[i].id
	}
	var id int64
	gone := errors.New("the chunks are gone")
	err := s.db.Write(ctx, func(w *database.Session) error {
		if err := turn(ctx, w); err != nil {
			return err
		}
		n, err := w.Exec(ctx, "DELETE FROM event_chunk WHERE id IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...)
		if err != nil {
			return err
		}
		if n != int64(len(old)) {
			return gone
		}
		id, err = insert(ctx, w, d, c)
		return err
	})
	if errors.Is(err, gone) {
		return nil
	}
	if err == nil {
		s.known.forget(ids)
		s.known.put(id, c.IDs)
	}
	return err
}
