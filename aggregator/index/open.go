package index

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
)

// Index is an open index. Its methods may be called concurrently.
type Index struct {
	where    string // Options.URL
	database *database
	cache    *cache
	policies policies
	creators creators
	changes  atomic.Uint64
	now      func() time.Time

	stop  context.CancelFunc
	ended sync.WaitGroup
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

// Staleness is how long an index in PostgreSQL may show metrics, and policies'
// definitions, as they were before another process changed them.
const Staleness = shards * time.Second

// Open opens an index, makes it if there is none, and brings it to the newest
// schema. One that was written by a newer program is refused.
func Open(ctx context.Context, o Options) (*Index, error) {
	if o.CacheSize == 0 {
		o.CacheSize = 1_000_000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d, err := openDatabase(ctx, o.URL, o.Log)
	if err != nil {
		return nil, err
	}
	x := &Index{where: o.URL, database: d, cache: newCache(o.CacheSize), now: time.Now, stop: func() {}}
	if err := x.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, d.close())
	}
	if d.shared {
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		x.stop = stop
		x.ended.Go(func() { x.follow(ctx) })
	}
	return x, nil
}

func (x *Index) prepare(ctx context.Context, o Options) error {
	if err := x.database.migrate(ctx); err != nil {
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

// Close waits for what is under way, and closes the index.
func (x *Index) Close() error {
	x.stop()
	x.ended.Wait()
	if err := x.database.close(); err != nil {
		return fmt.Errorf("cannot close the index: %w", err)
	}
	return nil
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
	*session
	now time.Time
	// committed is called when what was written is durable.
	committed []func()
}

// update calls f in a transaction that writes, again if others were in its way.
func (x *Index) update(ctx context.Context, f func(*update) error) error {
	var u *update
	err := x.database.transact(ctx, x.database.writers, x.database.begin, func(s *session) error {
		u = &update{session: s, now: micros(x.now())}
		return f(u)
	})
	if err != nil {
		return err
	}
	x.changes.Add(1)
	for _, f := range u.committed {
		f()
	}
	return nil
}

// view calls f with a connection that shows one state of the index.
func (x *Index) view(ctx context.Context, f func(*session) error) error {
	return x.database.transact(ctx, x.database.views, x.database.view, f)
}

// micros is a time as precise as the index keeps it.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// policies are the policies that this process knows.
type policies struct {
	mu    sync.Mutex // of those who change known, and tell
	known atomic.Pointer[map[uint32]*policy.Policy]
	tell  []func(*policy.Policy)
}
