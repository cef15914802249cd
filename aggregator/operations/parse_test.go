package operations

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		`["metric", "a", "mean"]`:                                                       "(metric a mean)",
		`"(metric a mean)"`:                                                             "(metric a mean)",
		`"\n ( metric a mean )\t"`:                                                      "(metric a mean)",
		`["metric", ["a", "mean"]]`:                                                     "(metric a mean)",
		`["metric", ["a", "mean"], ["b", "rate:95pct"]]`:                                "(metric (a mean) (b rate:95pct))",
		`["metric", ["a", "mean"], ["a", "mean"]]`:                                      "(metric a mean)",
		`"(metric (a mean) (b max))"`:                                                   "(metric (a mean) (b max))",
		`"(metric (a mean)(b max))"`:                                                    "(metric (a mean) (b max))",
		`"(aggregate rate:mean (metric cpu* mean))"`:                                    "(aggregate rate:mean (metric cpu* mean))",
		`["rolling", "median", 3, ["metric", "a", "mean"]]`:                             "(rolling median 3 (metric a mean))",
		`["rolling", "median", "3", ["metric", "a", "mean"]]`:                           "(rolling median 3 (metric a mean))",
		`["rolling", "median", 3.0, ["metric", "a", "mean"]]`:                           "(rolling median 3 (metric a mean))",
		`"(resample rate:var 1h (metric a mean))"`:                                      "(resample rate:var 3600 (metric a mean))",
		`["resample", "std", 0.5, ["metric", "a", "mean"]]`:                             "(resample std 0.5 (metric a mean))",
		`"(rateofchange (abs (metric a mean)))"`:                                        "(rateofchange (abs (metric a mean)))",
		`"(× (metric a mean) -2.5e3)"`:                                                  "(× (metric a mean) -2500)",
		`["+", 2, ["metric", "a", "mean"]]`:                                             "(+ 2 (metric a mean))",
		`["+", "2", ["metric", "a", "mean"]]`:                                           "(+ 2 (metric a mean))",
		`["+", " nan ", ["metric", "a", "mean"]]`:                                       "(+ NaN (metric a mean))",
		`["+", "-inf", ["metric", "a", "mean"]]`:                                        "(+ -Inf (metric a mean))",
		`"(clip (metric a mean) 1)"`:                                                    "(clip (metric a mean) 1)",
		`"(clip 5 (metric a mean) (metric b mean))"`:                                    "(clip 5 (metric a mean) (metric b mean))",
		`"(* (+ 1 (clip (neg 3) -1 5)) (metric a mean))"`:                               "(* 0 (metric a mean))",
		`"(* (clip_min 1 2) (metric a mean))"`:                                          "(* 2 (metric a mean))",
		`"(metric 'disk \"read\"' \"a (b)\")"`:                                          `(metric 'disk "read"' "a (b)")`,
		`"(metric a mean)) ) "`:                                                         "(metric a mean)",
		`"(metric it's mean)"`:                                                          "(metric it's mean)",
		`["metric", "", "mean"]`:                                                        `(metric "" mean)`,
		`["aggregate", "max", ["aggregate", "min", ["metric","a","b"]]]`:                "(aggregate max (aggregate min (metric a b)))",
		`["aggregate", "max", ["metric", "a", "max"], ["abs", ["metric", "b", "max"]]]`: "(aggregate max (metric a max) (abs (metric b max)))",
	} {
		o, err := Parse([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := o.String(); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
		if again, err := ParseText(o.String()); err != nil || again.String() != want {
			t.Errorf("%s came back as %v, %v", want, again, err)
		}
	}
}

// All operations that Gnocchi has, in text.
func TestParseNames(t *testing.T) {
	for _, name := range strings.Fields("% mod + add - sub * × mul / ÷ div ** ^ pow = == eq < lt > gt <= ≤ le >= ≥ ge != ≠ ne clip_min clip_max clip") {
		if _, err := ParseText("(" + name + " (metric a mean) 2)"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range strings.Fields("abs absolute neg negative cos sin tan floor ceil rateofchange") {
		if _, err := ParseText("(" + name + " (metric a mean))"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range strings.Fields("mean median std min max sum var count") {
		for _, form := range []string{"(aggregate %s (metric a mean))", "(rolling %s 2 (metric a mean))", "(resample %s 60 (metric a mean))"} {
			for _, prefix := range []string{"", "rate:"} {
				if _, err := ParseText(fmt.Sprintf(form, prefix+name)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

func TestReferences(t *testing.T) {
	o, err := ParseText("(/ (metric (b mean) (a mean)) (+ (metric a max) (metric b mean)))")
	if want := []Reference{{"b", "mean"}, {"a", "mean"}, {"a", "max"}}; err != nil || !slices.Equal(o.References, want) {
		t.Errorf("%v, %v", o, err)
	}
}

func TestParseRefuses(t *testing.T) {
	const where = " for dictionary value @ data['operations']"
	for in, want := range map[string]Error{
		`["foo", ["metric", "a", "mean"]]`:                   {"Invalid input", "'foo' operation invalid" + where + ": there is no such operation", nil},
		`["+", 1, ["foo", 1]]`:                               {"Invalid input", "'foo' operation invalid" + where, nil},
		`[]`:                                                 {"Invalid input", "Operation must not be empty" + where, nil},
		`["abs"]`:                                            {"Invalid input", "Operation need at least one argument" + where, nil},
		`[["metric", "a", "mean"]]`:                          {"Invalid input", "Expected the name of an operation first", nil},
		`[5, 6]`:                                             {"Invalid input", "Expected the name of an operation first", nil},
		`5`:                                                  {"Invalid input", "Expected a list", nil},
		`{"a": 1}`:                                           {"Invalid input", "Expected a list, got an object", nil},
		`null`:                                               {"Invalid input", "Expected a list, a string or a number", nil},
		`["+", true, ["metric", "a", "mean"]]`:               {"Invalid input", "Expected a list, a string or a number, got true", nil},
		`["+", {}, ["metric", "a", "mean"]]`:                 {"Invalid input", "Expected a list, got an object", nil},
		`["metric", "a"]`:                                    {"Invalid input", "'metric' operation invalid", nil},
		`["metric", "a", 5]`:                                 {"Invalid input", "'metric' operation invalid", nil},
		`["metric", "a", "mean", "b"]`:                       {"Invalid input", "'metric' operation invalid", nil},
		`["metric", ["a", "mean"], "b"]`:                     {"Invalid input", "'metric' operation invalid", nil},
		`["metric", ["a", ["mean"]]]`:                        {"Invalid input", "'metric' operation invalid", nil},
		`["+", 1]`:                                           {"Invalid input", "'+' operation invalid" + where + ": it takes 2 operands, not 1", nil},
		`["+", 1, 2, ["metric", "a", "mean"]]`:               {"Invalid input", "'+' operation invalid", nil},
		`["+", "x", ["metric", "a", "mean"]]`:                {"Invalid input", "'+' operation invalid" + where + `: "x" is no number`, nil},
		`["+", "0x1p2", ["metric", "a", "mean"]]`:            {"Invalid input", "'+' operation invalid", nil},
		`["+", 1e999, ["metric", "a", "mean"]]`:              {"Invalid input", "'+' operation invalid", nil},
		`["abs", ["metric", "a", "mean"], 5]`:                {"Invalid input", "'abs' operation invalid" + where + ": it takes 1 operand, not 2", nil},
		`["clip", ["metric", "a", "mean"]]`:                  {"Invalid input", "'clip' operation invalid" + where + ": it takes 2 or 3 operands, not 1", nil},
		`["clip", ["metric", "a", "mean"], 1, 2, 3]`:         {"Invalid input", "'clip' operation invalid", nil},
		`["aggregate", "last", ["metric", "a", "mean"]]`:     {"Invalid input", "'aggregate' operation invalid" + where + `: the function must be one of mean, median, std, min, max, sum, var and count, or one of them with rate: before it, not "last"`, nil},
		`["aggregate", ["mean"], ["metric", "a", "mean"]]`:   {"Invalid input", "'aggregate' operation invalid", nil},
		`["aggregate", "mean"]`:                              {"Invalid input", "'aggregate' operation invalid", nil},
		`["aggregate", "mean", ["metric", "a", "mean"], 5]`:  {"Invalid input", "'aggregate' operation invalid" + where + ": it needs series, not a number", nil},
		`["aggregate", "mean", 5]`:                           {"Invalid input", "'aggregate' operation invalid" + where + ": it needs series, not a number", nil},
		`["rateofchange", 5]`:                                {"Invalid input", "'rateofchange' operation invalid", nil},
		`["rolling", "mean", 0, ["metric", "a", "mean"]]`:    {"Invalid input", "'rolling' operation invalid", nil},
		`["rolling", "mean", 2.5, ["metric", "a", "mean"]]`:  {"Invalid input", "'rolling' operation invalid", nil},
		`["rolling", "mean", 1e10, ["metric", "a", "mean"]]`: {"Invalid input", "'rolling' operation invalid", nil},
		`["rolling", "mean", "x", ["metric", "a", "mean"]]`:  {"Invalid input", "'rolling' operation invalid", nil},
		`["rolling", "mean", ["metric", "a", "mean"]]`:       {"Invalid input", "'rolling' operation invalid" + where + ": write (rolling FUNCTION POINTS OPERATION)", nil},
		`["resample", "mean", -1, ["metric", "a", "mean"]]`:  {"Invalid input", "'resample' operation invalid" + where + `: Timespan must be positive: "-1"`, nil},
		`["resample", "mean", "Y", ["metric", "a", "mean"]]`: {"Invalid input", "'resample' operation invalid", nil},
		`["resample", "last", 60, ["metric", "a", "mean"]]`:  {"Invalid input", "'resample' operation invalid", nil},
		`["+", 1, 2]`:                                        {"Operations is invalid", "At least one 'metric' is required", "3"},
		`[`:                                                  {"Unable to decode body", "", nil},
		`["+", 1`:                                            {"Unable to decode body", "", nil},
		`["metric", "a", "mean"]]`:                           {"Unable to decode body", "", nil},
		`["metric", "a", "mean"] []`:                         {"Unable to decode body", "", nil},
		`"\x"`:                                               {"Unable to decode body", "", nil},
		``:                                                   {"Unable to decode body", "", nil},
		`""`:                                                 {"Invalid operations", "Fail to parse the operations string", "Expected '(', found end of text  (at char 0)"},
		`"metric a mean"`:                                    {"Invalid operations", "Fail to parse the operations string", "Expected '(', found 'metric'  (at char 0)"},
		`"(+ (metric × mean) 4"`:                             {"Invalid operations", "Fail to parse the operations string", "Expected ')', found end of text  (at char 20)"},
		`"(metric a mean) junk"`:                             {"Invalid operations", "Fail to parse the operations string", "Expected end of text, since all '(' are closed, found 'junk'  (at char 16)"},
		`"(metric a mean)) (metric b mean)"`:                 {"Invalid operations", "Fail to parse the operations string", "Expected end of text, since all '(' are closed, found '('  (at char 17)"},
		`"(metric 'a mean)"`:                                 {"Invalid operations", "Fail to parse the operations string", "Expected closing ', found end of text  (at char 16)"},
		`"()"`:                                               {"Invalid input", "Operation must not be empty" + where, nil},
		strings.Repeat("[", MaxDepth+2):                      {"Invalid input", "Operations have more than 100 levels", nil},
		`"` + strings.Repeat("(abs ", MaxDepth+2) + `"`:      {"Invalid input", "Operations have more than 100 levels", nil},
		`["metric"` + strings.Repeat(`,"a"`, MaxItems) + `]`: {"Invalid input", "Operations have more than 100 levels or 524288 words", nil},
		`"(metric` + strings.Repeat(` a`, MaxItems) + `)"`:   {"Invalid input", "Operations have more than 100 levels or 524288 words", nil},
	} {
		_, err := Parse([]byte(in))
		in = in[:min(len(in), 100)]
		var got *Error
		if !errors.As(err, &got) {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got.Cause != want.Cause || !strings.HasPrefix(got.Reason, want.Reason) {
			t.Errorf("%s: %q, %q, want %q, %q", in, got.Cause, got.Reason, want.Cause, want.Reason)
		}
		if want.Detail != nil && got.Detail != want.Detail {
			t.Errorf("%s: detail %q, want %q", in, got.Detail, want.Detail)
		}
		if want.Cause == "Invalid input" && fmt.Sprint(got.Detail) != "[operations]" {
			t.Errorf("%s: detail %q", in, got.Detail)
		}
	}
}

// The deepest that is allowed.
func TestParseDeep(t *testing.T) {
	text := strings.Repeat("(abs ", MaxDepth-1) + "(metric a mean)" + strings.Repeat(")", MaxDepth-1)
	o, err := ParseText(text)
	if err != nil || o.String() != text {
		t.Errorf("%v", err)
	}
}

func TestErrorAsJSON(t *testing.T) {
	_, err := ParseText("(foo 1)")
	body, _ := json.Marshal(err)
	if want := `{"cause":"Invalid input","reason":"'foo' operation invalid for dictionary value @ data['operations']: there is no such operation","detail":["operations"]}`; string(body) != want {
		t.Errorf("%s", body)
	}
	if want := "Invalid input: 'foo' operation invalid for dictionary value @ data['operations']: there is no such operation"; err.Error() != want {
		t.Errorf("%v", err)
	}
	if got := (&Error{Cause: "Metrics not found", Detail: []string{"a"}}).Error(); got != "Metrics not found: [a]" {
		t.Error(got)
	}
}

func TestReaggregate(t *testing.T) {
	references := []Reference{{"a", "mean"}, {"b", "mean"}, {"a", "mean"}}
	o, err := Reaggregate("rate:max", references, nil)
	if err != nil || o.String() != "(aggregate rate:max (metric (a mean) (b mean)))" || len(o.References) != 2 {
		t.Errorf("%v, %v", o, err)
	}
	o, err = Reaggregate("sum", references[:1], &Resampling{policy.Percentile(95), timetext.Period{Letter: 'Q'}})
	if err != nil || o.String() != "(aggregate sum (resample 95pct Q (metric a mean)))" {
		t.Errorf("%v, %v", o, err)
	}
	var fault *Error
	if _, err := Reaggregate("last", references, nil); !errors.As(err, &fault) || fault.Cause != "Argument value error" || fault.Detail != "reaggregation" || !strings.Contains(fault.Reason, `"last"`) {
		t.Errorf("%v", err)
	}
}

func TestParseFill(t *testing.T) {
	for text, want := range map[string]Fill{"null": FillNull, "dropna": FillDrop, "0": FillWith(0), "-1.5e3": FillWith(-1500)} {
		if got, err := ParseFill(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if got, err := ParseFill("nan"); err != nil || !math.IsNaN(got.missing()) {
		t.Errorf("nan: %v, %v", got, err)
	}
	for _, text := range []string{"", "drop", "0x1"} {
		var fault *Error
		if _, err := ParseFill(text); !errors.As(err, &fault) || *fault != (Error{"Argument value error", "Must be a float, 'dropna' or 'null'", "fill"}) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCommonGranularities(t *testing.T) {
	with := func(granularities ...time.Duration) *policy.Policy {
		p := &policy.Policy{}
		for _, g := range granularities {
			p.Definitions = append(p.Definitions, policy.Definition{Granularity: g})
		}
		return p
	}
	const s, m, h = time.Second, time.Minute, time.Hour
	first := with(s, m, h)
	for _, c := range []struct {
		policies []*policy.Policy
		want     []time.Duration
	}{
		{nil, nil},
		{[]*policy.Policy{first}, []time.Duration{h, m, s}},
		{[]*policy.Policy{first, first, with(h, m)}, []time.Duration{h, m}},
		{[]*policy.Policy{with(m), first}, []time.Duration{m}},
		{[]*policy.Policy{with(m), with(h)}, nil},
	} {
		if got := CommonGranularities(c.policies); !slices.Equal(got, c.want) {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`["metric", "a", "mean"]`, `["metric", ["a", "mean"], ["b", "max"]]`, `["+", 1, ["rolling", "mean", 3, ["metric", "a", "mean"]]]`,
		`"(aggregate mean (metric a mean))"`, `{"a": [1, null]}`, `[[[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Parse(data)
		roundTrip(t, o, err)
	})
}

func FuzzParseText(f *testing.F) {
	for _, seed := range []string{"(metric a mean)", "(metric (a mean)(b 'x y'))", "(resample std 1h30m (clip (metric a mean) -1 5))", "(/ 1 (÷ (metric a mean) 1e5))", "((", "(foo \"", "(+ 1 2)"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseText(text)
		roundTrip(t, o, err)
	})
}

// roundTrip checks that an operation is the same after it was written as text, and as lists.
func roundTrip(t *testing.T, o *Operation, err error) {
	var fault *Error
	if err != nil {
		if !errors.As(err, &fault) || fault.Cause == "" {
			t.Fatalf("error %v of type %T", err, err)
		}
		return
	}
	if utf8.ValidString(o.String()) { // JSON has no other text
		lists, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		read, err := Parse(lists)
		if err != nil {
			t.Fatalf("%s can't be read: %v", lists, err)
		}
		if second, err := json.Marshal(read); err != nil || string(second) != string(lists) {
			t.Fatalf("%s came back as %s, %v", lists, second, err)
		}
	}
	for _, r := range o.References {
		for _, word := range []string{r.Metric, r.Aggregation} {
			if strings.Contains(word, "'") && strings.Contains(word, `"`) {
				return // cannot be quoted
			}
		}
	}
	again, err := ParseText(o.String())
	if err != nil || again.String() != o.String() || !slices.Equal(again.References, o.References) {
		t.Fatalf("%s came back as %v, %v", o, again, err)
	}
}
