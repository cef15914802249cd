package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

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
