package evaluate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// modelled is an alarm as its definition says it behaves, in the plainest words.
type modelled struct {
	id        uuid.UUID
	series    uint64
	periods   int
	threshold float64
	state     def.State
	reason    string
	told      int // how often somebody was to be told
}

// look is Aodh's table of transitions.
func (m *modelled) look(points map[int64]float64, now time.Time) {
	from := now.Add(-time.Minute * time.Duration(m.periods+1)).Truncate(time.Minute)
	var values []float64
	for t := from; t.Before(now); t = t.Add(time.Minute) {
		if v, ok := points[t.UnixNano()]; ok {
			values = append(values, v)
		}
	}
	if len(values) > m.periods {
		values = values[len(values)-m.periods:]
	}
	outside := 0
	for _, v := range values {
		if v > m.threshold {
			outside++
		}
	}
	next, reason := m.state, ""
	switch n := len(values); {
	case n == 0:
		next, reason = def.InsufficientData, "No datapoint for granularity 60"
	case n < m.periods:
		next, reason = def.InsufficientData, fmt.Sprintf("%d datapoints are unknown", m.periods)
	case outside == n, outside > 0 && m.state == def.InsufficientData && values[n-1] > m.threshold:
		next = def.Alerting
		reason = fmt.Sprintf("Transition to alarm due to %d samples outside threshold, most recent: %s", outside, def.NumberText(values[n-1]))
	case outside == 0, m.state == def.InsufficientData:
		next = def.OK
		reason = fmt.Sprintf("Transition to ok due to %d samples inside threshold, most recent: %s", n-outside, def.NumberText(values[n-1]))
	}
	if next != m.state {
		m.state, m.reason = next, reason
		m.told++
	}
}

// TestStatesAreTheModels gives random points, on time, late and not at all, lets time
// go by and starts the evaluator again, and compares states, reasons and deliveries with the
// model at each step. What is looked at, and when, is the evaluator's own choice.
func TestStatesAreTheModels(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			g := newRig(t)
			now := time.Now().Truncate(time.Hour)
			var model []*modelled
			for i := range 12 {
				resource := fmt.Sprint("r", i%4)
				if i < 4 {
					g.shelf.add(resource, "cpu")
				}
				m := &modelled{series: uint64(i%4) + 1, periods: 1 + r.IntN(4), threshold: float64(r.IntN(3))*10 + 5, reason: "Not evaluated yet"}
				a := g.alarm(resource, fmt.Sprintf(`{"metric": "cpu", "resource_id": %q, "resource_type": "instance", "threshold": %v, "comparison_operator": "gt", "aggregation_method": "mean", "evaluation_periods": %d}`,
					resource, m.threshold, m.periods))
				if m.id = a.ID; i%5 == 4 {
					m.periods, m.threshold = 1, -1 // it will be changed
					a.Rule.(*def.ResourceThreshold).Periods, a.Rule.(*def.ResourceThreshold).Threshold.Threshold = 1, -1
					if err := g.store.Update(t.Context(), a, nil, nil); err != nil {
						t.Fatal(err)
					}
				}
				model = append(model, m)
			}
			e := g.stopped(t, func() time.Time { return now })
			for step := range 150 {
				var advanced []uint64
				for range r.IntN(4) {
					n := uint64(r.IntN(4)) + 1
					at := now.Add(-time.Duration(r.IntN(90)) * time.Second)
					if r.IntN(5) == 0 {
						at = now.Add(-time.Duration(r.IntN(600)) * time.Second)
					}
					g.shelf.put(n, at, float64(r.IntN(40)))
					advanced = append(advanced, n)
				}
				e.advance(&sdk.Advance{Numbers: advanced, Times: make([]int64, len(advanced))}, false)
				now = now.Add(time.Duration(1+r.IntN(40)) * time.Second)
				if r.IntN(40) == 0 {
					now = now.Add(20 * time.Minute)
				}
				if r.IntN(30) == 0 {
					e = g.stopped(t, func() time.Time { return now })
				}
				for {
					list, _ := e.take(&e.lanes[windows], now)
					if len(list) == 0 {
						break
					}
					e.look(t.Context(), list)
				}
				found := map[uuid.UUID]*store.Alarm{}
				list, err := g.store.Alarms(t.Context(), store.Query{})
				if err != nil {
					t.Fatal(err)
				}
				var states States
				for _, a := range list {
					found[a.ID] = a
					states[a.State]++
				}
				if got := e.Counters().States; got != states {
					t.Fatalf("step %d: in each state are %v alarms, and %v are counted", step, states, got)
				}
				for i, m := range model {
					m.look(g.shelf.points[m.series-1], now)
					a := found[m.id]
					if a.State != m.state || m.told > 0 && a.Reason != m.reason {
						t.Fatalf("step %d, alarm %d: is %v (%s), and should be %v (%s)", step, i, a.State, a.Reason, m.state, m.reason)
					}
				}
			}
			owed := map[uuid.UUID]int{}
			list, err := g.store.Owed(t.Context(), "t", 0, 1_000_000)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range list {
				owed[d.Alarm]++
			}
			for i, m := range model {
				if owed[m.id] != m.told {
					t.Errorf("alarm %d told %d times, not %d", i, owed[m.id], m.told)
				}
			}
		})
	}
}

// stopped is an evaluator that does what it is asked only.
func (r *rig) stopped(t *testing.T, now func() time.Time) *Evaluator {
	t.Helper()
	e := New(Options{
		Store: r.store, Series: r.shelf, Interval: time.Minute, Owed: func([]string) {}, Now: now,
		Owe: func(n *Notice) []*store.Delivery {
			return []*store.Delivery{{ID: n.ID, Alarm: n.Alarm.ID, Target: "t", Action: "log:", Body: n.Reason, Created: n.At}}
		},
	})
	if err := e.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}
