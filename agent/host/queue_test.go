package host

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// sized makes a parcel of as many bytes as rows.
func sized(n int) parcel { return parcel{data: make([]byte, n), samples: uint32(n)} }

func expectQueue(t *testing.T, q *queue, rows uint64, bytes int64) {
	t.Helper()
	if r, b := q.waiting(); r != rows || b != bytes {
		t.Fatalf("%d rows and %d bytes wait, want %d and %d", r, b, rows, bytes)
	}
}

func TestQueueKeepsOrderAndCounts(t *testing.T) {
	q := newQueue(100)
	for n := 1; n <= 4; n++ {
		if err := q.put(t.Context(), sized(n), nil); err != nil {
			t.Fatal(err)
		}
	}
	expectQueue(t, q, 10, 10)
	for n := uint32(1); n <= 4; n++ {
		p, ok := q.get(t.Context())
		if !ok || p.samples != n {
			t.Fatalf("got %d, %v, want %d", p.samples, ok, n)
		}
	}
	expectQueue(t, q, 10, 0) // taken, and not settled
	q.settled(10)
	expectQueue(t, q, 0, 0)
}

func TestQueueWaitsForRoom(t *testing.T) {
	q := newQueue(10)
	if err := q.put(t.Context(), sized(12), nil); err != nil { // larger than all, but nothing else is there
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := q.put(ctx, sized(1), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("put: %v", err)
	}
	put := make(chan error)
	go func() { put <- q.put(context.Background(), sized(1), nil) }()
	if _, ok := q.get(t.Context()); !ok {
		t.Fatal("nothing there")
	}
	if err := <-put; err != nil {
		t.Fatal(err)
	}
}

func TestQueueHurry(t *testing.T) {
	q := newQueue(10)
	if err := q.put(t.Context(), sized(10), nil); err != nil {
		t.Fatal(err)
	}
	var hurry atomic.Bool
	put := make(chan error)
	go func() { put <- q.put(context.Background(), sized(1), hurry.Load) }()
	select {
	case err := <-put:
		t.Fatalf("put did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	hurry.Store(true)
	q.nudge()
	if err := <-put; !errors.Is(err, errQueueFull) {
		t.Fatal(err)
	}
}

func TestQueuePushTakesOutTheOldest(t *testing.T) {
	q := newQueue(10)
	for _, n := range []int{4, 3, 3} {
		if out, err := q.push(sized(n)); err != nil || len(out) > 0 {
			t.Fatal(out, err)
		}
	}
	out, err := q.push(sized(5))
	if err != nil || len(out) != 2 || out[0].samples != 4 || out[1].samples != 3 {
		t.Fatalf("%v, %v", out, err)
	}
	if out, err = q.push(sized(99)); err != nil || len(out) != 2 {
		t.Fatalf("%v, %v", out, err)
	}
	expectQueue(t, q, 4+3+3+5+99, 99) // what was taken out is not settled
}

func TestQueueClosed(t *testing.T) {
	q := newQueue(10)
	if err := q.put(t.Context(), sized(10), nil); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() { waiting <- q.put(context.Background(), sized(1), nil) }()
	time.Sleep(10 * time.Millisecond)
	q.close()
	q.close()
	if err := <-waiting; !errors.Is(err, errQueueClosed) {
		t.Errorf("put: %v", err)
	}
	if _, err := q.push(sized(1)); !errors.Is(err, errQueueClosed) {
		t.Errorf("push: %v", err)
	}
	if p, ok := q.get(t.Context()); !ok || p.samples != 10 {
		t.Errorf("what was there before cannot be taken")
	}
	if _, ok := q.get(t.Context()); ok {
		t.Errorf("get gives something of an empty queue")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := newQueue(1).get(ctx); ok {
		t.Errorf("get gives something when its context ended")
	}
}
