package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// An action in the name of a user is done with a token of theirs, by a trust of real Keystone that
// goes with the alarm, even if Keystone is away then, and that is to be seen nowhere.
func TestAlarmsWithTrusts(t *testing.T) {
	t.Parallel()
	keystone := parts.Keystone(t)
	service, lab := keystone.Project("service"), keystone.Project("lab")
	keystone.User("nepho", "nephopw", service, "admin") // may check tokens
	joe := keystone.User("joe", "joepw", lab, "member")
	token := keystone.Token("joe", "joepw", "lab")

	tokens := make(chan string, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case tokens <- r.Header.Get("X-Auth-Token"):
		default:
		}
	}))
	t.Cleanup(hook.Close)
	aodh := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	a := NewAgent(t, fmt.Sprintf(`[[alarm.evaluator]]
listen = '%s'
storage = ''
evaluation_interval = '1s'
auth = 'keystone'
operation_timeout = '1m'
keystone = { auth_url = '%s', username = 'nepho', password = 'nephopw', timeout = '1m', cache = '1h' }
actions = { timeout = '1m', retry_max = '1s' }
[[pollster.internal]]
interval = '1h'
meters = ['nepho.source.polls']
`, aodh, keystone.URL))
	a.Start()
	a.AwaitReady()

	ask := func(token, method, url, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, url, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Content-Type": {"application/json"}, "X-Auth-Token": {token}}
		answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	trusts := func() (ids []string) {
		t.Helper()
		code, text := ask(keystone.Token("admin", keystone.Password, "admin"), "GET", keystone.URL+"/OS-TRUST/trusts?trustor_user_id="+joe, "")
		var list struct {
			Trusts []struct{ ID string }
		}
		if err := json.Unmarshal([]byte(text), &list); code != http.StatusOK || err != nil {
			t.Fatalf("trusts: %d: %s %v", code, text, err)
		}
		for _, l := range list.Trusts {
			ids = append(ids, l.ID)
		}
		return ids
	}

	action := "trust+" + hook.URL + "/hook?a=b"
	code, text := ask(token, "POST", "http://"+aodh+"/v2/alarms", fmt.Sprintf(
		`{"name": "quiet", "type": "absence", "absence_rule": {"event_type": "never", "period": 1}, "alarm_actions": [%q], "ok_actions": [%q]}`, action, action))
	var made struct {
		ID      string   `json:"alarm_id"`
		Actions []string `json:"alarm_actions"`
	}
	if err := json.Unmarshal([]byte(text), &made); code != http.StatusCreated || err != nil || len(made.Actions) != 1 || made.Actions[0] != action {
		t.Fatalf("made: %d: %s %v", code, text, err)
	}
	ids := trusts()
	if len(ids) != 1 {
		t.Fatalf("there are %d trusts", len(ids))
	}
	var used string
	select {
	case used = <-tokens:
	case <-time.After(3 * time.Minute):
		t.Fatal("the webhook got nothing within 3 min")
	}
	if code, text := ask(used, "GET", "http://"+aodh+"/v2/alarms/"+made.ID, ""); code != http.StatusOK || !strings.Contains(text, `"state": "alarm"`) {
		t.Errorf("with the token that the webhook got: %d: %s", code, text)
	}
	for _, path := range []string{"alarms", "alarms/" + made.ID, "alarms/" + made.ID + "/history", "deliveries", "deliveries?dead=true"} {
		if code, text := ask(token, "GET", "http://"+aodh+"/v2/"+path, ""); code != http.StatusOK || strings.Contains(text, ids[0]) {
			t.Errorf("%s: %d: %s", path, code, text)
		}
	}
	if code, text := ask(token, "DELETE", "http://"+aodh+"/v2/alarms/"+made.ID, ""); code != http.StatusNoContent {
		t.Errorf("deleted: %d: %s", code, text)
	}
	owed := func() (n int, err error) { // trusts to be removed
		code, text := ask(token, "GET", "http://"+aodh+"/v2/deliveries", "")
		var list []struct{ Action string }
		if err := json.Unmarshal([]byte(text), &list); code != http.StatusOK || err != nil {
			return 0, fmt.Errorf("owed: %d: %s %v", code, text, err)
		}
		for _, d := range list {
			if d.Action == "trust:" {
				n++
			}
		}
		return n, nil
	}
	allGone := func() {
		t.Helper()
		// Keystone, which is slow, is not asked again and again by the test, too.
		Eventually(t, "no trust is owed", func() error {
			n, err := owed()
			if err == nil && n > 0 {
				err = fmt.Errorf("%d are", n)
			}
			return err
		})
		if n := len(trusts()); n > 0 {
			t.Errorf("Keystone has %d trusts", n)
		}
	}
	allGone()

	// Without Keystone it is owed, like what alarms owe to webhooks.
	body := func(actions string) string {
		return `{"name": "quiet", "enabled": false, "type": "absence", "absence_rule": {"event_type": "never", "period": 1}, "alarm_actions": [` + actions + `]}`
	}
	var alarms []string
	for range 2 {
		code, text := ask(token, "POST", "http://"+aodh+"/v2/alarms", body(strconv.Quote(action)))
		if err := json.Unmarshal([]byte(text), &made); code != http.StatusCreated || err != nil {
			t.Fatalf("made: %d: %s %v", code, text, err)
		}
		alarms = append(alarms, made.ID)
	}
	ids = append(ids, trusts()...)
	if len(ids) != 3 {
		t.Fatalf("the trusts are %q", ids)
	}
	// A change that is refused leaves none behind.
	if code, text := ask(token, "POST", "http://"+aodh+"/v2/alarms", body(fmt.Sprintf("%q, %q", action, "trust+http://"+ids[1]+"@x/"))); code != http.StatusBadRequest {
		t.Errorf("a trust that is given: %d: %s", code, text)
	}
	keystone.Stop()
	if code, text := ask(token, "PUT", "http://"+aodh+"/v2/alarms/"+alarms[0], body("")); code != http.StatusOK {
		t.Errorf("changed: %d: %s", code, text)
	}
	for _, id := range alarms {
		if code, text := ask(token, "DELETE", "http://"+aodh+"/v2/alarms/"+id, ""); code != http.StatusNoContent {
			t.Errorf("deleted: %d: %s", code, text)
		}
	}
	a.AwaitLog("a target of alarms does not take what is owed to it")
	if n, err := owed(); err != nil || n != 2 {
		t.Errorf("%d trusts are owed, %v", n, err)
	}
	a.Kill9()
	a.Start()
	a.AwaitReady()
	keystone.Start()
	allGone()
	if code, text = ask(token, "GET", "http://"+aodh+"/v2/deliveries?dead=true", ""); code != http.StatusOK || text != "[]" {
		t.Errorf("given up: %d: %s", code, text)
	}
	a.Stop()
	for _, id := range ids {
		if strings.Contains(a.Log(), id) {
			t.Error("the log has a trust")
		}
	}
}
