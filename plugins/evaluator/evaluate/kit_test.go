package evaluate

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// shelf is a storage of windows: of series by number, points by the start of their
// window of a minute.
type shelf struct {
	mu       sync.Mutex
	series   []sdk.Series // numbers are places from 1 on
	points   []map[int64]float64
	advanced map[uint64]int64
	wake     chan struct{}
	asked    int
}

func newShelf() *shelf { return &shelf{advanced: map[uint64]int64{}, wake: make(chan struct{}, 1)} }

func (s *shelf) add(resource, meter string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := uint64(len(s.series) + 1)
	s.series = append(s.series, sdk.Series{Number: n, ID: uuid.NewString(), Meter: meter, Resource: resource})
	s.points = append(s.points, map[int64]float64{})
	return n
}

func (s *shelf) put(number uint64, at time.Time, value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.points[number-1][at.Truncate(time.Minute).UnixNano()] = value
	s.advanced[number] = at.UnixNano()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *shelf) FindSeries(_ context.Context, q sdk.SeriesQuery) ([]sdk.FoundSeries, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	byName := map[sdk.SeriesName]sdk.Series{}
	for _, r := range s.series {
		byName[sdk.SeriesName{Resource: r.Resource, Meter: r.Meter}] = r
	}
	var found []sdk.FoundSeries
	if q.Search != nil {
		for _, r := range s.search(q.Search, q.Search.Meters[0]) {
			found = append(found, sdk.FoundSeries{Series: r})
		}
	}
	for i, name := range q.Names {
		if r, ok := byName[name]; ok {
			found = append(found, sdk.FoundSeries{Series: r, Position: i})
		}
	}
	return found, nil
}

// search finds the series of a meter whose resource begins with the filter, a JSON string.
func (s *shelf) search(q *sdk.ResourceSearch, meter string) (list []sdk.Series) {
	for _, r := range s.series {
		if r.Meter == meter && strings.HasPrefix(r.Resource, strings.Trim(q.Filter, `"`)) {
			list = append(list, r)
		}
	}
	return list
}

// Compute gives the mean, of a search for the meter cpu.
func (s *shelf) Compute(_ context.Context, q sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sums, counts := map[int64]float64{}, map[int64]float64{}
	for _, r := range s.search(q.Search, "cpu") {
		for t := q.From.Truncate(q.Granularity); t.Before(q.To); t = t.Add(q.Granularity) {
			if v, ok := s.points[r.Number-1][t.UnixNano()]; ok {
				sums[t.UnixNano()] += v
				counts[t.UnixNano()]++
			}
		}
	}
	var c sdk.ComputedSeries
	for _, t := range slices.Sorted(maps.Keys(sums)) {
		c.Times, c.Values = append(c.Times, t), append(c.Values, sums[t]/counts[t])
	}
	return []sdk.ComputedSeries{c}, nil
}

func (s *shelf) Windows(_ context.Context, qs []sdk.WindowQuery) (*sdk.Windows, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	w := &sdk.Windows{}
	for _, q := range qs {
		for _, n := range q.Series {
			count := int32(0)
			for t := q.From.Truncate(q.Granularity); t.Before(q.To); t = t.Add(q.Granularity) {
				if v, ok := s.points[n-1][t.UnixNano()]; ok {
					w.Times, w.Values = append(w.Times, t.UnixNano()), append(w.Values, v)
					count++
				}
			}
			w.Counts = append(w.Counts, count)
		}
	}
	return w, nil
}

func (s *shelf) Follow(ctx context.Context, _ sdk.FollowQuery) iter.Seq2[*sdk.Advance, error] {
	return func(yield func(*sdk.Advance, error) bool) {
		if !yield(&sdk.Advance{}, nil) {
			return
		}
		for {
			select {
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			case <-s.wake:
			}
			s.mu.Lock()
			a := &sdk.Advance{}
			for n, t := range s.advanced {
				a.Numbers, a.Times = append(a.Numbers, n), append(a.Times, t)
				a.New = append(a.New, s.series[n-1])
			}
			clear(s.advanced)
			s.mu.Unlock()
			if !yield(a, nil) {
				return
			}
		}
	}
}

// rig is an evaluator over a shelf.
type rig struct {
	t     testing.TB
	shelf *shelf
	store *store.Store
	e     *Evaluator
	// prometheus is asked about PromQL, if it is not nil.
	prometheus sdk.SeriesReader
}

func newRig(t testing.TB) *rig {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: filepath.Join(t.TempDir(), "alarms.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{t: t, shelf: newShelf(), store: s}
}

// start starts the evaluator; it ends with the test.
func (r *rig) start() {
	r.t.Helper()
	r.e = New(Options{
		Store: r.store, Series: r.shelf, Prometheus: r.prometheus, Interval: time.Minute, Owed: func([]string) {},
		Owe: func(n *Notice) []*store.Delivery {
			return []*store.Delivery{{ID: n.ID, Alarm: n.Alarm.ID, Target: "t", Action: "log:", Body: n.Reason, Created: n.At}}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.e.Run(ctx); ctx.Err() == nil {
			r.t.Errorf("the evaluator ended: %v", err)
		}
	}()
	r.t.Cleanup(func() { cancel(); <-done })
}

// alarm stores an alarm on a series, for values over 80.
func (r *rig) alarm(resource string, rule string) *store.Alarm {
	r.t.Helper()
	if rule == "" {
		rule = fmt.Sprintf(`{"metric": "cpu", "resource_id": %q, "resource_type": "instance", "threshold": 80, "comparison_operator": "gt", "aggregation_method": "mean"}`, resource)
	}
	return r.alarmOf("gnocchi_resources_threshold", rule)
}

// alarmOf stores an alarm of a type.
func (r *rig) alarmOf(kind, rule string) *store.Alarm {
	r.t.Helper()
	p, err := def.Read(fmt.Appendf(nil, `{"name": "a", "type": %q, "%s_rule": %s}`, kind, kind, rule))
	if err != nil {
		r.t.Fatal(err)
	}
	a := &store.Alarm{Alarm: p.Alarm}
	a.ID, a.Changed, a.Admin = uuid.New(), time.Now(), true
	if err := r.store.Create(r.t.Context(), a, store.Limits{Project: -1, User: -1}, nil); err != nil {
		r.t.Fatal(err)
	}
	return a
}

// await waits for something that happens beside: on a busy machine an alarm that is dear to
// compute rests for up to the interval.
func await(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within three minutes", what)
		}
	}
}

func (r *rig) awaitState(id uuid.UUID, want def.State) {
	r.t.Helper()
	await(r.t, "state "+want.String(), func() bool {
		a, err := r.store.Alarm(r.t.Context(), id)
		if err != nil {
			r.t.Fatal(err)
		}
		return a.State == want
	})
}
