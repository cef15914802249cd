package search

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func TestParseJSON(t *testing.T) {
	a1, b := Compare{Equal, "a", 1.0}, Compare{Like, "b", "x%"}
	for text, want := range map[string]Node{
		`{}`:                                                  nil,
		` {"=": {"a": 1}} `:                                   a1,
		`{"==": {"a": null}}`:                                 Compare{Equal, "a", nil},
		`{"ne": {"a": false}}`:                                Compare{NotEqual, "a", false},
		`{"≠": {"a": -1.5e3}}`:                                Compare{NotEqual, "a", -1500.0},
		`{"≤": {"": "x"}}`:                                    Compare{LessOrEqual, "", "x"},
		`{"gt": {"id": "foo"}}`:                               Compare{Greater, "id", "foo"},
		`{"like": {"b": "x%"}}`:                               b,
		`{"like": {"a": 5}}`:                                  Compare{Like, "a", 5.0},
		`{"in": {"a": [1, "x", true, null]}}`:                 In{"a", []any{1.0, "x", true, nil}},
		`{"and": [{"=": {"a": 1}}]}`:                          a1,
		`{"∧": [{"=":{"a":1}},{"like":{"b":"x%"}}]}`:          And{a1, b},
		`{"∨": [{"=":{"a":1}},{"like":{"b":"x%"}}]}`:          Or{a1, b},
		`{"or": [{"=":{"a":1}},{"not":{"like":{"b":"x%"}}}]}`: Or{a1, Not{b}},
		`{"=": {"a": 100000000000000000000000}}`:              Compare{Equal, "a", 1e23},
	} {
		got, err := ParseJSON([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
}

// The reasons and details are those that Gnocchi 4.4.2 gives, save where marked.
func TestParseJSONRefuses(t *testing.T) {
	for _, c := range []struct{ text, reason, detail string }{
		{`[]`, "expected a dictionary", `[]`},
		{`5`, "invalid value or type", `[]`},
		{`null`, "invalid value or type", `[]`},
		{`"x"`, "expected a dictionary", `[]`},
		{`{"=": {"a": 1, "b": 2}}`, "length of value must be at most 1 for dictionary value @ data['=']", `["="]`},
		{`{"=": {"a": 1, "a": 2}}`, "length of value must be at most 1 for dictionary value @ data['=']", `["="]`}, // Gnocchi takes the last
		{`{"=": {}}`, "length of value must be at least 1 for dictionary value @ data['=']", `["="]`},
		{`{"=": 5}`, "invalid value or type for dictionary value @ data['=']", `["="]`},
		{`{"=": null}`, "invalid value or type for dictionary value @ data['=']", `["="]`},
		{`{"=": []}`, "length of value must be at least 1 for dictionary value @ data['=']", `["="]`},
		{`{"=": ""}`, "length of value must be at least 1 for dictionary value @ data['=']", `["="]`},
		{`{"=": {"a": {}}}`, "expected str for dictionary value @ data['=']['a']", `["=","a"]`},
		{`{"=": {"a": []}}`, "expected str for dictionary value @ data['=']['a']", `["=","a"]`},
		{`{"=": {"0": []}}`, "expected str for dictionary value @ data['=']['0']", `["=","0"]`},
		{`{"=": {"id": 5}}`, "expected str for dictionary value @ data['=']['id']", `["=","id"]`}, // Gnocchi fails
		{`{"=": {"id": "a/b"}}`, "'/' is not supported in resource id for dictionary value @ data['=']['id']", `["=","id"]`},
		{`{"=": {"a": "\u0000"}}`, "characters of code 0 are not supported for dictionary value @ data['=']['a']", `["=","a"]`}, // Gnocchi fails
		{`{"foo": {"a": 1}}`, "extra keys not allowed @ data['foo']", `["foo"]`},
		{`{"=": {"a": 1}, "!=": {"a": 2}}`, "length of value must be at most 1", `[]`},
		{`{"and": []}`, "length of value must be at least 1 for dictionary value @ data['and']", `["and"]`},
		{`{"and": {}}`, "expected a list for dictionary value @ data['and']", `["and"]`},
		{`{"and": [5]}`, "invalid value or type @ data['and'][0]", `["and","0"]`},
		{`{"and": [{"=": {"a": 1}}, {"foo": {"a": 1}}]}`, "extra keys not allowed @ data['and'][1]['foo']", `["and","1","foo"]`},
		{`{"and": [{"or": [{"=": 5}]}]}`, "invalid value or type for dictionary value @ data['and'][0]['or'][0]['=']", `["and","0","or","0","="]`},
		{`{"not": 5}`, "invalid value or type for dictionary value @ data['not']", `["not"]`},
		{`{"not": []}`, "expected a dictionary for dictionary value @ data['not']", `["not"]`},
		{`{"not": {"foo": 1}}`, "extra keys not allowed @ data['not']['foo']", `["not","foo"]`},
		{`{"like": {"id": "x"}}`, "extra keys not allowed @ data['like']['id']", `["like","id"]`},
		{`{"in": {"a": []}}`, "length of value must be at least 1 for dictionary value @ data['in']['a']", `["in","a"]`},
		{`{"in": {"a": 5}}`, "expected a list for dictionary value @ data['in']['a']", `["in","a"]`},
		{`{"in": {"a": [1, {}]}}`, "expected str @ data['in']['a'][1]", `["in","a","1"]`},
		{`{"in": {"id": ["x/y"]}}`, "'/' is not supported in resource id @ data['in']['id'][0]", `["in","id","0"]`},
		{`{"in": {}}`, "length of value must be at least 1 for dictionary value @ data['in']", `["in"]`},
		{`{"in": {"a":[1], "b":[2]}}`, "length of value must be at most 1 for dictionary value @ data['in']", `["in"]`},
		{`{"AND": [{"=": {"a": 1}}]}`, "extra keys not allowed @ data['AND']", `["AND"]`},
		{`{"not": {}}`, "Unable to parse this query", `null`},
		{``, "Expected object or value", `[]`},
		{`{"=": {"a": 1}`, "Expected object or value", `[]`},
		{`{"=": {"a": 1}} x`, "Expected object or value", `[]`},
		{`{"=": {"a": 1e999}}`, "Expected object or value", `[]`},
	} {
		n, err := ParseJSON([]byte(c.text))
		e, ok := err.(*Error)
		if !ok {
			t.Errorf("%s: got %v, %v; want an *Error", c.text, n, err)
			continue
		}
		detail, err := json.Marshal(e.Detail)
		if err != nil {
			t.Fatal(err)
		}
		if e.Reason != c.reason || string(detail) != c.detail {
			t.Errorf("%s:\n got %s %s\nwant %s %s", c.text, e.Reason, detail, c.reason, c.detail)
		}
	}
}

func TestParse(t *testing.T) {
	a, b, c := Compare{Equal, "a", 1.0}, Compare{Equal, "b", 2.0}, Compare{Equal, "c", 3.0}
	const id = "8a8d1e9e-4b2c-4b0e-9a57-6f4f27a1c0de"
	for text, want := range map[string]Node{
		"a = 1":                                 a,
		"a=1":                                   a,
		"\ta\n==\n1 ":                           a,
		"foo = 'x y'":                           Compare{Equal, "foo", "x y"},
		`foo = "x'y"`:                           Compare{Equal, "foo", "x'y"},
		"foo = 'it''s'":                         Compare{Equal, "foo", "it's"},
		"foo = ''":                              Compare{Equal, "foo", ""},
		"foo = bar":                             Compare{Equal, "foo", "bar"},
		"a ne None":                             Compare{NotEqual, "a", nil},
		"a ≠ none":                              Compare{NotEqual, "a", nil},
		"a = null":                              Compare{Equal, "a", nil},
		"a = True":                              Compare{Equal, "a", true},
		"a = false":                             Compare{Equal, "a", false},
		"a = trueish":                           Compare{Equal, "a", "trueish"},
		"nullable >= -1.5e3":                    Compare{GreaterOrEqual, "nullable", -1500.0},
		"a lt 1.":                               Compare{Less, "a", 1.0},
		"a ≤ +5":                                Compare{LessOrEqual, "a", 5.0},
		"id = " + id:                            Compare{Equal, "id", id},
		"id = 12345678123412341234123456789012": Compare{Equal, "id", "12345678123412341234123456789012"},
		"a = 12345678":                          Compare{Equal, "a", 12345678.0},
		"a = deadbeef":                          Compare{Equal, "a", "deadbeef"},
		"a like 'x%'":                           Compare{Like, "a", "x%"},
		"a in [1, 'x',y, null]":                 In{"a", []any{1.0, "x", "y", nil}},
		"'a b' = 5":                             Compare{Equal, "a b", 5.0},
		"é = ü":                                 Compare{Equal, "é", "ü"},
		"and = 5 and not = 5 and not or = 5":    And{Compare{Equal, "and", 5.0}, Compare{Equal, "not", 5.0}, Not{Compare{Equal, "or", 5.0}}},
		"android = 1 or nota = 1":               Or{Compare{Equal, "android", 1.0}, Compare{Equal, "nota", 1.0}},
		"not a = 1":                             Not{a},
		"not not(a=1)":                          Not{Not{a}},
		"not a = 1 and b = 2":                   And{Not{a}, b},
		"not (a = 1 and b = 2)":                 Not{And{a, b}},
		"a = 1 and b = 2 or c = 3":              Or{And{a, b}, c},
		"a = 1 or b = 2 and c = 3":              Or{a, And{b, c}},
		"a = 1 AND b = 2 ∧ c = 3":               And{a, b, c},
		"a = 1 ∨ b = 2 or c = 3":                Or{a, b, c},
		"(a = 1 or b = 2) and ((c = 3))":        And{Or{a, b}, c},
		"a = 1 and (b = 2 and c = 3)":           And{a, And{b, c}},
		`{"and": [{"=": {"a": 1}}, {"=": {"b": 2}}]}`: And{a, b},
		"\n {\"not\": {\"=\": {\"a\": 1}}} ":          Not{a},
		"{}":                                          nil,
	} {
		got, err := Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "attribute, found end of text  (at char 0), (line:1, col:1)",
		"a":                 "operator, found end of text  (at char 1), (line:1, col:2)",
		"a = ":              "value, found end of text  (at char 4), (line:1, col:5)",
		"a = 1 b = 2":       "end of text, found 'b'  (at char 6), (line:1, col:7)",
		"é = 1\n or ü <> 5": "value, found '>'  (at char 13), (line:2, col:8)",
		"a = 1 and":         "attribute, found end of text  (at char 9), (line:1, col:10)",
		"(a = 1":            "')', found end of text  (at char 6), (line:1, col:7)",
		"a = 1)":            "end of text, found ')'  (at char 5), (line:1, col:6)",
		"a = 'x":            "value, found '''  (at char 4), (line:1, col:5)",
		"1 = a":             "attribute, found '1'  (at char 0), (line:1, col:1)",
		"a.b = 5":           "operator, found '.'  (at char 1), (line:1, col:2)",
		"a = .5":            "value, found '.'  (at char 4), (line:1, col:5)",
		"a = 5x":            "end of text, found 'x'  (at char 5), (line:1, col:6)",
		"a = 1e999":         "value, found '1'  (at char 4), (line:1, col:5)",
		"a eq5":             "operator, found 'eq5'  (at char 2), (line:1, col:3)",
		"a in x":            "list, found 'x'  (at char 5), (line:1, col:6)",
		"a in []":           "value, found ']'  (at char 6), (line:1, col:7)",
		"a in ['x',]":       "value, found ']'  (at char 10), (line:1, col:11)",
		"a in ['x' y]":      "',' or ']', found 'y'  (at char 10), (line:1, col:11)",
		"a = [1]":           "value, found '['  (at char 4), (line:1, col:5)",
		"not":               "attribute, found end of text  (at char 3), (line:1, col:4)",
		"a = '\x00'":        "text in UTF-8, found 'a'  (at char 0), (line:1, col:1)",
		"a = '\xff'":        "text in UTF-8, found 'a'  (at char 0), (line:1, col:1)",
	} {
		n, err := Parse(text)
		if e, ok := err.(*Error); !ok || e.Reason != "Invalid filter: Expected "+want || e.Cause != "" || e.Detail != nil {
			t.Errorf("%q: got %v, %v\nwant %s", text, n, err, want)
		}
	}
}

func TestParseRefusesJSON(t *testing.T) {
	for text, want := range map[string]Error{
		`{"=": {"a": 1}`:            {Reason: "Invalid filter: It begins with '{', and is not JSON"},
		"{a = 1}":                   {Reason: "Invalid filter: It begins with '{', and is not JSON"},
		`{"=": {"a": 1}} and b = 2`: {Reason: "Invalid filter: It begins with '{', and is not JSON"},
		` {"and": []}`:              {Cause: "Invalid input", Reason: "length of value must be at least 1 for dictionary value @ data['and']", Detail: []string{"and"}},
	} {
		n, err := Parse(text)
		if e, ok := err.(*Error); !ok || !reflect.DeepEqual(*e, want) {
			t.Errorf("%q: got %v, %#v\nwant %#v", text, n, err, want)
		}
	}
}

func TestLimits(t *testing.T) {
	nested := func(n int) (string, string) {
		return strings.Repeat(`{"not":`, n-1) + `{"=":{"a":1}}` + strings.Repeat("}", n-1), strings.Repeat("not ", n-1) + "a = 1"
	}
	list := func(n int) (string, string) {
		values := strings.TrimSuffix(strings.Repeat("1,", n), ",")
		return `{"in":{"a":[` + values + `]}}`, "a in [" + values + "]"
	}
	chain := func(n int) (string, string) {
		return `{"or":[` + strings.TrimSuffix(strings.Repeat(`{"=":{"a":1}},`, n-1), ",") + `]}`,
			"not not " + strings.TrimSuffix(strings.Repeat("a = 1 or ", n-2), " or ")
	}
	for _, c := range []struct {
		limit int
		f     func(int) (string, string)
	}{{MaxDepth, nested}, {MaxConditions, chain}, {MaxValues, list}} {
		limit, f := c.limit, c.f
		for _, n := range []int{limit, limit + 1, limit * 2} {
			asJSON, asText := f(n)
			_, errJSON := ParseJSON([]byte(asJSON))
			_, errText := Parse(asText)
			for _, err := range []error{errJSON, errText} {
				if n == limit && err != nil || n > limit && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("at most %d", limit))) {
					t.Errorf("%d of %d: got %v", n, limit, err)
				}
			}
		}
	}
	long := strings.Repeat(" ", MaxSize)
	if _, err := ParseJSON([]byte(`{}` + long)); err == nil {
		t.Error("JSON above the limit was read")
	}
	if _, err := Parse("a = 1" + long); err == nil {
		t.Error("text above the limit was read")
	}
	// Lists nest without conditions as well.
	if _, err := ParseJSON([]byte(strings.Repeat("[", 1<<20))); err == nil {
		t.Error("nested lists were read")
	}
}

func TestStringReadsBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := randomNode(r, 4)
		got, err := Parse(n.String())
		if err != nil || !reflect.DeepEqual(got, n) {
			t.Fatalf("%s: got %v, %v; want %#v", n, got, err, n)
		}
	}
}

