package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// Alarms about the aggregator of another agent are looked at when points come there, and
// not by time; also after that agent was away.
func TestAlarmsAboutNeighbour(t *testing.T) {
	t.Parallel()
	address := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	there := StartAgent(t, fmt.Sprintf("[[storage.aggregator]]\npath = '${DIR}/aggregator'\nlisten = '%s'\nauth = 'basic'\nbasic = { users = { admin = 'secret', guest = 'guess' } }\n", address))
	hook := newWebhook(t, 0)
	a := remoteAgent(t, "http://admin:secret@"+address, "1h", fmt.Sprintf("gnocchi = { url = 'http://%[1]s', password = 'secret' }\n[[alarm.evaluator]]\nname = 'wrong'\nlisten = ''\ngnocchi = { url = 'http://%[1]s', password = 'guess' }\n", address))
	if said := a.AwaitLog("following the storage fails.*answers 401: "); !strings.Contains(said, "instance=wrong") || !strings.Contains(said, "; set who asks in the options") {
		t.Errorf("the log has %s", said)
	}
	a.policy(t)
	hooks := fmt.Sprintf(`, "ok_actions": [%[1]q], "alarm_actions": [%[1]q], "insufficient_data_actions": [%[1]q]`, hook.URL)
	windows := over50 + `, "granularity": 604800, "evaluation_periods": 1`
	m := a.resource(t, "host", "p2", "cpu", "disk")
	absent := a.alarm(t, rule("absent", "absence", `{"metric": "disk", "resource_id": "host", "period": 600}`, hooks))
	late := a.alarm(t, rule("late", "gnocchi_resources_threshold", threshold("later", "cpu"), hooks))
	ids := []string{
		a.alarm(t, rule("resource", "gnocchi_resources_threshold", threshold("host", "cpu"), hooks)),
		a.alarm(t, rule("metrics", "gnocchi_aggregation_by_metrics_threshold", fmt.Sprintf(`{"metrics": [%q], "aggregation_method": "mean", %s}`, m["cpu"], windows), hooks)),
		a.alarm(t, rule("resources", "gnocchi_aggregation_by_resources_threshold", `{"metric": "cpu", "resource_type": "generic", "query": "{\"=\": {\"project_id\": \"p2\"}}", "aggregation_method": "mean", `+windows+`}`, hooks)),
		a.alarm(t, rule("composite", "composite", fmt.Sprintf(`{"or": [%s, {"and": [%s]}]}`, leafOf("host", "cpu"), leafOf("host", "disk")), hooks)),
	}
	var told []string
	value := 100.0
	expect := func(state string) {
		t.Helper()
		told = append(told, state)
		a.write(t, m["cpu"], value)
		value *= -10 // so that the mean goes where it goes
		for _, id := range ids {
			a.awaitTold(t, hook, id, told...)
		}
	}
	Eventually(t, "a point is noticed", func() error {
		a.write(t, m["disk"], 1) // those before the feed is followed are not
		return want(len(hook.got(absent)) > 0, "none is")
	})
	a.awaitTold(t, hook, absent, "ok")
	expect("alarm")
	expect("ok")
	// What comes into being is found when its first point comes.
	later := a.resource(t, "later", "p3", "cpu")["cpu"]
	a.write(t, later, 100)
	a.awaitTold(t, hook, late, "alarm")

	for range 2 {
		length := len(a.Log())
		there.Kill9()
		a.AwaitLogAfter(length, "following the storage fails")
		there.Start()
		there.AwaitReady()
		expect("alarm")
		expect("ok")
		if n := strings.Count(a.Log()[length:], "following the storage fails"); n != 1 {
			t.Errorf("that it can't be followed is told %d times", n)
		}
		a.AwaitLogAfter(length, "following the storage works again")
	}
	a.awaitTold(t, hook, absent, "ok")
	a.awaitTold(t, hook, late, "alarm")
}
