package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// alarmAgent is an agent with an aggregator and alarms, without authentication.
type alarmAgent struct {
	*Agent
	gnocchi, aodh string
}

func startAlarmAgent(t *testing.T, more string) *alarmAgent {
	t.Helper()
	a := &alarmAgent{gnocchi: fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t)), aodh: fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))}
	a.Agent = StartAgent(t, fmt.Sprintf(`[[storage.aggregator]]
path = '${DIR}/aggregator'
listen = '%s'
auth = 'none'
[[alarm.evaluator]]
listen = '%s'
auth = 'none'
operation_timeout = '1m'
`, a.gnocchi, a.aodh)+more)
	a.gnocchi, a.aodh = "http://"+a.gnocchi, "http://"+a.aodh
	return a
}

// TestAodhClient runs every command of aodhclient, as a plugin of the command openstack.
// The commands and what they must give are in testdata/aodh_commands.txt.
func TestAodhClient(t *testing.T) {
	t.Parallel()
	a := startAlarmAgent(t, "[[pollster.internal]]\ninterval = '1h'\nmeters = ['nepho.source.polls']\n")
	var resource struct {
		ID      string
		Metrics map[string]string
	}
	askJSON(t, http.MethodPost, a.gnocchi+"/v1/resource/generic", `{"id": "5a301761-aaaa-46e2-8900-8b4f6fe6675a", "project_id": "p1", "metrics": {"cpu": {"archive_policy_name": "high"}}}`, &resource)
	c := startPythonClient(t, "aodh_commands", "OS_AUTH_TYPE=aodh-noauth", "OS_USER_ID=u1", "OS_PROJECT_ID=p1", "OS_ROLES=admin", "OS_AODH_ENDPOINT="+a.aodh)
	c.runScript(t, map[string]string{"RESOURCE": resource.ID, "METRIC": resource.Metrics["cpu"]}, func(string) {})
}

// askJSON sends a request as user u1 of project p1, an administrator, and decodes the
// answer into `into` unless that is nil.
func askJSON(t *testing.T, method, url, body string, into any) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "X-User-Id": {"u1"}, "X-Project-Id": {"p1"}, "X-Roles": {"admin"}}
	answer, err := client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s %v", method, url, answer.Status, text, err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s %s: %v in %s", method, url, err, text)
		}
	}
}
