// Package action does what alarms owe: it tells webhooks, mail servers, queues and
// the log of changes of states. What is owed is in the store; each target has a queue of its own, so that
// one that does not answer keeps no other waiting.
//
// message.go: what is told. queue.go: when. The rest: how, by the scheme of an action.
package action

import (
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// EventTarget is the target of changes that go into the pipelines as events.
const EventTarget = "event:"

// Owed gives the deliveries of an alarm's outcome: one for each action of its new
// state. id is that of the transition; previous the state before.
func Owed(alarm *store.Summary, previous def.State, o *judge.Outcome, id uuid.UUID, at time.Time) []*store.Delivery {
	actions := alarm.Actions[o.State]
	if len(actions) == 0 {
		return nil
	}
	// What Aodh sends, byte by byte.
	body := string(def.AppendJSON(nil, def.Object{
		{Name: "alarm_name", Value: alarm.Name}, {Name: "alarm_id", Value: alarm.ID.String()}, {Name: "severity", Value: alarm.Severity.String()},
		{Name: "previous", Value: previous.String()}, {Name: "current", Value: o.State.String()}, {Name: "reason", Value: o.Reason}, {Name: "reason_data", Value: o.Data},
	}))
	list := make([]*store.Delivery, len(actions))
	for i, a := range actions {
		list[i] = &store.Delivery{
			ID: uuid.NewSHA1(id, []byte(a)), Alarm: alarm.ID, Project: alarm.Project, Target: targetOf(a, alarm.ID), Action: a, Body: body, Created: at,
		}
	}
	return list
}

// Event gives the delivery of a line of history into the pipelines.
func Event(c *store.Change) *store.Delivery {
	return &store.Delivery{
		ID: c.ID, Alarm: c.Alarm, Project: c.OnBehalfOf, Target: EventTarget, Action: EventTarget, Created: c.At,
		Body: string(def.AppendJSON(nil, def.Object{
			{Name: "type", Value: c.Kind.String()}, {Name: "name", Value: c.Name}, {Name: "detail", Value: c.Detail}, {Name: "user_id", Value: c.User}, {Name: "project_id", Value: c.Project},
			{Name: "on_behalf_of", Value: c.OnBehalfOf}, {Name: "severity", Value: c.Severity.String()},
		})),
	}
}

// targetOf is the queue that an action belongs to: one for each URL without what is
// behind a question mark. What every alarm has, such as the log, has a queue for each
// of some parts of them.
func targetOf(action string, alarm uuid.UUID) string {
	u, err := url.Parse(action)
	if err != nil {
		return action
	}
	if u.Host == "" {
		return u.Scheme + ":" + u.Opaque + "#" + alarm.String()[35:] // the first digits are the time it was made
	}
	return strings.TrimSuffix(u.Scheme+"://"+u.Host+u.EscapedPath(), "/")
}
