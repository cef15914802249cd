package evaluate

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	// Values are the newest values of the rule's leaves, NaN of one that has none. There are
	// none at all outside the alarm's time constraints, where the state stays.
	Values []float64
}

// ReplayedTransition is a change of a state that there would have been.
type ReplayedTransition struct {
	At       time.Time
	Previous def.State
	*judge.Outcome
}

// MaxSteps is how many times a replay judges at most, and MaxValues how many leaves it looks
// at in all of its steps.
const (
	MaxSteps  = 20_000
	MaxValues = 100_000
)

// Replay judges what is stored of a time span, one step after each window, as if it had
// arrived window by window. Rules about events, absence and PromQL have no past that a
// storage of windows keeps. What can't be replayed is a [def.InputError]; other errors are
// the storage's, or the context's.
func (e *Evaluator) Replay(ctx context.Context, a *def.Alarm, from, to time.Time) (*Replayed, error) {
	stored := &store.Alarm{Alarm: *a}
	stored.Enabled = true
	n := newAlarm(stored)
	step := time.Duration(0)
	for i := range n.leaves {
		t := threshold(n.leaves[i].rule)
		if t == nil || e.o.Series == nil {
			return nil, cannotReplay("a rule of type %s can't be judged by past data", n.leaves[i].rule.Type())
		}
		if step == 0 || t.Granularity < step {
			step = t.Granularity
		}
	}
	if step == 0 {
		return nil, cannotReplay("a rule of type %s can't be judged by past data", a.Rule.Type())
	}
	if from.Before(time.Unix(0, 0)) || to.After(time.Unix(0, math.MaxInt64)) {
		return nil, cannotReplay("start and stop have to be between 1970 and 2262")
	}
	first, last := windowOf(from.UnixNano(), step), windowOf(to.UnixNano(), step)
	switch steps := (last - first) / int64(step); {
	case steps > MaxSteps:
		return nil, cannotReplay("%d windows of %v are more than %d: choose a shorter time", steps, step, MaxSteps)
	case steps*int64(len(n.leaves)) > MaxValues:
		return nil, cannotReplay("%d windows of %v for each of %d rules are more than %d: choose a shorter time", steps, step, len(n.leaves), MaxValues)
	}
	scope := sdk.Scope{User: a.User, Project: a.Project, All: a.Admin}
	tracks := make([]track, len(n.leaves))
	for i := range n.leaves {
		var err error
		if tracks[i], err = e.track(ctx, scope, n.leaves[i].rule, first, last); err != nil {
			return nil, err
		}
	}
	r := &Replayed{}
	state, opens := def.InsufficientData, first
	for at := first + int64(step); at <= last; at += int64(step) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := Step{At: time.Unix(0, at).UTC(), State: state}
		if at < opens { // what within costs is not spent on each step
			r.Steps = append(r.Steps, s)
			continue
		}
		if next, ok := e.within(n, s.At); !ok {
			opens = next
			r.Steps = append(r.Steps, s)
			continue
		}
		verdicts := make([]judge.Verdict, len(tracks))
		s.Values = make([]float64, len(tracks))
		for i := range tracks {
			values := tracks[i].before(at)
			verdicts[i] = judge.Windows(tracks[i].rule, values)
			s.Values[i] = math.NaN()
			if len(values) > 0 {
				s.Values[i] = values[len(values)-1]
			}
		}
		var o *judge.Outcome
		if c, ok := a.Rule.(*def.Composite); ok {
			o = judge.Composite(c, verdicts, state, false)
		} else {
			o = verdicts[0].Outcome(state, false)
		}
		if o != nil && o.State != state {
			r.Transitions = append(r.Transitions, ReplayedTransition{At: s.At, Previous: state, Outcome: o})
			state = o.State
		}
		s.State = state
		r.Steps = append(r.Steps, s)
	}
	return r, nil
}

func cannotReplay(format string, args ...any) error {
	return &def.InputError{Message: fmt.Sprintf(format, args...)}
}

// windowOf is the beginning of the window that a time is in. Windows count from 1970, as
// Gnocchi's do, and not from the year 1, as [time.Time.Truncate] does.
func windowOf(t int64, granularity time.Duration) int64 {
	rest := t % int64(granularity)
	if rest < 0 {
		rest += int64(granularity)
	}
	return t - rest
}

// track is the windows of a leaf, by when they begin.
type track struct {
	rule *def.Threshold
	// span is how long before a look a window may begin that counts for it.
	span   time.Duration
	times  []int64
	values []float64
}

// before gives the values of the windows that count at a time.
func (t *track) before(at int64) []float64 {
	first, _ := slices.BinarySearch(t.times, windowOf(at-int64(t.span), t.rule.Granularity))
	last, _ := slices.BinarySearch(t.times, at)
	return t.values[first:last]
}

// track reads the windows of a leaf, and those before that the first step needs.
func (e *Evaluator) track(ctx context.Context, scope sdk.Scope, r def.Rule, first, last int64) (track, error) {
	to := time.Unix(0, last).UTC()
	t := threshold(r)
	from, _ := e.span(t, time.Unix(0, first).UTC())
	k := track{rule: t, span: time.Duration(first - from.UnixNano())}
	if r, ok := r.(*def.ResourceThreshold); ok {
		name := sdk.SeriesName{Resource: r.Resource, Meter: r.Metric}
		found, err := e.find(ctx, sdk.SeriesQuery{Scope: scope, Names: []sdk.SeriesName{name}})
		if err != nil {
			return k, refusedReplay(r, err)
		}
		if len(found) == 0 {
			return k, cannotReplay("metric %s for resource %s does not exists", r.Metric, r.Resource)
		}
		w, err := e.o.Series.Windows(ctx, []sdk.WindowQuery{{Series: []uint64{found[0].Number}, Granularity: t.Granularity, Aggregation: t.Method, From: from, To: to}})
		if err != nil {
			return k, refusedReplay(r, err)
		}
		for _, row := range w.All() {
			if row.Err != nil {
				return k, cannotReplay("metric %s for resource %s: %v", r.Metric, r.Resource, row.Err)
			}
			k.times, k.values = row.Times, row.Values
			break
		}
		return k, nil
	}
	_, q, err := e.expression(scope, r, to)
	if err != nil {
		return k, err
	}
	q.From, q.To, q.Granularity = from, to, t.Granularity
	series, err := e.o.Series.Compute(ctx, q)
	if err != nil {
		return k, refusedReplay(r, err)
	}
	switch len(series) {
	case 0:
	case 1:
		k.times, k.values = series[0].Times, series[0].Values
	default:
		return k, cannotReplay("%v", severalSeries(len(series)))
	}
	return k, nil
}

// refusedReplay is the error of a question: that of one which no answer can be given to is
// about the rule.
func refusedReplay(r def.Rule, err error) error {
	if refused := (*sdk.Refused)(nil); errors.As(err, &refused) {
		return cannotReplay("%s", refusal(r, refused))
	}
	return err
}
