package index

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"

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

	name nameKey
}

// nameKey stands for a resource and a name: 128 bits of hashes whose seeds nobody
// knows, so that not even millions of names of somebody's choice meet. It is zero
// for a metric without a resource.
type nameKey [2]uint64

// cache holds entries by id, by resource and name, and by ref: each by what it was
// asked for. What it holds of metrics that this process changes is right. What
// other processes change in PostgreSQL shows after [Staleness].
type cache struct {
	byID   table[uuid.UUID]
	byName table[nameKey]
	byRef  table[engine.Ref]
	texts  texts
	seeds  [2]maphash.Seed
	// forgotten counts what was forgotten: see [Index.Removals].
	forgotten atomic.Uint64
}

func newCache(size int) *cache {
	seed := maphash.MakeSeed()
	return &cache{
		byID: newTable(size, func(id uuid.UUID) uint64 { return maphash.Bytes(seed, id[:]) },
			func(e *Entry) uuid.UUID { return e.ID }),
		byName: newTable(size, func(k nameKey) uint64 { return k[0] },
			func(e *Entry) nameKey { return e.name }),
		byRef: newTable(size, func(r engine.Ref) uint64 {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], uint64(r))
			return maphash.Bytes(seed, b[:])
		}, func(e *Entry) engine.Ref { return e.Ref }),
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
}

func (c *cache) nameKey(resource uuid.UUID, name string) nameKey {
	if resource == uuid.Nil {
		return nameKey{}
	}
	var buffer [128]byte
	b := append(append(buffer[:0], resource[:]...), name...)
	return nameKey{maphash.Bytes(c.seeds[0], b), maphash.Bytes(c.seeds[1], b)}
}

// moments are those of the tables that new metrics are put into.
type moments struct{ byID, byName *moment }

func (c *cache) moments() *moments { return &moments{c.byID.moment(), c.byName.moment()} }

// put adds a new metric by its id, and by its name if it has a resource.
func (c *cache) put(m *moments, e *Entry) {
	c.byID.put(m.byID, e)
	if e.name != (nameKey{}) {
		c.byName.put(m.byName, e)
	}
}

// forget drops a metric that was deleted or detached, or whose resource was
// changed. resource and name are those it had.
func (c *cache) forget(id uuid.UUID, ref engine.Ref, resource uuid.UUID, name string) {
	c.forgotten.Add(1)
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

// table is a bounded hash table of entries that is read without locks. When it is
// full, an entry goes for each that comes: any, since those that are in use come
// back with one query for many. While something is changed, an entry that is there
// may not be found, which costs a query too.
type table[K comparable] struct {
	shards []shard
	hash   func(K) uint64
	key    func(*Entry) K
}

// shard is open addressing with linear probing.
type shard struct {
	slots atomic.Pointer[[]atomic.Pointer[Entry]] // a power of two of them, three quarters taken at most

	mu      sync.Mutex // of those who change it
	entries int
	limit   int
	hand    int // slot where the next entry that goes is looked for
	// changes counts what was forgotten. An entry that was read from the database
	// before something was forgotten may be that very thing as it was.
	changes uint64
}

// minSlots is how many a shard has at first.
const minSlots = 8

func newTable[K comparable](size int, hash func(K) uint64, key func(*Entry) K) table[K] {
	t := table[K]{shards: make([]shard, shards), hash: hash, key: key}
	for i := range t.shards {
		t.shards[i].limit = max(1, size/shards)
		t.shards[i].clear()
	}
	return t
}

// locate is the number of a hash's shard, and the hash for its slots.
func locate(hash uint64) (number int, within uint64) {
	return int(hash % shards), hash / shards
}

func (t *table[K]) get(key K) (*Entry, bool) {
	number, h := locate(t.hash(key))
	slots := *t.shards[number].slots.Load()
	mask := uint64(len(slots) - 1)
	for i := h; ; i++ {
		e := slots[i&mask].Load()
		if e == nil {
			return nil, false
		}
		if t.key(e) == key {
			return e, true
		}
	}
}

// moment is how many changes there were in each shard before the database was read.
type moment [shards]uint64

func (t *table[K]) moment() *moment {
	var m moment
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		m[i] = s.changes
		s.mu.Unlock()
	}
	return &m
}

// put adds an entry that was read from the database after the moment.
func (t *table[K]) put(m *moment, e *Entry) {
	key := t.key(e)
	number, h := locate(t.hash(key))
	s := &t.shards[number]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes != m[number] {
		return
	}
	slots := *s.slots.Load()
	i, there := t.find(slots, key, h)
	if !there {
		switch {
		case s.entries >= s.limit:
			t.evict(s, slots)
			i, _ = t.find(slots, key, h)
		case (s.entries+1)*4 > len(slots)*3:
			slots = t.grow(s, slots)
			i, _ = t.find(slots, key, h)
		}
		s.entries++
	}
	slots[i].Store(e)
}

// find is the slot of a key, or the free one where it belongs.
func (t *table[K]) find(slots []atomic.Pointer[Entry], key K, h uint64) (i int, there bool) {
	mask := uint64(len(slots) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		if e := slots[at].Load(); e == nil || t.key(e) == key {
			return int(at), e != nil
		}
	}
}

// grow doubles the slots. Readers have the old ones until all is in the new ones.
func (t *table[K]) grow(s *shard, slots []atomic.Pointer[Entry]) []atomic.Pointer[Entry] {
	larger := make([]atomic.Pointer[Entry], 2*len(slots))
	for i := range slots {
		if e := slots[i].Load(); e != nil {
			key := t.key(e)
			_, h := locate(t.hash(key))
			free, _ := t.find(larger, key, h)
			larger[free].Store(e)
		}
	}
	s.slots.Store(&larger)
	return larger
}

// evict drops the next entry that the hand comes to.
func (t *table[K]) evict(s *shard, slots []atomic.Pointer[Entry]) {
	for {
		s.hand = (s.hand + 1) % len(slots)
		if slots[s.hand].Load() != nil {
			t.remove(s, slots, s.hand)
			return
		}
	}
}

// remove empties a slot, and moves entries up that would not be found any more.
func (t *table[K]) remove(s *shard, slots []atomic.Pointer[Entry], i int) {
	mask := len(slots) - 1
	for next := (i + 1) & mask; ; next = (next + 1) & mask {
		e := slots[next].Load()
		if e == nil {
			break
		}
		_, h := locate(t.hash(t.key(e)))
		// It may move up unless it belongs between the two.
		if home := int(h & uint64(mask)); (next-home)&mask >= (next-i)&mask {
			slots[i].Store(e)
			i = next
		}
	}
	slots[i].Store(nil)
	s.entries--
}

func (t *table[K]) forget(key K) {
	number, h := locate(t.hash(key))
	s := &t.shards[number]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	slots := *s.slots.Load()
	if i, there := t.find(slots, key, h); there {
		t.remove(s, slots, i)
	}
}

func (s *shard) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	slots := make([]atomic.Pointer[Entry], minSlots)
	s.slots.Store(&slots)
	s.entries, s.hand = 0, 0
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
