package spool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

func TestOrderAndCounters(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, dir string) {
		s := open(t, Options{Dir: dir, Limit: 1 << 20, SegmentSize: 1000})
		wantNone(t, s)
		mustAppendMany(t, s, 1, 20, 200)
		first, second := mustNext(t, s), mustNext(t, s)
		if err := s.Ack(second); !errors.Is(err, ErrOrder) {
			t.Fatalf("Ack of the second before the first: %v", err)
		}
		mustAck(t, s, first)
		mustAck(t, s, second)
		mustAck(t, s, second) // harmless
		wantNumbers(t, drain(t, s), sequence(3, 20)...)
		wantNone(t, s)
		st := s.Stats()
		checkBalance(t, st)
		if st.Acked != (Count{20, 60}) || st.Waiting != (Count{}) || st.OldestAge != 0 || st.Segments > 1 {
			t.Fatalf("stats %+v", st)
		}
	})
}

func TestRewind(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, dir string) {
		s := open(t, Options{Dir: dir, SegmentSize: 1000})
		mustAppendMany(t, s, 1, 12, 200)
		mustAck(t, s, mustNext(t, s))
		before := mustNext(t, s)
		for range 8 {
			mustNext(t, s)
		}
		s.Rewind()
		mustAck(t, s, before) // handed out before: ignored
		mustAppend(t, s, entry(13, 200))
		wantNumbers(t, drain(t, s), sequence(2, 13)...)
		checkBalance(t, s.Stats())
	})
}

func TestNextWaitsForAppend(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, dir string) {
		s := open(t, Options{Dir: dir})
		got := make(chan Delivery)
		go func() {
			d, err := s.Next(context.Background())
			if err != nil {
				t.Error(err)
			}
			got <- d
		}()
		time.Sleep(10 * time.Millisecond)
		c, err := s.Append(t.Context(), entry(7, 50))
		if err != nil {
			t.Fatal(err)
		}
		if n := number(t, (<-got).Entry); n != 7 {
			t.Fatalf("entry %d", n)
		}
		select {
		case <-c.Done():
		default:
			t.Fatal("an entry was delivered before it was durable")
		}
		if err := c.Err(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestClosed(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, dir string) {
		s := open(t, Options{Dir: dir, Limit: 300})
		mustAppend(t, s, held(entry(1, 200)))
		blocked := make(chan error, 2)
		go func() {
			_, err := s.Append(context.Background(), held(entry(2, 200)))
			blocked <- err
		}()
		d := mustNext(t, s)
		go func() {
			_, err := s.Next(context.Background())
			blocked <- err
		}()
		time.Sleep(10 * time.Millisecond)
		closeSpool(t, s)
		closeSpool(t, s)
		for range 2 {
			if err := <-blocked; !errors.Is(err, ErrClosed) {
				t.Fatalf("blocked call: %v", err)
			}
		}
		if _, err := s.Append(t.Context(), entry(3, 8)); !errors.Is(err, ErrClosed) {
			t.Fatalf("Append: %v", err)
		}
		if err := s.Ack(d); !errors.Is(err, ErrClosed) {
			t.Fatalf("Ack: %v", err)
		}
		checkBalance(t, s.Stats())
	})
}

func TestFullDropsOldestPolledSegments(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, dir string) {
		// Segments of two entries, eight of them.
		var log logBuffer
		s := open(t, Options{Dir: dir, SegmentSize: 500, Limit: 4000, Log: log.logger()})
		mustAppend(t, s, held(entry(0, 202)))
		for n := 1; n <= 15; n++ {
			mustAppend(t, s, entry(n, 202))
		}
		handedOut := []Delivery{mustNext(t, s), mustNext(t, s), mustNext(t, s), mustNext(t, s), mustNext(t, s)}
		if st := s.Stats(); st.Full || st.Bytes != 4000 || st.Segments != 8 {
			t.Fatalf("stats %+v", st)
		}
		mustAppendMany(t, s, 16, 17, 202)
		st := s.Stats()
		checkBalance(t, st)
		if !st.Full || st.Dropped.Full != (Count{}) || st.Waiting.Entries != 18 {
			t.Fatalf("stats %+v", st)
		}
		for _, d := range handedOut { // 2 and 3 are gone from the spool and were not lost
			mustAck(t, s, d)
		}
		if st := s.Stats(); st.Acked != (Count{5, 1 + 2 + 3 + 4 + 5}) {
			t.Fatalf("stats %+v", st)
		}
		wantNumbers(t, drain(t, s), sequence(5, 17)...)
		st = s.Stats()
		checkBalance(t, st)
		if st.Full || log.count("spool is full") != 1 || log.count("room again") != 1 {
			t.Fatalf("full %v, log:\n%s", st.Full, log.b.String())
		}
	})
}

