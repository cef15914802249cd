package evaluate

import (
	"context"
	"fmt"
	"slices"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// Replayed is what a rule would have made of past data.
type Replayed struct {
	// Steps are the times at which it was judged, one after each window.
	Steps []Step
	// Transitions are the outcomes that changed the state.
	Transitions []ReplayedTransition
}

// Step is a look at past data.
type Step struct {
	At    time.Time
	State def.State
	// Values are the newest values of the rule's leaves; one that has none has no place. There
	// are none outside the alarm's time constraints, where the state stays.
	Values []float64
}

// ReplayedTransition is a change of a state that there would have been.
type ReplayedTransition struct {
	At       time.Time
	Previous def.State
	*judge.Outcome
}

// MaxSteps is how many times a replay judges at most.
const MaxSteps = 20_000

// Replay judges what is stored of a time span, one step after each window, as if it had
// arrived window by window. Rules about events, absence and PromQL have no past that a
// storage of windows keeps.
func (e *Evaluator) Replay(ctx context.Context, a *def.Alarm, from, to time.Time) (*Replayed, error) {
	stored := &store.Alarm{Alarm: *a}
	stored.Enabled = true
	n := newAlarm(stored)
	scope := sdk.Scope{User: a.User, Project: a.Project, All: a.Admin}
	step := time.Duration(0)
	tracks := make([]track, len(n.leaves))
	for i := range n.leaves {
		t := threshold(n.leaves[i].rule)
		if t == nil || e.o.Series == nil {
			return nil, fmt.Errorf("a rule of type %s can't be judged by past data", n.leaves[i].rule.Type())
		}
		if step == 0 || t.Granularity < step {
			step = t.Granularity
		}
		var err error
		if tracks[i], err = e.track(ctx, scope, n.leaves[i].rule, t, from, to); err != nil {
			return nil, err
		}
	}
	if len(tracks) == 0 {
		return nil, fmt.Errorf("a rule of type %s can't be judged by past data", a.Rule.Type())
	}
	from, to = from.Truncate(step), to.Truncate(step)
	if steps := int64(to.Sub(from) / step); steps > MaxSteps {
		return nil, fmt.Errorf("%d windows of %v are more than %d: choose a shorter time", steps, step, MaxSteps)
	}
	r := &Replayed{}
	state := def.InsufficientData
	for at := from.Add(step); !at.After(to); at = at.Add(step) {
		s := Step{At: at, State: state}
		if _, ok := n.within(at); !ok {
			r.Steps = append(r.Steps, s)
			continue
		}
		verdicts := make([]judge.Verdict, len(tracks))
		for i := range tracks {
			t := threshold(n.leaves[i].rule)
			start, _ := e.span(t, at)
			values := tracks[i].between(start.Truncate(t.Granularity), at)
			verdicts[i] = judge.Windows(t, values)
			if len(values) > 0 {
				s.Values = append(s.Values, values[len(values)-1])
			}
		}
		var o *judge.Outcome
		if c, ok := a.Rule.(*def.Composite); ok {
			o = judge.Composite(c, verdicts, state, false)
		} else {
			o = verdicts[0].Outcome(state, false)
		}
		if o != nil && o.State != state {
			r.Transitions = append(r.Transitions, ReplayedTransition{At: at, Previous: state, Outcome: o})
			state = o.State
		}
		s.State = state
		r.Steps = append(r.Steps, s)
	}
	return r, nil
}

// track is windows of a leaf.
type track struct {
	times  []int64
	values []float64
}

// between gives the values of windows that begin from one time on and before another.
func (t *track) between(from, to time.Time) []float64 {
	first, _ := slices.BinarySearch(t.times, from.UnixNano())
	last, _ := slices.BinarySearch(t.times, to.UnixNano())
	return t.values[first:last]
}

// track reads the windows of a leaf, and those before that the first step needs.
func (e *Evaluator) track(ctx context.Context, scope sdk.Scope, r def.Rule, t *def.Threshold, from, to time.Time) (track, error) {
	from, _ = e.span(t, from)
	if r, ok := r.(*def.ResourceThreshold); ok {
		name := sdk.SeriesName{Resource: r.Resource, Meter: r.Metric}
		found, err := e.find(ctx, sdk.SeriesQuery{Scope: scope, Names: []sdk.SeriesName{name}})
		if err != nil {
			return track{}, err
		}
		if len(found) == 0 {
			return track{}, fmt.Errorf("metric %s for resource %s does not exists", r.Metric, r.Resource)
		}
		w, err := e.o.Series.Windows(ctx, []sdk.WindowQuery{{Series: []uint64{found[0].Number}, Granularity: t.Granularity, Aggregation: t.Method, From: from, To: to}})
		if err != nil {
			return track{}, err
		}
		for _, row := range w.All() {
			return track{row.Times, row.Values}, row.Err
		}
		return track{}, nil
	}
	_, q, err := e.expression(scope, r, to)
	if err != nil {
		return track{}, err
	}
	q.From, q.To, q.Granularity = from, to, t.Granularity
	series, err := e.o.Series.Compute(ctx, q)
	if err != nil {
		return track{}, err
	}
	if len(series) > 1 {
		return track{}, severalSeries(len(series))
	}
	for _, s := range series {
		return track{s.Times, s.Values}, nil
	}
	return track{}, nil
}
