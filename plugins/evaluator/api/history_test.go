package api_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
)

// TestHistoryDetail: history has an alarm as Aodh's has it, whose rule is called "rule".
func TestHistoryDetail(t *testing.T) {
	c := newCloud(t)
	const alarm = `{"name": "n", "type": "event", "severity": "low", "event_rule": {"event_type": "x"}}`
	status, text := c.ask("u@p/member", "POST", "/v2/alarms", alarm)
	var made map[string]any
	if status != http.StatusCreated || json.Unmarshal([]byte(text), &made) != nil || made["event_rule"] == nil {
		t.Fatalf("%d %s", status, text)
	}
	one := "/v2/alarms/" + made["alarm_id"].(string)
	for _, change := range []string{
		`{"name": "n", "type": "event", "severity": "low", "event_rule": {"event_type": "y"}}`, alarm, alarm,
		`{"name": "n", "type": "absence", "severity": "low", "description": "Alarm when x event occurred.", "absence_rule": {"event_type": "x", "period": 60}}`,
	} {
		if status, text := c.ask("u@p/member", "PUT", one, change); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
	}
	var lines []struct{ Type, Detail string }
	if status, text := c.ask("u@p/member", "GET", one+"/history?sort=timestamp:asc", ""); status != http.StatusOK || json.Unmarshal([]byte(text), &lines) != nil || len(lines) != 4 {
		t.Fatalf("%d %s", status, text)
	}
	creation := made
	creation["rule"] = creation["event_rule"]
	delete(creation, "event_rule")
	var got map[string]any
	if err := json.Unmarshal([]byte(lines[0].Detail), &got); err != nil || lines[0].Type != "creation" || !reflect.DeepEqual(got, creation) {
		t.Errorf("the creation is %+v", lines[0])
	}
	for i, want := range []string{
		`{"rule": {"event_type": "y", "query": []}}`, `{"rule": {"event_type": "x", "query": []}}`,
		`{"type": "absence", "rule": {"period": 60, "event_type": "x", "query": []}}`,
	} {
		// The description is of the rule if there is none.
		var change, expected map[string]any
		if err := json.Unmarshal([]byte(lines[i+1].Detail), &change); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(want), &expected); err != nil {
			t.Fatal(err)
		}
		delete(change, "description")
		if !reflect.DeepEqual(change, expected) || lines[i+1].Type != "rule change" {
			t.Errorf("change %d is %+v, not %s", i, lines[i+1], want)
		}
	}
}

// TestConditionTypes: a type that is none is refused.
func TestConditionTypes(t *testing.T) {
	c := newCloud(t)
	for kind, want := range map[string]int{"": 200, "string": 200, "boolean": 200, "nonsense": 400} {
		if status, text := c.ask("u@p/member", "GET", "/v2/alarms?q.field=name&q.value=n&q.type="+kind, ""); status != want {
			t.Errorf("%s: %d %s", kind, status, text)
		}
	}
}
