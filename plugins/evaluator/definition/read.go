package definition

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the time zones of constraints are known on every machine
)

// Limits of definitions. Aodh has none but those of its database's columns.
const (
	maxText = 1 << 20 // bytes of all of a definition

	// Characters of a text.
	maxName   = 255      // names and ids, which are in indexes, and what has no other limit
	maxMetric = 4096     // a metric's name, as in the aggregator, and the value of a condition
	maxLong   = 64 << 10 // an expression, a search, a description

	maxActions     = 100    // of a state
	maxConstraints = 50     // each of which is asked for its next start
	maxConditions  = 100    // of an event
	maxReference   = 10_000 // metrics of a rule
	maxLeaves      = 1000   // of a composite rule
	maxDepth       = 32

	// Seconds. Times are nanoseconds since 1970, which end in 2262.
	maxLength = 366 * 24 * 3600
	maxSpan   = 10 * maxLength // of all windows of a rule

	maxPeriods = 1000 // windows
)

// lengths are the most characters of texts by their names, where it is not maxName.
var lengths = map[string]int{
	"description": maxLong, "query": maxLong, "operations": maxLong, "metric": maxMetric, "metrics": maxMetric, "value": maxMetric,
	"ok_actions": maxLong, "alarm_actions": maxLong, "insufficient_data_actions": maxLong, // URLs have less: see the API
}

// Posted is a definition as somebody sent it.
type Posted struct {
	Alarm
	// State is nil if it was left out.
	State *State
	// HasProject and HasUser tell whether Project and User were given.
	HasProject, HasUser bool
}

// Read reads the body of a POST or PUT. Attributes that only the server sets, such
// as alarm_id and timestamp, are taken and ignored, since clients send back what
// they got. Its errors are of type [*InputError].
func Read(data []byte) (*Posted, error) {
	if len(data) > maxText {
		return nil, wrong("The definition is longer than %d bytes", maxText)
	}
	in, err := readObject(data)
	if err != nil {
		return nil, err
	}
	names := []string{
		"alarm_id", "name", "description", "enabled", "ok_actions", "alarm_actions", "insufficient_data_actions", "repeat_actions", "type",
		"time_constraints", "project_id", "user_id", "timestamp", "state", "state_timestamp", "state_reason", "severity", "evaluate_timestamp",
	}
	for _, t := range Types() {
		names = append(names, t+"_rule")
	}
	if in.raw("type") == nil {
		in.missing("type")
	}
	kind := in.oneOf("type", "event", Types())
	in.known(names...)
	p := &Posted{Alarm: Alarm{
		Name: in.mandatoryText("name"), Enabled: in.truth("enabled", true), Repeat: in.truth("repeat_actions", false),
		Project: in.text("project_id", ""), User: in.text("user_id", ""),
	}}
	p.HasProject, p.HasUser = in.raw("project_id") != nil, in.raw("user_id") != nil
	p.Severity, _ = ParseSeverity(in.oneOf("severity", "low", severities))
	if in.raw("state") != nil {
		s, _ := ParseState(in.oneOf("state", states[0], states))
		p.State = &s
	}
	for state, name := range map[State]string{OK: "ok_actions", Alerting: "alarm_actions", InsufficientData: "insufficient_data_actions"} {
		p.Actions[state] = distinct(in.texts(name, maxActions))
	}
	p.Constraints = in.constraints()
	p.Rule = in.rule(kind)
	if in.err != nil {
		return nil, in.err
	}
	p.Description = in.text("description", "")
	if p.Description == "" {
		p.Description = kind + " alarm rule"
		if e, ok := p.Rule.(*Event); ok {
			p.Description = fmt.Sprintf("Alarm when %s event occurred.", e.EventType)
		}
	}
	return p, in.err
}

