package evaluator

import (
	"context"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/sdk"
)

// Meters of what the plugin tells about itself.
var (
	alarms        = sdk.Meter{Name: "alarms", Type: sdk.Gauge, Unit: "alarm"}
	alarmsWaiting = sdk.Meter{Name: "alarms.waiting", Type: sdk.Gauge, Unit: "alarm"}
	evaluations   = sdk.Meter{Name: "evaluations", Type: sdk.Cumulative, Unit: "evaluation"}
	transitions   = sdk.Meter{Name: "transitions", Type: sdk.Cumulative, Unit: "transition"}
	taken         = sdk.Meter{Name: "events", Type: sdk.Cumulative, Unit: "event"}
	pending       = sdk.Meter{Name: "deliveries.pending", Type: sdk.Gauge, Unit: "delivery"}
	dead          = sdk.Meter{Name: "deliveries.dead", Type: sdk.Gauge, Unit: "delivery"}
	oldest        = sdk.Meter{Name: "deliveries.oldest", Type: sdk.Gauge, Unit: "s"}
	attempts      = sdk.Meter{Name: "attempts", Type: sdk.Cumulative, Unit: "attempt"}
	failures      = sdk.Meter{Name: "attempts.failed", Type: sdk.Cumulative, Unit: "attempt"}
	failing       = sdk.Meter{Name: "targets.failing", Type: sdk.Gauge, Unit: "target"}
)

func own() []sdk.MeterInfo {
	return []sdk.MeterInfo{
		{Meter: alarms, Doc: "Alarms that are enabled, by state."},
		{Meter: alarmsWaiting, Doc: "Alarms whose turn to be evaluated has come."},
		{Meter: evaluations, Doc: "Evaluations of an alarm."},
		{Meter: transitions, Doc: "Changes of an alarm's state by evaluation."},
		{Meter: taken, Doc: "Events that were compared with the alarms about events."},
		{Meter: pending, Doc: "Actions, and changes for pipelines, that are still to be done."},
		{Meter: dead, Doc: "Actions that were refused or given up, and can be tried again by the API."},
		{Meter: oldest, Doc: "Age of the first action, or change for pipelines, that is still to be done."},
		{Meter: attempts, Doc: "Attempts to do an action, or to give changes to pipelines."},
		{Meter: failures, Doc: "Attempts in vain or refused."},
		{Meter: failing, Doc: "Targets of actions that take nothing at present."},
	}
}

// Measure implements sdk.Measurer.
func (e *evaluator) Measure(ctx context.Context, out *sdk.Builder) error {
	c, q := e.engine.Counters(), e.queue.Counters()
	for state, n := range c.States {
		out.On(sdk.Resource{Metadata: sdk.Metadata{"state": def.State(state).String()}}).Add(alarms, float64(n))
	}
	all := out.On(sdk.Resource{})
	all.Add(alarmsWaiting, float64(c.Waiting))
	all.Add(evaluations, float64(c.Looks))
	all.Add(transitions, float64(c.Transitions))
	all.Add(taken, float64(e.taken.Load()))
	all.Add(attempts, float64(q.Attempts))
	all.Add(failures, float64(q.Failures))
	all.Add(failing, float64(len(e.queue.Failing())))
	b, err := e.store.Backlog(ctx)
	if err != nil {
		return err
	}
	age := time.Duration(0)
	if !b.Oldest.IsZero() {
		age = max(0, time.Since(b.Oldest))
	}
	all.Add(pending, float64(b.Pending))
	all.Add(dead, float64(b.Dead))
	all.Add(oldest, age.Seconds())
	return nil
}
