package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// remoteAgent is an agent that stores no series: its alarms are about servers that the
// tables name, which are below [[alarm.evaluator]].
func remoteAgent(t *testing.T, gnocchi, interval, tables string) *alarmAgent {
	t.Helper()
	a := &alarmAgent{gnocchi: gnocchi, aodh: fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))}
	a.Agent = StartAgent(t, fmt.Sprintf("[[alarm.evaluator]]\nlisten = '%s'\nauth = 'none'\nstorage = ''\nevaluation_interval = '%s'\n%s", a.aodh, interval, tables))
	a.aodh = "http://" + a.aodh
	return a
}

// asAdmin is the URL of a Gnocchi with the user who may do everything there.
func asAdmin(s *parts.GnocchiServer) string {
	return strings.Replace(s.URL, "http://", "http://admin:anything@", 1)
}

// toldStates are the states that a webhook was told of, for an alarm.
func (w *webhook) toldStates(alarm string) (states []string) {
	for _, n := range w.got(alarm) {
		states = append(states, n.Current)
	}
	return states
}

// awaitTold waits until a webhook was told of an alarm's states, and of no others.
func (a *alarmAgent) awaitTold(t *testing.T, w *webhook, alarm string, want ...string) {
	t.Helper()
	Eventually(t, fmt.Sprintf("the webhook is told of %q", want), func() error {
		if got := w.toldStates(alarm); !slices.Equal(got, want) {
			_, text, err := boss.ask("GET", a.aodh+"/v2/alarms/"+alarm, "")
			return fmt.Errorf("it is told of %q of %s %v", got, text, err)
		}
		return nil
	})
}

// reason gives the reason of an alarm's state.
func (a *alarmAgent) reason(t *testing.T, id string) string {
	t.Helper()
	var s shown
	askJSON(t, "GET", a.aodh+"/v2/alarms/"+id, "", &s)
	return s.Reason
}

