package engine

import (
	"context"
	"sync"
	"sync/atomic"
)

// Advance says that a metric has a newer point.
type Advance struct {
	Ref  Ref
	Time int64 // of its newest point
}

// feeds are all subscriptions.
type feeds struct {
	count atomic.Int32
	mu    sync.Mutex
	all   map[*Feed]struct{}
}

// Feed tells which metrics advanced. It holds each metric at most once, however
// slowly it is read, and never holds up writes.
type Feed struct {
	e      *Engine
	wake   chan struct{} // has an element when refs may have some, or the feed was closed
	mu     sync.Mutex
	refs   []Ref    // that advanced since the last call of Next
	marked []uint64 // a bit for each ref that is in refs
	closed bool
}

// Subscribe begins a feed of all metrics that get a newer point from now on.
func (e *Engine) Subscribe() *Feed {
	f := &Feed{e: e, wake: make(chan struct{}, 1)}
	e.feeds.mu.Lock()
	defer e.feeds.mu.Unlock()
	if e.feeds.all == nil {
		e.feeds.all = map[*Feed]struct{}{}
	}
	e.feeds.all[f] = struct{}{}
	e.feeds.count.Add(1)
	return f
}

// Next waits until metrics advanced since the last call, and gives each once with
// the time that it has reached by now, in no particular order. It returns the error of ctx, or [ErrClosed].
func (f *Feed) Next(ctx context.Context) ([]Advance, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.wake:
		}
		f.mu.Lock()
		refs, closed := f.refs, f.closed
		f.refs = nil
		for _, ref := range refs {
			f.marked[ref/64] = 0
		}
		f.mu.Unlock()
		if closed {
			ring(f.wake) // for the next call
			return nil, ErrClosed
		}
		advances := make([]Advance, 0, len(refs))
		for _, ref := range refs {
			if p, ok := f.e.Newest(ref); ok {
				advances = append(advances, Advance{ref, p.Time})
			}
		}
		if len(advances) > 0 {
			return advances, nil
		}
	}
}

// Close ends the feed; Next returns [ErrClosed].
func (f *Feed) Close() {
	f.e.feeds.mu.Lock()
	if _, ok := f.e.feeds.all[f]; ok {
		delete(f.e.feeds.all, f)
		f.e.feeds.count.Add(-1)
	}
	f.e.feeds.mu.Unlock()
	f.close()
}

func (f *Feed) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	ring(f.wake)
}

// ring puts an element in a channel of one, if it has none.
func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// mark tells all feeds of metrics that advanced.
func (fs *feeds) mark(refs []Ref) {
	if len(refs) == 0 || fs.count.Load() == 0 {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for f := range fs.all {
		f.mu.Lock()
		for _, ref := range refs {
			word, bit := ref/64, uint64(1)<<(ref%64)
			if word >= Ref(len(f.marked)) {
				f.marked = append(f.marked, make([]uint64, int(word)+1-len(f.marked))...)
			}
			if f.marked[word]&bit == 0 {
				f.marked[word] |= bit
				f.refs = append(f.refs, ref)
			}
		}
		f.mu.Unlock()
		ring(f.wake)
	}
}

// close ends all feeds.
func (fs *feeds) close() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for f := range fs.all {
		f.close()
	}
	clear(fs.all)
	fs.count.Store(0)
}