func randomNode(r *rand.Rand, depth int) Node {
	texts := []string{"a", "a b", "", "null", "And", "not", "eq", "None", "x_1", "_x", "é", "it's", `"`, `'"`, "12", "1e5", "a\nb", "(", "8a8d1e9e-4b2c-4b0e-9a57-6f4f27a1c0de"}
	text := func() string { return texts[r.IntN(len(texts))] }
	value := func() any {
		return []any{nil, true, false, text(), text(), float64(r.IntN(10)), -1e-300, 1e6 / 3, 1e300}[r.IntN(9)]
	}
	comparisons := []Operator{Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual, Like}
	kind := r.IntN(5)
	if depth == 0 {
		kind = r.IntN(2)
	}
	nodes := func() []Node {
		list := make([]Node, 2+r.IntN(3))
		for i := range list {
			list[i] = randomNode(r, depth-1)
		}
		return list
	}
	switch kind {
	case 0:
		return Compare{comparisons[r.IntN(len(comparisons))], text(), value()}
	case 1:
		n := In{Attribute: text()}
		for range 1 + r.IntN(3) {
			n.Values = append(n.Values, value())
		}
		return n
	case 2:
		return And(nodes())
	case 3:
		return Or(nodes())
	}
	return Not{randomNode(r, depth-1)}
}

