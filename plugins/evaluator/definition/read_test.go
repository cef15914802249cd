package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

const threshold = `"threshold": 80, "aggregation_method": "mean"`

func of(kind, rule string) string {
	return `{"name": "n", "type": "` + kind + `", "` + kind + `_rule": ` + rule + `}`
}

func TestRead(t *testing.T) {
	const resource = "gnocchi_resources_threshold"
	tests := []struct{ name, in, err string }{
		{"a resource's metric", of(resource, `{`+threshold+`, "metric": "cpu", "resource_id": "r", "resource_type": "instance"}`), ""},
		{"metrics", of("gnocchi_aggregation_by_metrics_threshold", `{`+threshold+`, "metrics": ["a", "b"]}`), ""},
		{"resources", of("gnocchi_aggregation_by_resources_threshold", `{`+threshold+`, "metric": "cpu", "resource_type": "instance", "query": "{\"=\": {\"server_group\": \"x\"}}"}`), ""},
		{"operations", of("operations_threshold", `{"threshold": 1.5, "operations": "(* 2 (metric m mean))"}`), ""},
		{"PromQL", of("prometheus", `{"threshold": 0, "query": "up", "comparison_operator": "eq"}`), ""},
		{"event", of("event", `{"event_type": "compute.*", "query": [{"field": "traits.state", "op": "ne", "type": "string", "value": "error"}]}`), ""},
		{"any event", of("event", `{}`), ""},
		{"absence of data", of("absence", `{"metric": "cpu", "resource_id": "r", "period": 300}`), ""},
		{"absence of an event", of("absence", `{"event_type": "backup.end", "period": 90000}`), ""},
		{"composite", of("composite", `{"or": [{"type": "prometheus", "query": "up", "threshold": 0}, {"and": [{"type": "`+resource+`", `+threshold+`, "metric": "cpu", "resource_id": "r", "resource_type": "instance"}]}]}`), ""},
		{"what clients send back", `{"alarm_id": "x", "timestamp": "2026-01-01T00:00:00", "state_timestamp": null, "state_reason": "x", "evaluate_timestamp": null, "user_id": "u", "project_id": "p", "state": "ok",
			"name": "n", "type": "event", "event_rule": {"query": []}, "prometheus_rule": null, "time_constraints": [], "alarm_actions": null}`, ""},
		{"texts for numbers", of(resource, `{"threshold": "80", "aggregation_method": "mean", "granularity": "300", "evaluation_periods": 2.0, "metric": "cpu", "resource_id": "r", "resource_type": "instance"}`), ""},
		{"constraint", `{"name": "n", "type": "event", "event_rule": {}, "time_constraints": [{"name": "night", "start": "0 23 * * *", "duration": 10800, "timezone": "Europe/Ljubljana"}]}`, ""},

		{"no JSON", `{`, "Request is not in valid JSON format"},
		{"null", `null`, "Request is not in valid JSON format"},
		{"two objects", of("event", `{}`) + `{}`, "Request is not in valid JSON format"},
		{"a list", `[]`, "an object is expected"},
		{"no name", `{"type": "event", "event_rule": {}}`, "Invalid input for field/attribute name. Value: 'None'. Mandatory field missing."},
		{"no type", `{"name": "n", "event_rule": {}}`, "Invalid input for field/attribute type. Value: 'None'. Mandatory field missing."},
		{"strange type", `{"name": "n", "type": "zzz"}`, "Invalid input for field/attribute type. Value: 'zzz'. Value should be one of: absence, composite,"},
		{"no rule", `{"name": "n", "type": "event"}`, "event_rule must be set for event type alarm"},
		{"two rules", `{"name": "n", "type": "event", "event_rule": {}, "prometheus_rule": {"query": "x"}}`, "event_rule and prometheus_rule cannot be set at the same time"},
		{"unknown attribute", `{"name": "n", "type": "event", "event_rule": {}, "foo": 1}`, "Unknown attribute for argument data: foo"},
		{"unknown attribute of a rule", of("event", `{"foo": 1}`), "Unknown attribute for argument data: foo"},
		{"severity", `{"name": "n", "type": "event", "event_rule": {}, "severity": "dire"}`, "Value should be one of: low, moderate, critical"},
		{"state", `{"name": "n", "type": "event", "event_rule": {}, "state": "odd"}`, "Value should be one of: insufficient data, ok, alarm"},
		{"enabled", `{"name": "n", "type": "event", "event_rule": {}, "enabled": 3}`, "Invalid input for field/attribute enabled. Value: '3'."},
		{"actions", `{"name": "n", "type": "event", "event_rule": {}, "ok_actions": "x"}`, "A list of texts is expected."},
		{"long name", `{"name": "` + strings.Repeat("x", 256) + `", "type": "event", "event_rule": {}}`, "maximum length of 255"},
		{"zero character", `{"name": "a\u0000b", "type": "event", "event_rule": {}}`, "zero character"},
		{"no threshold", of("prometheus", `{"query": "up"}`), "attribute threshold. Value: 'None'. Mandatory field missing."},
		{"threshold is no number", of("prometheus", `{"query": "up", "threshold": "NaN"}`), "attribute threshold. Value: '\"NaN\"'. A number is expected."},
		{"no periods", of("operations_threshold", `{"threshold": 1, "operations": "x", "evaluation_periods": 0}`), "Value: '0'. Value should be greater or equal to 1"},
		{"a year of periods", of("operations_threshold", `{"threshold": 1, "operations": "x", "evaluation_periods": 525600}`), "Value should be lower or equal to 1000"},
		{"search is no JSON", of("gnocchi_aggregation_by_resources_threshold", `{`+threshold+`, "metric": "cpu", "resource_type": "instance", "query": "a = 1"}`), "It is not JSON."},
		{"integer condition", of("event", `{"query": [{"field": "traits.n", "type": "integer", "value": "x"}]}`), "Unable to convert the value x to the expected data type integer."},
		{"condition's field", of("event", `{"query": [{"field": "traits n", "value": "x"}]}`), "Query value or traits invalid"},
		{"condition's type", of("event", `{"query": [{"field": "n", "type": "blob", "value": "x"}]}`), "The data type blob is not supported."},
		{"condition's operator", of("event", `{"query": [{"field": "n", "op": "like", "value": "x"}]}`), "Value should be one of: lt, le, eq, ne, ge, gt"},
		{"composite of a leaf", of("composite", `{"type": "prometheus", "query": "up", "threshold": 0}`), "Invalid input composite rule"},
		{"composite of nothing", of("composite", `{"or": []}`), "Invalid input composite rule"},
		{"composite by xor", of("composite", `{"xor": []}`), `Threshold rules should be combined with "and" or "or"`},
		{"composite without type", of("composite", `{"or": [{"query": "up", "threshold": 0}]}`), "type must be set in every rule"},
		{"composite of events", of("composite", `{"or": [{"type": "event", "query": []}]}`), "Unsupported sub-rule type :event in composite rule"},
		{"composite leaf without threshold", of("composite", `{"or": [{"type": "prometheus", "query": "up"}]}`), "Mandatory field missing."},
		{"a deep composite", of("composite", strings.Repeat(`{"or": [`, 40)+strings.Repeat(`]}`, 40)), "levels deep at most"},
		{"absence of both", of("absence", `{"metric": "cpu", "event_type": "x", "period": 1}`), "not about both"},
		{"absence for ever", of("absence", `{"metric": "cpu", "resource_id": "r"}`), "attribute period. Value: 'None'. Mandatory field missing."},
		{"constraint's cron", `{"name": "n", "type": "event", "event_rule": {}, "time_constraints": [{"name": "x", "start": "0 99 * * *", "duration": 1}]}`, "It is no cron expression"},
		{"constraint's zone", `{"name": "n", "type": "event", "event_rule": {}, "time_constraints": [{"name": "x", "start": "0 9 * * *", "duration": 1, "timezone": "Mars/Base"}]}`, "Timezone Mars/Base is not valid"},
		{"constraint's duration", `{"name": "n", "type": "event", "event_rule": {}, "time_constraints": [{"name": "x", "start": "0 9 * * *", "duration": -1}]}`, "greater or equal to 0"},
		{"constraint twice", `{"name": "n", "type": "event", "event_rule": {}, "time_constraints": [{"name": "x", "start": "0 9 * * *", "duration": 1}, {"name": "x", "start": "0 9 * * *", "duration": 1}]}`, "Time constraint names must be unique for a given alarm."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := Read([]byte(test.in))
			if test.err != "" {
				var fault *InputError
				if !errors.As(err, &fault) || !strings.Contains(fault.Message, test.err) {
					t.Errorf("the error is %v, not %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			again(t, p)
		})
	}
}

// again reads what is answered of a definition, as clients do before they change one.
func again(t *testing.T, p *Posted) {
	t.Helper()
	answer, err := json.Marshal(p.Answer(&Status{Reason: NotEvaluated, Since: time.Unix(1, 5e6)}))
	if err != nil {
		t.Fatal(err)
	}
	q, err := Read(answer)
	if err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	if !reflect.DeepEqual(Fields(p.Rule), Fields(q.Rule)) || p.Description != q.Description || !reflect.DeepEqual(p.Constraints, q.Constraints) {
		t.Errorf("%s\nis read as\n%+v", answer, q)
	}
}

// TestLimits: what one alarm may cost is limited, since all are evaluated one after the other.
func TestLimits(t *testing.T) {
	const year = 366 * 24 * 3600
	items := func(n int, item string) string { // each is another one
		var list []string
		for i := range n {
			list = append(list, strings.ReplaceAll(item, "#", strconv.Itoa(i)))
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	long := func(n int) string { return `"` + strings.Repeat("č", n) + `"` }
	operations := func(periods, granularity int) string {
		return of("operations_threshold", fmt.Sprintf(`{"threshold": 1, "operations": "x", "evaluation_periods": %d, "granularity": %d}`, periods, granularity))
	}
	attribute := func(name, value string) string {
		return `{"name": "n", "type": "event", "event_rule": {}, "` + name + `": ` + value + `}`
	}
	resource := func(name, value string) string {
		rule := map[string]string{"metric": `"cpu"`, "resource_id": `"r"`, "resource_type": `"instance"`, "aggregation_method": `"mean"`, "threshold": "80"}
		rule[name] = value
		var list []string
		for name, value := range rule {
			list = append(list, `"`+name+`": `+value)
		}
		return of("gnocchi_resources_threshold", "{"+strings.Join(list, ", ")+"}")
	}
	condition := func(name, value string) string {
		rest := map[string]string{"field": `"value": "x"`, "value": `"field": "traits.x"`}[name]
		return of("event", `{"query": [{`+rest+`, "`+name+`": `+value+`}]}`)
	}
	constraint := `{"name": "#", "start": "0 9 * * *", "duration": 1}`
	tests := map[string]struct{ most, more, err string }{
		"windows": {operations(10, year), operations(11, year), "evaluation_periods of 11 windows of granularity 31622400 are more than 316224000 seconds"},
		"windows in a composite": {
			of("composite", `{"or": [{"type": "gnocchi_resources_threshold", "granularity": 316224, "evaluation_periods": 1000, `+threshold+`, "metric": "m", "resource_id": "r", "resource_type": "t"}]}`),
			of("composite", `{"or": [{"type": "gnocchi_resources_threshold", "granularity": 316225, "evaluation_periods": 1000, `+threshold+`, "metric": "m", "resource_id": "r", "resource_type": "t"}]}`), "are more than 316224000 seconds",
		},
		"actions":            {attribute("ok_actions", items(100, `"http://#"`)), attribute("ok_actions", items(101, `"http://#"`)), "A list of at most 100 is allowed."},
		"constraints":        {attribute("time_constraints", items(50, constraint)), attribute("time_constraints", items(51, constraint)), "A list of at most 50 is allowed."},
		"conditions":         {of("event", `{"query": `+items(100, `{"field": "raw.a", "value": "#"}`)+`}`), of("event", `{"query": `+items(101, `{"field": "raw.a", "value": "#"}`)+`}`), "A list of at most 100 is allowed."},
		"metrics":            {of("gnocchi_aggregation_by_metrics_threshold", `{`+threshold+`, "metrics": `+items(10_000, `"#"`)+`}`), of("gnocchi_aggregation_by_metrics_threshold", `{`+threshold+`, "metrics": `+items(10_001, `"#"`)+`}`), "A list of at most 10000 is allowed."},
		"name":               {strings.Replace(of("event", "{}"), `"n"`, long(255), 1), strings.Replace(of("event", "{}"), `"n"`, long(256), 1), "field/attribute name."},
		"project":            {attribute("project_id", long(255)), attribute("project_id", long(256)), "maximum length of 255"},
		"user":               {attribute("user_id", long(255)), attribute("user_id", long(256)), "maximum length of 255"},
		"description":        {attribute("description", long(64<<10)), attribute("description", long(64<<10+1)), "maximum length of 65536"},
		"event type":         {of("event", `{"event_type": `+long(255)+`}`), of("event", `{"event_type": `+long(256)+`}`), "maximum length of 255"},
		"condition":          {condition("value", long(4096)), condition("value", long(4097)), "maximum length of 4096"},
		"condition's number": {condition("value", strings.Repeat("1", 4096)), condition("value", strings.Repeat("1", 4097)), "maximum length of 4096"},
		"field":              {condition("field", `"`+strings.Repeat("x", 255)+`"`), condition("field", `"`+strings.Repeat("x", 256)+`"`), "maximum length of 255"},
		"metric":             {resource("metric", long(4096)), resource("metric", long(4097)), "maximum length of 4096"},
		"resource":           {resource("resource_id", long(255)), resource("resource_id", long(256)), "maximum length of 255"},
		"method":             {resource("aggregation_method", long(255)), resource("aggregation_method", long(256)), "maximum length of 255"},
		"expression":         {of("operations_threshold", `{"threshold": 1, "operations": `+long(64<<10)+`}`), of("operations_threshold", `{"threshold": 1, "operations": `+long(64<<10+1)+`}`), "maximum length of 65536"},
	}
	for name, test := range tests {
		if _, err := Read([]byte(test.most)); err != nil {
			t.Errorf("the most of %s: %v", name, err)
		}
		_, err := Read([]byte(test.more))
		var fault *InputError
		if !errors.As(err, &fault) || !strings.Contains(fault.Message, test.err) {
			t.Errorf("more of %s: the error is %v, not %q", name, err, test.err)
		} else if len(fault.Message) > 1000 {
			t.Errorf("more of %s: the error has %d bytes", name, len(fault.Message))
		}
	}
}

func TestDefaults(t *testing.T) {
	p, err := Read([]byte(`{"name": "n", "type": "composite", "ok_actions": ["http://a", "http://b", "http://a"], "composite_rule": {"or": [{"type": "gnocchi_resources_threshold", ` +
		threshold + `, "metric": "cpu", "resource_id": "r", "resource_type": "instance"}]},
		"time_constraints": [{"name": "x", "start": "0 23 * * *", "duration": 60}]}`))
	if err != nil {
		t.Fatal(err)
	}
	p.Changed = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	got := string(AppendJSON(nil, p.Answer(&Status{Reason: NotEvaluated, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})))
	want := `{"alarm_id": "00000000-0000-0000-0000-000000000000", "name": "n", "description": "composite alarm rule", "type": "composite", "enabled": true, "severity": "low", ` +
		`"state": "insufficient data", "state_reason": "Not evaluated yet", "state_timestamp": "2026-01-02T03:04:05", "timestamp": "2026-01-02T03:04:05.000006", "evaluate_timestamp": null, ` +
		`"ok_actions": ["http://a", "http://b"], "alarm_actions": [], "insufficient_data_actions": [], "repeat_actions": false, ` +
		`"time_constraints": [{"name": "x", "description": "Time constraint at 0 23 * * * lasting for 60 seconds", "start": "0 23 * * *", "duration": 60, "timezone": ""}], "project_id": "", "user_id": "", ` +
		`"composite_rule": {"or": [{"granularity": 60, "comparison_operator": "eq", "threshold": 80.0, "aggregation_method": "mean", "evaluation_periods": 1, "metric": "cpu", "resource_id": "r", "resource_type": "instance", "type": "gnocchi_resources_threshold"}]}}`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSchedule(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := []struct {
		start, zone string
		duration    time.Duration
		now         string
		holds       bool
	}{
		{"0 11 * * *", "", 5 * time.Hour, "2026-01-05T12:00:00Z", true},
		{"0 11 * * *", "", 5 * time.Hour, "2026-01-05T11:00:00Z", true},
		{"0 11 * * *", "", 5 * time.Hour, "2026-01-05T16:00:00Z", true},
		{"0 11 * * *", "", 5 * time.Hour, "2026-01-05T16:00:01Z", false},
		{"0 11 * * *", "", 5 * time.Hour, "2026-01-05T10:59:59Z", false},
		{"0 11 * * *", "", 0, "2026-01-05T11:00:59Z", true}, // to the minute
		{"0 11 * * *", "", 0, "2026-01-05T11:01:00Z", false},
		{"0 22 * * *", "", 6 * time.Hour, "2026-01-06T03:00:00Z", true}, // over midnight
		{"0 11 * * *", "Europe/Ljubljana", time.Hour, "2026-01-05T10:30:00Z", true},
		{"0 11 * * *", "Europe/Ljubljana", time.Hour, "2026-07-05T09:30:00Z", true}, // summer
		{"0 11 * * *", "Europe/Ljubljana", time.Hour, "2026-07-05T10:30:00Z", false},
		{"0 8 * * 1", "", 24 * time.Hour, "2026-01-05T09:00:00Z", true}, // a Monday
		{"0 8 * * 1", "", 24 * time.Hour, "2026-01-07T09:00:00Z", false},
		{"* * * * * */20", "", 0, "2026-01-05T09:00:00Z", true}, // seconds come last
	}
	for _, test := range tests {
		s, err := (&Constraint{Start: test.start, Duration: test.duration, Timezone: test.zone}).Schedule()
		if err != nil {
			t.Fatal(err)
		}
		if s.Holds(at(test.now)) != test.holds {
			t.Errorf("%q of %v for %v holds at %s: %v", test.start, test.zone, test.duration, test.now, !test.holds)
		}
	}
	s, _ := (&Constraint{Start: "0 11 * * *"}).Schedule()
	if next := s.Next(at("2026-01-05T12:00:00Z")); !next.Equal(at("2026-01-06T11:00:00Z")) {
		t.Errorf("it begins again at %v", next)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(of("event", `{"query": [{"field": "traits.n", "type": "integer", "value": "5"}]}`)))
	f.Add([]byte(of("composite", `{"or": [{"type": "prometheus", "query": "up", "threshold": 0}]}`)))
	f.Add([]byte(`{"name": "n", "type": "event", "event_rule": {}, "time_constraints": [{"name": "x", "start": "0 9 * * *", "duration": 1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Read(data)
		var fault *InputError
		if err != nil && !errors.As(err, &fault) {
			t.Fatalf("an error of type %T", err)
		}
		if err == nil {
			again(t, p)
		}
	})
}

// FuzzReadJSON: what encoding/json reads is read, and what is written of it is the same again.
func FuzzReadJSON(f *testing.F) {
	f.Add([]byte(`{"b": [1, 2.0, 1e400, 123456789012345678901234567890, null], "a": {"x": "\u010d", "x": true}}`))
	f.Add([]byte(`[] []`))
	f.Add([]byte(`-0`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ReadJSON(data)
		if (err == nil) != json.Valid(data) {
			t.Fatalf("%q: %v", data, err)
		}
		text := AppendJSON(nil, v)
		if err != nil || bytes.Contains(text, []byte("Infinity")) {
			return
		}
		again, err := ReadJSON(text)
		if err != nil || !bytes.Equal(AppendJSON(nil, again), text) {
			t.Errorf("%q is written as %q, which is read as %q: %v", data, text, AppendJSON(nil, again), err)
		}
	})
}
