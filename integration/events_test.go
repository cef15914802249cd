package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
)

// ceilometerEvents is a message as Ceilometer's notification agents publish events.
func ceilometerEvents(t *testing.T, from, n int) string {
	t.Helper()
	var payload []any
	for i := from; i < from+n; i++ {
		payload = append(payload, map[string]any{
			"message_id": fmt.Sprintf("m%05d", i), "event_type": "compute.instance.create.end",
			"generated": time.Now().UTC().Add(time.Duration(i) * time.Millisecond).Format("2006-01-02T15:04:05.000000"),
			"traits":    []any{[]any{"instance_id", 1, fmt.Sprintf("instance-%d", i%10)}, []any{"vcpus", 2, i}, []any{"project_id", 1, "p"}, []any{"user_id", 1, "u"}},
			"raw":       map[string]any{},
		})
	}
	inner, err := json.Marshal(map[string]any{"message_id": fmt.Sprint("envelope", from), "publisher_id": "ceilometer", "event_type": "event", "priority": "SAMPLE", "timestamp": "2026-01-01 00:00:00.000000", "payload": payload})
	if err != nil {
		t.Fatal(err)
	}
	outer, err := json.Marshal(map[string]string{"oslo.version": "2.0", "oslo.message": string(inner)})
	if err != nil {
		t.Fatal(err)
	}
	return string(outer)
}

// publishEvents publishes a message where Ceilometer does events, when somebody listens there.
func publishEvents(t *testing.T, broker *parts.Broker, message string) {
	t.Helper()
	Eventually(t, "the exchange is there", func() error {
		if !strings.Contains(string(broker.API("GET", "/api/exchanges", nil)), `"name":"ceilometer"`) {
			return errNot
		}
		return nil
	})
	Eventually(t, "the message is routed", func() error {
		answer := broker.API("POST", "/api/exchanges/%2F/ceilometer/publish", map[string]any{
			"properties": map[string]any{"content_type": "application/json", "content_encoding": "utf-8"}, "routing_key": "event.sample", "payload": message, "payload_encoding": "string",
		})
		if !strings.Contains(string(answer), `"routed":true`) {
			return errNot
		}
		return nil
	})
}

// The configuration for events that ships keeps what Ceilometer publishes, once, also
// when the agent is killed and messages come again.
func TestShippedEvents(t *testing.T) {
	broker := parts.RabbitMQ(t, parts.RabbitMQOptions{})
	listen := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	a := shipped(t, "events.toml", broker, &parts.InfluxServer{}, "[[storage.events]]\n", "[[storage.events]]\nlisten = '"+listen+"'\n")
	events := func(query string) (list []sdk.Event, err error) {
		r, err := http.NewRequest("GET", "http://"+listen+"/v2/events?"+query, nil)
		if err != nil {
			return nil, err
		}
		r.SetBasicAuth("admin", "")
		r.Header.Set("Accept", "application/x-ndjson")
		answer, err := client().Do(r)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		if answer.StatusCode != 200 {
			return nil, fmt.Errorf("status %d", answer.StatusCode)
		}
		lines := bufio.NewScanner(answer.Body)
		for lines.Scan() {
			var e sdk.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, lines.Err()
	}
	expect := func(n int, query string) (list []sdk.Event) {
		t.Helper()
		Eventually(t, fmt.Sprintf("%d events are found by %q", n, query), func() (err error) {
			if list, err = events(query); err == nil && len(list) != n {
				err = fmt.Errorf("there are %d", len(list))
			}
			return err
		})
		return list
	}
	messages := []string{ceilometerEvents(t, 0, 40), ceilometerEvents(t, 40, 1), ceilometerEvents(t, 41, 59)}
	for _, m := range messages {
		publishEvents(t, broker, m)
	}
	expect(100, "")
	publishEvents(t, broker, messages[1])
	publishEvents(t, broker, messages[2])
	publishEvents(t, broker, ceilometerEvents(t, 100, 1)) // when it is there, those before it are
	list := expect(101, "")
	if e := list[41]; e.MessageID != "m00041" || e.EventType != "compute.instance.create.end" || !slices.Contains(e.Traits, sdk.Trait{Name: "vcpus", Type: sdk.Integer, Value: int64(41)}) {
		t.Errorf("an event is %+v", e)
	}
	a.Kill9()
	a.Start()
	a.AwaitReady()
	expect(101, "")
	q := url.Values{"q.field": {"instance_id", "vcpus"}, "q.op": {"eq", "ge"}, "q.type": {"string", "integer"}, "q.value": {"instance-3", "50"}}
	expect(5, q.Encode())
	pankoCommands(t, listen)
	undisturbed(t, a)
}

// pankoCommands are all commands that pankoclient adds to those of OpenStack.
func pankoCommands(t *testing.T, listen string) {
	t.Helper()
	f := func(want string, args ...string) {
		t.Helper()
		cmd := exec.Command("/usr/bin/openstack", append(args, "--os-auth-type", "http_basic", "--os-username", "admin", "--os-password", "any", "--os-endpoint", "http://"+listen)...)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil && !strings.Contains(want, "HTTP 4") || got != want {
			t.Errorf("openstack %s: %v\n%s\nwant\n%s", strings.Join(args, " "), err, got, want)
		}
	}
	f("m00007\nm00017", "event", "list", "--filter", "instance_id=instance-7", "--limit", "2", "-f", "value", "-c", "message_id")
	f("m00087\nm00077", "event", "list", "--filter", "instance_id=instance-7", "--marker", "m00097", "--limit", "2", "--sort", "generated:desc", "--sort", "message_id", "-f", "value", "-c", "message_id")
	f("compute.instance.create.end", "event", "show", "m00007", "-f", "value", "-c", "event_type")
	f("Event none Not Found (HTTP 404)", "event", "show", "none")
	f("compute.instance.create.end", "event", "type", "list", "-f", "value")
	f("instance_id string\nproject_id string\nuser_id string\nvcpus integer", "event", "trait", "description", "compute.instance.create.end", "-f", "value")
	f("project_id p string"+strings.Repeat("\nproject_id p string", 100), "event", "trait", "list", "compute.instance.create.end", "project_id", "-f", "value")
}
