package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/plugins/events/chunk/chunktest"
	"github.com/nephoscope/nepho/sdk"
)

// Large events come in small portions, whatever the limit.
func TestHuge(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		fill := rand.NewChaCha8([32]byte{})
		for i := range 6 {
			var batch []sdk.Event
			for j := range 4 {
				raw := make([]byte, 1<<20)
				fill.Read(raw)
				e := event(fmt.Sprint(i, "-", j), start.Add(time.Duration(10*i+j)*time.Second), sdk.Trait{Name: "n", Type: sdk.Text, Value: strings.Repeat("x", 1000)})
				e.Raw = raw
				batch = append(batch, e)
			}
			add(t, s, 4, batch...)
		}
		ok(t, s.Merge(ctx))
		q := Everything()
		q.Limit = 1000
		n, portions := 0, 0
		ok(t, s.Each(ctx, q, func(events []sdk.Event) error {
			n += len(events)
			portions++
			if len(events) > 12 {
				t.Errorf("%d events of 1 MiB at once", len(events))
			}
			for i := range events {
				if len(events[i].Raw) != 1<<20 {
					t.Errorf("a raw form has %d bytes", len(events[i].Raw))
				}
			}
			return nil
		}))
		if n != 24 || portions < 3 {
			t.Errorf("%d events in %d portions", n, portions)
		}
		// One text that all of a batch share.
		long := strings.Repeat("long ", 200_000)
		var batch []sdk.Event
		for i := range 40 {
			batch = append(batch, event(fmt.Sprint("long", i), start, sdk.Trait{Name: "long", Type: sdk.Text, Value: long}))
		}
		add(t, s, 40, batch...)
		add(t, s, 0, batch...)
	})
}

// What others do to a store at once does not disturb it.
func TestConcurrent(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		nova := chunktest.NewNova(3, start.Add(-time.Hour), time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var background, readers sync.WaitGroup
		background.Go(func() { s.Run(ctx) })
		stop := make(chan struct{})
		for range 3 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					seen := map[string]bool{}
					err := s.Each(ctx, Everything(), func(events []sdk.Event) error {
						for i := range events {
							if seen[events[i].MessageID] {
								return fmt.Errorf("event %s came twice", events[i].MessageID)
							}
							seen[events[i].MessageID] = true
						}
						return nil
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		total := 0
		for range 25 {
			batch := nova.Events(40)
			add(t, s, len(batch), batch...)
			total += len(batch)
		}
		close(stop)
		readers.Wait()
		cancel()
		background.Wait()
		if n := len(all(t, s, Everything())); n != total {
			t.Errorf("%d events, want %d", n, total)
		}
	})
}

// What hardly any event has is looked for in several transactions, each of which goes on
// where the one before ended, also where chunks overlap and have the same times.
func TestManyLooks(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		m := &model{}
		var batch []sdk.Event
		rare := sdk.Trait{Name: "n", Type: sdk.Integer, Value: int64(1)}
		often := sdk.Trait{Name: "n", Type: sdk.Integer, Value: int64(0)}
		for d := range 3 * maxLooks / 2 { // two of each day, which are a chunk
			n := often
			if d%40 == 3 {
				n = rare
			}
			batch = append(batch, event(fmt.Sprintf("day%03d", d), start.AddDate(0, 0, -d/2).Add(time.Duration(d%2)), n))
		}
		add(t, s, m.add(batch), batch...)
		for i := range maxLooks + 5 { // of one time
			e := event(fmt.Sprintf("same%03d", i), start.AddDate(0, 0, -20), often)
			if i%30 == 0 {
				e.Traits[0] = rare
			}
			add(t, s, m.add([]sdk.Event{e}), e)
		}
		for range 2 {
			for _, o := range []Order{{}, {IDDescends: true}, {TimeDescends: true}, {TimeDescends: true, IDDescends: true}, {ByID: true}} {
				for _, limit := range []int{0, 1, 3} {
					q := Everything()
					q.Order, q.Limit = o, limit
					q.Where = []chunk.Condition{{Trait: "n", Type: sdk.Integer, Op: chunk.NotEqual}}
					same(t, all(t, s, q), m.find(&q))
				}
			}
			q := Everything()
			q.Where = []chunk.Condition{{Trait: "n", Type: sdk.Integer, Op: chunk.Greater, Integer: 1}}
			q.Limit = 1
			_, next, err := s.Find(t.Context(), q)
			ok(t, err)
			if sizes, _ := chunks(t, s); (next != nil) != (len(sizes) > maxLooks) {
				t.Errorf("of %d chunks all were looked at by one transaction: %v", len(sizes), next == nil)
			}
			if e, err := s.Get(t.Context(), "day094", q); e != nil || err != nil {
				t.Errorf("got %v, %v", e, err)
			}
			ok(t, s.Merge(t.Context()))
		}
	})
}

// However unlike the events of a chunk are, an answer has no more of them than fit.
func TestLongAmongShort(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		const long = 3 << 20
		var want []string
		for i := range 6 {
			var batch []sdk.Event
			at := start.Add(time.Duration(i) * time.Minute)
			for j := range 2000 {
				batch = append(batch, event(fmt.Sprintf("%d-%04d", i, j), at.Add(time.Duration(j))))
			}
			batch[7].EventType = "long"
			batch[7].Raw = []byte(strings.Repeat("x", long))
			want = append(want, batch[7].MessageID)
			add(t, s, len(batch), batch...)
		}
		q := Everything()
		q.Limit, q.Type = 100, new(string)
		*q.Type = "long"
		var got []string
		ok(t, s.Each(t.Context(), q, func(events []sdk.Event) error {
			got = append(got, ids(events)...)
			if size := long * len(events); size > answerSize+long {
				t.Errorf("%d bytes at once", size)
			}
			return nil
		}))
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
