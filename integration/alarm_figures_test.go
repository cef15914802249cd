package integration

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// What an alarm owes to a webhook that does not take it is seen where operators look: in
// /metrics, in the samples of the internal pollster, in /status and on the page.
func TestAlarmFigures(t *testing.T) {
	t.Parallel()
	var answer atomic.Int64
	answer.Store(http.StatusServiceUnavailable)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(answer.Load())) }))
	t.Cleanup(hook.Close)
	a := startAlarmAgent(t, `actions = { retry_min = '50ms', retry_max = '100ms' }
[[pollster.internal]]
interval = '200ms'
meters   = ['nepho.evaluator.*']
[[publisher.file]]
path = '${DIR}/samples.json'
[[pipeline]]
name       = 'own'
sources    = ['internal']
publishers = ['file']
[[pipeline]]
name       = 'events'
sources    = ['evaluator']
publishers = ['aggregator']
`)
	a.policy(t)
	metric := a.resource(t, "r", "p1", "m")["m"]
	id := a.alarm(t, fmt.Sprintf(`{"name": "owes", "type": "gnocchi_resources_threshold", "alarm_actions": [%q], "gnocchi_resources_threshold_rule": %s}`, hook.URL, threshold("r", "m")))
	a.write(t, metric, 100)
	a.awaitState(t, id, "alarm")

	// figure gives one of /metrics, sampled what was last polled of it; -1: it is not there,
	// as when the plugin had no time for an answer.
	figure := func(name string, labels ...string) float64 {
		family := a.Metrics()["nepho_"+name]
		if family == nil {
			return -1
		}
		sum := 0.0
		for _, m := range family.Metric {
			if hasLabels(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		return sum
	}
	sampled := func(name string) float64 {
		v := -1.0
		for _, s := range a.Samples("samples.json") {
			if s.Name == "nepho.evaluator."+name && s.Metadata["instance"] == "evaluator" {
				v = s.Volume
			}
		}
		return v
	}
	await := func(what string, holds func() bool) {
		t.Helper()
		Eventually(t, what, func() error {
			if !holds() {
				return errors.New("it does not hold")
			}
			return nil
		})
	}
	await("an action is pending", func() bool {
		return figure("evaluator_deliveries_pending") == 1 && figure("evaluator_deliveries_dead") == 0 && figure("evaluator_deliveries_oldest_seconds") > 0 && figure("evaluator_targets_failing") == 1 && figure("evaluator_attempts_failed_total") > 0
	})
	await("a sample says so", func() bool { return sampled("deliveries.pending") == 1 && sampled("targets.failing") == 1 })
	await("one alarm is in state alarm", func() bool {
		return figure("evaluator_alarms", "instance", "evaluator", "state", "alarm") == 1 && figure("evaluator_alarms") == 1 && figure("evaluator_transitions_total") >= 1
	})
	for _, path := range []string{"/status", "/"} {
		await(path+" says so", func() bool {
			code, body, err := a.Get(path)
			return err == nil && code == http.StatusOK && strings.Contains(body, "nepho.evaluator.deliveries.pending")
		})
	}

	answer.Store(http.StatusGone) // for good
	await("it is dead", func() bool {
		return figure("evaluator_deliveries_pending") == 0 && figure("evaluator_deliveries_dead") == 1 && figure("evaluator_deliveries_oldest_seconds") == 0 && figure("evaluator_targets_failing") == 0
	})
	await("a sample says so", func() bool { return sampled("deliveries.dead") == 1 && sampled("deliveries.pending") == 0 })

	// A plugin that ends tells nothing until it is there again, and then that nothing was lost.
	end9(t, a.Agent, "alarm/evaluator")
	await("it tells again", func() bool { return figure("evaluator_deliveries_dead") == 1 })
	await("the aggregator tells as well", func() bool {
		return figure("instance_measured", "instance", "aggregator") == 1 && figure("aggregator_measures_total", "instance", "aggregator") == 1
	})
}
