package objects

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// maxRun is how many pages are fetched in one request.
const maxRun = 16

// Cache gives random access to objects. Those of a remote store are kept on local disk by
// pages, of which the ones unused for longest go when there are too many; those of a local
// store are opened themselves.
type Cache struct {
	store Store
	dir   string
	limit int64
	lock  *os.File // nil when the store is local

	mu      sync.Mutex
	pages   map[pageKey]*list.Element // *page, those on disk
	recent  list.List                 // the same, those used last first
	bytes   int64
	flights map[pageKey]*flight // those that are being fetched
	stats   CacheStats
}

// page is one that is on disk.
type page struct {
	key  pageKey
	size int64 // of its file
}

// flight is pages next to each other that one reader fetches, and others wait for.
type flight struct {
	first uint32
	done  chan struct{} // closed when the rest is set
	data  []byte
	err   error
	ended bool // the reader's context did
}

// NewCache keeps at most limit bytes in dir, which is used only when the store is remote. One
// process at a time can use it. What is in it survives a restart; each read is verified,
// and a damaged page is fetched again.
func NewCache(s Store, dir string, limit int64) (*Cache, error) {
	c := &Cache{store: s, dir: dir, limit: limit, pages: map[pageKey]*list.Element{}, flights: map[pageKey]*flight{}}
	if IsLocal(s) {
		return c, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the cache: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the cache: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("cannot open the cache in %q: another process uses it", dir)
	}
	c.lock = lock
	found, err := findPages(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the cache: %w", err), lock.Close())
	}
	for _, p := range found {
		c.pages[p.key] = c.recent.PushFront(&page{p.key, p.size})
		c.bytes += p.size
	}
	c.mu.Lock()
	old := c.evict(0)
	c.mu.Unlock()
	c.remove(old)
	return c, nil
}

// Close frees the folder; what is in it stays.
func (c *Cache) Close() error {
	if c.lock == nil {
		return nil
	}
	return c.lock.Close()
}

// CacheStats are counts since the start, and sizes now.
type CacheStats struct {
	Bytes, Limit int64
	Pages        int
	Hits, Misses uint64 // pages
	Damaged      uint64 // pages that were fetched again because they were damaged
	WriteErrors  uint64 // pages that could not be kept, for example because the disk is full
}

// Stats returns them; all but Limit are zero for a local store.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Bytes, s.Limit, s.Pages = c.bytes, c.limit, len(c.pages)
	return s
}

// File is an open object.
type File interface {
	io.ReaderAt
	io.Closer
}

// Open opens an object of a size that the caller knows. ctx ends all reads of the file. That
// an object is not there may be reported as late as by ReadAt.
func (c *Cache) Open(ctx context.Context, name string, size int64) (File, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if l, ok := c.store.(*local); ok {
		f, has, err := l.open(name)
		if err == nil && has != size {
			err = errors.Join(fmt.Errorf("object %q in %s has %d bytes, and should have %d", name, l, has, size), f.Close())
		}
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	return &cachedFile{c: c, ctx: ctx, name: name, hash: hashName(name), size: size}, nil
}

// cachedFile is an object of a remote store.
type cachedFile struct {
	c    *Cache
	ctx  context.Context
	name string
	hash [hashSize]byte
	size int64
}

func (f *cachedFile) Close() error { return nil }

func (f *cachedFile) ReadAt(b []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, fmt.Errorf("cannot read object %q from byte %d on", f.name, offset)
	}
	if offset >= f.size {
		return 0, io.EOF
	}
	if int64(len(b)) > f.size-offset {
		b, err = b[:f.size-offset], io.EOF
	}
	for n < len(b) {
		k, e := f.read(b[n:], offset+int64(n))
		n += k
		if e != nil {
			return n, e
		}
	}
	return n, err
}

// pageSizeAt is how many bytes a page of the object has.
func (f *cachedFile) pageSizeAt(number uint32) int64 {
	return min(pageSize, f.size-int64(number)*pageSize)
}

