package index

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/policy"
)

// Index is an open index. Its methods may be called concurrently.
type Index struct {
	where    string // Options.URL
	database *database.DB
	cache    *cache
	policies policies
	creators creators
	changes  atomic.Uint64
	changed  func(uuid.UUID) // see OnChange; nil: nobody wants to know
	now      func() time.Time

	lock    *os.File // of SQLite's file
	stop    context.CancelFunc
	ended   sync.WaitGroup
	closing sync.Once
	closed  error
}

// Options of [Open].
type Options struct {
	// URL is postgres://..., or the path of a SQLite file, which is made.
	URL string
	// DefaultPolicies makes low, medium, high and bool and the rule "default" when
	// there is no policy and no rule.
	DefaultPolicies bool
	// CacheSize is the most metrics that are kept in memory for each way to look
	// them up: by id, by name and by ref; 0 is a million.
	CacheSize int
	// Log is told when the database goes away and when it is back; nil: nobody is.
	Log *slog.Logger
}

//go:embed schema/*.sql
var schemas embed.FS

// ErrUnavailable is in the errors of an index whose database cannot be reached, or
// takes no statements at present. What was asked for may succeed later; whether a
// change was made is not known.
var ErrUnavailable = database.ErrUnavailable

// Staleness is how long an index in PostgreSQL may show metrics, and policies'
// definitions, as they were before another process changed them.
const Staleness = shards * time.Second

// Open opens an index, makes it if there is none, and brings it to the newest
// schema. One that was written by a newer program is refused.
func Open(ctx context.Context, o Options) (*Index, error) {
	if o.CacheSize == 0 {
		o.CacheSize = 1_000_000
	}
	x := &Index{where: o.URL, cache: newCache(o.CacheSize), now: time.Now, stop: func() {}}
	if err := x.open(ctx, o); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	if x.database.Shared() {
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		x.stop = stop
		x.ended.Go(func() { x.follow(ctx) })
	}
	return x, nil
}

func (x *Index) open(ctx context.Context, o Options) (err error) {
	if !database.IsURL(o.URL) {
		if x.lock, err = lock(o.URL); err != nil {
			return err
		}
	}
	x.database, err = database.Open(ctx, database.Options{URL: o.URL, What: "the index", Log: o.Log, Again: again})
	if err != nil {
		return err
	}
	files, err := fs.Sub(schemas, "schema")
	if err != nil {
		return err
	}
	if err := x.database.Migrate(ctx, "schema_version", files); err != nil {
		return err
	}
	if err := x.removeSnapshots(); err != nil {
		return err
	}
	if o.DefaultPolicies {
		if err := x.createDefaults(ctx); err != nil {
			return err
		}
	}
	return x.reloadPolicies(ctx)
}

// Close waits for what is under way, and closes the index. Only its first call does
// anything, others give the same error.
func (x *Index) Close() error {
	x.closing.Do(func() {
		x.stop()
		x.ended.Wait()
		if x.database != nil {
			x.closed = x.database.Close()
		}
		if x.lock != nil {
			x.closed = errors.Join(x.closed, x.lock.Close())
		}
		if x.closed != nil {
			x.closed = fmt.Errorf("cannot close the index: %w", x.closed)
		}
	})
	return x.closed
}

// lock takes a SQLite index for this process: what is in memory of it would be wrong
// if another changed it.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+"-lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the index: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("the index %q is used by another process: end that, or give this one an index of its own; several share one in PostgreSQL", path)
	} else if err != nil {
		err = fmt.Errorf("cannot lock %q: %w", f.Name(), err)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// follow keeps memory from being older than [Staleness] when other processes share
// the database: each second it drops a part of what it has.
func (x *Index) follow(ctx context.Context) {
	tick := time.NewTicker(Staleness / shards)
	defer tick.Stop()
	for part := 0; ; part = (part + 1) % shards {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			x.cache.expire(part)
			if part == 0 {
				// A database that is away is noticed by those who need it; what is in
				// memory goes on being used.
				_ = x.reloadPolicies(ctx)
			}
		}
	}
}

// Changes counts the changes since the index was opened: when it stands still, the
// last [Index.Snapshot] is the index.
func (x *Index) Changes() uint64 { return x.changes.Load() }

// update is a transaction that writes.
type update struct {
	*database.Session
	now    time.Time
	forget *[]func()
}

// afterwards has memory forget something when the transaction is over. It does so
// also if that failed: when the server goes away at its end, it may have been made.
func (u *update) afterwards(forget func()) { *u.forget = append(*u.forget, forget) }

// update calls f in a transaction that writes, again if others were in its way.
func (x *Index) update(ctx context.Context, f func(*update) error) error {
	var forget []func()
	err := x.database.Write(ctx, func(s *database.Session) error {
		return f(&update{s, micros(x.now()), &forget})
	})
	for _, f := range forget {
		f()
	}
	if err == nil {
		x.changes.Add(1)
	}
	return refusal(err)
}

// view calls f with a connection that shows one state of the index.
func (x *Index) view(ctx context.Context, f func(*database.Session) error) error {
	return refusal(x.database.View(ctx, f))
}

// read calls f with a connection for one statement that reads.
func (x *Index) read(ctx context.Context, f func(*database.Session) error) error {
	return refusal(x.database.Read(ctx, f))
}

// refusal makes an [*InvalidError] of that for a text that databases can't hold.
func refusal(err error) error {
	if errors.Is(err, database.ErrText) {
		return &InvalidError{err.Error()}
	}
	return err
}

// micros is a time as precise as the index keeps it.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// policies are the policies that this process knows.
type policies struct {
	mu    sync.Mutex // of those who change known, and tell
	known atomic.Pointer[map[uint32]*policy.Policy]
	tell  []func(*policy.Policy)
}
