package store

import (
	"cmp"
	"context"
	"database/sql"
	"math"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/sdk"
)

// Order is how answers are sorted.
type Order struct {
	// ByID sorts by message id, and those with the same by time; otherwise it is the
	// other way round.
	ByID bool
	// IDDescends and TimeDescends sort by that from the last to the first.
	IDDescends, TimeDescends bool
}

// Key is the place of an event in an order.
type Key struct {
	Time int64 // nanoseconds since 1970
	ID   string
}

// KeyOf is the place of an event.
func KeyOf(e *sdk.Event) Key { return Key{e.Generated.UnixNano(), e.MessageID} }

// Compare is below 0 where a is before b.
func (o Order) Compare(a, b Key) int {
	times, ids := cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID)
	if o.TimeDescends {
		times = -times
	}
	if o.IDDescends {
		ids = -ids
	}
	if o.ByID {
		return cmp.Or(ids, times)
	}
	return cmp.Or(times, ids)
}

// before is the place before all events of a time, and after those of the times before
// it, in an order by time.
func (o Order) before(t int64) Key {
	switch {
	case o.IDDescends && o.TimeDescends:
		t++
	case o.IDDescends:
		t--
	}
	return Key{Time: t} // no id is before the empty one, which no event has
}

// Query is a question.
type Query struct {
	chunk.Query
	Order Order
	// After, if not nil, is the place after which the answer begins.
	After *Key
	// Limit is the most events of an answer.
	Limit int
	// Only, if not nil, is the only trait that events are to have in the answer, without
	// their raw form.
	Only *string
}

// Everything is a query for all events.
func Everything() Query {
	return Query{Query: chunk.Query{From: math.MinInt64, To: math.MaxInt64}}
}

// answerSize is about how many bytes of events, without compression, an answer has at
// most, unless it is a single event.
const answerSize = 8 << 20

// Find gives the first events that are looked for, in their order. There may be fewer
// than the limit, or none, although there are others: next, if it is not nil, is the place
// after which to ask for those. Events that can't be read, since what is stored is damaged,
// are left out.
func (s *Store) Find(ctx context.Context, q Query) (events []sdk.Event, next *Key, err error) {
	f := &finder{Query: q}
	if q.After != nil && !q.Order.ByID {
		if q.Order.TimeDescends {
			f.To = min(f.To, q.After.Time)
		} else {
			f.From = max(f.From, q.After.Time)
		}
	}
	err = s.db.View(ctx, func(v *database.Session) (err error) {
		f.session, f.found, f.reading, f.broken, f.rest = v, nil, nil, nil, nil
		if err := f.search(ctx); err != nil {
			return err
		}
		events, next, err = f.events(ctx)
		return err
	})
	for _, b := range f.broken {
		s.damaged(ctx, &b.stored, b.err)
	}
	return events, next, err
}

// Get gives the event with a message id that a query lets through, or nil.
func (s *Store) Get(ctx context.Context, id string, q Query) (*sdk.Event, error) {
	q.ID, q.Limit = &id, 1
	for {
		events, next, err := s.Find(ctx, q)
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			return &events[0], nil
		}
		if next == nil {
			return nil, nil
		}
		q.After = next
	}
}

// Each calls f with parts of the answer to a question, in their order, until there is
// nothing more, the limit is reached (0 is none), or f fails. Events that are added
// meanwhile may be among them or not.
func (s *Store) Each(ctx context.Context, q Query, f func([]sdk.Event) error) error {
	const part = 1000
	for left := q.Limit; ; {
		q.Limit = part
		if left > 0 {
			q.Limit = min(part, left)
		}
		events, next, err := s.Find(ctx, q)
		if err != nil {
			return err
		}
		if len(events) > 0 {
			if err := f(events); err != nil {
				return err
			}
		}
		if left > 0 {
			if left -= len(events); left == 0 {
				return nil
			}
		}
		if next == nil {
			return nil
		}
		q.After = next
	}
}

// Status says what a store has.
type Status struct {
	Events, Chunks, Bytes int64
	// Damaged are the events of chunks which can't be read, or not all; they are not in
	// Events.
	Damaged int64
	// First and Last are when the oldest and the newest event were generated; zero if
	// there is none.
	First, Last time.Time
}

// Status counts what a store has.
func (s *Store) Status(ctx context.Context) (st Status, err error) {
	var first, last sql.NullInt64
	err = s.db.Read(ctx, func(v *database.Session) error {
		_, err := v.One(ctx, `SELECT coalesce(sum(CASE WHEN tier = ? THEN 0 ELSE events END), 0), count(*), coalesce(sum(bytes), 0),
coalesce(sum(CASE WHEN tier = ? THEN events ELSE 0 END), 0), min(first), max(last) FROM event_chunk`,
			[]any{damagedTier, damagedTier}, &st.Events, &st.Chunks, &st.Bytes, &st.Damaged, &first, &last)
		return err
	})
	if first.Valid {
		st.First, st.Last = time.Unix(0, first.Int64).UTC(), time.Unix(0, last.Int64).UTC()
	}
	return st, err
}