func TestHandedOutAndDroppedIsLostWithRewind(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, dir string) {
		s := open(t, Options{Dir: dir, SegmentSize: 500, Limit: 1000})
		for n := range 4 {
			mustAppend(t, s, entry(n, 202))
		}
		first := mustNext(t, s)
		mustAppend(t, s, entry(4, 202)) // drops 0 and 1
		if st := s.Stats(); st.Dropped.Full != (Count{1, 2}) || st.Waiting.Entries != 4 {
			t.Fatalf("stats %+v", st)
		}
		s.Rewind()
		mustAck(t, s, first) // too late
		st := s.Stats()
		checkBalance(t, st)
		if st.Dropped.Full != (Count{2, 1 + 2}) || st.Acked != (Count{}) {
			t.Fatalf("stats %+v", st)
		}
		wantNumbers(t, drain(t, s), 2, 3, 4)
	})
}

func TestFullRefusesPolledWhenAllIsHeld(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, dir string) {
		s := open(t, Options{Dir: dir, SegmentSize: 500, Limit: 1000})
		for n := range 4 {
			mustAppend(t, s, held(entry(n, 202)))
		}
		if _, err := s.Append(t.Context(), entry(4, 202)); !errors.Is(err, ErrFull) {
			t.Fatalf("Append: %v", err)
		}
		if _, err := s.Append(t.Context(), held(entry(5, 953))); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("Append: %v", err)
		}
		st := s.Stats()
		checkBalance(t, st)
		if st.Dropped.Full != (Count{1, 5}) || !st.Full {
			t.Fatalf("stats %+v", st)
		}
		wantNumbers(t, drain(t, s), 0, 1, 2, 3)
		mustAppend(t, s, entry(6, 952)) // what is spent makes room
		wantNumbers(t, drain(t, s), 6)
	})
}

func TestFullHoldsHeldBack(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, dir string) {
		s := open(t, Options{Dir: dir, SegmentSize: 500, Limit: 1000})
		for n := range 4 {
			mustAppend(t, s, entry(n, 202)) // polled, but held ones do not push them out
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := s.Append(ctx, held(entry(4, 202))); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Append: %v", err)
		}
		if st := s.Stats(); st.Appended.Entries != 4 || st.Dropped != (Dropped{}) {
			t.Fatalf("stats %+v", st)
		}
		in := make(chan error)
		go func() {
			c, err := s.Append(context.Background(), held(entry(5, 202)))
			if err == nil {
				err = c.Wait(context.Background())
			}
			in <- err
		}()
		mustAck(t, s, mustNext(t, s))
		select {
		case err := <-in:
			t.Fatalf("came in before a segment was free: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		mustAck(t, s, mustNext(t, s))
		if err := <-in; err != nil {
			t.Fatal(err)
		}
		wantNumbers(t, drain(t, s), 2, 3, 5)
		checkBalance(t, s.Stats())
	})
}

func TestOldestAge(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, dir string) {
		s := open(t, Options{Dir: dir})
		wall := func() time.Time { return time.Now().Round(0) } // which ages go by
		start := wall()
		mustAppend(t, s, entry(1, 8))
		between := wall()
		time.Sleep(30 * time.Millisecond)
		later := wall()
		mustAppend(t, s, entry(2, 8))
		first := mustNext(t, s)
		if age := s.Stats().OldestAge; age < later.Sub(between) || age > wall().Sub(start) {
			t.Fatalf("age of the first %v", age)
		}
		if first.Time.Before(start) || first.Time.After(between) {
			t.Fatalf("time %v", first.Time)
		}
		mustAck(t, s, first)
		if age, atMost := s.Stats().OldestAge, wall().Sub(later); age <= 0 || age > atMost {
			t.Fatalf("age of the second %v instead of at most %v", age, atMost)
		}
	})
}

