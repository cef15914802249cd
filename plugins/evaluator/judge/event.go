package judge

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/sdk"
)

// Matcher finds the events that a rule is about. It may be used concurrently.
type Matcher struct {
	rule *def.Event
	// Type is the only event type that matches; empty if the rule has a pattern.
	Type string
	// prefix is what other types begin with, and pattern what they are like; nil: as
	// they like.
	prefix  string
	pattern *regexp.Regexp
	tests   []test
}

// test is a condition that is ready to be used.
type test struct {
	path   []string // of a field that is no trait
	trait  string
	op     def.Comparison
	kind   string
	text   string
	number float64
	whole  int64
	truth  bool
}

// Match prepares a rule.
func Match(r *def.Event) *Matcher {
	m := &Matcher{rule: r}
	prefix, all := strings.CutSuffix(r.EventType, "*")
	switch {
	case all && !strings.ContainsAny(prefix, "*?["):
		m.prefix = prefix
	case !strings.ContainsAny(r.EventType, "*?["):
		m.Type = r.EventType
	default:
		m.pattern = shellPattern(r.EventType)
	}
	for _, c := range r.Query {
		t := test{op: c.Op, kind: c.Type, text: c.Value}
		var trait bool
		if t.trait, trait = strings.CutPrefix(c.Field, "traits."); !trait {
			t.trait, t.path = "", strings.Split(c.Field, ".")
		}
		// What does not fit was refused when the rule was read.
		switch value := strings.TrimSpace(c.Value); c.Type {
		case "integer":
			t.whole, _ = strconv.ParseInt(value, 10, 64)
			t.number = float64(t.whole)
		case "float":
			t.number, _ = strconv.ParseFloat(value, 64)
		case "boolean":
			t.truth, _ = def.Truth(value)
		}
		m.tests = append(m.tests, t)
	}
	return m
}

