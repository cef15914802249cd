// Package judge says what data make of an alarm's state, as Aodh does: windows
// compared with a threshold, several such rules joined, events. It holds no state
// and asks nobody; its texts of reasons are Aodh's.
package judge

import (
	"fmt"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// Verdict is what the data say of one threshold rule.
type Verdict struct {
	// State is what the values say; if Mixed, what the newest of them says.
	State def.State
	// Mixed: some values are outside the threshold, some not.
	Mixed bool
	// Values are those that were judged, oldest first, and Outside how many of them the
	// comparison holds for.
	Values  []float64
	Outside int
	// Unknown says why there is no verdict, if State is InsufficientData; Wanted is
	// how many values there should have been.
	Unknown string
	Wanted  int
}

// Outcome is the state that an alarm is to be in, and why. If it is not another state
// than before, the actions of the state are to be repeated.
type Outcome struct {
	State  def.State
	Reason string
	// Data is the reason for programs.
	Data def.Object
}

// Windows judges windows of a rule, oldest first: the last evaluation_periods of them.
func Windows(t *def.Threshold, values []float64) Verdict {
	if len(values) == 0 {
		return NoData(t, fmt.Sprintf("No datapoint for granularity %d", int64(t.Granularity.Seconds())))
	}
	values = values[max(0, len(values)-t.Periods):]
	if len(values) < t.Periods {
		v := NoData(t, fmt.Sprintf("%d datapoints are unknown", t.Periods))
		v.Values = values
		return v
	}
	return compare(t.Comparison, t.Threshold, values)
}

// NoData is the verdict on a rule whose data can't be had, with the reason for that.
func NoData(t *def.Threshold, reason string) Verdict {
	return Verdict{State: def.InsufficientData, Unknown: reason, Wanted: t.Periods}
}

// Samples judges the values that a PromQL expression has now.
func Samples(r *def.Prometheus, values []float64) Verdict {
	if len(values) == 0 {
		return Verdict{State: def.InsufficientData, Unknown: "datapoints are unknown"}
	}
	return compare(r.Comparison, r.Threshold, values)
}

func compare(c def.Comparison, threshold float64, values []float64) Verdict {
	v := Verdict{Values: values}
	newest := false
	for _, value := range values {
		if newest = c.Holds(value, threshold); newest {
			v.Outside++
		}
	}
	v.Mixed = v.Outside > 0 && v.Outside < len(values)
	v.State = def.OK
	if newest {
		v.State = def.Alerting
	}
	return v
}

// Outcome is what an alarm that is in a state has to do upon the verdict; nil: nothing.
// repeat says that it repeats its actions, and that it is time for that.
func (v *Verdict) Outcome(now def.State, repeat bool) *Outcome {
	state := v.State
	if v.Mixed {
		if now != def.InsufficientData {
			state = now
		}
		if state == now && !repeat {
			return nil
		}
		return v.because(now, state)
	}
	if state == def.InsufficientData && now != def.InsufficientData {
		return &Outcome{State: state, Reason: v.Unknown, Data: reasonData("unknown", v.Wanted, v.Values)}
	}
	if state == now && !repeat {
		return nil
	}
	return v.because(now, state)
}

func (v *Verdict) because(now, state def.State) *Outcome {
	count, disposition := v.Outside, "outside"
	if state == def.OK {
		count, disposition = len(v.Values)-v.Outside, "inside"
	}
	verb := "Remaining as"
	if state != now {
		verb = "Transition to"
	}
	last := "None"
	if len(v.Values) > 0 {
		last = def.NumberText(v.Values[len(v.Values)-1])
	}
	return &Outcome{
		State:  state,
		Reason: fmt.Sprintf("%s %s due to %d samples %s threshold, most recent: %s", verb, state, count, disposition, last),
		Data:   reasonData(disposition, count, v.Values),
	}
}

func reasonData(disposition string, count int, values []float64) def.Object {
	var last any
	if len(values) > 0 {
		last = values[len(values)-1]
	}
	return def.Object{{Name: "type", Value: "threshold"}, {Name: "disposition", Value: disposition}, {Name: "count", Value: count}, {Name: "most_recent", Value: last}}
}