func TestBalanceUnderConcurrency(t *testing.T) {
	onDiskAndInMemory(t, func(t *testing.T, dir string) {
		s := open(t, Options{Dir: dir, SegmentSize: 16 << 10, Limit: 128 << 10})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var sources, others sync.WaitGroup
		for g := range 4 {
			sources.Go(func() {
				for i := range 500 {
					e := entry(g*1000+i, 100+i)
					e.Held = g == 0
					c, err := s.Append(ctx, e)
					if err != nil && !errors.Is(err, ErrFull) {
						t.Errorf("Append: %v", err)
					}
					if err == nil && i%10 == 0 {
						if err := c.Wait(ctx); err != nil {
							t.Errorf("Wait: %v", err)
						}
					}
				}
			})
		}
		var last [4]int
		heldSeen := map[int]bool{}
		others.Go(func() {
			var out []Delivery
			for i := 0; ; i++ {
				d, err := s.Next(ctx)
				if err != nil {
					return
				}
				n := number(t, d.Entry)
				if d.Held {
					heldSeen[n] = true
				}
				out = append(out, d)
				switch {
				case i%50 == 49:
					s.Rewind()
					out, last = nil, [4]int{}
					continue
				case len(out) == 3:
					for _, d := range out {
						if err := s.Ack(d); err != nil {
							t.Errorf("Ack: %v", err)
						}
					}
					out = nil
				}
				if g := n / 1000; n < last[g] {
					t.Errorf("entry %d after %d", n, last[g])
				} else {
					last[g] = n
				}
			}
		})
		others.Go(func() {
			for ctx.Err() == nil {
				checkBalance(t, s.Stats())
				runtime.Gosched()
			}
		})
		sources.Wait()
		for ctx.Err() == nil {
			if st := s.Stats(); st.Pending.Entries == 0 && st.Waiting.Entries < 3 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
		others.Wait()
		s.Rewind()
		for _, n := range drain(t, s) {
			if n < 1000 {
				heldSeen[n] = true
			}
		}
		st := s.Stats()
		checkBalance(t, st)
		if st.Appended.Entries != 2000 || st.Waiting.Entries != 0 || len(heldSeen) != 500 {
			t.Fatalf("%d held entries seen, stats %+v", len(heldSeen), st)
		}
	})
}

func TestSteadyStateStaysInMemory(t *testing.T) {
	reads := 0
	s := open(t, Options{Dir: t.TempDir(), fault: func(op operation) error {
		if op == opRead {
			reads++
		}
		return nil
	}})
	for n := range 200 {
		mustAppend(t, s, entry(n, 16<<10))
		if n%3 == 2 {
			for range 3 {
				mustAck(t, s, mustNext(t, s))
			}
		}
	}
	if reads != 0 {
		t.Fatalf("a consumer that kept up read the disk %d times", reads)
	}
}

func TestIdleMemory(t *testing.T) {
	const spools = 20
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	dir := t.TempDir()
	before := heap()
	var all []*Spool
	for i := range spools {
		s := open(t, Options{Dir: filepath.Join(dir, fmt.Sprint(i))})
		mustAppendMany(t, s, 1, 300, 16<<10)
		drain(t, s)
		all = append(all, s)
	}
	// Who writes gives its memory back a moment after the last entry is durable.
	eventually(t, "an idle spool takes at most 16 KiB of memory", func() bool { return int64(heap()-before)/spools <= 16<<10 })
	runtime.KeepAlive(all)
}

func TestZeroCommit(t *testing.T) {
	var c Commit
	<-c.Done()
	if c.Err() != nil || c.Wait(t.Context()) != nil {
		t.Fatal("the zero Commit is not done")
	}
}
