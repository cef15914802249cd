package filter

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func nested(levels int) string {
	return strings.Repeat(`{"not": `, levels-1) + `{"=": {"name": "a"}}` + strings.Repeat("}", levels-1)
}

func listed(values int) string {
	return `{"in": {"name": ["a"` + strings.Repeat(`, "a"`, values-1) + `]}}`
}

// What Aodh takes and refuses is compared by the API's tests; here is what it says nothing
// about, or what it fails at.
func TestComplex(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]any{
		`{"=": {"name": "a"}}`:                                            Compare{"name", "=", "a"},
		`{"=<": {"user": "a"}}`:                                           Compare{"user_id", "<=", "a"},
		`{"=>": {"project": "a"}}`:                                        Compare{"project_id", ">=", "a"},
		`{"=": {"name": 10}}`:                                             Compare{"name", "=", "10"},
		`{"=": {"name": 1.50}}`:                                           Compare{"name", "=", "1.50"},
		`{"=": {"enabled": "True"}}`:                                      Compare{"enabled", "=", true},
		`{"!=": {"enabled": 0}}`:                                          Compare{"enabled", "!=", false},
		`{"<": {"timestamp": "2026-01-02T05:04:05+02:00"}}`:               Compare{"timestamp", "<", at},
		`{">": {"state_timestamp": "2026-01-02 03:04:05"}}`:               Compare{"state_timestamp", ">", at},
		`{"in": {"timestamp": ["2026-01-02T03:04:05.000"]}}`:              In{"timestamp", []any{at}},
		`{"IN": {"state": ["ok", "no state"]}}`:                           In{"state", []any{"ok", "no state"}},
		`{"NOT": {"Or": [{"=": {"name": "a"}}, {"=~": {"name": "^b"}}]}}`: Not{Or{Compare{"name", "=", "a"}, Compare{"name", "=~", "^b"}}},
		nested(maxDepth):                                                  nil,
		listed(maxValues):                                                 nil,

		nested(maxDepth + 1):  "nested more than 64 levels deep",
		listed(maxValues + 1): "more than 10000 values",
		`{"=": {"name": "` + strings.Repeat("a", maxQuery) + `"}}`: "longer than 1048576 bytes",
		``:                        "is no JSON object",
		`[]`:                      "is no JSON object",
		`null`:                    "no object with one member",
		`{"=": {"name": "a"}} {}`: "no object with one member",
		`{"=": {"name": "a"}, "!=": {"name": "a"}}`:    "no object with one member",
		`{"=": {"origin": "a"}}`:                       `"origin" is none of the fields alarm_id, description,`,
		`{"=": {"Name": "a"}}`:                         "none of the fields",
		`{"like": {"name": "a%"}}`:                     `"like" is none of != < <= = =< => =~ > >=, in, and, or, not`,
		`{"and": [{"=": {"name": "a"}}]}`:              "a list of two or more conditions",
		`{"and": {"=": {"name": "a"}}}`:                "a list of two or more conditions",
		`{"in": {"name": []}}`:                         "a list of values",
		`{"in": {"name": "a"}}`:                        "a list of values",
		`{"=": {"name": null}}`:                        "name can't be compared with null",
		`{"=": {"name": true}}`:                        "name can't be compared with true",
		`{"=": {"enabled": "yes"}}`:                    `enabled can't be compared with "yes"`,
		`{"=": {"enabled": 2}}`:                        "enabled can't be compared with 2",
		`{"=": {"timestamp": "yesterday"}}`:            "Failed to parse the timestamp value yesterday",
		`{"=": {"timestamp": 5}}`:                      "timestamp can't be compared with 5",
		`{"=": {"name": "a\u0000"}}`:                   "zero character",
		`{"=~": {"name": "("}}`:                        "is no regular expression",
		`{"=~": {"enabled": true}}`:                    "takes a regular expression",
		`{"=~": {"timestamp": "2026-01-02T03:04:05"}}`: "takes a regular expression",
	} {
		e, err := Complex(text, Alarms)
		reason, wrong := want.(string)
		if len(text) > 100 {
			text = text[:100]
		}
		switch {
		case wrong:
			if _, ok := errors.AsType[*Error](err); !ok || !strings.HasPrefix(err.Error(), "Filter expression not valid: ") || !strings.Contains(err.Error(), reason) {
				t.Errorf("%s: %v", text, err)
			}
		case err != nil || want != nil && !reflect.DeepEqual(e, want):
			t.Errorf("%s is %+v, %v", text, e, err)
		}
	}
	if _, err := Complex(`{"=": {"on_behalf_of": "a"}}`, Changes); err != nil {
		t.Error(err)
	}
}

