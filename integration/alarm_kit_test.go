package integration

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
)

// told is a request that a webhook got.
type told struct {
	ID                        string // X-Nepho-Delivery-Id
	Alarm                     string `json:"alarm_id"`
	Name                      string `json:"alarm_name"`
	Previous, Current, Reason string
	path                      string
}

// webhook notes what it is told. It may fail at times: then it has read the request.
type webhook struct {
	*httptest.Server
	mu    sync.Mutex
	all   []told
	fails float64 // how often
}

func newWebhook(t *testing.T, fails float64) *webhook {
	t.Helper()
	w := &webhook{fails: fails}
	w.Server = httptest.NewUnstartedServer(w)
	w.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connection{}, c) }
	w.Start()
	t.Cleanup(w.Close)
	return w
}

// connection is the key of a request's connection in its context.
type connection struct{}

// left reports whether the sender of a request has ended its connection. What it sent can be
// read all the same, maybe after what one that took its place has sent since.
func left(r *http.Request) bool {
	raw, err := r.Context().Value(connection{}).(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	n := 0
	if e := raw.Control(func(fd uintptr) {
		n, _, err = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}); e != nil {
		return true
	}
	return err != syscall.EAGAIN && n <= 0
}

func (w *webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	n := told{ID: r.Header.Get("X-Nepho-Delivery-Id"), path: r.URL.Path}
	if err != nil || json.Unmarshal(body, &n) != nil {
		panic(http.ErrAbortHandler) // the sender was killed
	}
	w.mu.Lock()
	gone := left(r)
	if !gone {
		w.all = append(w.all, n)
	}
	w.mu.Unlock()
	if gone {
		panic(http.ErrAbortHandler) // it will be sent again
	}
	if rand.Float64() < w.fails {
		if rand.IntN(2) == 0 {
			panic(http.ErrAbortHandler)
		}
		rw.WriteHeader(http.StatusServiceUnavailable)
	}
}

// got gives what was told of an alarm; "" is any.
func (w *webhook) got(alarm string) (list []told) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.all {
		if alarm == "" || n.Alarm == alarm {
			list = append(list, n)
		}
	}
	return list
}

// person is somebody who asks.
type person struct{ user, project, roles, password string }

var boss = person{user: "u1", project: "p1", roles: "admin"}

// ask sends a request. The error is that of a server which gives no answer.
func (p person) ask(method, url, body string) (code int, text string, err error) {
	r, err := http.NewRequest(method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, "", err
	}
	r.Header = http.Header{"Content-Type": {"application/json"}}
	if p.password != "" {
		r.SetBasicAuth(p.user, p.password)
	} else {
		r.Header.Set("X-User-Id", p.user)
		r.Header.Set("X-Project-Id", p.project)
		r.Header.Set("X-Roles", p.roles)
	}
	answer, err := client().Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), err
}

// shown is an alarm as the API answers it.
type shown struct {
	ID      string `json:"alarm_id"`
	Name    string
	State   string
	Reason  string `json:"state_reason"`
	Project string `json:"project_id"`
}

// line is one of an alarm's history.
type line struct {
	ID     string `json:"event_id"`
	Type   string
	Detail string
	At     string `json:"timestamp"`
}

// state is that of a state transition.
func (l line) state() string {
	var d struct{ State string }
	_ = json.Unmarshal([]byte(l.Detail), &d) // "" is no state either
	return d.State
}

// transitions is the history of an alarm's state, the oldest first.
func (a *alarmAgent) transitions(t *testing.T, id string) (list []line) {
	t.Helper()
	askJSON(t, "GET", a.aodh+"/v2/alarms/"+id+"/history", "", &list)
	list = slices.DeleteFunc(list, func(l line) bool { return l.Type != "state transition" })
	slices.SortStableFunc(list, func(x, y line) int { return cmp.Compare(x.At, y.At) })
	return list
}

// alarm makes an alarm and gives its id. The body is JSON.
func (a *alarmAgent) alarm(t *testing.T, body string) string {
	t.Helper()
	var made shown
	askJSON(t, "POST", a.aodh+"/v2/alarms", body, &made)
	return made.ID
}

// awaitState waits until an alarm is in a state.
func (a *alarmAgent) awaitState(t *testing.T, id, want string) {
	t.Helper()
	Eventually(t, "the alarm is "+want, func() error {
		code, text, err := boss.ask("GET", a.aodh+"/v2/alarms/"+id, "")
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("%d: %s %v", code, text, err)
		}
		var s shown
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return err
		}
		if s.State != want {
			return fmt.Errorf("%s is %s: %s", s.Name, s.State, s.Reason)
		}
		return nil
	})
}

// policy makes the archive policy of these tests, whose windows are so long, a week, that
// hardly ever one ends while a test runs: means and rates would begin anew.
func (a *alarmAgent) policy(t *testing.T) {
	t.Helper()
	askJSON(t, "POST", a.gnocchi+"/v1/archive_policy", `{"name": "week", "back_window": 0, "aggregation_methods": ["mean", "last", "max", "count", "rate:mean", "rate:last"],
		"definition": [{"granularity": 604800, "points": 10}]}`, nil)
}

// resource makes a resource with metrics and gives their ids.
func (a *alarmAgent) resource(t *testing.T, id, project string, metrics ...string) map[string]string {
	t.Helper()
	of := map[string]any{}
	for _, m := range metrics {
		of[m] = map[string]string{"archive_policy_name": "week"}
	}
	body, err := json.Marshal(map[string]any{"id": id, "project_id": project, "metrics": of})
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Metrics map[string]string }
	askJSON(t, "POST", a.gnocchi+"/v1/resource/generic", string(body), &made)
	return made.Metrics
}

// write writes a value of the present to a metric.
func (a *alarmAgent) write(t *testing.T, metric string, value float64) {
	t.Helper()
	askJSON(t, "POST", a.gnocchi+"/v1/metric/"+metric+"/measures", fmt.Sprintf(`[{"timestamp": %q, "value": %g}]`, time.Now().UTC().Format(time.RFC3339Nano), value), nil)
}

// threshold is a rule about the last value of a metric of a resource: more than 50.
func threshold(resource, metric string) string {
	return fmt.Sprintf(`{"metric": %q, "resource_id": %q, "resource_type": "generic", "aggregation_method": "last", "comparison_operator": "gt", "threshold": 50, "granularity": 604800, "evaluation_periods": 1}`, metric, resource)
}

// inOrder checks that a webhook was told of every transition of an alarm to which an
// action belongs, in their order, and that what it was told again came right after
// the first time.
func (w *webhook) inOrder(t *testing.T, alarm, action string, history []line) {
	t.Helper()
	var first []string
	for _, n := range w.got(alarm) {
		if len(first) > 0 && first[len(first)-1] == n.ID {
			continue
		}
		if slices.Contains(first, n.ID) {
			t.Errorf("alarm %s: delivery %s comes again after others", alarm, n.ID)
			continue
		}
		first = append(first, n.ID)
	}
	var want []string
	for _, l := range history {
		want = append(want, uuid.NewSHA1(uuid.MustParse(l.ID), []byte(action)).String())
	}
	if !slices.Equal(first, want) {
		t.Errorf("alarm %s: %d transitions, and %d deliveries that are not theirs or in another order", alarm, len(want), len(first))
	}
}
