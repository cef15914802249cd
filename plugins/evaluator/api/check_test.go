package api_test

import (
	"strings"
	"testing"

	"github.com/nephoscope/nepho/plugins/evaluator/api"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// TestCheckRule: what no storage could answer is refused when it is posted, and so is what
// would keep the evaluator busy for long.
func TestCheckRule(t *testing.T) {
	promql := func(query string) *def.Prometheus { return &def.Prometheus{Query: query} }
	both := func(r def.Rule) *def.Composite {
		return &def.Composite{Root: def.Node{Nodes: []def.Node{{Rule: promql("up")}, {Rule: r}}}}
	}
	for name, f := range map[string]struct {
		rule def.Rule
		want string // "": it is taken
	}{
		"PromQL":         {promql(`sum by (host) (rate(requests{code=~"5.."}[5m]))`), ""},
		"wrong PromQL":   {promql("sum("), "query can't be understood"},
		"deep PromQL":    {promql(strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000)), "more than 1000 operators and brackets"},
		"long PromQL":    {promql(strings.Repeat(" ", 64<<10) + "1"), "too long"},
		"a part of it":   {both(promql("sum(")), "query can't be understood"},
		"a method":       {&def.ResourceThreshold{Threshold: def.Threshold{Method: "rate:mean"}}, ""},
		"another method": {both(&def.MetricsThreshold{Threshold: def.Threshold{Method: "average"}}), "aggregation_method"},
		"a search":       {&def.ResourcesThreshold{Threshold: def.Threshold{Method: "mean"}, Query: `{"=": {"id": "1"}}`}, ""},
		"no search":      {&def.ResourcesThreshold{Threshold: def.Threshold{Method: "mean"}, Query: `{"==": 1}`}, "rule/query"},
		"operations":     {&def.Operations{Operations: "(+ 1 (metric a mean))", Query: `{"=": {"id": "1"}}`}, ""},
		"no operations":  {&def.Operations{Operations: "(+ 1"}, "operations can't be understood"},
	} {
		if err := api.CheckRule(f.rule); (err == nil) != (f.want == "") || err != nil && !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCheckAction: an action is as long as PostgreSQL's index of what is owed takes it, escaped.
func TestCheckAction(t *testing.T) {
	for _, f := range []struct {
		action, want string // "": it is taken
	}{
		{"http://a/" + strings.Repeat("x", 2048-9), ""},
		{"http://a/" + strings.Repeat("x", 2048-8), "an action of 2049 bytes is too long: 2048 are allowed"},
		{"http://a/" + strings.Repeat("č", 500), "an action of 3009 bytes is too long"},
		{"mailto:" + strings.Repeat("a", 2048), "too long"},
	} {
		if _, err := api.CheckAction(f.action); (err == nil) != (f.want == "") || err != nil && !strings.Contains(err.Error(), f.want) {
			t.Errorf("%.20s of %d bytes: %v", f.action, len(f.action), err)
		}
	}
}

// FuzzCheckRule: whatever is posted is taken or refused, in a time that nobody else notices.
func FuzzCheckRule(f *testing.F) {
	for kind, rule := range map[string]string{
		"prometheus":                  `{"query": "sum by (host) (rate(requests{code=~\"5..\"}[5m])) / 2", "threshold": 1}`,
		"operations_threshold":        `{"operations": "(* 100 (/ (metric used mean) (metric size mean)))", "threshold": 1, "resource_type": "t", "query": "{\"=\": {\"id\": \"1\"}}"}`,
		"composite":                   `{"or": [{"type": "prometheus", "query": "up", "threshold": 0}]}`,
		"gnocchi_resources_threshold": `{"metric": "m", "resource_id": "r", "resource_type": "t", "aggregation_method": "rate:mean", "threshold": 1}`,
		"gnocchi_aggregation_by_resources_threshold": `{"metric": "m", "query": "{\"and\": [{\"like\": {\"name\": \"a%\"}}]}", "resource_type": "t", "aggregation_method": "mean", "threshold": 1}`,
	} {
		f.Add(kind, []byte(rule))
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		if rule, err := def.ReadRule(kind, data); err == nil {
			if err := api.CheckRule(rule); err != nil && err.Error() == "" {
				t.Errorf("%s is refused without a reason", data)
			}
		}
	})
}
