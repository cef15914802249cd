package evaluate

import (
	"testing"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/sdk"
)

// TestConstraints: outside its time constraints an alarm keeps its state, whatever comes;
// it is looked at when one begins, without anything that calls for it.
func TestConstraints(t *testing.T) {
	for name, test := range map[string]struct {
		start, zone, begins string
		more                []def.Constraint
	}{
		"UTC":                      {"0 23 * * *", "", "2026-01-05T23:00:00Z", nil},
		"weekdays":                 {"30 8 * * 5-7", "Europe/Ljubljana", "2026-07-03T06:30:00Z", nil},
		"zone in winter":           {"0 11 * * *", "Europe/Ljubljana", "2026-01-05T10:00:00Z", nil},
		"zone in summer":           {"0 11 * * *", "Europe/Ljubljana", "2026-07-05T09:00:00Z", nil},
		"half an hour":             {"0 11 * * *", "Asia/Kolkata", "2026-07-05T05:30:00Z", nil},
		"after clocks went ahead":  {"0 4 * * *", "America/New_York", "2026-03-08T08:00:00Z", nil},
		"an hour that is skipped":  {"0 2 * * *", "America/New_York", "2026-03-08T07:00:00Z", nil},
		"the second of two hours":  {"0 1 2 11 *", "America/New_York", "2025-11-02T06:00:00Z", nil},
		"after clocks were behind": {"0 2 * * *", "America/New_York", "2025-11-02T07:00:00Z", nil},
		"the first of several":     {"0 23 * * *", "", "2026-01-05T11:00:00Z", []def.Constraint{{Start: "0 11 * * *", Duration: 10 * time.Minute}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begins, err := time.Parse(time.RFC3339, test.begins)
			if err != nil {
				t.Fatal(err)
			}
			g := newRig(t)
			series := g.shelf.add("r", "cpu")
			a := g.alarm("r", "")
			a.Constraints = append(test.more, def.Constraint{Start: test.start, Timezone: test.zone, Duration: 10 * time.Minute})
			a.Repeat = true
			if err := g.store.Update(t.Context(), a, nil, nil); err != nil {
				t.Fatal(err)
			}
			now := begins.Add(-15 * time.Minute)
			e := g.stopped(t, func() time.Time { return now })
			look := func() (looked int, wait time.Duration) {
				for {
					list, wait := e.take(&e.lanes[windows], now)
					if len(list) == 0 {
						return looked, wait
					}
					looked += len(list)
					e.look(t.Context(), list)
				}
			}
			come := func(value float64) {
				g.shelf.put(series, now, value)
				e.advance(&sdk.Advance{Numbers: []uint64{series}, Times: []int64{now.UnixNano()}}, false)
				look()
			}
			told := 0
			expect := func(state def.State, more int) {
				t.Helper()
				told += more
				found, err := g.store.Alarm(t.Context(), a.ID)
				if err != nil {
					t.Fatal(err)
				}
				list, err := g.store.Owed(t.Context(), "t", 0, 100)
				if err != nil {
					t.Fatal(err)
				}
				if found.State != state || len(list) != told {
					t.Fatalf("at %v it is %v and told %d times, and should be %v and %d", now, found.State, len(list), state, told)
				}
			}
			for now.Before(begins) {
				come(100)
				expect(def.InsufficientData, 0)
				now = now.Add(50 * time.Second)
			}
			now = begins.Add(-100 * time.Millisecond)
			if n, wait := look(); n != 0 || wait != 100*time.Millisecond {
				t.Errorf("right before, %d are looked at, and the next in %v", n, wait)
			}
			now = begins
			if n, _ := look(); n != 1 {
				t.Errorf("%d are looked at when it begins", n)
			}
			expect(def.Alerting, 1)
			now = begins.Add(2*time.Minute + time.Second)
			look()
			expect(def.InsufficientData, 1)
			come(10)
			expect(def.OK, 1)
			now = begins.Add(9*time.Minute + 59*time.Second)
			come(20)
			expect(def.OK, 1) // again, as actions are repeated
			now = begins.Add(10*time.Minute + time.Second)
			for range 10 {
				come(100)
				expect(def.OK, 0)
				now = now.Add(time.Minute)
			}
		})
	}
}

// TestReplayConstraints: what would have been is not judged outside, either.
func TestReplayConstraints(t *testing.T) {
	g := newRig(t)
	series := g.shelf.add("r", "cpu")
	a := g.alarm("r", "")
	a.Constraints = []def.Constraint{{Start: "30 * * * *", Duration: 10 * time.Minute}}
	from := time.Date(2026, 1, 5, 11, 0, 0, 0, time.UTC)
	for i := range 60 {
		g.shelf.put(series, from.Add(time.Duration(i)*time.Minute), 100)
	}
	r, err := g.stopped(t, time.Now).Replay(t.Context(), &a.Alarm, from, from.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, s := range r.Steps {
		judged += len(s.Values)
	}
	if len(r.Steps) != 60 || judged != 11 || len(r.Transitions) != 1 || !r.Transitions[0].At.Equal(from.Add(30*time.Minute)) {
		t.Errorf("%d of %d steps are judged, and the transitions are %+v", judged, len(r.Steps), r.Transitions)
	}
}
