package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
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
// than the limit although there are others: next, if it is not nil, is the place after
// which to ask for those. Events that can't be read, since what is stored is damaged, are
// left out.
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
		f.session, f.found, f.reading, f.broken = v, nil, nil, nil
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
	events, _, err := s.Find(ctx, q)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return &events[0], nil
}

// finder answers a question.
type finder struct {
	Query
	session *database.Session
	found   []match // sorted, at most Limit
	reading []*candidate
	broken  []brokenChunk
}

// match is an event that is looked for.
type match struct {
	Key
	in  *candidate
	row int
}

type candidate struct {
	stored
	part []byte // the only part of one that is packed, else that with the filter
	read *chunk.Reader
}

type brokenChunk struct {
	stored
	err error
}

// Sizes of pages of candidates. Few are needed where there is something in each, and
// many where values are looked for that few have.
const (
	firstPage     = 8
	firstOfValues = 128
	lastPage      = 512
)

// search fills found.
func (f *finder) search(ctx context.Context) error {
	var last *stored
	size := firstPage
	if f.Selective() {
		size = firstOfValues
	}
	for ; ; size = min(4*size, lastPage) {
		page, err := f.page(ctx, last, size)
		if err != nil {
			return err
		}
		for i := range page {
			if f.over(&page[i].stored) {
				return nil
			}
			err := f.look(ctx, &page[i])
			if errors.Is(err, chunk.ErrDamaged) {
				f.broken = append(f.broken, brokenChunk{page[i].stored, err})
			} else if err != nil {
				return err
			}
		}
		if len(page) < size {
			return nil
		}
		last = &page[len(page)-1].stored
	}
}

// over reports whether neither a chunk nor those that follow it have what belongs into
// an answer that is full.
func (f *finder) over(c *stored) bool {
	if len(f.found) < f.Limit || f.Order.ByID {
		return false
	}
	worst := f.found[len(f.found)-1].Time
	if f.Order.TimeDescends {
		return c.last < worst
	}
	return c.first > worst
}

// page gives the next chunks that may have what is looked for, in the order of time,
// with a part of each.
func (f *finder) page(ctx context.Context, last *stored, size int) ([]candidate, error) {
	by, direction, after := "first", "ASC", ">"
	place := func(c *stored) int64 { return c.first }
	if f.Order.TimeDescends && !f.Order.ByID {
		by, direction, after = "last", "DESC", "<"
		place = func(c *stored) int64 { return c.last }
	}
	query := "SELECT " + storedColumns + `, p.data FROM event_chunk c
LEFT JOIN event_part p ON p.chunk = c.id AND p.number = CASE c.packed WHEN 1 THEN 0 ELSE CAST(? AS BIGINT) END
WHERE c.last >= ? AND c.first <= ?`
	part := f.FilterPart()
	if part == 0 {
		part = math.MaxInt64 // none
	}
	args := []any{part, f.From, f.To}
	if last != nil {
		query += " AND (c." + by + ", c.id) " + after + " (?, ?)"
		args = append(args, place(last), last.id)
	}
	query += " ORDER BY c." + by + " " + direction + ", c.id " + direction + " LIMIT ?"
	var page []candidate
	rows, err := f.session.Query(ctx, query, append(args, size)...)
	err = database.Each(rows, err, func(rows *sql.Rows) error {
		var c candidate
		err := rows.Scan(append(c.scan(), &c.part)...)
		page = append(page, c)
		return err
	})
	return page, err
}

// reader reads a candidate.
func (f *finder) reader(ctx context.Context, c *candidate) *chunk.Reader {
	r := c.reader(ctx, f.session)
	if c.packed != 0 {
		r.Part = func(number int64) ([]byte, error) {
			if number != 0 {
				return nil, nil
			}
			return c.part, nil
		}
		r.All = func() ([]chunk.Part, error) { return []chunk.Part{{Data: c.part}}, nil }
	}
	return r
}

