package operations

import (
	"encoding/json"
	"testing"
)

// What is written as JSON is what was read, but for aggregates of several operands.
func TestMarshalJSON(t *testing.T) {
	for in, want := range map[string]string{
		"(metric a mean)":                                                          `["metric","a","mean"]`,
		"(metric (a mean) ('b c' rate:max))":                                       `["metric",["a","mean"],["b c","rate:max"]]`,
		"(aggregate rate:mean (metric (a mean) (b max)))":                          `["aggregate","rate:mean",["metric",["a","mean"],["b","max"]]]`,
		"(aggregate mean (metric a mean) (metric (b mean) (c max)))":               `["aggregate","mean",["metric",["a","mean"],["b","mean"],["c","max"]]]`,
		"(aggregate mean (metric a mean) (abs (metric b mean)))":                   `["aggregate","mean",["metric","a","mean"],["abs",["metric","b","mean"]]]`,
		"(aggregate sum (metric a mean) (metric a mean))":                          `["aggregate","sum",["metric","a","mean"],["metric","a","mean"]]`,
		"(aggregate mean (aggregate sum (metric a mean)))":                         `["aggregate","mean",["aggregate","sum",["metric","a","mean"]]]`,
		"(rolling median 3 (metric a mean))":                                       `["rolling","median",3,["metric","a","mean"]]`,
		"(resample rate:var 1h (metric a mean))":                                   `["resample","rate:var","3600",["metric","a","mean"]]`,
		"(resample std 0.5 (metric a mean))":                                       `["resample","std","0.5",["metric","a","mean"]]`,
		"(× (+ 2 (metric a mean)) -2.5e3)":                                         `["×",["+",2,["metric","a","mean"]],-2500]`,
		"(+ nan (clip (metric a mean) -inf 1))":                                    `["+","NaN",["clip",["metric","a","mean"],"-Inf",1]]`,
		"(* 100 (/ (aggregate max (metric a max) (metric b max)) (metric c max)))": `["*",100,["/",["aggregate","max",["metric",["a","max"],["b","max"]]],["metric","c","max"]]]`,
	} {
		o, err := ParseText(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(o)
		if err != nil || string(got) != want {
			t.Errorf("%s is %s, want %s: %v", in, got, want, err)
		}
		again, err := Parse(got)
		if err != nil {
			t.Errorf("%s can't be read: %v", got, err)
			continue
		}
		if second, err := json.Marshal(again); err != nil || string(second) != want {
			t.Errorf("%s came back as %s: %v", got, second, err)
		}
	}
}
