package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/sdk"
)

// finder answers a question.
type finder struct {
	Query
	session *database.Session
	found   []match // sorted, at most Limit
	reading []*candidate
	broken  []brokenChunk
	rest    *Key // where to go on, if not all chunks were looked at that may have something

	low, high int64 // see around
}

// match is an event that is looked for.
type match struct {
	Key
	in  *candidate
	row int
}

type candidate struct {
	stored
	part []byte // the only part of one that is packed, unless it is large, else that with the filter
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
	// pagePart is the longest part of a packed chunk that comes with a page.
	pagePart = 64 << 10
)

// maxLooks is the most chunks that are looked at for one answer. A transaction that looks
// for what hardly any event has would otherwise last as long as there are chunks, and be
// in the way of others.
const maxLooks = 64

// search fills found, and rest.
func (f *finder) search(ctx context.Context) (err error) {
	f.low, f.high = math.MinInt64, math.MaxInt64
	if f.From > math.MinInt64 || f.To < math.MaxInt64 {
		if f.low, f.high, err = around(ctx, f.session, f.From, f.To); err != nil {
			return err
		}
	}
	var last *stored
	looks := 0
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
			c := &page[i]
			if f.over(&c.stored) {
				return nil
			}
			if looks >= maxLooks && f.stop(&c.stored) {
				return nil
			}
			looked, err := f.look(ctx, c)
			if looked {
				looks++
			}
			if errors.Is(err, chunk.ErrDamaged) {
				f.broken = append(f.broken, brokenChunk{c.stored, err})
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

// stop ends the search before a chunk, and leaves in found what neither that nor those
// that follow it can have anything before of. It refuses where the next search would begin
// where this one did.
func (f *finder) stop(c *stored) bool {
	if f.Order.ByID {
		return false
	}
	rest := f.Order.before(c.first)
	onwards := rest.Time > f.From
	if f.Order.TimeDescends {
		rest = f.Order.before(c.last)
		onwards = rest.Time < f.To
	}
	if !onwards {
		return false
	}
	f.rest = &rest
	n, _ := slices.BinarySearchFunc(f.found, rest, func(m match, k Key) int { return f.Order.Compare(m.Key, k) })
	f.found = f.found[:n]
	return true
}

// page gives the next chunks that may have what is looked for, in the order of time,
// with a part of each.
func (f *finder) page(ctx context.Context, last *stored, size int) ([]candidate, error) {
	by, direction, after, bound := "first", "ASC", ">", f.low
	place := func(c *stored) int64 { return c.first }
	if f.Order.TimeDescends && !f.Order.ByID {
		by, direction, after, bound = "last", "DESC", "<", f.high
		place = func(c *stored) int64 { return c.last }
	}
	query := "SELECT " + storedColumns + `, p.data FROM event_chunk c
LEFT JOIN event_part p ON p.chunk = c.id AND p.number = CASE WHEN c.packed = 0 THEN CAST(? AS BIGINT) WHEN c.bytes <= ? THEN 0 END
WHERE c.last >= ? AND c.first <= ? AND c.` + by + " " + after + "= ?"
	part := f.FilterPart()
	if part == 0 {
		part = math.MaxInt64 // none
	}
	args := []any{part, pagePart, f.From, f.To, bound}
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

// reader reads a candidate, and takes its part from it.
func (f *finder) reader(ctx context.Context, c *candidate) *chunk.Reader {
	r := c.reader(ctx, f.session)
	if part := c.part; part != nil {
		c.part = nil
		r.Part = func(number int64) ([]byte, error) {
			if number != 0 {
				return nil, nil
			}
			return part, nil
		}
		r.All = func() ([]chunk.Part, error) { return []chunk.Part{{Data: part}}, nil }
	}
	return r
}

// look adds to found what a chunk has. It looks at no chunk whose filter says that it has
// nothing.
func (f *finder) look(ctx context.Context, c *candidate) (looked bool, err error) {
	if c.packed == 0 {
		may, err := f.MayHold(c.part)
		c.part = nil
		if err != nil || !may {
			return false, err
		}
	}
	return true, f.lookAt(ctx, c)
}

func (f *finder) lookAt(ctx context.Context, c *candidate) error {
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
	next = f.rest
	if len(f.found) == f.Limit {
		f.cut(f.Limit, &next)
	}
	size := 0
	for i := range f.found {
		c := f.found[i].in
		if size += c.size / c.events; size > answerSize && i > 0 {
			f.cut(i, &next)
			break
		}
	}
	places := map[*candidate][]int{}
	var order []*candidate
	for i, m := range f.found {
		if places[m.in] == nil {
			order = append(order, m.in)
		}
		places[m.in] = append(places[m.in], i)
	}
	list = make([]sdk.Event, len(f.found))
	lost := map[int]bool{}
	size = 0
	for _, c := range order {
		at := places[c]
		// Some events of a chunk are far longer than most.
		if size > answerSize {
			f.cut(at[0], &next)
			break
		}
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
			size += chunk.Size(&events[i])
		}
	}
	list = list[:len(f.found)]
	kept := list[:0]
	for i := range list {
		if !lost[i] {
			kept = append(kept, list[i])
		}
	}
	return kept, next, nil
}

// cut leaves the first n events, of which there is at least one, of what was found.
func (f *finder) cut(n int, next **Key) {
	f.found = f.found[:n]
	*next = &f.found[n-1].Key
}
