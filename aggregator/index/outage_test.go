package index

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/integration/parts"
)

// The server is restarted, and crashes, while many write and read: what they were told
// is there, once, nobody waits for ever, and no transaction is left open.
func TestOutagesUnderLoad(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := parts.PostgreSQL(t)
	x := open(t, s.Database())
	instances(t, x)
	const workers = 2 * 16 // twice the connections
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		made  = map[uuid.UUID]*Entry{}
		refs  = map[uint64]bool{}
		steps = make(chan struct{}, workers)
		stop  = make(chan struct{})
	)
	for w := range workers {
		wait.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				r := Resource{ID: uuid.New(), Type: "instance", Attributes: map[string]any{"host": fmt.Sprint(w)}}
				for {
					got, err := x.EnsureResources(ctx, []Wanted{{r, []NewMetric{{Name: "m"}}}, {Resource{ID: id(n % 3), Type: Generic, User: ptr(fmt.Sprint(w, n))}, nil}})
					if err == nil {
						mu.Lock()
						made[r.ID] = got[0].Entries[0]
						mu.Unlock()
						break
					}
					if !errors.Is(err, ErrUnavailable) {
						t.Errorf("a change: %v", err)
						return
					}
				}
				if _, err := x.Resources(ctx, ResourceQuery{Type: "instance", Page: Page{Limit: 5}}); err != nil && !errors.Is(err, ErrUnavailable) {
					t.Errorf("a list: %v", err)
					return
				}
				select {
				case steps <- struct{}{}:
				case <-stop:
					return
				}
			}
		})
	}
	progress := func() {
		for range workers {
			<-steps
		}
	}
	crash := func() { // one of its processes does, whereupon the server ends all others and recovers
		var pid int
		if err := x.read(ctx, func(s *database.Session) error {
			_, err := s.One(ctx, "SELECT pg_backend_pid()", nil, &pid)
			return err
		}); err != nil {
			t.Error(err)
		} else if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	for _, outage := range []func(){s.Restart, crash, s.Restart} {
		progress()
		outage()
	}
	progress()
	close(stop)
	wait.Wait()

	for id, e := range made {
		found := must(x.LookupNames(ctx, []Name{{id, "m"}}, nil))(t)[0]
		if found == nil || found.ID != e.ID || refs[uint64(e.Ref)] {
			t.Fatalf("metric %+v of resource %s is %+v", e, id, found)
		}
		refs[uint64(e.Ref)] = true
	}
	// Of a connection that was given up the server learns a little later.
	for open, end := 1, time.Now().Add(time.Minute); open > 0; time.Sleep(10 * time.Millisecond) {
		ok(t, x.read(ctx, func(s *database.Session) error {
			_, err := s.One(ctx, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'", nil, &open)
			return err
		}))
		if open > 0 && time.Now().After(end) {
			t.Fatalf("%d transactions are left open", open)
		}
	}
}

// A server that does not answer costs those who ask no more time than they have, and
// their connections are given up.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	x := open(t, server.Database())
	m := must(x.CreateMetrics(t.Context(), make([]NewMetric, 1)))(t)[0]
	ok(t, x.update(t.Context(), func(u *update) error {
		if _, err := u.Exec(t.Context(), "LOCK TABLE metric"); err != nil {
			return err
		}
		for range 20 { // more than there are connections
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if _, err := x.Metric(ctx, m.ID); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a read: %v", err)
			}
			if err := x.DeleteMetric(ctx, m.ID); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a change: %v", err)
			}
		}
		return nil
	}))
	same(t, must(x.Metric(t.Context(), m.ID))(t), m)
}
