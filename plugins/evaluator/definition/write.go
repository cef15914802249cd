package definition

import (
	"time"
)

// Fields gives a rule's attributes in Aodh's order; of a composite rule its tree.
func Fields(r Rule) Object {
	switch r := r.(type) {
	case *ResourceThreshold:
		return append(r.fields(), Member{"metric", r.Metric}, Member{"resource_id", r.Resource}, Member{"resource_type", r.ResourceType})
	case *MetricsThreshold:
		return append(r.fields(), Member{"metrics", r.Metrics})
	case *ResourcesThreshold:
		return append(r.fields(), Member{"metric", r.Metric}, Member{"query", r.Query}, Member{"resource_type", r.ResourceType})
	case *Operations:
		o := Object{
			{"granularity", seconds(r.Granularity)}, {"comparison_operator", string(r.Comparison)}, {"threshold", r.Threshold.Threshold},
			{"evaluation_periods", r.Periods}, {"operations", r.Operations},
		}
		if r.ResourceType != "" {
			o = append(o, Member{"resource_type", r.ResourceType}, Member{"query", r.Query})
		}
		return o
	case *Prometheus:
		return Object{{"comparison_operator", string(r.Comparison)}, {"threshold", r.Threshold}, {"query", r.Query}}
	case *Composite:
		return r.Root.fields()
	case *Event:
		list := make([]any, len(r.Query))
		for i, c := range r.Query {
			list[i] = c.fields()
		}
		return Object{{"event_type", r.EventType}, {"query", list}}
	case *Absence:
		o := Object{{"period", seconds(r.Period)}}
		if r.Event != nil {
			return append(o, Fields(r.Event)...)
		}
		o = append(o, Member{"metric", r.Metric}, Member{"resource_id", r.Resource})
		if r.ResourceType != "" {
			o = append(o, Member{"resource_type", r.ResourceType})
		}
		return o
	default:
		panic("BUG: a rule of an unknown type")
	}
}

func (t *Threshold) fields() Object {
	return Object{
		{"granularity", seconds(t.Granularity)}, {"comparison_operator", string(t.Comparison)}, {"threshold", t.Threshold},
		{"aggregation_method", t.Method}, {"evaluation_periods", t.Periods},
	}
}

// fields are those of a leaf with its type, or the branch.
func (n *Node) fields() Object {
	if n.Rule != nil {
		return append(Fields(n.Rule), Member{"type", n.Rule.Type()})
	}
	list := make([]any, len(n.Nodes))
	for i := range n.Nodes {
		list[i] = n.Nodes[i].fields()
	}
	if n.And {
		return Object{{"and", list}}
	}
	return Object{{"or", list}}
}

func (c *Condition) fields() Object {
	o := Object{{"field", c.Field}, {"op", string(c.Op)}}
	if c.Type != "" {
		o = append(o, Member{"type", c.Type})
	}
	return append(o, Member{"value", c.Value})
}

func seconds(d time.Duration) int { return int(d / time.Second) }

// Answer gives an alarm as Aodh's API answers it. Trust ids have to be cut from the
// actions before.
func (a *Alarm) Answer(s *Status) Object {
	o := Object{
		{"alarm_id", a.ID.String()}, {"name", a.Name}, {"description", a.Description}, {"type", a.Rule.Type()}, {"enabled", a.Enabled},
		{"severity", a.Severity.String()}, {"state", s.State.String()}, {"state_reason", s.Reason},
		{"state_timestamp", TimeText(s.Since)}, {"timestamp", TimeText(a.Changed)}, {"evaluate_timestamp", nil},
		{"ok_actions", list(a.Actions[OK])}, {"alarm_actions", list(a.Actions[Alerting])}, {"insufficient_data_actions", list(a.Actions[InsufficientData])},
		{"repeat_actions", a.Repeat}, {"time_constraints", a.constraints()}, {"project_id", a.Project}, {"user_id", a.User},
		{a.Rule.Type() + "_rule", Fields(a.Rule)},
	}
	if !s.Evaluated.IsZero() {
		for i := range o {
			if o[i].Name == "evaluate_timestamp" {
				o[i].Value = TimeText(s.Evaluated)
			}
		}
	}
	return o
}

// Detail gives an alarm as Aodh's history has it: as Answer does, but for the name of the rule.
func (a *Alarm) Detail(s *Status) Object {
	o := a.Answer(s)
	o[len(o)-1].Name = "rule"
	return o
}

// Difference gives the members of what an alarm is now that are others than they were, but
// for the times of changes.
func Difference(old, now Object) Object {
	var d Object
	for _, m := range now {
		if m.Name == "timestamp" || m.Name == "state_timestamp" || m.Name == "evaluate_timestamp" {
			continue
		}
		if string(AppendJSON(nil, m.Value)) != string(AppendJSON(nil, old.Get(m.Name))) {
			d = append(d, m)
		}
	}
	return d
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func (a *Alarm) constraints() []any {
	l := make([]any, len(a.Constraints))
	for i, c := range a.Constraints {
		l[i] = Object{{"name", c.Name}, {"description", c.Description}, {"start", c.Start}, {"duration", seconds(c.Duration)}, {"timezone", c.Timezone}}
	}
	return l
}

// TimeText gives a time as Aodh does: UTC without saying so, and microseconds if
// there are any.
func TimeText(t time.Time) string {
	t = t.UTC().Truncate(time.Microsecond)
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02T15:04:05")
	}
	return t.Format("2006-01-02T15:04:05.000000")
}
