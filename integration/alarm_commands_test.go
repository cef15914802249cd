package integration

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// TestAlarmCommands runs nepho alarm as the README does: with an alarm of the
// configuration, and what it would have done in the last hour.
func TestAlarmCommands(t *testing.T) {
	t.Parallel()
	gnocchi := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	a := StartAgent(t, fmt.Sprintf(`[[storage.aggregator]]
path = '${DIR}/aggregator'
listen = '%s'
[[alarm.evaluator]]
listen = '127.0.0.1:%d'
[[alarm.evaluator.rule]]
name = 'busy'
type = 'gnocchi_resources_threshold'
gnocchi_resources_threshold_rule = { metric = 'cpu', resource_id = 'web1', resource_type = 'generic', aggregation_method = 'mean', comparison_operator = 'gt', threshold = 80 }
[[pollster.internal]]
interval = '1h'
meters = ['nepho.source.polls']
`, gnocchi, parts.FreePort(t)))
	post := func(path, body string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, "http://"+gnocchi+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth("admin", "")
		answer, err := client().Do(r)
		if err != nil || answer.StatusCode >= 300 {
			t.Fatalf("%s: %v %v", path, answer, err)
		}
		answer.Body.Close()
	}
	post("/v1/resource/generic", `{"id": "web1", "metrics": {"cpu": {"archive_policy_name": "medium"}}}`)
	var measures []string
	measure := func(at time.Time, value int) {
		measures = append(measures, fmt.Sprintf(`{"timestamp": %q, "value": %d}`, at.Format(time.RFC3339), value))
	}
	write := func() {
		t.Helper()
		post("/v1/resource/generic/web1/metric/cpu/measures", "["+strings.Join(measures, ",")+"]")
		measures = nil
	}
	last := time.Now().UTC().Truncate(time.Minute)
	for ago := 50; ago >= 0; ago-- {
		value := 10
		if ago > 20 && ago <= 30 {
			value = 95
		}
		measure(last.Add(-time.Duration(ago)*time.Minute), value)
	}
	write()
	run := func(want string, args ...string) {
		t.Helper()
		args = append([]string{"alarm"}, args...)
		Eventually(t, fmt.Sprintf("nepho %q gives %s", args, want), func() error {
			for time.Since(last) >= time.Minute { // without points of the present the alarm has no data
				last = last.Add(time.Minute)
				measure(last, 10)
				write()
			}
			out, log, code := a.Run(args...)
			if code != 0 || !regexp.MustCompile("(?s)"+want).MatchString(out) {
				return fmt.Errorf("code %d: %s%s", code, out, log)
			}
			return nil
		})
	}
	run(`NAME .*\bbusy +gnocchi_resources_threshold +ok `, "list")
	run(`ID +NAME[^\n]*\n$`, "list", "--state", "alarm")
	run(`name +busy\n.*"threshold":80`, "show", "busy")
	run(`state transition +ok +Transition to ok due to 1 samples inside threshold, most recent: 10.0`, "history", "busy")
	// A plot, the states below it, and three transitions.
	run(`┤.*\n\.*o+A{8,12}o+\nfrom .*insufficient data +ok .*\n\S+ +ok +alarm +Transition to alarm .*: 95.0\n\S+ +alarm +ok `, "test", "--last", "1h", "busy")
	run(`"transitions"`, "test", "--last", "1h", "--json", "busy")
	file := a.Path("new.json")
	if err := os.WriteFile(file, []byte(`{"name": "new", "type": "gnocchi_resources_threshold", "gnocchi_resources_threshold_rule": {"metric": "cpu", "resource_id": "web1",
		"resource_type": "generic", "aggregation_method": "mean", "comparison_operator": "gt", "threshold": 99}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	run(`ok +Transition to ok`, "test", "--width", "0", "--last", "1h", file)
	if _, log, code := a.Run("alarm", "show", "nothing"); code != 1 || !strings.Contains(log, `there is no alarm "nothing"`) {
		t.Errorf("code %d: %s", code, log)
	}
}