// Alarms of all types are about a Gnocchi, and survive its absence.
func TestAlarmsAboutGnocchi(t *testing.T) {
	t.Parallel()
	gnocchi := parts.Gnocchi(t)
	hook := newWebhook(t, 0)
	patient := &alarmAgent{aodh: fmt.Sprintf("http://127.0.0.1:%d", parts.FreePort(t))}
	table := fmt.Sprintf("gnocchi = { url = '%s', username = 'admin', password = 'anything', timeout = '2m' }\n", gnocchi.URL)
	guest := &alarmAgent{aodh: fmt.Sprintf("http://127.0.0.1:%d", parts.FreePort(t))}
	another := func(a *alarmAgent, name string) string {
		return fmt.Sprintf("[[alarm.evaluator]]\nname = '%s'\nlisten = '%s'\nauth = 'none'\n", name, strings.TrimPrefix(a.aodh, "http://"))
	}
	a := remoteAgent(t, asAdmin(gnocchi), "1s", table+another(patient, "patient")+"evaluation_interval = '30m'\n"+table+another(guest, "guest")+"evaluation_interval = '1s'\n"+strings.Replace(table, "admin", "guest", 1))
	patient.Agent, guest.Agent = a.Agent, a.Agent
	a.policy(t)
	hooks := fmt.Sprintf(`, "ok_actions": [%[1]q], "alarm_actions": [%[1]q], "insufficient_data_actions": [%[1]q]`, hook.URL)
	windows := over50 + `, "granularity": 604800, "evaluation_periods": 1`

	m := a.resource(t, "host", "p2", "cpu", "disk", "swap", "idle")
	other := a.resource(t, "other_host", "p3", "cpu")
	of := func(name string) string {
		return rule(name, "gnocchi_resources_threshold", threshold("host", name), hooks)
	}
	alarms := map[string]string{
		"resource":   a.alarm(t, of("cpu")),
		"slash":      a.alarm(t, rule("slash", "gnocchi_resources_threshold", threshold("other/host", "cpu"), hooks)),
		"metrics":    a.alarm(t, rule("metrics", "gnocchi_aggregation_by_metrics_threshold", fmt.Sprintf(`{"metrics": [%q, %q], "aggregation_method": "mean", %s}`, m["cpu"], other["cpu"], windows), hooks)),
		"resources":  a.alarm(t, rule("resources", "gnocchi_aggregation_by_resources_threshold", `{"metric": "cpu", "resource_type": "generic", "query": "{\"like\": {\"project_id\": \"p%\"}}", "aggregation_method": "mean", `+windows+`}`, hooks)),
		"rate":       a.alarm(t, strings.Replace(of("swap"), `"last"`, `"rate:last"`, 1)),
		"operations": a.alarm(t, rule("operations", "operations_threshold", fmt.Sprintf(`{"operations": "(* 100 (/ (metric %s last) (metric %s last)))", %s}`, m["cpu"], m["disk"], windows), hooks)),
		"composite":  a.alarm(t, rule("composite", "composite", fmt.Sprintf(`{"and": [%s, %s]}`, leafOf("host", "cpu"), leafOf("other/host", "cpu")), hooks)),
	}
	steady := patient.alarm(t, of("cpu"))
	// What is wrong with some says why, and keeps no other from its data.
	wrong := map[string][2]string{
		"no measures":    {a.alarm(t, of("idle")), "No datapoint for granularity"},
		"no metric":      {a.alarm(t, of("nothing")), "metric nothing for resource host does not exists"},
		"no aggregation": {a.alarm(t, strings.Replace(of("cpu"), `"last"`, `"min"`, 1)), "aggregation min does not exist"},
		"no granularity": {a.alarm(t, strings.Replace(of("cpu"), `604800`, `60`, 1)), "No datapoint for granularity"},
		"no type":        {a.alarm(t, rule("x", "gnocchi_aggregation_by_resources_threshold", `{"metric": "cpu", "resource_type": "nothing", "query": "{}", "aggregation_method": "mean", `+windows+`}`, hooks)), "Resource type does not exist"},
		"no such metric": {a.alarm(t, rule("x", "gnocchi_aggregation_by_metrics_threshold", `{"metrics": ["`+steady+`"], "aggregation_method": "mean", `+windows+`}`, hooks)), "does not exist"},
	}
	// An alarm of another project sees nothing of these, one of their project does.
	member := func(project string) string {
		t.Helper()
		var made shown
		p := person{user: "u", project: project, roles: "member"}
		if code, text, err := p.ask("POST", a.aodh+"/v2/alarms", of("cpu")); err != nil || code != http.StatusCreated || json.Unmarshal([]byte(text), &made) != nil {
			t.Fatalf("%d: %s %v", code, text, err)
		}
		return made.ID
	}
	alarms["member"] = member("p2")
	wrong["absence"] = [2]string{a.alarm(t, rule("x", "absence", `{"metric": "cpu", "resource_id": "host", "period": 600}`, hooks)), "nobody tells of new points"}
	wrong["stranger"] = [2]string{member("p4"), "metric cpu for resource host does not exists"}

	write := func(cpu, swap float64) {
		t.Helper()
		a.write(t, m["cpu"], cpu)
		a.write(t, other["cpu"], cpu)
		a.write(t, m["disk"], 100)
		a.write(t, m["swap"], swap)
	}
	told := map[string][]string{}
	expect := func(state string) {
		t.Helper()
		for name, id := range alarms {
			told[name] = append(told[name], state)
			a.awaitTold(t, hook, id, told[name]...)
		}
	}
	write(100, 0)
	write(100, 100)
	expect("alarm")
	write(-1000, 100)
	write(-1000, 100)
	expect("ok")
	write(10_000, 10_000)
	expect("alarm")
	for name, w := range wrong {
		if got := hook.toldStates(w[0]); len(got) > 0 {
			t.Errorf("%s: the webhook is told of %q", name, got)
		}
		askJSON(t, "PUT", a.aodh+"/v2/alarms/"+w[0]+"/state", `"ok"`, nil)
		a.awaitState(t, w[0], "insufficient data")
		if reason := a.reason(t, w[0]); !strings.Contains(reason, w[1]) {
			t.Errorf("%s: the reason is %q", name, reason)
		}
	}
	// Who may not see metrics there has none, which is told once.
	stranger := guest.alarm(t, of("cpu"))
	askJSON(t, "PUT", guest.aodh+"/v2/alarms/"+stranger+"/state", `"ok"`, nil)
	guest.awaitState(t, stranger, "insufficient data")
	refused := a.AwaitLog("does not give the windows.*instance=guest|instance=guest.*does not give the windows")
	if !strings.Contains(refused, "answers 403: ") || !strings.Contains(refused, "has to be somebody who sees everything") {
		t.Errorf("the log has %s", refused)
	}

	look := func(state string) {
		t.Helper()
		askJSON(t, "PUT", patient.aodh+"/v2/alarms/"+steady, strings.Replace(of("cpu"), "{", fmt.Sprintf(`{"state": %q, `, state), 1), nil)
	}
	look("insufficient data")
	patient.awaitState(t, steady, "alarm")

	// Gnocchi goes, and comes back. That is too long for those with an interval of a second, and
	// is not for others.
	length := len(a.Log())
	gnocchi.Kill9()
	look("alarm")
	a.AwaitLogAfter(length, "fails; .*instance=patient")
	expect("insufficient data")
	for name, id := range alarms {
		if reason := a.reason(t, id); name != "composite" && (!strings.Contains(reason, "alarm statistics retrieval failed: ") || !strings.Contains(reason, "cannot ask Gnocchi at "+gnocchi.URL)) {
			t.Errorf("the reason is %q", reason)
		}
	}
	patient.awaitState(t, steady, "alarm")
	gnocchi.Start()
	expect("alarm")
	write(-100_000, 10_000)
	expect("ok")
	a.AwaitLogAfter(length, "works again.*instance=patient")
	look("alarm")
	patient.awaitState(t, steady, "ok")
	var states []string
	for _, l := range patient.transitions(t, steady) {
		states = append(states, l.state())
	}
	// It may have gone to ok by itself before it was changed to be looked at.
	if states = slices.Compact(states); !slices.Equal(states, []string{"alarm", "ok"}) {
		t.Errorf("who is patient went to %q", states)
	}
	// Not all is asked for at once.
	var failed, worked map[string]int
	Eventually(t, "what failed works again", func() error {
		failed, worked = a.troubles()
		for what := range failed {
			if worked[what] == 0 {
				return fmt.Errorf("%s does not", what)
			}
		}
		return nil
	})
	for what, n := range failed {
		if n != 1 || worked[what] != 1 {
			t.Errorf("that %s fails is told %d times, that it works again %d times", what, n, worked[what])
		}
	}
	if n := strings.Count(a.Log(), "does not give the windows"); n != 1 {
		t.Errorf("that there are no windows is told %d times", n)
	}
	if len(failed) < 3 {
		t.Errorf("only of %v is told that it fails", failed)
	}
}

// troubles counts how often the log tells that asking for something fails, and works again.
func (a *alarmAgent) troubles() (failed, worked map[string]int) {
	failed, worked = map[string]int{}, map[string]int{}
	for _, l := range regexp.MustCompile(`msg="alarms: (asking .*) (fails|works again).*instance=(\w+)`).FindAllStringSubmatch(a.Log(), -1) {
		counts := failed
		if l[2] != "fails" {
			counts = worked
		}
		counts[l[3]+" "+l[1]]++
	}
	return failed, worked
}

// leafOf is a threshold in a composite rule.
func leafOf(resource, metric string) string {
	return strings.Replace(threshold(resource, metric), "{", `{"type": "gnocchi_resources_threshold", `, 1)
}
