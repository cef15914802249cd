package evaluator

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

const noServers = "listen = ''\nstorage = ''\n"

func TestConform(t *testing.T) { sdktest.Conform(t, sdktest.Options{Config: noServers}) }

// unanswering is the URL of a webhook that closes all connections.
func unanswering(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(s.Close)
	return s.URL + "/hook"
}

// TestMeasure: the figures follow what is done, and an action that can't be done is
// pending and then dead.
func TestMeasure(t *testing.T) {
	p := sdktest.Start(t, noServers+fmt.Sprintf(`
events  = false
actions = { retry_min = '10ms', retry_max = '20ms', give_up = '1s' }
[[rule]]
name          = 'fires'
type          = 'event'
alarm_actions = ['%s']
event_rule    = { event_type = 'x' }
[[rule]]
name       = 'waits'
type       = 'event'
event_rule = { event_type = 'y' }
[[rule]]
name       = 'sleeps'
type       = 'event'
enabled    = false
event_rule = { event_type = 'x' }
`, unanswering(t)))
	if _, err := p.Listen(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	read := func() map[string]float64 {
		t.Helper()
		figures, err := p.Measure(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range figures {
			got[f.Metric+f.Labels["state"]] = f.Value
		}
		return got
	}
	await := func(what string, done func(map[string]float64) bool) {
		t.Helper()
		var got map[string]float64
		// What is owed is counted again after a hundred times as long as counting took, which on a
		// busy machine is long.
		for begun := time.Now(); time.Since(begun) < 2*time.Minute; time.Sleep(5 * time.Millisecond) {
			if got = read(); done(got) {
				return
			}
		}
		t.Fatalf("%s: not with %v", what, got)
	}
	const prefix = "nepho_evaluator_"
	await("alarms are read", func(got map[string]float64) bool { return got[prefix+"alarmsinsufficient data"] == 2 })
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		for _, of := range []string{"x", "z"} {
			out.AddEvent(sdk.Event{MessageID: of, EventType: of, Generated: time.Now(), Traits: []sdk.Trait{{Name: "project_id", Value: ""}}})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := batches[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	// That they are read is known a moment after the last is in memory; until then events are
	// given back, and come again.
	for begun := time.Now(); ; {
		if err = p.PublishBatch(t.Context(), data); err == nil {
			break
		}
		if time.Since(begun) > 2*time.Minute {
			t.Fatal(err)
		}
	}
	await("it is alarmed", func(got map[string]float64) bool {
		for name, want := range map[string]float64{
			"alarmsalarm": 1, "alarmsok": 0, "alarmsinsufficient data": 1, "transitions_total": 1, "events_total": 2,
		} {
			if v, ok := got[prefix+name]; !ok || v != want {
				return false
			}
		}
		return got[prefix+"evaluations_total"] >= 1 && got[prefix+"deliveries_pending"]+got[prefix+"deliveries_dead"] == 1
	})
	await("it is given up", func(got map[string]float64) bool {
		if got[prefix+"deliveries_pending"] == 1 {
			return false
		}
		return got[prefix+"deliveries_dead"] == 1 && got[prefix+"deliveries_oldest_seconds"] == 0 && got[prefix+"attempts_total"] == got[prefix+"attempts_failed_total"] &&
			got[prefix+"attempts_failed_total"] >= 1 // more, unless the machine is so busy that the first comes too late
	})
}
