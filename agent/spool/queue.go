package spool

import "time"

// queue is a first-in-first-out list that holds no memory when it is empty for
// long. The zero value is ready.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int  { return len(q.items) - q.head }
func (q *queue[T]) front() *T { return &q.items[q.head] }
func (q *queue[T]) back() *T  { return &q.items[len(q.items)-1] }
func (q *queue[T]) push(v T)  { q.items = append(q.items, v) }
func (q *queue[T]) clear()    { *q = queue[T]{} }

func (q *queue[T]) pop() {
	var zero T
	q.items[q.head] = zero
	q.head++
	switch {
	case q.head == len(q.items) && cap(q.items) > 64:
		q.clear()
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head >= 1024 && q.head > len(q.items)/2:
		// A queue that never runs empty must not grow for ever.
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
}

// delete removes the elements for which out is true.
func (q *queue[T]) delete(out func(T) bool) {
	kept := q.items[:0]
	for _, v := range q.items[q.head:] {
		if !out(v) {
			kept = append(kept, v)
		}
	}
	clear(q.items[len(kept):])
	q.items, q.head = kept, 0
}

const (
	itemOverhead = 128 // memory of an item beside its payload, about
	staleAfter   = time.Second
)

// window keeps entries in memory between their commit and their delivery, so
// that a consumer that keeps up never reads the disk. What does not fit is left
// to the disk; a consumer that stands still loses the window altogether, since
// it would only occupy memory.
type window struct {
	queue[item]
	bytes int64
	taken time.Time // of the last take
}

// offer adds a durable entry if it directly follows what is in the window or,
// when that is empty, what the consumer has seen.
func (w *window) offer(it *item, cursor uint64) {
	if w.len() > 0 && w.back().seq+1 != it.seq || w.len() == 0 && cursor != it.seq {
		return
	}
	size := int64(len(it.Payload)) + itemOverhead
	if w.len() == 0 {
		w.taken = time.Now()
	} else if w.bytes+size > maxWindow {
		if time.Since(w.taken) > staleAfter {
			w.drop()
		}
		return
	}
	kept := *it
	kept.cell = nil
	w.push(kept)
	w.bytes += size
}

// take returns the entry with this number if it is there, and forgets those
// before it.
func (w *window) take(seq uint64) (item, bool) {
	for w.len() > 0 && w.front().seq <= seq {
		it := *w.front()
		w.pop()
		w.bytes -= int64(len(it.Payload)) + itemOverhead
		if it.seq == seq {
			w.taken = time.Now()
			return it, true
		}
	}
	return item{}, false
}

func (w *window) drop() {
	w.clear()
	w.bytes = 0
}
