package judge

import (
	"fmt"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// Absent is what an alarm that waits for something and is in a state has to do; nil:
// nothing. last is when it came last, or, unless came, when waiting for it began; late
// says that more than the period has gone by since.
func Absent(r *def.Absence, last time.Time, came, late bool, now def.State, repeat bool) *Outcome {
	what := fmt.Sprintf("metric %s of resource %s", r.Metric, r.Resource)
	if r.Event != nil {
		what = "event " + r.Event.EventType
	}
	data := def.Object{
		{Name: "type", Value: "absence"}, {Name: "last", Value: def.TimeText(last)}, {Name: "period", Value: int(r.Period / time.Second)},
	}
	o := &Outcome{State: def.OK, Data: data}
	o.Reason = fmt.Sprintf("%s came, most recent: %s", what, def.TimeText(last))
	if late {
		o.State = def.Alerting
		o.Reason = fmt.Sprintf("%s did not come for %d seconds, most recent: %s", what, int(r.Period/time.Second), def.TimeText(last))
	}
	if !came && !late {
		return nil // that is no reason yet to say that all is well
	}
	if o.State == now && !repeat {
		return nil
	}
	return o
}