// distinct leaves repeated texts out.
func distinct(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// rule reads the rule of a type, and refuses rules of others.
func (in *input) rule(kind string) Rule {
	if in.err != nil {
		return nil
	}
	name := kind + "_rule"
	raw := in.raw(name)
	if raw == nil {
		in.fail(wrong("%s must be set for %s type alarm", name, kind))
		return nil
	}
	for _, t := range Types() {
		if other := in.raw(t + "_rule"); t != kind && other != nil && string(other) != "{}" {
			in.fail(wrong("%s and %s cannot be set at the same time", min(name, t+"_rule"), max(name, t+"_rule")))
			return nil
		}
	}
	r, err := ReadRule(kind, raw)
	if err != nil {
		in.err = err
	}
	return r
}

// ReadRule reads a rule of a type.
func ReadRule(kind string, data []byte) (Rule, error) {
	if kind == "composite" {
		leaves := 0
		root, err := readNode(data, 1, &leaves)
		if err == nil && root.Rule != nil {
			err = invalidComposite(data)
		}
		if err != nil {
			return nil, err
		}
		return &Composite{Root: *root}, nil
	}
	in, err := readObject(data)
	if err != nil {
		return nil, invalid(kind+"_rule", string(data), "An object is expected.")
	}
	r := in.simpleRule(kind)
	if in.err != nil {
		return nil, in.err
	}
	return r, nil
}

func (in *input) simpleRule(kind string) Rule {
	switch kind {
	case "gnocchi_resources_threshold":
		return &ResourceThreshold{
			Threshold: in.threshold("metric", "resource_id", "resource_type"),
			Metric:    in.mandatoryText("metric"), Resource: in.mandatoryText("resource_id"), ResourceType: in.mandatoryText("resource_type"),
		}
	case "gnocchi_aggregation_by_metrics_threshold":
		r := &MetricsThreshold{Threshold: in.threshold("metrics"), Metrics: in.texts("metrics", maxReference)}
		if in.raw("metrics") == nil {
			in.missing("metrics")
		}
		return r
	case "gnocchi_aggregation_by_resources_threshold":
		r := &ResourcesThreshold{
			Threshold: in.threshold("metric", "resource_type", "query"),
			Metric:    in.mandatoryText("metric"), ResourceType: in.mandatoryText("resource_type"), Query: in.mandatoryText("query"),
		}
		in.search("query", r.Query)
		return r
	case "operations_threshold":
		in.known("threshold", "comparison_operator", "evaluation_periods", "granularity", "operations", "resource_type", "query")
		r := &Operations{Threshold: in.windows(), Operations: in.mandatoryText("operations"), ResourceType: in.text("resource_type", ""), Query: in.text("query", "")}
		switch {
		case r.ResourceType == "" && r.Query != "":
			in.fail(wrong("query needs a resource_type"))
		case r.Query != "":
			in.search("query", r.Query)
		}
		return r
	case "prometheus":
		in.known("threshold", "comparison_operator", "query", "scope_to_project")
		r := &Prometheus{Query: in.mandatoryText("query"), Threshold: in.number("threshold"), Comparison: in.comparison()}
		return r
	case "event":
		return in.event()
	case "absence":
		return in.absence()
	default:
		in.fail(wrong("Unsupported rule type: %s", kind))
		return nil
	}
}

// search checks that a text is JSON, as Gnocchi's search is.
func (in *input) search(name, query string) {
	if !json.Valid([]byte(query)) {
		in.fail(invalid("rule/"+name, query, "It is not JSON."))
	}
}

func (in *input) comparison() Comparison {
	return Comparison(in.oneOf("comparison_operator", "eq", comparisons))
}

// threshold reads what rules about aggregates have in common, and refuses members
// that are neither that nor of the given names.
func (in *input) threshold(names ...string) Threshold {
	in.known(append(names, "threshold", "comparison_operator", "aggregation_method", "evaluation_periods", "granularity")...)
	t := in.windows()
	t.Method = in.mandatoryText("aggregation_method")
	return t
}

func (in *input) windows() Threshold {
	periods, granularity := in.integer("evaluation_periods", 1, 1, maxPeriods), in.integer("granularity", 60, 1, maxLength)
	if periods*granularity > maxSpan {
		in.fail(wrong("evaluation_periods of %d windows of granularity %d are more than %d seconds", periods, granularity, maxSpan))
	}
	return Threshold{
		Threshold: in.number("threshold"), Comparison: in.comparison(), Periods: periods, Granularity: time.Duration(granularity) * time.Second,
	}
}

// invalidComposite is Aodh's text.
func invalidComposite(data []byte) *InputError {
	return wrong(`Invalid input composite rule: %s, it should be a dict with an "and" or "or" as key, and the value of dict should be a list of basic threshold rules or sub composite rules, can be nested.`, shorten(string(data)))
}

// readNode reads a part of a composite rule.
func readNode(data []byte, depth int, leaves *int) (*Node, error) {
	if depth > maxDepth {
		return nil, wrong("A composite rule can be %d levels deep at most", maxDepth)
	}
	in, err := readObject(data)
	if err != nil {
		return nil, invalidComposite(data)
	}
	and, or := in.members["and"], in.members["or"]
	if len(in.members) == 1 && in.members["type"] == nil {
		if and == nil && or == nil {
			return nil, wrong(`Threshold rules should be combined with "and" or "or"`)
		}
		n := &Node{And: and != nil}
		var parts []json.RawMessage
		if json.Unmarshal(append(and, or...), &parts) != nil || len(parts) == 0 {
			return nil, invalidComposite(data)
		}
		for _, part := range parts {
			sub, err := readNode(part, depth+1, leaves)
			if err != nil {
				return nil, err
			}
			n.Nodes = append(n.Nodes, *sub)
		}
		return n, nil
	}
	if *leaves++; *leaves > maxLeaves {
		return nil, wrong("A composite rule can have at most %d rules", maxLeaves)
	}
	kind := in.text("type", "")
	if kind == "" {
		return nil, wrong("type must be set in every rule")
	}
	if !slices.Contains(joined, kind) {
		return nil, wrong("Unsupported sub-rule type :%s in composite rule, should be one of: ['%s']", shorten(kind), strings.Join(joined, "', '"))
	}
	delete(in.members, "type")
	r := in.simpleRule(kind)
	if in.err != nil {
		return nil, in.err
	}
	return &Node{Rule: r}, nil
}

func (in *input) event() *Event {
	in.known("event_type", "query")
	e := &Event{EventType: in.text("event_type", "*")}
	if e.EventType == "" {
		e.EventType = "*"
	}
	in.objects("query", maxConditions, func(in *input) {
		in.known("field", "op", "type", "value")
		c := Condition{Field: in.mandatoryText("field"), Op: Comparison(in.oneOf("op", "eq", comparisons)), Type: in.text("type", ""), Value: in.conditionValue()}
		if err := c.check(); err != nil {
			in.fail(err)
		}
		e.Query = append(e.Query, c)
	})
	return e
}

// conditionValue is a text; numbers and booleans are taken as theirs.
func (in *input) conditionValue() string {
	raw := in.raw("value")
	switch {
	case raw == nil:
		in.missing("value")
	case raw[0] == '{' || raw[0] == '[':
		in.fail(invalid("value", string(raw), "A text is expected."))
	case raw[0] != '"':
		in.checkText("value", string(raw))
		return string(raw)
	}
	return in.text("value", "")
}

func (in *input) absence() *Absence {
	in.known("metric", "resource_id", "resource_type", "event_type", "query", "period")
	if in.raw("period") == nil {
		in.missing("period")
	}
	a := &Absence{Period: time.Duration(in.integer("period", 0, 1, maxLength)) * time.Second}
	ofEvent := in.raw("event_type") != nil || in.raw("query") != nil
	ofSeries := in.raw("metric") != nil || in.raw("resource_id") != nil || in.raw("resource_type") != nil
	switch {
	case ofEvent && ofSeries:
		in.fail(wrong("An absence_rule is about an event (event_type, query) or about a metric (metric, resource_id), not about both"))
	case ofEvent:
		delete(in.members, "period")
		a.Event = in.event()
	default:
		a.Metric, a.Resource, a.ResourceType = in.mandatoryText("metric"), in.mandatoryText("resource_id"), in.text("resource_type", "")
	}
	return a
}

func (in *input) constraints() []Constraint {
	var list []Constraint
	in.objects("time_constraints", maxConstraints, func(in *input) {
		in.known("name", "description", "start", "duration", "timezone")
		if in.raw("duration") == nil {
			in.missing("duration")
		}
		c := Constraint{
			Name: in.mandatoryText("name"), Description: in.text("description", ""), Start: in.mandatoryText("start"),
			Duration: time.Duration(in.integer("duration", 0, 0, maxLength)) * time.Second, Timezone: in.text("timezone", ""),
		}
		if c.Description == "" {
			c.Description = fmt.Sprintf("Time constraint at %s lasting for %d seconds", c.Start, seconds(c.Duration))
		}
		if _, err := c.Schedule(); err != nil && in.err == nil {
			in.err = err
		}
		if slices.ContainsFunc(list, func(other Constraint) bool { return other.Name == c.Name }) {
			in.fail(wrong("Time constraint names must be unique for a given alarm."))
		}
		list = append(list, c)
	})
	return list
}
