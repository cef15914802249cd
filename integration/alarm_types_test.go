package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// typesAgent is an agent whose alarms are looked at each second.
func typesAgent(t *testing.T) *alarmAgent {
	t.Helper()
	a := startAlarmAgent(t, "evaluation_interval = '1s'\n[[pollster.internal]]\ninterval = '1h'\nmeters = ['nepho.source.polls']\n")
	a.policy(t)
	return a
}

// rule is the body of an alarm without actions.
func rule(name, kind, rule, more string) string {
	return fmt.Sprintf(`{"name": %q, "type": %q, "%s_rule": %s%s}`, name, kind, kind, rule, more)
}

const over50 = `"comparison_operator": "gt", "threshold": 50`

// Each type of rules about data follows the data.
func TestAlarmsOfData(t *testing.T) {
	t.Parallel()
	a := typesAgent(t)
	windows := over50 + `, "granularity": 604800, "evaluation_periods": 1`

	m := a.resource(t, "two", "p1", "left", "right")
	id := a.alarm(t, rule("metrics", "gnocchi_aggregation_by_metrics_threshold", fmt.Sprintf(`{"metrics": [%q, %q], "aggregation_method": "mean", %s}`, m["left"], m["right"], windows), ""))
	a.write(t, m["left"], 90)
	a.write(t, m["right"], 90)
	a.awaitState(t, id, "alarm")
	a.write(t, m["right"], -1000)
	a.awaitState(t, id, "ok")

	// Resources join and leave.
	id = a.alarm(t, rule("resources", "gnocchi_aggregation_by_resources_threshold", `{"metric": "load", "resource_type": "generic", "query": "{\"=\": {\"project_id\": \"cluster\"}}", "aggregation_method": "mean", `+windows+`}`, ""))
	a.write(t, a.resource(t, "node1", "cluster", "load")["load"], 90)
	a.awaitState(t, id, "alarm")
	a.write(t, a.resource(t, "node2", "cluster", "load")["load"], -90)
	a.write(t, a.resource(t, "stranger", "other", "load")["load"], 10_000)
	a.awaitState(t, id, "ok")
	askJSON(t, "PATCH", a.gnocchi+"/v1/resource/generic/node2", `{"project_id": "other"}`, nil)
	a.awaitState(t, id, "alarm")
	a.write(t, a.resource(t, "node3", "cluster", "load")["load"], -90)
	a.awaitState(t, id, "ok")
	askJSON(t, "DELETE", a.gnocchi+"/v1/resource/generic/node3", "", nil)
	a.awaitState(t, id, "alarm")

	// What grows by more than 50 from point to point.
	counter := a.resource(t, "rate", "p1", "bytes")["bytes"]
	id = a.alarm(t, rule("rate", "gnocchi_resources_threshold", `{"metric": "bytes", "resource_id": "rate", "resource_type": "generic", "aggregation_method": "rate:mean", `+windows+`}`, ""))
	a.write(t, counter, 1000)
	a.write(t, counter, 1100)
	a.awaitState(t, id, "alarm")
	a.write(t, counter, 1110)
	a.write(t, counter, 1120)
	a.awaitState(t, id, "ok")

	m = a.resource(t, "host", "p1", "cpu", "disk", "swap")
	leaf := func(name string) string {
		return strings.Replace(threshold("host", name), "{", `{"type": "gnocchi_resources_threshold", `, 1)
	}
	id = a.alarm(t, rule("both", "composite", fmt.Sprintf(`{"and": [%s, {"or": [%s, %s]}]}`, leaf("cpu"), leaf("disk"), leaf("swap")), ""))
	promql := a.alarm(t, rule("promql", "prometheus", `{"query": "cpu{resource_id='host', aggregation='last'} + 1", `+over50+`}`, ""))
	operations := a.alarm(t, rule("operations", "operations_threshold", fmt.Sprintf(`{"operations": "(* 100 (/ (metric %s last) (metric %s last)))", %s}`, m["disk"], m["swap"], windows), ""))
	for name, v := range map[string]float64{"cpu": 100, "disk": 1, "swap": 100} {
		a.write(t, m[name], v)
	}
	a.awaitState(t, id, "alarm")
	a.awaitState(t, promql, "alarm")
	a.awaitState(t, operations, "ok")
	a.write(t, m["swap"], 1)
	a.awaitState(t, id, "ok")
	a.awaitState(t, operations, "alarm")
	a.write(t, m["disk"], 100)
	a.awaitState(t, id, "alarm")
	a.write(t, m["cpu"], 1)
	a.awaitState(t, id, "ok")
	a.awaitState(t, promql, "ok")

	// Data that stop and go on.
	beat := a.resource(t, "silent", "p1", "beat")["beat"]
	id = a.alarm(t, rule("silence", "absence", `{"metric": "beat", "resource_id": "silent", "period": 2}`, ""))
	for range 2 {
		a.awaitState(t, id, "alarm")
		a.write(t, beat, 1)
		a.awaitTransition(t, id, "ok")
	}
}

// awaitTransition waits until an alarm's newest transition, or that before it, was to a
// state, which it may have left again.
func (a *alarmAgent) awaitTransition(t *testing.T, id, state string) {
	t.Helper()
	Eventually(t, "a transition to "+state, func() error {
		list := a.transitions(t, id)
		for _, l := range list[max(0, len(list)-2):] {
			if l.state() == state {
				return nil
			}
		}
		return fmt.Errorf("it has %d transitions: %v", len(list), list)
	})
}

