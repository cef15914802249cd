package index

import (
	"hash/maphash"
	"sync"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/engine"
)

// Entry is what every write needs of a metric, from memory. It is not changed.
type Entry struct {
	ID       uuid.UUID
	Ref      engine.Ref
	PolicyID uint32
	// Creator and Project (the resource's project; "" for none) say who may write.
	Creator, Project string
}

// cache holds entries by id, by resource and name, and by ref: each by what it was
// asked for. What it holds of metrics that this process changes is right. What
// other processes change in PostgreSQL shows after [Staleness].
type cache struct {
	byID   table[uuid.UUID]
	byName table[nameKey]
	byRef  table[engine.Ref]
	texts  texts
	seeds  [2]maphash.Seed
}

// nameKey stands for a resource and a name: 128 bits of a hash whose seeds nobody
// knows, so that not even a million names of somebody's choice meet.
type nameKey [2]uint64

func newCache(size int) *cache {
	return &cache{
		byID: newTable(size, func(id uuid.UUID) uint8 { return id[15] }),
		// The others' bits are as good as random where they are looked at.
		byName: newTable(size, func(k nameKey) uint8 { return uint8(k[0]) }),
		byRef:  newTable(size, func(r engine.Ref) uint8 { return uint8(r) }),
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
}

func (c *cache) nameKey(resource uuid.UUID, name string) nameKey {
	var buffer [128]byte
	b := append(append(buffer[:0], resource[:]...), name...)
	return nameKey{maphash.Bytes(c.seeds[0], b), maphash.Bytes(c.seeds[1], b)}
}

// moments are those of the tables that new metrics are put into.
type moments struct{ byID, byName *moment }

func (c *cache) moments() *moments { return &moments{c.byID.moment(), c.byName.moment()} }

// put adds a new metric by its id, and by its name if it has a resource.
func (c *cache) put(m *moments, e *Entry, resource uuid.UUID, name string) {
	c.byID.put(m.byID, e.ID, e)
	if resource != uuid.Nil {
		k := c.nameKey(resource, name)
		c.byName.put(m.byName, k, e)
	}
}

// forget drops a metric that was deleted or detached, or whose resource was
// changed. resource and name are those it had.
func (c *cache) forget(id uuid.UUID, ref engine.Ref, resource uuid.UUID, name string) {
	c.byID.forget(id)
	c.byRef.forget(ref)
	if resource != uuid.Nil {
		c.byName.forget(c.nameKey(resource, name))
	}
}

// expire drops a part of the entries. Calling it for parts 0 to shards-1 drops all.
func (c *cache) expire(part int) {
	c.byID.shards[part].clear()
	c.byName.shards[part].clear()
	c.byRef.shards[part].clear()
}

// shards is how many parts a table has, each with a lock of its own.
const shards = 64

// table is a bounded map. When it is full, an entry goes for each that comes: any,
// since those that are in use come back with one query for many.
type table[K comparable] struct {
	shards []shard[K]
	shard  func(K) uint8
}

type shard[K comparable] struct {
	mu      sync.RWMutex
	entries map[K]*Entry
	limit   int
	// changes counts what was forgotten. An entry that was read from the database
	// before something was forgotten may be that very thing as it was.
	changes uint64
	_       [64]byte // keeps the next lock out of this one's cache line
}

func newTable[K comparable](size int, by func(K) uint8) table[K] {
	t := table[K]{shards: make([]shard[K], shards), shard: by}
	for i := range t.shards {
		t.shards[i].entries = map[K]*Entry{}
		t.shards[i].limit = max(1, size/shards)
	}
	return t
}

func (t *table[K]) of(key K) *shard[K] { return &t.shards[t.shard(key)%shards] }

func (t *table[K]) get(key K) (*Entry, bool) {
	s := t.of(key)
	s.mu.RLock()
	e, ok := s.entries[key]
	s.mu.RUnlock()
	return e, ok
}

// moment is how many changes there were in each shard before the database was read.
type moment [shards]uint64

func (t *table[K]) moment() *moment {
	var m moment
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		m[i] = s.changes
		s.mu.RUnlock()
	}
	return &m
}

// put adds an entry that was read from the database after the moment.
func (t *table[K]) put(m *moment, key K, e *Entry) {
	i := t.shard(key) % shards
	s := &t.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes != m[i] {
		return
	}
	if _, there := s.entries[key]; !there && len(s.entries) >= s.limit {
		for other := range s.entries {
			delete(s.entries, other)
			break
		}
	}
	s.entries[key] = e
}

func (t *table[K]) forget(key K) {
	s := t.of(key)
	s.mu.Lock()
	s.changes++
	delete(s.entries, key)
	s.mu.Unlock()
}

func (s *shard[K]) clear() {
	s.mu.Lock()
	s.entries = map[K]*Entry{}
	s.mu.Unlock()
}

// texts gives equal texts the same memory: there are few creators and projects, and
// each has many metrics.
type texts struct {
	mu   sync.Mutex
	seen map[string]string
}

// maxTexts is the most texts that are remembered at a time.
const maxTexts = 1 << 14

func (t *texts) same(s string) string {
	if s == "" {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if first, ok := t.seen[s]; ok {
		return first
	}
	if t.seen == nil || len(t.seen) >= maxTexts {
		t.seen = map[string]string{}
	}
	t.seen[s] = s
	return s
}