// shellPattern is a pattern of Python's fnmatch: * ? [abc] [!abc].
func shellPattern(p string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '*':
			if i == 0 || p[i-1] != '*' {
				b.WriteString(".*")
			}
		case '?':
			b.WriteString(".")
		case '[':
			end := strings.IndexByte(p[i+1:], ']')
			if end == 0 || end == 1 && p[i+1] == '!' { // a bracket that comes first is one of the set
				if more := strings.IndexByte(p[i+2+end:], ']'); more >= 0 {
					end += 1 + more
				} else {
					end = -1
				}
			}
			if end < 0 {
				b.WriteString(`\[`)
				continue
			}
			set := strings.ReplaceAll(p[i+1:i+1+end], `\`, `\\`)
			set = strings.ReplaceAll(set, "[", `\[`)
			if rest, not := strings.CutPrefix(set, "!"); not {
				set = "^" + rest
			} else if strings.HasPrefix(set, "^") {
				set = `\` + set
			}
			b.WriteString("[" + strings.ReplaceAll(set, "]", `\]`) + "]")
			i += end + 1
		default:
			j := i + 1
			for j < len(p) && p[j] >= 0x80 { // the rest of a character
				j++
			}
			b.WriteString(regexp.QuoteMeta(p[i:j]))
			i = j - 1
		}
	}
	re, err := regexp.Compile(b.String() + `\z`)
	if err != nil { // such as a range that runs backwards, which matches nothing
		return regexp.MustCompile(`\A\z.`)
	}
	return re
}

// Key gives a trait and the text that it must have in each event that matches; both are
// empty if the rule has no condition of that kind.
func (m *Matcher) Key() (trait, text string) {
	for i := range m.tests {
		if t := &m.tests[i]; t.path == nil && t.op == "eq" && (t.kind == "" || t.kind == "string") {
			return t.trait, t.text
		}
	}
	return "", ""
}

// Event is an event as rules are compared with it: what many of them need is read once. It is
// used by one goroutine.
type Event struct {
	*sdk.Event
	raw  any // of JSON, as def.ReadJSON gives it; nil: there is none
	read bool
}

// original gives the original notification.
func (e *Event) original() any {
	if !e.read {
		e.read = true
		if e.Raw != nil {
			e.raw, _ = def.ReadJSON(e.Raw) // what can't be read has no fields
		}
	}
	return e.raw
}

// Text is a trait's value as conditions about texts see it.
func Text(value any) string { return textOf(value) }

// Matches reports whether an event is one that the rule waits for.
func (m *Matcher) Matches(e *Event) bool {
	if m.Type != "" && m.Type != e.EventType || !strings.HasPrefix(e.EventType, m.prefix) {
		return false
	}
	for i := range m.tests {
		if !m.tests[i].holds(e) {
			return false
		}
	}
	return m.pattern == nil || m.pattern.MatchString(e.EventType)
}

func (t *test) holds(e *Event) bool {
	if t.path != nil {
		v, ok := field(e, t.path)
		return t.compare(v, ok)
	}
	for i := range e.Traits {
		if e.Traits[i].Name == t.trait {
			return t.compare(e.Traits[i].Value, true)
		}
	}
	return t.compare(nil, false)
}

// field gives what is at a path in the JSON form of an event.
func field(e *Event, path []string) (any, bool) {
	if len(path) == 1 {
		switch path[0] {
		case "message_id":
			return e.MessageID, true
		case "event_type":
			return e.EventType, true
		case "generated":
			return e.Generated, true
		}
	}
	if path[0] != "raw" {
		return nil, false
	}
	v := e.original()
	for _, name := range path[1:] {
		object, _ := v.(def.Object)
		i := slices.IndexFunc(object, func(m def.Member) bool { return m.Name == name })
		if i < 0 {
			return nil, false
		}
		v = object[i].Value
	}
	return v, true
}

// compare compares what an event has with the condition's value, as the condition's
// type. What is not there, or is not of that type, is only unequal.
func (t *test) compare(have any, there bool) bool {
	if !there || have == nil {
		return t.op == "ne"
	}
	switch t.kind {
	case "integer", "float":
		if w, ok := have.(int64); ok && t.kind == "integer" {
			return ordered(t.op, w, t.whole)
		}
		n, ok := number(have)
		if !ok {
			return t.op == "ne"
		}
		return t.op.Holds(n, t.number)
	case "boolean":
		truth, ok := have.(bool)
		if !ok {
			truth, ok = def.Truth(textOf(have))
		}
		equal := ok && truth == t.truth
		return t.op == "eq" && equal || t.op == "ne" && !equal
	default:
		return ordered(t.op, textOf(have), t.text)
	}
}

func ordered[T string | int64](op def.Comparison, a, b T) bool {
	switch op {
	case "lt":
		return a < b
	case "le":
		return a <= b
	case "ne":
		return a != b
	case "ge":
		return a >= b
	case "gt":
		return a > b
	default:
		return a == b
	}
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case json.Number: // an integer beyond those of 64 bits
		n, err := v.Float64()
		return n, err == nil
	case string:
		n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return n, err == nil
	}
	return 0, false
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return def.NumberText(v)
	case time.Time:
		return def.TimeText(v)
	case def.Object, []any:
		return string(def.AppendJSON(nil, v))
	default:
		return fmt.Sprint(v)
	}
}

// Outcome is what an alarm that is in a state has to do upon an event that matches;
// nil: nothing.
func (m *Matcher) Outcome(e *Event, now def.State, repeat bool) *Outcome {
	if now == def.Alerting && !repeat {
		return nil
	}
	query := def.AppendJSON(nil, def.Fields(m.rule).Get("query"))
	return &Outcome{
		State:  def.Alerting,
		Reason: fmt.Sprintf("Event <id=%s,event_type=%s> hits the query <query=%s>.", e.MessageID, e.EventType, query),
		Data:   def.Object{{Name: "type", Value: "event"}, {Name: "event", Value: eventFields(e)}},
	}
}

// traitCodes are those of Ceilometer's messages.
var traitCodes = map[sdk.TraitType]int{sdk.Text: 1, sdk.Integer: 2, sdk.Float: 3, sdk.Datetime: 4}

// eventFields is an event as Ceilometer's message has it.
func eventFields(e *Event) def.Object {
	traits := make([]any, len(e.Traits))
	for i, t := range e.Traits {
		value := t.Value
		if at, ok := value.(time.Time); ok {
			value = def.TimeText(at)
		}
		traits[i] = []any{t.Name, traitCodes[t.Type], value}
	}
	o := def.Object{
		{Name: "message_id", Value: e.MessageID}, {Name: "event_type", Value: e.EventType},
		{Name: "generated", Value: def.TimeText(e.Generated)}, {Name: "traits", Value: traits},
	}
	raw, ok := e.original().(def.Object)
	if !ok {
		raw = def.Object{}
	}
	return append(o, def.Member{Name: "raw", Value: raw})
}
