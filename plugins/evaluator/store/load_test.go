package store

import (
	"reflect"
	"testing"
	"time"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// What is read quickly is what is read with all checks.
func TestReadRule(t *testing.T) {
	for _, threshold := range []float64{0, -1, 90, 1e300, 0.1, 1e-7} {
		r := &def.ResourceThreshold{
			Threshold: def.Threshold{Threshold: threshold, Comparison: "ge", Method: "rate:mean", Periods: 7, Granularity: 5 * time.Minute},
			Metric:    "a \"metric\" \u00e9\U0001f600\n", Resource: "r/1\\", ResourceType: "instance",
		}
		text := def.AppendJSON(nil, def.Fields(r))
		checked, err := def.ReadRule(r.Type(), text)
		if err != nil {
			t.Fatal(err)
		}
		if read, err := readRule(r.Type(), text); err != nil || !reflect.DeepEqual(read, checked) || !reflect.DeepEqual(read, def.Rule(r)) {
			t.Errorf("%s is read as %+v, %v, and with checks as %+v", text, read, err, checked)
		}
	}
	if r, err := readRule("gnocchi_resources_threshold", []byte("{")); err == nil {
		t.Errorf("a damaged rule is read as %+v", r)
	}
}

func BenchmarkReadRule(b *testing.B) {
	text := def.AppendJSON(nil, def.Fields(&def.ResourceThreshold{
		Threshold: def.Threshold{Threshold: 90, Comparison: "gt", Method: "mean", Periods: 1, Granularity: time.Minute},
		Metric:    "cpu_util", Resource: "0d5d5f5c-5f5a-4f0e-9b3e-0d5d5f5c5f5a", ResourceType: "instance",
	}))
	for name, read := range map[string]func(string, []byte) (def.Rule, error){"stored": readRule, "checked": def.ReadRule} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := read("gnocchi_resources_threshold", text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
