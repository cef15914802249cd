package api

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
)

// describeError is the description of an error as the JSON that clients get.
func describeError(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e := refusal(err)
	if e == nil || e.Code != 400 {
		t.Fatalf("no bad request: %v", err)
	}
	text, err := json.Marshal(e.Description)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(`\u003e`, ">", `\u003c`, "<", `\u0026`, "&").Replace(string(text))
}

// cause is the description of a fault in a body.
func cause(reason string, path ...string) string {
	if path == nil {
		path = []string{}
	}
	text, err := json.Marshal(Cause{"Invalid input", reason, path})
	if err != nil {
		panic(err)
	}
	return strings.NewReplacer(`\u003e`, ">", `\u003c`, "<").Replace(string(text))
}

func TestDefinitions(t *testing.T) {
	const place = "data[0]"
	for _, c := range []struct {
		body, want string // seconds and points of each, or the error
	}{
		{`[{"granularity": "1 min", "points": 20}]`, "1m0s*20"},
		{`[{"granularity": 60}]`, "1m0s*0"},
		{`[{"granularity": "0:05:00", "timespan": "30 days"}]`, "5m0s*8640"},
		{`[{"granularity": "7s", "timespan": "1h"}]`, "7s*514"},
		{`[{"points": 1000, "timespan": "3600"}]`, "3.6s*1000"},
		{`[{"granularity": "1s", "points": "7", "timespan": "7s"}]`, "1s*7"},
		{`[{"granularity": "1s", "points": 7.0}, {"granularity": "2s", "points": 1e1}]`, "1s*7 2s*10"},
		{`[{"granularity": 1, "points": 7, "timespan": "1h"}]`, `"timespan ≠ granularity × points"`},
		{`[{"granularity": 7, "points": 514, "timespan": "1h"}]`, `"timespan ≠ granularity × points"`},
		{`[{"granularity": "1h", "timespan": "1s"}]`, `"Calculated number of points is < 0: the timespan is shorter than the granularity"`},
		{`[{"points": 5}]`, `"At least two of granularity/points/timespan must be provided"`},
		{`[{}]`, `"At least two of granularity/points/timespan must be provided"`},
		{`[{"granularity": "1s"}, {"granularity": 1, "points": 5}]`, "\"More than one archive policy uses granularity `1.0'\""},
		{`[{"granularity": "1 week", "points": 1000000}]`, `"timespan is too long: it must be less than 292 years"`},
		{`[{"timespan": "1s", "points": 2000000000}]`, `"Calculated granularity is < 1 ns: there are more points than nanoseconds in the timespan"`},
		{`[]`, cause("length of value must be at least 1")},
		{`{}`, cause("expected a list")},
		{`[5]`, cause("expected a dictionary @ "+place, "0")},
		{`[{"cowsay": 1}]`, cause("extra keys not allowed @ "+place+"['cowsay']", "0", "cowsay")},
		{`[{"granularity": "shh"}]`, cause("Unable to parse timespan for dictionary value @ "+place+"['granularity']", "0", "granularity")},
		{`[{"granularity": "-1s", "points": 0}]`, cause("Timespan must be positive for dictionary value @ "+place+"['granularity']", "0", "granularity")},
		{`[{"granularity": null}]`, cause("Invalid timespan for dictionary value @ "+place+"['granularity']: must be a number of seconds, or text such as 5 min", "0", "granularity")},
		{`[{"points": 0}]`, cause("value must be at least 1 for dictionary value @ "+place+"['points']", "0", "points")},
		{`[{"points": 7.5}]`, cause("expected int for dictionary value @ "+place+"['points']", "0", "points")},
		{`[{"points": 1e300}]`, cause("expected int for dictionary value @ "+place+"['points']", "0", "points")},
		{`[{"points": true}]`, cause("expected int for dictionary value @ "+place+"['points']", "0", "points")},
	} {
		in, err := newInput([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		definitions, err := readDefinitions(in)
		got := describeError(t, firstOf(in.err(), err))
		if got == "" {
			var each []string
			for _, d := range definitions {
				each = append(each, d.Granularity.String()+"*"+json.Number(jsonInt(d.Points)).String())
			}
			got = strings.Join(each, " ")
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.body, got, c.want)
		}
	}
}

func jsonInt(v int64) string {
	text, _ := json.Marshal(v)
	return string(text)
}

func TestMethodsOfPolicies(t *testing.T) {
	all := policy.Set{}
	for m := range policy.Method(policy.Methods) {
		all.Add(m)
	}
	without := all
	without.Remove(policy.Mean)
	for _, c := range []struct {
		body string
		want policy.Set
		err  string
	}{
		{`[]`, defaultMethods, ""},
		{`["mean"]`, policy.SetOf(policy.Mean), ""},
		{`["mean", "rate:95pct", "mean"]`, policy.SetOf(policy.Mean, policy.Percentile(95).Rate()), ""},
		{`["*"]`, all, ""},
		{`["*", "-mean"]`, without, ""},
		{`["-*", "+last"]`, policy.SetOf(policy.Last), ""},
		{`["-mean", "+last"]`, policy.SetOf(policy.Min, policy.Max, policy.Sum, policy.Std, policy.Count, policy.Last), ""},
		{`["last", "+mean"]`, policy.SetOf(policy.Last, policy.Mean), ""},
		{`["last", "-mean"]`, policy.SetOf(policy.Last), ""},
		{`["mean", "-mean"]`, policy.Set{}, cause("no aggregation method is left")},
		{`"mean"`, policy.Set{}, cause("expected a list")},
		{`["mean", "bogus"]`, policy.Set{}, cause("not a valid value @ data[1]: must be a method that /v1/capabilities lists", "1")},
		{`["-bogus"]`, policy.Set{}, cause("not a valid value @ data[0]: must be a method that /v1/capabilities lists", "0")},
		{`["100pct"]`, policy.Set{}, cause("not a valid value @ data[0]: must be a method that /v1/capabilities lists", "0")},
		{`[5]`, policy.Set{}, cause("not a valid value @ data[0]: must be a method that /v1/capabilities lists", "0")},
		{`[""]`, policy.Set{}, cause("not a valid value @ data[0]: must be a method that /v1/capabilities lists", "0")},
	} {
		in, err := newInput([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		got := readMethods(in)
		if text := describeError(t, in.err()); text != c.err {
			t.Errorf("%s: %s, want %s", c.body, text, c.err)
		} else if text == "" && got != c.want {
			t.Errorf("%s: %v, want %v", c.body, got.List(), c.want.List())
		}
	}
}

func TestBodiesThatAreNoJSON(t *testing.T) {
	for body, reason := range map[string]string{
		"": "Expected object or value", " ": "Expected object or value", "{": "Expected object or value", `{"a"}`: "Expected object or value",
		"nan": "Expected object or value", "{} x": "Trailing data", "{}{}": "Trailing data", strings.Repeat("[", 20_000): "Expected object or value",
	} {
		_, err := newInput([]byte(body))
		want := `{"cause":"Unable to decode body","reason":"` + reason + `","detail":[]}`
		if got := describeError(t, err); got != want {
			t.Errorf("%.20s: %s, want %s", body, got, want)
		}
	}
}

func TestFirstFaultIsTold(t *testing.T) {
	in, err := newInput([]byte(`{"a": {"b": 5}, "c": [{"d": "x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	body := in.object()
	if got := body.get("a").object("b").need("b").text(0, 9); got != "" {
		t.Errorf("a text that is none is %q", got)
	}
	for _, item := range body.get("c").list(1) {
		item.object().need("missing")
	}
	body.need("first of all")
	if got, want := describeError(t, in.err()), cause("expected str for dictionary value @ data['a']['b']", "a", "b"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatIsMissingIsToldLast(t *testing.T) {
	for text, want := range map[string]string{
		`{"b": 5, "d": 1}`: cause("extra keys not allowed @ data['d']", "d"),
		`{"b": 5}`:         cause("expected str for dictionary value @ data['b']", "b"),
		`{"b": "x"}`:       cause("required key not provided @ data['a']", "a"),
		`{"a": "x"}`:       cause("required key not provided @ data['c']", "c"),
	} {
		in, err := newInput([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		body := in.object("a", "b", "c")
		if got := body.need("a").text(0, 9) + body.get("b").text(0, 9) + body.need("c").text(0, 9); got != "" && got != "x" {
			t.Errorf("%s: read %q", text, got)
		}
		if got := describeError(t, in.err()); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestScalars(t *testing.T) {
	now := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	read := map[string]func(in input) any{
		"text":    func(in input) any { return in.text(1, 3) },
		"bool":    func(in input) any { return in.boolean() },
		"integer": func(in input) any { return in.integer(-5) },
		"time":    func(in input) any { return in.time(now).Format(time.RFC3339Nano) },
		"number": func(in input) any {
			if v := in.number(); v != nil {
				return *v
			}
			return nil
		},
	}
	for _, c := range []struct {
		kind, body string
		want       any // nil after a fault
		fault      string
	}{
		{"text", `"aé"`, "aé", ""},
		{"text", `"aéé"`, "aéé", ""},
		{"text", `"aééé"`, "", "length of value must be at most 3"},
		{"text", `""`, "", "length of value must be at least 1"},
		{"text", `"\u0000"`, "", "a string must not contain the character U+0000"},
		{"text", `5`, "", "expected str"},
		{"text", `null`, "", "expected str"},
		{"bool", `true`, true, ""},
		{"bool", `false`, false, ""},
		{"bool", `null`, false, "expected bool"},
		{"bool", `"yes"`, false, "expected bool"},
		{"integer", `-5`, int64(-5), ""},
		{"integer", `" 7 "`, int64(7), ""},
		{"integer", `9223372036854775807`, int64(math.MaxInt64), ""},
		{"integer", `-6`, int64(0), "value must be at least -5"},
		{"integer", `1e99`, int64(0), "expected int"},
		{"integer", `"x"`, int64(0), "expected int"},
		{"integer", `{}`, int64(0), "expected int"},
		{"number", `1.5`, 1.5, ""},
		{"number", `null`, nil, ""},
		{"number", `"1"`, 0.0, "expected Real"},
		{"number", `1e999`, math.Inf(1), "expected Real"},
		{"time", `"2014-01-01"`, "2014-01-01T00:00:00Z", ""},
		{"time", `1388534400.5`, "2014-01-01T00:00:00.5Z", ""},
		{"time", `"1 day"`, "2020-01-03T03:04:05.000000006Z", ""},
		{"time", `"bogus"`, nil, "not a valid value: Must be a datetime or a timestamp"},
		{"time", `true`, nil, "not a valid value: must be a time: a number or a string"},
		{"time", `-5`, nil, "not a valid value: Timestamp must be after Epoch"},
	} {
		in, err := newInput([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		got := read[c.kind](in)
		fault := ""
		if err := in.err(); err != nil {
			var e *Error
			errors.As(err, &e)
			fault = e.Description.(Cause).Reason.(string)
		}
		if fault != c.fault || fault == "" && got != c.want {
			t.Errorf("%s %s: %v %q, want %v %q", c.kind, c.body, got, fault, c.want, c.fault)
		}
	}
}

func TestTypeChanges(t *testing.T) {
	typ := index.ResourceType{Name: "t", Attributes: map[string]index.Attribute{"a": {Type: index.String, MaxLength: 255}, "b": {Type: index.UUID}}}
	optional := `{"type": "string", "required": false}`
	for _, c := range []struct {
		patch       string
		add, remove string
		err         string
	}{
		{`[]`, "", "", ""},
		{`[{"op": "add", "path": "/attributes/x", "value": ` + optional + `}]`, "x", "", ""},
		{`[{"op": "add", "path": "/attributes/a", "value": {"type": "uuid", "required": false}}]`, "", "", ""},
		{`[{"op": "remove", "path": "/attributes/a"}]`, "", "a", ""},
		{`[{"op": "add", "path": "/attributes/x", "value": ` + optional + `}, {"op": "remove", "path": "/attributes/x"}]`, "", "", ""},
		{`[{"op": "remove", "path": "/attributes/a"}, {"op": "add", "path": "/attributes/a", "value": ` + optional + `}]`, "a", "a", ""},
		{`[{"op": "remove", "path": "/attributes/a"}, {"op": "remove", "path": "/attributes/a"}]`, "", "", `"can't remove a non-existent object 'a'"`},
		{`[{"op": "remove", "path": "/attributes/what"}]`, "", "", `"can't remove a non-existent object 'what'"`},
		{`[{"op": "replace", "path": "/attributes/a", "value": {}}]`, "", "", cause("not a valid value for dictionary value @ data[0]['op']: must be add or remove", "0", "op")},
		{`[{"op": "remove", "path": "/name"}]`, "", "", cause("not a valid value for dictionary value @ data[0]['path']: must be /attributes/NAME", "0", "path")},
		{`[{"op": "add", "path": "/attributes", "value": {}}]`, "", "", cause("not a valid value for dictionary value @ data[0]['path']: must be /attributes/NAME", "0", "path")},
		{`[{"op": "add", "path": "/attributes/a/b", "value": {}}]`, "", "", cause("not a valid value for dictionary value @ data[0]['path']: must be /attributes/NAME", "0", "path")},
		{`[{"op": "add"}]`, "", "", `"Operation must have a 'path' member"`},
		{`[{"op": "add", "path": "/attributes/x"}]`, "", "", `"The operation does not contain a 'value' member"`},
		{`[{"op": "add", "path": "/attributes/x", "value": {"type": "bogus"}}]`, "", "", `"Invalid input: not a valid value for dictionary value @ data['attributes']['x']['type']: must be string, uuid, number, bool or datetime"`},
		{`[{"op": "add", "path": "/attributes/x", "value": {"type": "string", "options": {"a": 1}}}]`, "", "", `"Invalid input: extra keys not allowed @ data['attributes']['x']['options']['a']"`},
		{`[{"op": "add", "path": "/attributes/x", "value": {"type": "string"}}]`, "", "", `"Invalid input: Option 'fill' of resource attribute x is invalid: must not be empty if required=True"`},
		{`{}`, "", "", cause("expected a list")},
		{`[5]`, "", "", cause("expected a dictionary @ data[0]", "0")},
	} {
		in, err := newInput([]byte(c.patch))
		if err != nil {
			t.Fatal(err)
		}
		change, err := readTypeChange(typ, in)
		if text := describeError(t, err); text != c.err {
			t.Errorf("%s:\n got %s\nwant %s", c.patch, text, c.err)
		}
		if err != nil {
			continue
		}
		var added []string
		for name := range change.add {
			added = append(added, name)
		}
		if got, gone := strings.Join(added, " "), strings.Join(change.remove, " "); got != c.add || gone != c.remove {
			t.Errorf("%s: adds %q, removes %q", c.patch, got, gone)
		}
	}
}

// FuzzInput reads any body as each kind of thing: nothing may panic, and what is
// refused must have a reason that is JSON.
func FuzzInput(f *testing.F) {
	for _, seed := range []string{
		`{"id": "x", "metrics": {"a": {"unit": "B"}, "b": "75c44741-cc60-4033-804e-2d3098c7d2e9"}, "started_at": "now"}`,
		`[{"granularity": "1s", "points": 5, "timespan": 5}]`,
		`[{"op": "add", "path": "/attributes/x", "value": {"type": "number", "min": 1, "max": 2, "required": false}}]`,
		`["-mean", "+95pct", "*"]`, `{"a": null}`, `""`,
	} {
		f.Add([]byte(seed))
	}
	s := &Server{}
	s.o.setDefaults()
	typ := index.ResourceType{Name: "t"}
	f.Fuzz(func(t *testing.T, data []byte) {
		check := func(err error) {
			if err == nil {
				return
			}
			e := refusal(err)
			if e == nil {
				t.Fatalf("%q is the server's fault: %v", data, err)
			}
			if _, err := json.Marshal(e.Description); err != nil {
				t.Fatal(err)
			}
		}
		each := []func(in input) error{
			func(in input) error { _, err := readDefinitions(in); return firstOf(in.err(), err) },
			func(in input) error { readMethods(in); return in.err() },
			func(in input) error { _, err := s.readResource(in, typ, true); return err },
			func(in input) error { _, err := readTypeChange(typ, in); return err },
			func(in input) error { readAttribute(in.object()); return in.err() },
		}
		for _, read := range each {
			in, err := newInput(data)
			if err != nil {
				check(err)
				return
			}
			check(read(in))
		}
	})
}
