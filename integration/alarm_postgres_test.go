package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// The same with the alarms in PostgreSQL, which is killed as well.
func TestAlarmsKilledPostgres(t *testing.T) {
	t.Parallel()
	p := parts.PostgreSQL(t)
	ordeal(t, fmt.Sprintf("database = '%s'\n", p.Database()), func(a *alarmAgent, more func(int64)) {
		for range 2 {
			more(rand.Int64N(30) + 10)
			p.Kill9()
			p.Start()
			more(rand.Int64N(30) + 10)
			end9(t, a.Agent, "alarm/evaluator")
		}
		more(10)
		p.Stop()
		p.Start()
		more(10)
		p.Kill9()
		a.Kill9()
		p.Start()
		a.Start()
		a.AwaitReady()
	})
}

// A transaction of which nobody knows whether it was made is made once.
func TestAlarmsUnknownCommits(t *testing.T) {
	t.Parallel()
	f := parts.NewForgetful(t, parts.PostgreSQL(t).Database())
	ordeal(t, fmt.Sprintf("database = '%s'\n", f.URL), func(_ *alarmAgent, more func(int64)) {
		for range 5 {
			lost := f.Lost()
			f.Forget(20)
			more(20)
			Eventually(t, "an answer is lost", func() error { return want(f.Lost() > lost, "none is") })
			f.Forget(0)
			more(5)
		}
	})
	t.Logf("%d answers were lost", f.Lost())
}

// What a user was told may or may not have been stored is what is evaluated, as soon as the
// database answers again.
func TestAlarmsUnknownChanges(t *testing.T) {
	t.Parallel()
	f := parts.NewForgetful(t, parts.PostgreSQL(t).Database())
	a := startAlarmAgent(t, fmt.Sprintf("database = '%s'\nevaluation_interval = '24h'\n[[pollster.internal]]\ninterval = '1h'\nmeters = ['nepho.source.polls']\n", f.URL))
	a.policy(t)
	hook := newWebhook(t, 0)
	metric := a.resource(t, "r", "p1", "m")["m"]
	a.write(t, metric, 40)
	body := func(name string, above int) string {
		return fmt.Sprintf(`{"name": %q, "type": "gnocchi_resources_threshold", "ok_actions": [%[2]q], "alarm_actions": [%[2]q], "gnocchi_resources_threshold_rule": {"metric": "m", "resource_id": "r", "resource_type": "generic", "aggregation_method": "last", "comparison_operator": "gt", "threshold": %[3]d, "granularity": 604800}}`,
			name, hook.URL+"/"+name, above)
	}
	changed, deleted := a.alarm(t, body("changed", 50)), a.alarm(t, body("deleted", 50))
	a.awaitState(t, changed, "ok")
	a.awaitState(t, deleted, "ok")
	a.awaitNothingOwed(t) // so that no answer about that is lost
	f.Forget(100)
	for _, q := range [][3]string{{"PUT", changed, body("changed", 30)}, {"DELETE", deleted}, {"POST", "", body("made", 30)}} {
		if code, text, err := boss.ask(q[0], a.aodh+"/v2/alarms/"+q[1], q[2]); err != nil || code != http.StatusServiceUnavailable {
			t.Errorf("%s is answered with %d: %s %v", q[0], code, text, err)
		}
	}
	f.Forget(0)
	a.awaitState(t, changed, "alarm")
	Eventually(t, "what was made is evaluated, and what was deleted is not", func() error {
		told := map[string]bool{} // by ids: again, if the answer about that was lost
		for _, n := range hook.got("") {
			told[n.ID] = true
		}
		return want(len(told) == 4, "%+v", hook.got(""))
	})
	witness := a.alarm(t, rule("witness", "gnocchi_resources_threshold", threshold("r", "m"), ""))
	a.awaitState(t, witness, "ok")
	a.write(t, metric, 60)
	a.awaitState(t, witness, "alarm")
	a.awaitNothingOwed(t)
	for _, l := range hook.got(deleted) {
		if l.Current != "ok" {
			t.Error("an alarm that was deleted fires")
		}
	}
}
