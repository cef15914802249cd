package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// Members of one project neither see, change nor delete what belongs to another, and
// their alarms read none of its series.
func TestAlarmsOfTwoProjects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		auth        string
		alice, mall person
	}{
		"roles": {"auth = 'none'", person{user: "alice", project: "pa", roles: "member"}, person{user: "mallory", project: "pm", roles: "member,reader"}},
		"users": {"auth = 'basic'\nbasic = { users = { alice = 'secret a', mallory = 'secret m' } }", person{user: "alice", project: "alice", password: "secret a"}, person{user: "mallory", project: "mallory", password: "secret m"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			twoProjects(t, c.auth, c.alice, c.mall)
		})
	}
}

func twoProjects(t *testing.T, auth string, alice, mallory person) {
	gnocchi, aodh := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	a := &alarmAgent{gnocchi: "http://" + gnocchi, aodh: "http://" + aodh}
	a.Agent = StartAgent(t, fmt.Sprintf("[[storage.aggregator]]\npath = '${DIR}/aggregator'\nlisten = '%s'\nauth = 'none'\n[[alarm.evaluator]]\nlisten = '%s'\nevaluation_interval = '1s'\n%s\n[[pollster.internal]]\ninterval = '1h'\nmeters = ['nepho.source.polls']\n",
		gnocchi, aodh, auth))
	a.policy(t)
	of := map[string]map[string]string{alice.user: a.resource(t, "ra", alice.project, "m"), mallory.user: a.resource(t, "rm", mallory.project, "m")}

	must := func(p person, want int, method, path, body string, into any) {
		t.Helper()
		code, text, err := p.ask(method, a.aodh+path, body)
		if err != nil || code != want {
			t.Fatalf("%s: %s %s is answered with %d, not %d: %s %v", p.user, method, path, code, want, text, err)
		}
		if into != nil {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				t.Fatalf("%s %s: %v in %s", method, path, err, text)
			}
		}
	}
	make := func(p person, body string) string {
		t.Helper()
		var made shown
		must(p, http.StatusCreated, "POST", "/v2/alarms", body, &made)
		if made.Project != p.project {
			t.Errorf("an alarm of %s is of project %q", p.user, made.Project)
		}
		return made.ID
	}
	await := func(p person, id string, f func(shown) bool) (s shown) {
		t.Helper()
		Eventually(t, "the alarm is as it must be", func() error {
			must(p, http.StatusOK, "GET", "/v2/alarms/"+id, "", &s)
			if !f(s) {
				return fmt.Errorf("it is %+v", s)
			}
			return nil
		})
		return s
	}
	// Nobody listens there, so that something is owed.
	owing := fmt.Sprintf(`, "alarm_actions": ["http://127.0.0.1:%d/hook"]`, parts.FreePort(t))
	body := rule("mine", "gnocchi_resources_threshold", threshold("ra", "m"), owing)
	mine := make(alice, body)
	a.write(t, of[alice.user]["m"], 100)
	a.write(t, of[mallory.user]["m"], 10)
	await(alice, mine, func(s shown) bool { return s.State == "alarm" })

	// What is not one's own is not there.
	var list []json.RawMessage
	for _, r := range []struct{ method, path, body string }{
		{"GET", "", ""}, {"PUT", "", body}, {"DELETE", "", ""}, {"GET", "/state", ""}, {"PUT", "/state", `"ok"`}, {"GET", "/history", ""},
	} {
		must(mallory, http.StatusNotFound, r.method, "/v2/alarms/"+mine+r.path, r.body, nil)
	}
	for _, path := range []string{"/v2/alarms", "/v2/deliveries", "/v2/deliveries?dead=true"} {
		must(mallory, http.StatusOK, "GET", path, "", &list)
		if len(list) > 0 {
			t.Errorf("%s shows %s", path, list)
		}
	}
	for path, field := range map[string]string{"/v2/query/alarms": "project_id", "/v2/query/alarms/history": "on_behalf_of"} {
		for _, filter := range []string{`{}`, `{"filter": "{\"=\": {\"alarm_id\": \"` + mine + `\"}}"}`, `{"filter": "{\"not\": {\"=\": {\"alarm_id\": \"x\"}}}"}`} {
			must(mallory, http.StatusOK, "POST", path, filter, &list)
			if len(list) > 0 {
				t.Errorf("%s of %s shows %s", path, filter, list)
			}
		}
		must(mallory, http.StatusUnauthorized, "POST", path, fmt.Sprintf(`{"filter": "{\"=\": {\"%s\": \"%s\"}}"}`, field, alice.project), nil)
	}
	must(mallory, http.StatusUnauthorized, "GET", "/v2/alarms?q.field=project_id&q.value="+alice.project, "", nil)
	must(mallory, http.StatusForbidden, "GET", "/v2/alarms?q.field=all_projects&q.value=true", "", nil)
	must(mallory, http.StatusForbidden, "GET", "/v2/deliveries?all_projects=true", "", nil)
	must(mallory, http.StatusForbidden, "POST", "/v2/quotas", fmt.Sprintf(`{"project_id": %q, "quotas": []}`, alice.project), nil)
	type delivery struct {
		Marker int
		Action string
	}
	owed := func() (list []delivery) { // besides what goes into the pipelines
		t.Helper()
		must(alice, http.StatusOK, "GET", "/v2/deliveries", "", &list)
		return slices.DeleteFunc(list, func(d delivery) bool { return d.Action == "event:" })
	}
	before := owed()
	if len(before) != 1 {
		t.Fatalf("owed is %+v", before)
	}
	must(mallory, http.StatusNotFound, "POST", fmt.Sprintf("/v2/deliveries/%d/retry", before[0].Marker), "", nil)

	// Series of others are none.
	windows := over50 + `, "granularity": 604800`
	spies := map[string]string{
		"resource":   rule("spy by resource", "gnocchi_resources_threshold", threshold("ra", "m"), ""),
		"metrics":    rule("spy by metrics", "gnocchi_aggregation_by_metrics_threshold", fmt.Sprintf(`{"metrics": [%q], "aggregation_method": "mean", %s}`, of[alice.user]["m"], windows), ""),
		"resources":  rule("spy by resources", "gnocchi_aggregation_by_resources_threshold", `{"metric": "m", "resource_type": "generic", "query": "{\"=\": {\"project_id\": \"`+alice.project+`\"}}", "aggregation_method": "mean", `+windows+`}`, ""),
		"operations": rule("spy by operations", "operations_threshold", fmt.Sprintf(`{"operations": "(metric %s last)", %s}`, of[alice.user]["m"], windows), ""),
		"promql":     rule("spy by promql", "prometheus", `{"query": "m{resource_id='ra'}", `+over50+`}`, ""),
		"composite":  rule("spy by composite", "composite", `{"or": [`+strings.Replace(threshold("ra", "m"), "{", `{"type": "gnocchi_resources_threshold", `, 1)+`]}`, ""),
	}
	spying := map[string]string{}
	for name, spy := range spies {
		spying[name] = make(mallory, spy)
		// The same rule has data for whose series they are.
		await(alice, make(alice, spy), func(s shown) bool { return s.State == "alarm" })
		var past struct{ Transitions []struct{ Current string } }
		if code, text, err := mallory.ask("POST", a.aodh+"/v2/test", spy); err != nil || code == http.StatusOK && json.Unmarshal([]byte(text), &past) != nil {
			t.Errorf("past data by %s: %d: %s %v", name, code, text, err)
		}
		for _, p := range past.Transitions {
			if p.Current != "insufficient data" {
				t.Errorf("by %s one learns of the past: %+v", name, past)
			}
		}
	}
	a.write(t, of[alice.user]["m"], 100)
	own := make(mallory, rule("own", "gnocchi_resources_threshold", threshold("rm", "m"), ""))
	await(mallory, own, func(s shown) bool { return s.State == "ok" })
	for name, id := range spying {
		if s := await(mallory, id, func(shown) bool { return true }); s.State != "insufficient data" || strings.Contains(s.Reason, "100") {
			t.Errorf("by %s one learns: %+v", name, s)
		}
	}
	must(alice, http.StatusNoContent, "DELETE", "/v2/alarms/"+mine, "", nil)
	if after := owed(); len(after) > 0 {
		t.Errorf("a deleted alarm owes %+v", after)
	}
}
