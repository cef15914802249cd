package promql

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/policy"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]string{"cpu": "cpu", "cpu.util": "cpu_util", "a:b": "a:b", "5min": "_5min", "ä b/c": "__b_c", "": "_"} {
		if got := metricName(name); got != want {
			t.Errorf("%q becomes %q instead of %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"host": "host", "a:b": "a_b", "flavor-name": "flavor_name", "project_id": "attribute_project_id", "__name__": "attribute__name__", "aggregation": "attribute_aggregation"} {
		if got := labelName(name); got != want {
			t.Errorf("%q becomes %q instead of %q", name, got, want)
		}
	}
}

func TestPoints(t *testing.T) {
	for _, f := range []struct {
		t    int64
		v    float64
		want string
	}{
		{1_700_000_000_000, 1, `[1700000000,"1"]`}, {1_700_000_000_001, 0.1, `[1700000000.001,"0.1"]`}, {1_700_000_000_120, -2.5, `[1700000000.120,"-2.5"]`},
		{-1500, 1e21, `[-1.500,"1e+21"]`}, {0, 1e20, `[0,"100000000000000000000"]`}, {0, 1e-7, `[0,"1e-07"]`},
		{0, math.NaN(), `[0,"NaN"]`}, {0, math.Inf(1), `[0,"+Inf"]`}, {0, math.Inf(-1), `[0,"-Inf"]`},
	} {
		if got := string(appendPoint(nil, f.t, f.v)); got != f.want {
			t.Errorf("%d %v is %s", f.t, f.v, got)
		}
	}
}

func TestMethodFor(t *testing.T) {
	f := func(function string, own bool, want policy.Method, methods ...policy.Method) {
		t.Helper()
		if got := methodFor(&policy.Policy{Methods: policy.SetOf(methods...)}, function, own); got != want {
			t.Errorf("%s of %v: %v", function, methods, got)
		}
	}
	all := []policy.Method{policy.Mean, policy.Sum, policy.Last, policy.Max, policy.Min, policy.First}
	f("", false, policy.Mean, all...)
	f("", true, policy.Last, all...)
	f("sum", false, policy.Mean, all...)
	f("rate", false, policy.Last, all...)
	f("rate", false, policy.Mean, policy.Mean, policy.Max)
	f("rate", false, policy.Max, policy.Max, policy.Count)
	f("max_over_time", false, policy.Max, all...)
	f("max_over_time", true, policy.Max, all...)
	f("min_over_time", false, policy.Min, all...)
	f("sum_over_time", false, policy.Sum, all...)
	f("first_over_time", false, policy.First, all...)
	f("", false, policy.Percentile(95), policy.Percentile(95))
}

func TestGranularityFor(t *testing.T) {
	p := &policy.Policy{Definitions: []policy.Definition{
		{Granularity: time.Hour, Points: 24 * 365}, {Granularity: time.Minute, Points: 60 * 24}, {Granularity: 5 * time.Minute, Points: 12 * 24 * 30},
	}}
	now := time.Unix(1_700_000_000, 0)
	f := func(back, step, window, want time.Duration) {
		t.Helper()
		if got := granularityFor(p, span{now.Add(-back).UnixNano(), step, window}, now.UnixNano()); got != want {
			t.Errorf("%v back, step %v, range %v: %v instead of %v", back, step, window, got, want)
		}
	}
	const day = 24 * time.Hour
	f(time.Hour, 0, 0, time.Minute)
	f(time.Hour, 15*time.Second, 0, time.Minute)
	f(time.Hour, time.Minute, 0, time.Minute)
	f(time.Hour, 4*time.Minute, 0, time.Minute)
	f(time.Hour, 5*time.Minute, 0, 5*time.Minute)
	f(7*day, 30*time.Second, 0, 5*time.Minute)
	f(7*day, 2*time.Hour, 0, time.Hour)
	f(90*day, time.Minute, 0, time.Hour)
	f(1000*day, time.Minute, 0, time.Hour)
	f(time.Hour, time.Hour, 5*time.Minute, time.Minute)
	f(time.Hour, time.Minute, 20*time.Minute, 5*time.Minute)
	f(time.Hour, time.Minute, 4*time.Hour, time.Hour)
	// Without limit, and none that reaches back: the one that reaches furthest.
	p = &policy.Policy{Definitions: []policy.Definition{{Granularity: time.Second, Points: 60}, {Granularity: time.Minute, Points: 60}}}
	f(day, time.Second, 0, time.Minute)
	p.Definitions = append(p.Definitions, policy.Definition{Granularity: time.Hour})
	f(day, time.Second, 0, time.Hour)
}

// Damage of one series keeps no other from being answered, and is told.
func TestLost(t *testing.T) {
	damage := &engine.QueryError{Index: 1, Err: &engine.LostError{Ref: 6, Object: "o"}}
	f := func(err error, warnings int, fails bool) {
		t.Helper()
		got, rest := lost(err)
		if len(got) != warnings || fails != (rest != nil) {
			t.Errorf("%v: %v, %v", err, got, rest)
		}
	}
	f(nil, 0, false)
	f(errors.Join(damage), 1, false)
	f(errors.Join(damage, &engine.QueryError{Err: &engine.LostError{Ref: 7}}), 2, false)
	f(errors.Join(damage, errors.New("no memory")), 0, true)
	f(errors.New("canceled"), 0, true)
}
