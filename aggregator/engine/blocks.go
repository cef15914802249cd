package engine

import (
	"container/list"
	"context"
	"sync"

	"github.com/nephoscope/nepho/aggregator/block"
	"github.com/nephoscope/nepho/aggregator/objects"
)

// blockSet is the block files of a manifest, by granularity. It does not change.
type blockSet map[int64][]blockInfo

// readers are the open block files. Those that were used last stay open, as long as
// what their footers take in memory is bounded.
type readers struct {
	cache *objects.Cache
	ctx   context.Context // of the engine; ends reads
	limit func() int64    // bytes
	found func(name string, damage *block.DamageError)

	mu     sync.Mutex
	byName map[string]*openBlock
	used   list.List // of *openBlock, the one used last in front
	bytes  int64
	loads  sync.WaitGroup
}

// What the footers of open block files take in memory: footerTotal, and footerMetric for
// each live metric, which is enough for 64 files that have all metrics.
const (
	footerTotal  = 64 << 20
	footerMetric = 64 * 8
)

// openBlock is an open file. Its users are counted, and it is closed when there
// are none and readers gave it up.
type openBlock struct {
	info  blockInfo
	ready chan struct{} // closed when the following are set
	file  objects.File
	*block.Reader
	err error

	users   int // guarded by readers.mu, as what follows
	dropped bool
	place   *list.Element
}

// bytes is what it takes in memory: about 8 bytes a metric, and buffers.
func (b *openBlock) bytes() int64 { return int64(b.info.Metrics)*8 + 4096 }

// open gives an open file, which the caller must release.
func (r *readers) open(ctx context.Context, info blockInfo) (*openBlock, error) {
	r.mu.Lock()
	b := r.byName[info.Name]
	if b != nil {
		b.users++
		r.used.MoveToFront(b.place)
	} else {
		b = &openBlock{info: info, ready: make(chan struct{}), users: 2} // load is one
		b.place = r.used.PushFront(b)
		r.byName[info.Name] = b
		r.bytes += b.bytes()
		limit := r.limit()
		for last := r.used.Back(); r.bytes > limit && last != b.place; last = r.used.Back() {
			r.drop(last.Value.(*openBlock))
		}
		r.loads.Go(func() { r.load(b) })
	}
	r.mu.Unlock()
	select {
	case <-b.ready:
	case <-ctx.Done():
		r.release(b)
		return nil, ctx.Err()
	}
	if b.err != nil {
		r.release(b)
		return nil, b.err
	}
	return b, nil
}

func (r *readers) load(b *openBlock) {
	defer r.release(b)
	if b.file, b.err = r.cache.Open(r.ctx, b.info.Name, b.info.Size); b.err == nil {
		b.Reader, b.err = block.Open(b.file, b.info.Size)
	}
	if b.err != nil {
		b.err = &partError{b.info.Name, b.err}
		r.mu.Lock()
		r.drop(b) // the next query tries again
		r.mu.Unlock()
	} else {
		for _, d := range b.Damage() {
			r.found(b.info.Name, d)
		}
	}
	close(b.ready)
}

// hides is damage that may hide windows of a metric of which the file seems to have none.
func (b *openBlock) hides(ref Ref) *block.DamageError {
	for _, d := range b.Damage() {
		if d.Part == block.Gap || d.Part == block.Chunk && d.Ref == uint64(ref) {
			return d
		}
	}
	return nil
}

// release says that a file is used no more by one user.
func (r *readers) release(b *openBlock) {
	r.mu.Lock()
	b.users--
	unused := b.users == 0 && b.dropped
	r.mu.Unlock()
	if unused {
		b.close()
	}
}

// drop gives a file up. The caller holds r.mu.
func (r *readers) drop(b *openBlock) {
	if b.dropped {
		return
	}
	b.dropped = true
	delete(r.byName, b.info.Name)
	r.used.Remove(b.place)
	r.bytes -= b.bytes()
	if b.users == 0 {
		b.close()
	}
}

func (b *openBlock) close() {
	if b.file != nil {
		b.file.Close() //nolint:errcheck // it was only read
	}
}

// keep gives up all files but the given ones; nil: all.
func (r *readers) keep(names map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, b := range r.byName {
		if !names[name] {
			r.drop(b)
		}
	}
}
