package host

import (
	"context"
	"errors"
	"sync"
)

// queue holds what waits for a pipeline's transformers, bounded in bytes. Its
// methods are safe for concurrent use.
type queue struct {
	limit int64

	mu      sync.Mutex
	parcels []parcel
	bytes   int64
	rows    uint64 // of parcels that are here or taken and not settled
	closed  bool
	changed chan struct{}
}

var (
	errQueueClosed = errors.New("the pipeline is closed")
	errQueueFull   = errors.New("the pipeline's queue is full")
)

func newQueue(limit int64) *queue { return &queue{limit: limit, changed: make(chan struct{})} }

func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// put appends p and waits for room until ctx ends, or until hurry, which may be
// nil, tells not to wait; see nudge.
func (q *queue) put(ctx context.Context, p parcel, hurry func() bool) error {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return errQueueClosed
		}
		if q.fits(len(p.data)) {
			q.append(p)
			q.mu.Unlock()
			return nil
		}
		changed := q.changed
		q.mu.Unlock()
		if hurry != nil && hurry() {
			return errQueueFull
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// push appends p at once and gives the oldest parcels, which it took out for want
// of room.
func (q *queue) push(p parcel) (out []parcel, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, errQueueClosed
	}
	for !q.fits(len(p.data)) {
		out = append(out, q.take())
	}
	q.append(p)
	return out, nil
}

// fits tells whether there is room; there always is in an empty queue.
func (q *queue) fits(size int) bool { return len(q.parcels) == 0 || q.bytes+int64(size) <= q.limit }

func (q *queue) append(p parcel) {
	q.parcels = append(q.parcels, p)
	q.bytes += int64(len(p.data))
	q.rows += p.rows()
	q.wake()
}

// nudge has those who wait for room ask again whether to hurry.
func (q *queue) nudge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wake()
}

// get takes the oldest parcel, whose rows count as waiting until settled; false
// when the queue is closed and empty, or ctx ended.
func (q *queue) get(ctx context.Context) (parcel, bool) {
	for {
		q.mu.Lock()
		if len(q.parcels) > 0 {
			p := q.take()
			q.mu.Unlock()
			return p, true
		}
		closed, changed := q.closed, q.changed
		q.mu.Unlock()
		if closed {
			return parcel{}, false
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return parcel{}, false
		}
	}
}

func (q *queue) take() parcel {
	p := q.parcels[0]
	q.parcels[0] = parcel{}
	q.parcels = q.parcels[1:]
	q.bytes -= int64(len(p.data))
	q.wake()
	return p
}

// settled takes rows that left the queue off those that wait: it is known what
// became of them.
func (q *queue) settled(rows uint64) {
	q.mu.Lock()
	q.rows -= rows
	q.mu.Unlock()
}

// close lets no more in; what is there can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		q.wake()
	}
}

func (q *queue) waiting() (rows uint64, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.rows, q.bytes
}