// Actions are repeated, and time constraints hold.
func TestAlarmsByClock(t *testing.T) {
	t.Parallel()
	hook := newWebhook(t, 0)
	a := typesAgent(t)
	metric := a.resource(t, "r", "p1", "m")["m"]
	repeats := a.alarm(t, rule("repeats", "gnocchi_resources_threshold", threshold("r", "m"), fmt.Sprintf(`, "repeat_actions": true, "alarm_actions": [%q]`, hook.URL)))
	once := a.alarm(t, rule("once", "gnocchi_resources_threshold", threshold("r", "m"), fmt.Sprintf(`, "alarm_actions": [%q]`, hook.URL)))
	constraint := func(month time.Month) string {
		return fmt.Sprintf(`, "time_constraints": [{"name": "c", "start": "* * * %d *", "duration": 3600}]`, month)
	}
	now := time.Now().UTC()
	never := rule("never", "gnocchi_resources_threshold", threshold("r", "m"), constraint((now.Month()+5)%12+1))
	out := a.alarm(t, never)
	in := a.alarm(t, rule("now", "gnocchi_resources_threshold", threshold("r", "m"), constraint(now.Month())))
	a.write(t, metric, 100)
	a.awaitState(t, in, "alarm")
	Eventually(t, "the action is repeated", func() error {
		if n := len(hook.got(repeats)); n < 3 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	ids := map[string]bool{}
	for _, n := range hook.got(repeats) {
		if n.Current != "alarm" || ids[n.ID] {
			t.Errorf("a repetition is %+v", n)
		}
		ids[n.ID] = true
	}
	Eventually(t, "what is not to be repeated is done", func() error { return want(len(hook.got(once)) > 0, "it is not") })
	if n := len(hook.got(once)); n != 1 {
		t.Errorf("what is not to be repeated was done %d times", n)
	}
	if n := len(a.transitions(t, repeats)); n != 1 {
		t.Errorf("%d transitions", n)
	}
	a.awaitState(t, out, "insufficient data")
	askJSON(t, "PUT", a.aodh+"/v2/alarms/"+out, strings.Replace(never, constraint((now.Month()+5)%12+1), "", 1), nil)
	a.awaitState(t, out, "alarm")
}

// Events that come from RabbitMQ raise alarms; transitions are events in turn, which the
// event store has, and which alarms of another instance may be about.
func TestAlarmsOfEvents(t *testing.T) {
	t.Parallel()
	broker := parts.RabbitMQ(t, parts.RabbitMQOptions{})
	hook := newWebhook(t, 0)
	panko, second := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	a := startAlarmAgent(t, fmt.Sprintf(`
[[alarm.evaluator]]
name = 'second'
listen = '%s'
auth = 'none'
[[storage.events]]
listen = '%s'
auth = 'none'
[[pollster.internal]]
interval = '1h'
meters = ['nepho.source.polls']
[[pipeline]]
name = 'samples'
sources = ['internal']
publishers = ['aggregator']
[[notification.amqp]]
name = 'bus'
urls = ['%s']
queues = ['event.sample']
bindings = [{ exchange = 'ceilometer', routing_key = 'event.sample', durable = false }]
durable = false
[[pipeline]]
name = 'bus'
sources = ['bus']
meters = ['!*']
publishers = ['evaluator']
[[pipeline]]
name = 'alarms'
sources = ['evaluator']
meters = ['!*']
publishers = ['events', 'second']
`, second, panko, broker.URL()))
	other := &alarmAgent{Agent: a.Agent, aodh: "http://" + second}
	of := func(project string) string {
		return fmt.Sprintf(`, "project_id": %q, "alarm_actions": [%q]`, project, hook.URL)
	}
	big := a.alarm(t, rule("big", "event", `{"event_type": "compute.instance.*", "query": [{"field": "traits.vcpus", "type": "integer", "op": "ge", "value": "5"}]}`, of("p")))
	foreign := a.alarm(t, rule("foreign", "event", `{"event_type": "compute.instance.*"}`, of("q")))
	follows := other.alarm(t, rule("follows", "event", `{"event_type": "alarm.state_transition", "query": [{"field": "traits.alarm_id", "value": "`+big+`"}, {"field": "traits.name", "value": "big"}, {"field": "traits.state", "value": "alarm"}]}`, of("p")))
	missing := a.alarm(t, rule("missing", "absence", `{"event_type": "compute.instance.create.end", "period": 2}`, of("p")))
	a.awaitState(t, missing, "alarm")
	publishEvents(t, broker, ceilometerEvents(t, 1, 1))
	a.awaitTransition(t, missing, "ok")
	a.awaitState(t, big, "insufficient data") // it came to the absence alarm, and so to this one
	publishEvents(t, broker, ceilometerEvents(t, 7, 1))
	a.awaitState(t, big, "alarm")
	other.awaitState(t, follows, "alarm")
	a.awaitState(t, foreign, "insufficient data")
	a.awaitNothingOwed(t)
	if list := hook.got(big); len(list) != 1 || list[0].Current != "alarm" {
		t.Errorf("the webhook was told %+v", list)
	}
	if list := hook.got(foreign); len(list) != 0 {
		t.Errorf("the webhook was told %+v", list)
	}

	history := a.transitions(t, big)
	q := url.Values{"q.field": {"event_type", "alarm_id"}, "q.op": {"eq", "eq"}, "q.type": {"", "string"}, "q.value": {"alarm.state_transition", big}}
	Eventually(t, "the transition is in the event store", func() error {
		code, text, err := person{user: "u", project: "p", roles: "admin"}.ask("GET", "http://"+panko+"/v2/events?"+q.Encode(), "")
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("%d: %s %v", code, text, err)
		}
		var events []struct {
			MessageID string `json:"message_id"`
		}
		if err := json.Unmarshal([]byte(text), &events); err != nil {
			return err
		}
		if len(events) != 1 || len(history) != 1 || events[0].MessageID != history[0].ID {
			return fmt.Errorf("%s is there, and the history is %+v", text, history)
		}
		return nil
	})
}