// read reads some of b: from a page on disk, or from pages that it fetches or that
// another reader does.
func (f *cachedFile) read(b []byte, offset int64) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	c, key := f.c, pageKey{f.hash, uint32(offset / pageSize)}
	within := offset % pageSize
	c.mu.Lock()
	if e := c.pages[key]; e != nil {
		c.recent.MoveToFront(e)
		c.mu.Unlock()
		b = b[:min(int64(len(b)), f.pageSizeAt(key.number)-within)]
		err := openPage(filepath.Join(c.dir, key.file()), key, f.pageSizeAt(key.number), b, within)
		if err != nil {
			c.drop(key, e, err)
			return 0, nil // comes again, and finds no page
		}
		c.mu.Lock()
		c.stats.Hits++
		c.mu.Unlock()
		return len(b), nil
	}
	fl := c.flights[key]
	if fl != nil {
		c.mu.Unlock()
		select {
		case <-fl.done:
		case <-f.ctx.Done():
			return 0, f.ctx.Err()
		}
		if fl.ended {
			return 0, nil // comes again, and fetches it
		}
		if fl.err != nil {
			return 0, fl.err
		}
		return copy(b, fl.data[int64(key.number-fl.first)*pageSize+within:]), nil
	}
	// Nobody has it. What is missing behind it comes with it.
	fl = &flight{first: key.number, done: make(chan struct{})}
	last := uint32((offset + int64(len(b)) - 1) / pageSize)
	next := key
	for next.number <= last && next.number-key.number < maxRun && c.pages[next] == nil && c.flights[next] == nil {
		c.flights[next] = fl
		next.number++
	}
	c.stats.Misses += uint64(next.number - key.number)
	c.mu.Unlock()
	f.fetch(fl, next.number)
	if fl.err != nil {
		return 0, fl.err
	}
	return copy(b, fl.data[within:]), nil
}

// fetch gets the pages of a flight, which ends before page end, and keeps them.
func (f *cachedFile) fetch(fl *flight, end uint32) {
	c, start := f.c, int64(fl.first)*pageSize
	data := make([]byte, min(int64(end)*pageSize, f.size)-start)
	r, err := c.store.Get(f.ctx, f.name, start, int64(len(data)))
	if err == nil {
		_, err = io.ReadFull(r, data)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("object %q in %s has fewer than its %d bytes", f.name, c.store, f.size)
		}
		err = errors.Join(err, r.Close())
	}
	fl.data, fl.err, fl.ended = data, err, err != nil && f.ctx.Err() != nil
	for number := fl.first; number < end; number++ {
		key := pageKey{f.hash, number}
		kept := false
		size := fileSize(f.pageSizeAt(number))
		if err == nil && size <= c.limit {
			c.mu.Lock()
			old := c.evict(size)
			c.bytes += size // from here on, so that others leave it room
			c.mu.Unlock()
			c.remove(old)
			at := int64(number-fl.first) * pageSize
			kept = writePage(filepath.Join(c.dir, key.file()), key, data[at:at+f.pageSizeAt(number)]) == nil
			c.mu.Lock()
			if kept {
				c.pages[key] = c.recent.PushFront(&page{key, size})
			} else {
				c.bytes -= size
				c.stats.WriteErrors++
			}
			delete(c.flights, key)
			c.mu.Unlock()
			continue
		}
		c.mu.Lock()
		delete(c.flights, key)
		c.mu.Unlock()
	}
	close(fl.done)
}

// evict makes room for some bytes. It is called with mu held; the caller removes the files
// of what it returns, without.
func (c *Cache) evict(room int64) (old []pageKey) {
	for c.bytes+room > c.limit {
		e := c.recent.Back()
		if e == nil {
			break
		}
		old = append(old, e.Value.(*page).key)
		c.forget(e)
	}
	return old
}

// drop forgets a page that could not be read. It may be another one by now, or gone
// because others needed the room.
func (c *Cache) drop(key pageKey, e *list.Element, err error) {
	c.mu.Lock()
	if c.pages[key] != e {
		c.mu.Unlock()
		return
	}
	c.forget(e)
	if !errors.Is(err, os.ErrNotExist) {
		c.stats.Damaged++
	}
	c.mu.Unlock()
	c.remove([]pageKey{key})
}

// forget is called with mu held.
func (c *Cache) forget(e *list.Element) {
	p := c.recent.Remove(e).(*page)
	delete(c.pages, p.key)
	c.bytes -= p.size
}

// remove deletes files of pages that were forgotten. Should one have been written again
// meanwhile, it is missed when it is read.
func (c *Cache) remove(old []pageKey) {
	for _, key := range old {
		if err := os.Remove(filepath.Join(c.dir, key.file())); err != nil && !errors.Is(err, os.ErrNotExist) {
			c.mu.Lock()
			c.stats.WriteErrors++
			c.mu.Unlock()
		}
	}
}
