package host

import (
	"context"
	"errors"
	"sync"
)

// queue holds what waits for a pipeline's transformers, bounded in bytes.
type queue struct {
	limit int64

	mu      sync.Mutex
	parcels []parcel
	bytes   int64
	rows    uint64 // of parcels that are here or taken and not settled
	closed  bool
	changed chan struct{}
}

var errQueueClosed = errors.New("the pipeline is closed")

func newQueue(limit int64) *queue { return &queue{limit: limit, changed: make(chan struct{})} }

func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// put appends p and waits for room until ctx ends.
func (q *queue) put(ctx context.Context, p parcel) error {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return errQueueClosed
		}
		if len(q.parcels) == 0 || q.bytes+int64(len(p.data)) <= q.limit {
			q.parcels = append(q.parcels, p)
			q.bytes += int64(len(p.data))
			q.rows += p.rows()
			q.wake()
			q.mu.Unlock()
			return nil
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// get takes the oldest parcel, whose rows count as waiting until settled; false when the queue is closed and empty, or ctx
// ended.
func (q *queue) get(ctx context.Context) (parcel, bool) {
	for {
		q.mu.Lock()
		if len(q.parcels) > 0 {
			p := q.take(0)
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

func (q *queue) take(i int) parcel {
	p := q.parcels[i]
	copy(q.parcels[i:], q.parcels[i+1:])
	q.parcels[len(q.parcels)-1] = parcel{}
	q.parcels = q.parcels[:len(q.parcels)-1]
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

// makeRoom takes out the oldest parcels that may be dropped until size bytes fit;
// false if that is not enough.
func (q *queue) makeRoom(size int) (dropped []parcel, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := 0; i < len(q.parcels) && q.bytes+int64(size) > q.limit; {
		if q.parcels[i].held {
			i++
			continue
		}
		dropped = append(dropped, q.take(i))
	}
	return dropped, len(q.parcels) == 0 || q.bytes+int64(size) <= q.limit
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
