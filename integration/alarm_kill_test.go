package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever is killed, and although the webhook fails at times, it learns of every
// transition, in order, and the states are those of the last data.
func TestAlarmsKilled(t *testing.T) {
	t.Parallel()
	ordeal(t, "", func(a *alarmAgent, more func(int64)) {
		for range 3 {
			more(rand.Int64N(30) + 10)
			end9(t, a.Agent, "alarm/evaluator")
		}
		for range 2 {
			more(rand.Int64N(30) + 10)
			a.Kill9()
			a.Start()
			a.AwaitReady()
		}
	})
}

// ordeal has alarms change their states while something is done to them, and more waits until
// that goes on. Afterwards they have to be what they should, and the webhook to know all
// that they were.
func ordeal(t *testing.T, options string, suffer func(a *alarmAgent, more func(int64))) {
	t.Helper()
	const alarms = 6
	hook := newWebhook(t, 0.2)
	a := startAlarmAgent(t, options+"evaluation_interval = '1s'\nactions = { retry_min = '10ms', retry_max = '100ms' }\n[[pollster.internal]]\ninterval = '1h'\nmeters = ['nepho.source.polls']\n")
	a.policy(t)
	var names []string
	for i := range alarms {
		names = append(names, fmt.Sprint("m", i))
	}
	metrics := a.resource(t, "r", "p1", names...)
	ids, actions := map[string]string{}, map[string]string{}
	for i, name := range names {
		actions[name] = fmt.Sprintf("%s/hook/%d", hook.URL, i%4) // some share a target
		ids[name] = a.alarm(t, fmt.Sprintf(`{"name": %q, "type": "gnocchi_resources_threshold", "ok_actions": [%[2]q], "alarm_actions": [%[2]q], "insufficient_data_actions": [%[2]q], "gnocchi_resources_threshold_rule": %[3]s}`,
			name, actions[name], threshold("r", name)))
	}

	// Points of all metrics, again and again; what is not taken is written again.
	values := map[string]float64{}
	write := func() error {
		body := map[string][]point{}
		for name, v := range values {
			body[metrics[name]] = []point{{time.Now().UTC(), v}}
		}
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		code, answer, err := boss.ask("POST", a.gnocchi+"/v1/batch/metrics/measures", string(text))
		if err == nil && code != http.StatusAccepted {
			err = fmt.Errorf("%d: %s", code, answer)
		}
		return err
	}
	ctx, stop := context.WithCancel(t.Context())
	var written atomic.Int64
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			for _, name := range names {
				values[name] = float64(100 * rand.IntN(2))
			}
			if write() == nil {
				written.Add(1)
			} else {
				time.Sleep(10 * time.Millisecond) // those who are to answer again need the processors
			}
		}
	})
	more := func(n int64) {
		t.Helper()
		before, told := written.Load(), len(hook.got(""))
		for step := int64(1); step <= n; step++ { // all patience for each
			Eventually(t, "points are written and the webhook is told", func() error {
				if written.Load() < before+step || len(hook.got("")) < told+int(step) {
					return errNot
				}
				return nil
			})
		}
	}
	suffer(a, more)
	more(10)
	stop()
	work.Wait()
	Eventually(t, "the last points are written", write)
	total, repeats := 0, -len(hook.got(""))
	for _, name := range names {
		state := "ok"
		if values[name] > 50 {
			state = "alarm"
		}
		a.awaitState(t, ids[name], state)
	}
	a.awaitNothingOwed(t)
	repeats += len(hook.got(""))
	for _, name := range names {
		history := a.transitions(t, ids[name])
		total += len(history)
		for i := 1; i < len(history); i++ {
			if state := history[i].state(); state == history[i-1].state() {
				t.Errorf("%s is %s twice in a row", name, state)
			}
		}
		hook.inOrder(t, ids[name], actions[name], history)
	}
	t.Logf("%d transitions, of which the webhook was told %d times; %d at the end", total, len(hook.got("")), repeats)
}

// awaitNothingOwed waits until all actions are done.
func (a *alarmAgent) awaitNothingOwed(t *testing.T) {
	t.Helper()
	Eventually(t, "nothing is owed", func() error {
		code, text, err := boss.ask("GET", a.aodh+"/v2/deliveries?all_projects=true", "")
		if err == nil && (code != http.StatusOK || text != "[]") {
			err = fmt.Errorf("%d: %s", code, text)
		}
		return err
	})
}

// Changes by users are never lost, and the states follow the data, while both change.
func TestAlarmsChangedWhileEvaluated(t *testing.T) {
	t.Parallel()
	const alarms, changes, rounds = 10, 80, 20
	a := startAlarmAgent(t, "evaluation_interval = '24h'\n[[pollster.internal]]\ninterval = '1h'\nmeters = ['nepho.source.polls']\n")
	a.policy(t)
	metric := a.resource(t, "r", "p1", "m")["m"]
	states, severities := []string{"ok", "alarm"}, []string{"low", "moderate", "critical"}
	body := func(i, n int) string {
		return fmt.Sprintf(`{"name": "a%d", "description": "change %d", "severity": %q, "type": "gnocchi_resources_threshold", "state": %q, "gnocchi_resources_threshold_rule": %s}`,
			i, n, severities[n%3], states[n%2], threshold("r", "m"))
	}
	ids := make([]string, alarms)
	for i := range ids {
		ids[i] = a.alarm(t, body(i, 0))
	}
	flip := func(n int) {
		points := fmt.Sprintf(`[{"timestamp": %q, "value": %d}]`, time.Now().UTC().Format(time.RFC3339Nano), 100*(n%2))
		if code, text, err := boss.ask("POST", a.gnocchi+"/v1/metric/"+metric+"/measures", points); err != nil || code != http.StatusAccepted {
			t.Errorf("points are answered with %d: %s %v", code, text, err)
		}
	}
	change := func(i, n int) {
		url := a.aodh + "/v2/alarms/" + ids[i]
		if code, text, err := boss.ask("PUT", url, body(i, n)); err != nil || code != http.StatusOK {
			t.Errorf("change %d is answered with %d: %s %v", n, code, text, err)
		}
		if n%10 == 0 {
			if code, text, err := boss.ask("PUT", url+"/state", `"insufficient data"`); err != nil || code != http.StatusOK {
				t.Errorf("a state is answered with %d: %s %v", code, text, err)
			}
		}
		var got struct{ Description, Severity string }
		code, text, err := boss.ask("GET", url, "")
		if err != nil || code != http.StatusOK || json.Unmarshal([]byte(text), &got) != nil || got.Description != fmt.Sprint("change ", n) || got.Severity != severities[n%3] {
			t.Errorf("after change %d: %d: %s %v", n, code, text, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var flips, users sync.WaitGroup
	flips.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			flip(n)
		}
	})
	for i := range ids {
		users.Go(func() {
			for n := range changes {
				change(i, n+1)
			}
		})
	}
	users.Wait()
	stop()
	flips.Wait()
	for n := range rounds {
		for i := range ids {
			users.Go(func() { change(i, changes+n+1) })
		}
		flip(n)
		users.Wait()
		for _, id := range ids {
			a.awaitState(t, id, states[n%2])
		}
	}
	for i, id := range ids {
		var list []line
		askJSON(t, "GET", a.aodh+"/v2/alarms/"+id+"/history", "", &list)
		n := 0
		for _, l := range list {
			if l.Type == "rule change" {
				n++
			}
		}
		if n != changes+rounds {
			t.Errorf("the history of alarm %d has %d changes", i, n)
		}
	}
}