// readsBack fails if what was read is not read again from its own text.
func readsBack(t *testing.T, n Node) {
	again, err := Parse(n.String())
	if err != nil || !reflect.DeepEqual(again, n) {
		t.Fatalf("%#v as text is %q, which reads as %#v, %v", n, n, again, err)
	}
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"and":[{"=":{"a":1}},{"not":{"in":{"b":["x",null,true]}}},{"like":{"c":"it's\""}}]}`))
	f.Add([]byte(`{"∨":[{"≠":{"id":"8a8d1e9e-4b2c-4b0e-9a57-6f4f27a1c0de"}},{"≥":{"":-1e-7}}]}`))
	f.Add([]byte(`{"in":{"a":[[],{}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParseJSON(data)
		if err == nil && n != nil {
			readsBack(t, n)
		} else if _, ok := err.(*Error); !ok && n != nil {
			t.Fatalf("got %v, %v", n, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("a = 1 and not (b like 'x%' or 'c d' in [1, None, \"it's\"])")
	f.Add("id ≠ 8a8d1e9e4b2c4b0e9a576f4f27a1c0de ∧ not = 5 ∨ x >= -1.5e3")
	f.Add("a = 'it''s'")
	f.Add(` {"=": {"a": 1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err == nil && n == nil {
			return // {}
		}
		if err == nil {
			readsBack(t, n)
		} else if _, ok := err.(*Error); !ok {
			t.Fatalf("got %v, %v", n, err)
		}
	})
}

func BenchmarkParseJSON(b *testing.B) {
	data := []byte(`{"and":[{"=":{"host":"node1"}},{"like":{"display_name":"web%"}},{">":{"started_at":"2026-01-01"}}]}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseJSON(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("host = 'node1' and display_name like 'web%' and started_at > '2026-01-01'"); err != nil {
			b.Fatal(err)
		}
	}
}
