// Package store keeps events in a database, as chunks of columns, and finds them
// again: the event store without its API.
//
// Events are added in batches, each of which becomes a small chunk (add.go), one copy of
// each (known.go). In the background small chunks become large ones (merge.go), and old
// ones go (expire.go). Questions look at the filters of chunks, then at the columns that
// they are about, and then at the events that were found (query.go, find.go).
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/plugins/events/chunk"
)

//go:embed schema/*.sql
var schemas embed.FS

// Store is an open store. Its methods may be called concurrently.
type Store struct {
	db        *database.DB
	log       *slog.Logger
	retention time.Duration
	now       func() time.Time

	adding  sync.Mutex // of Add
	encoder *chunk.Encoder
	kinds   kinds
	known   known

	merging sync.Mutex // of what goes on in the background
	merger  *chunk.Encoder
	more    chan struct{} // there may be something to merge
	trouble bool          // the log knows that the background work fails
	noted   sync.Map      // numbers of chunks that are known to be damaged

	counted counted
	size    database.Paced[Size]
}

// Options of [Open].
type Options struct {
	// URL is postgres://..., or the path of a SQLite file, which is made.
	URL string
	// Retention is how long events are kept after they were generated; 0 is for ever.
	Retention time.Duration
	// Log is told of trouble; nil: nobody is.
	Log *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Open opens a store, makes it if there is none, and brings it to the newest schema.
// What goes on in the background is done by [Store.Run].
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	// What is read of SQLite's pages is kept by the kernel as well.
	db, err := database.Open(ctx, database.Options{URL: o.URL, What: "the event store", Log: o.Log, WriterCache: 4 << 20, ViewCache: 2 << 20, LogSize: 16 << 20})
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(schemas, "schema")
	if err == nil {
		err = db.Migrate(ctx, "event_version", files)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{
		db: db, log: o.Log, retention: o.Retention, now: o.Now,
		encoder: chunk.NewEncoder(), merger: chunk.NewEncoder(), more: make(chan struct{}, 1),
	}, nil
}

// Close closes the store, when nothing uses it any more.
func (s *Store) Close() error { return s.db.Close() }

// turn makes other processes wait that add or replace chunks, until the transaction is
// over. SQLite has one writer in any case. The server ends the transaction of a process
// that stands still meanwhile, as its machine may: others would wait for it for ever.
func turn(ctx context.Context, w *database.Session) error {
	if !w.Shared() {
		return nil
	}
	_, err := w.One(ctx, "SELECT set_config('idle_in_transaction_session_timeout', '30s', true) FROM event_turn WHERE one = 1"+w.ForUpdate(), nil, new(string))
	return err
}

// insert writes a chunk, and gives its number.
func insert(ctx context.Context, w *database.Session, day int64, c *chunk.Chunk) (int64, error) {
	bytes := 0
	for _, p := range c.Parts {
		bytes += len(p.Data)
	}
	packed := 0
	if c.Packed {
		packed = 1
	}
	var id int64
	_, err := w.One(ctx, "INSERT INTO event_chunk (day, tier, events, first, last, size, bytes, packed) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
		[]any{day, tierOf(c.Count, c.Size), c.Count, c.First, c.Last, c.Size, bytes, packed}, &id)
	if err != nil {
		return 0, err
	}
	values := make([]any, 0, 3*len(c.Parts))
	for _, p := range c.Parts {
		values = append(values, id, p.Number, p.Data)
	}
	_, err = w.Insert(ctx, "event_part (chunk, number, data)", 3, values, "")
	return id, err
}

// stored is a chunk in the database.
type stored struct {
	id, first, last int64
	events, size    int
	packed          int
}

func (c *stored) scan() []any {
	return []any{&c.id, &c.first, &c.last, &c.events, &c.size, &c.packed}
}

const storedColumns = "c.id, c.first, c.last, c.events, c.size, c.packed"

// reader reads a chunk within a transaction.
func (c *stored) reader(ctx context.Context, s *database.Session) *chunk.Reader {
	return &chunk.Reader{
		Count: c.events, Packed: c.packed != 0,
		Part: func(number int64) (data []byte, err error) {
			_, err = s.One(ctx, "SELECT data FROM event_part WHERE chunk = ? AND number = ?", []any{c.id, number}, &data)
			return data, err
		},
		All: func() (parts []chunk.Part, err error) {
			rows, err := s.Query(ctx, "SELECT number, data FROM event_part WHERE chunk = ? AND number >= 0", c.id)
			err = database.Each(rows, err, func(rows *sql.Rows) error {
				var p chunk.Part
				err := rows.Scan(&p.Number, &p.Data)
				parts = append(parts, p)
				return err
			})
			return parts, err
		},
	}
}

// damagedTier is that of chunks that can't be read, or not all: they are not merged, and
// expire as others do.
const damagedTier = 100

// damaged notes that a chunk can't be read, where nothing depends on that.
func (s *Store) damaged(ctx context.Context, c *stored, cause error) {
	if _, noted := s.noted.Load(c.id); noted {
		return
	}
	if err := s.setAside(ctx, c, cause); err != nil {
		s.log.Warn("cannot note that events are damaged", "chunk", c.id, "error", err)
	}
}

// setAside sees to it that a chunk which can't be read is not merged. It tells the log
// once, also over restarts.
func (s *Store) setAside(ctx context.Context, c *stored, cause error) error {
	var changed int64
	err := s.db.Write(ctx, func(w *database.Session) (err error) {
		changed, err = w.Exec(ctx, "UPDATE event_chunk SET tier = ? WHERE id = ? AND tier <> ?", damagedTier, c.id, damagedTier)
		return err
	})
	if err != nil {
		return err
	}
	s.noted.Store(c.id, true)
	if changed > 0 {
		s.log.Error("events can't be read: what is stored of them is damaged; check the disk; others are served", "events", c.events,
			"from", time.Unix(0, c.first).UTC(), "to", time.Unix(0, c.last).UTC(), "chunk", c.id, "error", cause)
	}
	return nil
}
