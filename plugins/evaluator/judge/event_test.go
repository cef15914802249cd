package judge

import (
	"fmt"
	"strings"
	"testing"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/sdk"
)

// original is a notification, and written what Python makes of it: json.dumps(json.loads(original)).
const (
	original = `{"z":{"y":1,"x":[true,null,"č\u00e9\ud83d\ude00"]},"n":5,"big":9007199254740993,"huge":123456789012345678901234567890,"f":5.0,"e":1E5,"small":0.00001,"far":1e400,"none":null,"a":""}`
	written  = `{"z": {"y": 1, "x": [true, null, "\u010d\u00e9\ud83d\ude00"]}, "n": 5, "big": 9007199254740993, "huge": 123456789012345678901234567890, "f": 5.0, "e": 100000.0, "small": 1e-05, "far": Infinity, "none": null, "a": ""}`
)

func matcher(t testing.TB, rule string, args ...any) *Matcher {
	t.Helper()
	r, err := def.ReadRule("event", fmt.Appendf(nil, rule, args...))
	if err != nil {
		t.Fatal(err)
	}
	return Match(r.(*def.Event))
}

// TestOriginal: webhooks get the original notification as Aodh's do.
func TestOriginal(t *testing.T) {
	for raw, want := range map[string]string{
		original: written, "": "{}", "[]": "{}", "{": "{}", "{} {}": "{}", "1": "{}",
		strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000): "{}", // is too deep
	} {
		e := &Event{Event: &sdk.Event{Raw: []byte(raw)}}
		o := matcher(t, `{}`).Outcome(e, def.OK, false)
		got := string(def.AppendJSON(nil, o.Data.Get("event").(def.Object).Get("raw")))
		if got != want {
			t.Errorf("%.300s\nis told as\n%.300s\nand not\n%s", raw, got, want)
		}
	}
}

// TestFieldsOfOriginal: conditions see its fields as they are, integers of any length above all.
func TestFieldsOfOriginal(t *testing.T) {
	e := &Event{Event: &sdk.Event{Raw: []byte(original)}}
	for _, f := range []struct {
		field, op, kind, value string
		want                   bool
	}{
		{"n", "eq", "", "5", true},
		{"n", "eq", "integer", "5", true},
		{"n", "eq", "float", "5.0", true},
		{"f", "eq", "", "5.0", true},
		{"big", "eq", "", "9007199254740993", true},
		{"big", "eq", "integer", "9007199254740993", true},
		{"big", "eq", "integer", "9007199254740992", false},
		{"big", "gt", "integer", "9007199254740992", true},
		{"huge", "eq", "", "123456789012345678901234567890", true},
		{"huge", "gt", "integer", "9007199254740992", true},
		{"huge", "lt", "float", "1e30", true},
		{"z.y", "eq", "", "1", true},
		{"z.x", "eq", "", `[true, null, "\\u010d\\u00e9\\ud83d\\ude00"]`, true},
		{"z.y.x", "ne", "", "1", true},
		{"none", "ne", "", "1", true},
		{"absent", "eq", "", "1", false},
		{"absent", "ne", "", "1", true},
	} {
		m := matcher(t, `{"query": [{"field": "raw.%s", "op": %q, "type": %q, "value": %q}]}`, f.field, f.op, f.kind, strings.ReplaceAll(f.value, `\\`, `\`))
		if m.Matches(e) != f.want {
			t.Errorf("%s %s %s %s is %v", f.field, f.op, f.kind, f.value, !f.want)
		}
	}
}

// TestOriginalIsReadOnce: however many conditions of however many alarms are about it.
func TestOriginalIsReadOnce(t *testing.T) {
	for _, raw := range []string{original, "no JSON"} {
		e := &Event{Event: &sdk.Event{Raw: []byte(raw)}}
		m := matcher(t, `{"query": [{"field": "raw.n", "value": "5"}]}`)
		first := m.Matches(e)
		e.Raw = []byte(`{"n": ` + map[bool]string{true: "6", false: "5"}[first] + `}`)
		if m.Matches(e) != first {
			t.Errorf("%.10s is read again", raw)
		}
	}
}

// TestManyStars: a pattern costs no more than what it says.
func TestManyStars(t *testing.T) {
	m := matcher(t, `{"event_type": %q}`, strings.Repeat("*", 100)+"a"+strings.Repeat("*", 100)+"?")
	if n := strings.Count(m.pattern.String(), ".*"); n != 2 {
		t.Errorf("it is %s", m.pattern)
	}
	for text, want := range map[string]bool{"xaxx": true, "ax": true, "xa": false, "xx": false} {
		if m.Matches(&Event{Event: &sdk.Event{EventType: text}}) != want {
			t.Errorf("%s matches: %v", text, !want)
		}
	}
}

// BenchmarkFieldsOfOriginal compares an event, whose original has 10 KB, with 100 alarms.
func BenchmarkFieldsOfOriginal(b *testing.B) {
	raw := `{"n": 5, "list": ["` + strings.Repeat(`value", "`, 1200) + `"]}`
	m := matcher(b, `{"query": [{"field": "raw.n", "value": "6"}]}`)
	for b.Loop() {
		e := &Event{Event: &sdk.Event{Raw: []byte(raw)}}
		for range 100 {
			m.Matches(e)
		}
	}
}