func TestOrderBy(t *testing.T) {
	for text, want := range map[string]string{
		`[]`: "[]", `[{"name": "ASC"}, {"project": "desc"}]`: "[{name false} {project_id true}]",
		`{"name": "asc"}`: "is no list", `[{"name": "up"}]`: "the direction of name is neither asc nor desc", `[{"name": 1}]`: "neither asc nor desc",
		`[{"nothing": "asc"}]`: "none of the fields", `["name"]`: "is no JSON object", `[` + strings.Repeat(`{"name": "asc"}, `, 20) + `{"name": "asc"}]`: "more entries than there are fields",
	} {
		o, err := OrderBy(text, Alarms)
		if err != nil && strings.HasPrefix(err.Error(), "Order-by expression not valid: ") && strings.Contains(err.Error(), want) {
			continue
		}
		if got := fmt.Sprint(o); got != want {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]string{
		"2026-01-02T03:04:05": "2026-01-02T03:04:05Z", "2026-01-02 03:04:05.5": "2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.123456Z": "2026-01-02T03:04:05.123456Z",
		"2026-01-02T03:04:05+0230": "2026-01-02T00:34:05Z", "2026-01-02 03:04:05-01:00": "2026-01-02T04:04:05Z", "2026-01-02T03:04": "2026-01-02T03:04:00Z",
		"2026-01-02": "2026-01-02T00:00:00Z", "2026-13-02": "", "": "", "now": "", "1767323045": "", "2026-01-02T03:04:05 Mars": "",
	} {
		at, err := ParseTime(text)
		if got := at.Format(time.RFC3339Nano); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
}

// FuzzComplex: what is read has fields that there are, values of their kinds, and no more
// depth and parts than is allowed.
func FuzzComplex(f *testing.F) {
	f.Add(`{"and": [{"=": {"state": "alarm"}}, {"not": {"in": {"severity": ["low"]}}}]}`, `[{"timestamp": "desc"}]`)
	f.Add(`{"or": [{"=>": {"timestamp": "2026-01-02T03:04:05"}}, {"=~": {"name": "^a"}}, {"!=": {"enabled": true}}]}`, `[]`)
	f.Fuzz(func(t *testing.T, text, order string) {
		if orders, err := OrderBy(order, Alarms); err == nil {
			for _, o := range orders {
				if _, ok := Alarms[o.Field]; !ok {
					t.Errorf("sorted by %s", o.Field)
				}
			}
		}
		e, err := Complex(text, Alarms)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("an error of type %T", err)
			}
			return
		}
		parts := 0
		value := func(field string, v any) {
			parts++
			kind, ok := Alarms[field]
			_, text := v.(string)
			_, truth := v.(bool)
			_, at := v.(time.Time)
			if !ok || text != (kind == Text) || truth != (kind == Bool) || at != (kind == Time) {
				t.Errorf("%s is compared with %#v", field, v)
			}
		}
		var walk func(e Expr, depth int)
		walk = func(e Expr, depth int) {
			if parts++; depth > maxDepth || parts > maxParts+maxValues {
				t.Fatalf("%d parts, the last at depth %d", parts, depth)
			}
			switch e := e.(type) {
			case And:
				for _, part := range e {
					walk(part, depth+1)
				}
			case Or:
				for _, part := range e {
					walk(part, depth+1)
				}
			case Not:
				walk(e.Expr, depth+1)
			case In:
				for _, v := range e.Values {
					value(e.Field, v)
				}
			case Compare:
				value(e.Field, e.Value)
			default:
				t.Fatalf("a condition %T", e)
			}
		}
		walk(e, 1)
	})
}
