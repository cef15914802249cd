package evaluator

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/plugins/evaluator/action"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// TestEventOf: a change is an event with the alarm's name, whatever the change is.
func TestEventOf(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		kind             store.Kind
		detail           string
		eventType, state string
		reason           string
	}{
		{store.Creation, `{"name": "busy", "state": "ok"}`, "alarm.creation", "ok", ""},
		{store.RuleChange, `{"severity": "low"}`, "alarm.rule_change", "", ""},
		{store.StateTransition, `{"state": "alarm", "transition_reason": "it is hot"}`, "alarm.state_transition", "alarm", "it is hot"},
		{store.Deletion, `{"state": "alarm"}`, "alarm.deletion", "alarm", ""},
	} {
		change := &store.Change{ID: uuid.New(), Alarm: uuid.New(), Name: "busy", Kind: c.kind, Detail: c.detail, Who: store.Who{User: "u", Project: "p"}, OnBehalfOf: "q", At: at}
		e, err := eventOf(action.Event(change))
		if err != nil {
			t.Fatal(err)
		}
		if e.EventType != c.eventType || e.MessageID != change.ID.String() || !e.Generated.Equal(at) || string(e.Raw) != c.detail {
			t.Errorf("%s: %+v", c.eventType, e)
		}
		want := map[string]string{"alarm_id": change.Alarm.String(), "name": "busy", "project_id": "q", "user_id": "u", "severity": "low", "state": c.state, "reason": c.reason}
		for _, trait := range e.Traits {
			if want[trait.Name] != trait.Value || trait.Type != sdk.Text {
				t.Errorf("%s: trait %+v", c.eventType, trait)
			}
			delete(want, trait.Name)
		}
		for name, value := range want {
			if value != "" {
				t.Errorf("%s: no trait %s", c.eventType, name)
			}
		}
	}
}
