package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nephoscope/nepho/sdk/wire"
)

type eachPollster struct {
	discover func() ([]Resource, error)
	one      func(ctx context.Context, r Resource, out *Builder) error
}

func (p *eachPollster) Discover(context.Context) ([]Resource, error) { return p.discover() }
func (p *eachPollster) PollResource(ctx context.Context, r Resource, out *Builder) error {
	return p.one(ctx, r, out)
}

func serveEach(t *testing.T, n int, one func(ctx context.Context, r Resource, out *Builder) error, change ...func(*wire.StartRequest)) *served {
	t.Helper()
	s := serve(t, Plugin{Name: "each", ResourcePollster: func() ResourcePollster {
		return &eachPollster{func() (rs []Resource, err error) {
			for i := range n {
				rs = append(rs, Resource{ID: fmt.Sprint("r", i)})
			}
			return rs, nil
		}, one}
	}})
	s.start("", change...)
	return s
}

func concurrency(n uint32, timeout time.Duration) func(*wire.StartRequest) {
	return func(r *wire.StartRequest) { r.Concurrency, r.ResourceTimeoutNs = n, int64(timeout) }
}

func TestPollEachConcurrency(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	together := make(chan struct{}) // closed when as many are polled at once as may be
	count := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		now += n
		if now > most {
			if most = now; most == 4 {
				close(together)
			}
		}
	}
	s := serveEach(t, 40, func(_ context.Context, r Resource, out *Builder) error {
		count(1)
		defer count(-1)
		select {
		case <-together:
		case <-time.After(time.Minute):
			return errors.New("it is polled with too few others")
		}
		time.Sleep(5 * time.Millisecond) // should one more come
		on := out.On(r)
		on.Gauge("a", "", 1)
		out.Add(Sample{Name: "b", ResourceID: r.ID})
		out.AddEvent(Event{EventType: "seen"})
		return nil
	}, concurrency(4, time.Hour))
	samples, summary, err := s.poll(t.Context())
	if err != nil || summary.Error != "" || summary.Resources != 40 || summary.Failed != 0 || len(samples) != 80 {
		t.Fatalf("%d samples, summary %v, error %v", len(samples), summary, err)
	}
	if most != 4 {
		t.Errorf("%d at once instead of 4", most)
	}
}

// A resource that fails, panics or is late is told of; what was added for it in
// time counts, and so do all others.
func TestPollEachFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveEach(t, 12, func(ctx context.Context, r Resource, out *Builder) error {
			out.On(r).Gauge("begun", "", 1)
			switch r.ID {
			case "r1", "r2", "r3", "r4":
				return errors.New("no answer")
			case "r5":
				panic("a mistake")
			case "r6":
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}, concurrency(3, 50*time.Millisecond))
		samples, summary, err := s.poll(t.Context())
		if err != nil || len(samples) != 12 || summary.Failed != 6 || summary.Resources != 12 {
			t.Fatalf("%d samples, summary %v, error %v", len(samples), summary, err)
		}
		if e := summary.Error; !strings.Contains(e, "6 of 12 resources failed") || strings.Count(e, "resource \"") != 3 {
			t.Errorf("error %q", e)
		}
		if !strings.Contains(s.log.String(), "a mistake") {
			t.Error("the panic is not in the log")
		}
	})
}

// A call that never ends is left behind, and its resource left alone until it
// does; the others go on.
func TestPollEachStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, calls := make(chan struct{}), new(atomic.Int32)
		s := serveEach(t, 5, func(_ context.Context, r Resource, out *Builder) error {
			if r.ID == "r2" {
				calls.Add(1)
				<-release
			}
			out.On(r).Gauge("m", "", 1)
			return nil
		}, concurrency(2, 20*time.Millisecond))
		for range 3 {
			samples, summary, err := s.poll(t.Context())
			if err != nil || len(samples) != 4 || summary.Failed != 1 {
				t.Fatalf("%d samples, summary %v, error %v", len(samples), summary, err)
			}
		}
		if calls.Load() != 1 {
			t.Errorf("the resource was polled %d times while it hung", calls.Load())
		}
		close(release)
		eventually(t, "it is polled again", func() bool {
			samples, _, err := s.poll(t.Context())
			return err == nil && len(samples) == 5
		})
	})
}

// When the poll's time is over, what was measured by then arrives all the same.
func TestPollEachDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveEach(t, 30, func(ctx context.Context, r Resource, out *Builder) error {
			if r.ID == "r3" {
				<-ctx.Done()
				return ctx.Err()
			}
			out.On(r).Gauge("m", "", 1)
			return nil
		}, concurrency(1, time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		samples, summary, err := s.poll(ctx)
		if err != nil || len(samples) != 3 || summary.Failed != 27 {
			t.Fatalf("%d samples, summary %v, error %v", len(samples), summary, err)
		}
	})
}

func TestPollEachDiscovery(t *testing.T) {
	s := serve(t, Plugin{Name: "each", ResourcePollster: func() ResourcePollster {
		return &eachPollster{func() ([]Resource, error) { return nil, errors.New("not reachable") }, nil}
	}})
	s.start("")
	_, summary, err := s.poll(t.Context())
	if err != nil || summary.Error != "cannot discover resources: not reachable" {
		t.Errorf("summary %v, error %v", summary, err)
	}
	if err := PollEach(t.Context(), nil, nil, nil); err == nil || !strings.HasPrefix(err.Error(), "BUG: ") {
		t.Errorf("error %v", err)
	}
}

// Within Poll it mixes with what the pollster adds itself, in the order of time.
func TestPollEachWithinPoll(t *testing.T) {
	foreign, err := Build("i", func(out *Builder) error {
		out.On(Resource{ID: "far"}).Gauge("forwarded", "", 1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, pollster(func(ctx context.Context, out *Builder) error {
		self := out.On(Resource{ID: "self"})
		self.Gauge("before", "", 1)
		begun := time.Now().Add(-time.Hour)
		out.At(begun)
		err := PollEach(ctx, []Resource{{ID: "a"}}, out, func(_ context.Context, r Resource, out *Builder) error {
			out.On(r).Gauge("each", "", 1)
			out.Forward(foreign[0])
			return nil
		})
		self.Gauge("after", "", 1)
		return err
	}))
	s.start("")
	samples, summary, err := s.poll(t.Context())
	if err != nil || summary.Error != "" {
		t.Fatalf("summary %v, error %v", summary, err)
	}
	var names []string
	for _, s := range samples {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"before", "each", "forwarded", "after"}) {
		t.Errorf("got %v", names)
	}
	if d := samples[1].Timestamp.Sub(samples[3].Timestamp); d < time.Hour || d > time.Hour+time.Minute {
		t.Errorf("the time set before and the time of the resource are %v apart", d)
	}
}