// look adds to found what a chunk has.
func (f *finder) look(ctx context.Context, c *candidate) error {
	if c.packed == 0 {
		may, err := f.MayHold(c.part)
		c.part = nil
		if err != nil || !may {
			return err
		}
	}
	r := f.reader(ctx, c)
	// What is found will be read as a whole.
	if f.Only == nil && (f.Selective() || len(f.Where) == 0) {
		if err := r.Fetch(); err != nil {
			return err
		}
	}
	rows, err := r.Match(&f.Query.Query)
	if err != nil || len(rows) == 0 {
		return err
	}
	times, err := r.Times()
	if err != nil {
		return err
	}
	if f.Order.TimeDescends {
		slices.Reverse(rows)
	}
	added := 0
	for _, row := range rows {
		if full := len(f.found) == f.Limit; full && !f.Order.ByID {
			worst := f.found[len(f.found)-1].Time
			if f.Order.TimeDescends && times[row] < worst || !f.Order.TimeDescends && times[row] > worst {
				break
			}
		}
		id, err := r.ID(row)
		if err != nil {
			return err
		}
		if f.add(match{Key{times[row], id}, c, row}) {
			added++
		}
	}
	if added > 0 {
		f.keep(c, r)
	}
	return nil
}

// add puts an event at its place, unless it is behind the last one of a full answer.
func (f *finder) add(m match) bool {
	if f.After != nil && f.Order.Compare(m.Key, *f.After) <= 0 {
		return false
	}
	at := len(f.found)
	if at > 0 && f.Order.Compare(m.Key, f.found[at-1].Key) < 0 {
		at, _ = slices.BinarySearchFunc(f.found, m.Key, func(m match, k Key) int { return f.Order.Compare(m.Key, k) })
	}
	if at == f.Limit {
		return false
	}
	if len(f.found) == f.Limit {
		f.found = f.found[:f.Limit-1]
	}
	f.found = slices.Insert(f.found, at, m)
	return true
}

// keptReaders is about how many bytes of chunks, without compression, are kept from the
// search until their events are read.
const keptReaders = 16 << 20

// keep keeps what was read of a chunk that has events in the answer, and drops what was
// read of those that no longer do, and of those that are too many.
func (f *finder) keep(c *candidate, r *chunk.Reader) {
	c.read = r
	f.reading = append(f.reading, c)
	in := map[*candidate]bool{}
	for i := range f.found {
		in[f.found[i].in] = true
	}
	size := 0
	f.reading = slices.DeleteFunc(f.reading, func(c *candidate) bool {
		if in[c] && size+c.size <= keptReaders {
			size += c.size
			return false
		}
		c.read = nil
		return true
	})
}

// events reads what was found.
func (f *finder) events(ctx context.Context) (list []sdk.Event, next *Key, err error) {
	more := len(f.found) == f.Limit
	size := 0
	for i := range f.found {
		c := f.found[i].in
		if size += c.size / c.events; size > answerSize && i > 0 {
			f.found, more = f.found[:i], true
			break
		}
	}
	if more {
		next = &f.found[len(f.found)-1].Key
	}
	list = make([]sdk.Event, len(f.found))
	places := map[*candidate][]int{}
	var order []*candidate
	for i, m := range f.found {
		if places[m.in] == nil {
			order = append(order, m.in)
		}
		places[m.in] = append(places[m.in], i)
	}
	lost := map[int]bool{}
	for _, c := range order {
		at := places[c]
		slices.SortFunc(at, func(a, b int) int { return cmp.Compare(f.found[a].row, f.found[b].row) })
		rows := make([]int, len(at))
		for i := range at {
			rows[i] = f.found[at[i]].row
		}
		r := c.read
		if r == nil {
			r = f.reader(ctx, c)
		}
		events, err := r.Events(rows, f.Only)
		c.read = nil
		if errors.Is(err, chunk.ErrDamaged) {
			f.broken = append(f.broken, brokenChunk{c.stored, err})
			for _, i := range at {
				lost[i] = true
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		for i := range at {
			list[at[i]] = events[i]
		}
	}
	if len(lost) > 0 {
		kept := list[:0]
		for i := range list {
			if !lost[i] {
				kept = append(kept, list[i])
			}
		}
		return kept, next, nil
	}
	return list, next, nil
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
