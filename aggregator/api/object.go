package api

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
)

// object is a JSON object that is being appended to a buffer. Lists of resources
// are long, and their attributes are known only at run time, so they are not
// marshalled by reflection.
type object struct {
	b     []byte
	only  map[string]bool // the members that are wanted; nil for all
	begun bool
}

// begin starts the next object of a list.
func (o *object) begin() { o.b, o.begun = append(o.b, '{'), false }

// end ends it.
func (o *object) end() { o.b = append(o.b, '}') }

// key appends the name of a member and reports whether it is wanted.
func (o *object) key(name string) bool {
	if o.only != nil && !o.only[name] {
		return false
	}
	if o.begun {
		o.b = append(o.b, ',')
	}
	o.begun = true
	o.b = appendString(o.b, name)
	o.b = append(o.b, ':')
	return true
}

// null is a member that is null.
func (o *object) null(name string) {
	if o.key(name) {
		o.b = append(o.b, "null"...)
	}
}

// text is a member that is a string.
func (o *object) text(name, value string) {
	if o.key(name) {
		o.b = appendString(o.b, value)
	}
}

// optional is a member that is a string, or null if that is "".
func (o *object) optional(name, value string) {
	if value == "" {
		o.null(name)
		return
	}
	o.text(name, value)
}

// id is a member that is a UUID.
func (o *object) id(name string, value uuid.UUID) {
	if o.key(name) {
		o.b = appendID(o.b, value)
	}
}

// time is a member that is a time.
func (o *object) time(name string, value time.Time) {
	o.text(name, timetext.FormatTime(value.UnixNano()))
}

// creator are the members that say who created a thing.
func (o *object) creator(creator string) {
	o.optional("creator", creator)
	if creator == "" {
		o.null("created_by_user_id")
		o.null("created_by_project_id")
		return
	}
	user, project := splitCreator(creator)
	o.text("created_by_user_id", user)
	o.text("created_by_project_id", project)
}

// attribute is a member that is the value of a resource's attribute.
func (o *object) attribute(name string, value any) {
	switch v := value.(type) {
	case nil:
		o.null(name)
	case string:
		o.text(name, v)
	case time.Time:
		o.time(name, v)
	case float64:
		if o.key(name) {
			o.b = strconv.AppendFloat(o.b, v, 'g', -1, 64)
		}
	case bool:
		if o.key(name) {
			o.b = strconv.AppendBool(o.b, v)
		}
	default:
		panic("BUG: an attribute's value is of no known type")
	}
}

// resource appends a resource; its metrics too unless they are left out.
func (o *object) resource(r *index.Resource, metrics bool) {
	o.begin()
	o.id("id", r.ID)
	o.text("original_resource_id", r.Original)
	o.text("type", r.Type)
	o.creator(r.Creator)
	for _, owner := range []struct {
		name  string
		value *string
	}{{"user_id", r.User}, {"project_id", r.Project}} {
		if owner.value == nil {
			o.null(owner.name)
		} else {
			o.text(owner.name, *owner.value)
		}
	}
	o.time("started_at", r.Started)
	for _, end := range []struct {
		name  string
		value *time.Time
	}{{"ended_at", r.Ended}, {"revision_end", r.RevisionEnd}} {
		if end.value == nil {
			o.null(end.name)
		} else {
			o.time(end.name, *end.value)
		}
	}
	o.time("revision_start", r.RevisionStart)
	for _, name := range slices.Sorted(maps.Keys(r.Attributes)) {
		o.attribute(name, r.Attributes[name])
	}
	if metrics && o.key("metrics") {
		o.b = append(o.b, '{')
		for i, name := range slices.Sorted(maps.Keys(r.Metrics)) {
			if i > 0 {
				o.b = append(o.b, ',')
			}
			o.b = appendString(o.b, name)
			o.b = append(o.b, ':')
			o.b = appendID(o.b, r.Metrics[name])
		}
		o.b = append(o.b, '}')
	}
	o.end()
}

// metric appends a metric as it is in lists, with the whole policy.
func (o *object) metric(m *index.Metric, p *policy.Policy) {
	o.begin()
	o.metricHead(m)
	o.resourceID(m)
	o.policy(p)
	o.end()
}

// resourceID is the id of a metric's resource.
func (o *object) resourceID(m *index.Metric) {
	if m.Resource == uuid.Nil {
		o.null("resource_id")
		return
	}
	o.id("resource_id", m.Resource)
}

// metricHead are the members that each form of a metric has.
func (o *object) metricHead(m *index.Metric) {
	o.id("id", m.ID)
	o.optional("name", m.Name)
	o.optional("unit", m.Unit)
	o.creator(m.Creator)
}

// policy is the member archive_policy.
func (o *object) policy(p *policy.Policy) {
	if !o.key("archive_policy") {
		return
	}
	text, err := json.Marshal(viewPolicy(p))
	if err != nil {
		panic("BUG: a policy that is no JSON: " + err.Error())
	}
	o.b = append(o.b, text...)
}

// appendID appends a UUID as a JSON string.
func appendID(b []byte, id uuid.UUID) []byte {
	b = append(b, '"')
	b = append(b, id.String()...)
	return append(b, '"')
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			text, err := json.Marshal(s)
			if err != nil {
				panic("BUG: a string that is no JSON: " + err.Error())
			}
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
