package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// list gives the names and severities of all alarms, sorted.
func (a *alarmAgent) list() (names []string, ids map[string]string, err error) {
	code, text, err := boss.ask("GET", a.aodh+"/v2/alarms?q.field=all_projects&q.value=true", "")
	var list []struct {
		shown
		Severity string
	}
	if err == nil && code == http.StatusOK {
		err = json.Unmarshal([]byte(text), &list)
	}
	if err != nil || code != http.StatusOK {
		return nil, nil, fmt.Errorf("alarms: %d: %s %v", code, text, err)
	}
	ids = map[string]string{}
	for _, l := range list {
		names = append(names, l.Name+" "+l.Severity)
		ids[l.Name] = l.ID
	}
	slices.Sort(names)
	return names, ids, nil
}

// Alarms that are written in files are those that there are; the API only shows them.
func TestAlarmsInFiles(t *testing.T) {
	t.Parallel()
	gnocchi, aodh := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	a := &alarmAgent{gnocchi: "http://" + gnocchi, aodh: "http://" + aodh}
	in := func(name, severity, resource string) string {
		return fmt.Sprintf("{ name = '%s', severity = '%s', type = 'gnocchi_resources_threshold', gnocchi_resources_threshold_rule = { metric = 'm', resource_id = '%s', resource_type = 'generic', aggregation_method = 'last', comparison_operator = 'gt', threshold = 50, granularity = 604800 } }", name, severity, resource)
	}
	config := func(rules ...string) string {
		return fmt.Sprintf("[[storage.aggregator]]\npath = '${DIR}/aggregator'\nlisten = '%s'\nauth = 'none'\n[[alarm.evaluator]]\nlisten = '%s'\nauth = 'none'\nrules = '${DIR}/alarms'\nrule = [%s]\n[[pollster.internal]]\ninterval = '1h'\nmeters = ['nepho.source.polls']\n",
			gnocchi, aodh, strings.Join(rules, ", "))
	}
	a.Agent = NewAgent(t, config(in("main", "low", "r")))
	a.mkdir("alarms")
	a.writeRules(t, "one.toml", "rule = ["+in("one", "low", "r")+", "+in("two", "low", "r")+"]")
	a.Start()
	a.AwaitReady()
	expect := func(want ...string) (ids map[string]string) {
		t.Helper()
		Eventually(t, fmt.Sprintf("the alarms are %q", want), func() error {
			var names []string
			var err error
			if names, ids, err = a.list(); err == nil && !slices.Equal(names, want) {
				err = fmt.Errorf("they are %q", names)
			}
			return err // the plugin may be starting again
		})
		return ids
	}
	ids := expect("main low", "one low", "two low")
	a.policy(t)
	metric := a.resource(t, "r", "p1", "m")["m"]
	a.Agent.AwaitReady()
	a.write(t, metric, 100)
	for _, name := range []string{"main", "one"} {
		a.awaitState(t, ids[name], "alarm")
		for method, body := range map[string]string{"PUT": rule("mine", "gnocchi_resources_threshold", threshold("r", "m"), ""), "DELETE": ""} {
			if code, text, err := boss.ask(method, a.aodh+"/v2/alarms/"+ids[name], body); err != nil || code != http.StatusForbidden {
				t.Errorf("%s is answered with %d: %s %v", method, code, text, err)
			}
		}
	}
	mine := a.alarm(t, rule("mine", "gnocchi_resources_threshold", threshold("r", "m"), ""))
	a.awaitState(t, mine, "alarm")

	// The agent's own configuration changes.
	a.Configure(config(in("main", "critical", "r"), in("more", "low", "r")))
	a.Reload()
	now := expect("main critical", "mine low", "more low", "one low", "two low")
	if now["main"] != ids["main"] {
		t.Error("an alarm that was changed has another id")
	}
	a.awaitState(t, now["more"], "alarm")
	if n := len(a.transitions(t, now["main"])); n != 1 {
		t.Errorf("an alarm that was changed has %d transitions", n)
	}
	before := len(a.Log())
	a.Configure(config("{ name = 'bad', type = 'none' }"))
	a.Signal(1)
	a.AwaitLogAfter(before, `level=ERROR.*rule\[0\]`)
	expect("main critical", "mine low", "more low", "one low", "two low")
	a.Configure(config(in("main", "critical", "r")))
	a.Reload()
	expect("main critical", "mine low", "one low", "two low")

	// Files of the folder change, are wrong, and go.
	a.writeRules(t, "one.toml", "rule = ["+in("one", "moderate", "r")+"]")
	a.writeRules(t, "three.toml", "rule = ["+in("three", "low", "r")+"]")
	expect("main critical", "mine low", "one moderate", "three low")
	before = len(a.Log())
	a.writeRules(t, "three.toml", "rule = ["+in("three", "low", "r")+", {name = 'wrong'}]")
	a.removeRules(t, "one.toml")
	a.AwaitLogAfter(before, `level=ERROR.*three\.toml`)
	expect("main critical", "mine low", "one moderate", "three low")
	before = len(a.Log())
	a.removeRules(t, "three.toml") // as if the folder were not mounted
	a.AwaitLogAfter(before, `level=ERROR.*there is no file`)
	expect("main critical", "mine low", "one moderate", "three low")
	a.writeRules(t, "one.toml", "")
	expect("main critical", "mine low")
	a.awaitState(t, mine, "alarm")
}

// writeRules writes a file of the folder of alarms.
func (a *alarmAgent) writeRules(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(a.Path("alarms", name), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func (a *alarmAgent) removeRules(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(a.Path("alarms", name)); err != nil {
		t.Fatal(err)
	}
}
