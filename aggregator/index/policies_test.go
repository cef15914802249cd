package index

import (
	"path"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
)

func TestDefaultPolicies(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		list := must(x.Policies(t.Context()))(t)
		var names []string
		for _, p := range list {
			names = append(names, p.Name)
		}
		same(t, names, []string{"bool", "high", "low", "medium"})
		same(t, list[2].Definitions, []policy.Definition{{Granularity: 5 * time.Minute, Points: 8640}})
		same(t, list[0].BackWindow, 3600)
		same(t, must(x.Rules(t.Context()))(t), []Rule{{"default", "*", "low"}})

		// They are made only where there is nothing.
		ok(t, x.DeleteRule(t.Context(), "default"))
		ok(t, x.DeletePolicy(t.Context(), "medium"))
		ok(t, x.createDefaults(t.Context()))
		same(t, len(must(x.Policies(t.Context()))(t)), 3)
	})
}

func TestPolicies(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		told := map[string]*policy.Policy{}
		x.OnPolicy(func(p *policy.Policy) { told[p.Name] = p })
		if len(told) != 4 {
			t.Fatalf("told of %d policies, there are 4", len(told))
		}
		p := &policy.Policy{Name: "mine", BackWindow: 2, Methods: policy.SetOf(policy.Mean, policy.Percentile(95), policy.Max.Rate()),
			Definitions: []policy.Definition{{Granularity: time.Minute, Points: 5}, {Granularity: time.Second}}}
		ok(t, x.CreatePolicy(ctx, p))
		wantError(t, x.CreatePolicy(ctx, p), &ExistsError{KindPolicy, "mine"})
		got := must(x.Policy(ctx, "mine"))(t)
		want := *p
		want.ID = got.ID
		same(t, got, &want)
		same(t, told["mine"], &want)
		inMemory, known := x.PolicyByID(got.ID)
		same(t, inMemory, &want)
		same(t, known, true)

		longer := []policy.Definition{{Granularity: time.Second, Points: 7}, {Granularity: time.Minute}}
		want.Definitions = longer
		same(t, must(x.SetDefinitions(ctx, "mine", longer))(t), &want)
		same(t, must(x.Policy(ctx, "mine"))(t), &want)
		same(t, told["mine"], &want)
		_, err := x.SetDefinitions(ctx, "mine", longer[:1])
		wantError(t, err, &InvalidError{"Archive policy mine does not support change: Cannot add or drop granularities"})
		_, err = x.SetDefinitions(ctx, "mine", []policy.Definition{{Granularity: 2 * time.Second}, longer[1]})
		wantError(t, err, &InvalidError{"Archive policy mine does not support change: 1.0 granularity interval was changed"})
		_, err = x.SetDefinitions(ctx, "none", longer)
		wantError(t, err, &NotFoundError{KindPolicy, "none"})
		_, err = x.Policy(ctx, "none")
		wantError(t, err, &NotFoundError{KindPolicy, "none"})

		// It is in use while a metric has it, also one that is marked, or a rule names it.
		m := must(x.CreateMetrics(ctx, []NewMetric{{Policy: "mine"}}))(t)[0]
		inUse := &InUseError{KindPolicy, "mine"}
		wantError(t, x.DeletePolicy(ctx, "mine"), inUse)
		ok(t, x.DeleteMetric(ctx, m.ID))
		wantError(t, x.DeletePolicy(ctx, "mine"), inUse)
		must(x.Purge(ctx, time.Now(), 10))(t)
		ok(t, x.CreateRule(ctx, Rule{"r", "a*", "mine"}))
		wantError(t, x.DeletePolicy(ctx, "mine"), inUse)
		ok(t, x.DeleteRule(ctx, "r"))
		ok(t, x.DeletePolicy(ctx, "mine"))
		wantError(t, x.DeletePolicy(ctx, "mine"), &NotFoundError{KindPolicy, "mine"})
		if _, known := x.PolicyByID(got.ID); known {
			t.Error("a deleted policy is known")
		}

		// Its number is not given again.
		ok(t, x.CreatePolicy(ctx, p))
		if again := must(x.Policy(ctx, "mine"))(t); again.ID <= got.ID {
			t.Errorf("the number %d was given after %d", again.ID, got.ID)
		}
		for _, bad := range []*policy.Policy{{Name: "x"}, {Name: "a\x00", Definitions: longer, Methods: p.Methods}, {Name: "\xff", Definitions: longer, Methods: p.Methods}} {
			if _, invalid := x.CreatePolicy(ctx, bad).(*InvalidError); !invalid {
				t.Errorf("policy %+v was not refused", bad)
			}
		}
	})
}

func TestRules(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		ok(t, x.CreateRule(ctx, Rule{"b", "disk.*", "high"}))
		ok(t, x.CreateRule(ctx, Rule{"a", "disk.*", "medium"}))
		ok(t, x.CreateRule(ctx, Rule{"c", "disk.io.*", "bool"}))
		wantError(t, x.CreateRule(ctx, Rule{"c", "x", "low"}), &ExistsError{KindRule, "c"})
		wantError(t, x.CreateRule(ctx, Rule{"d", "x", "none"}), &NotFoundError{KindPolicy, "none"})
		same(t, must(x.Rules(ctx))(t), []Rule{{"c", "disk.io.*", "bool"}, {"a", "disk.*", "medium"}, {"b", "disk.*", "high"}, {"default", "*", "low"}})
		same(t, must(x.Rule(ctx, "b"))(t), Rule{"b", "disk.*", "high"})

		for name, want := range map[string]string{"disk.io.x": "bool", "disk.x": "medium", "cpu": "low", "": "low"} {
			m := must(x.CreateMetrics(ctx, []NewMetric{{Name: name}}))(t)[0]
			same(t, m.Policy, want)
		}
		_, err := x.RenameRule(ctx, "none", "z")
		wantError(t, err, &NotFoundError{KindRule, "none"})
		_, err = x.RenameRule(ctx, "a", "b")
		wantError(t, err, &ExistsError{KindRule, "b"})
		same(t, must(x.RenameRule(ctx, "a", "z"))(t), Rule{"z", "disk.*", "medium"})
		ok(t, x.DeleteRule(ctx, "default"))
		wantError(t, x.DeleteRule(ctx, "default"), &NotFoundError{KindRule, "default"})
		_, err = x.Rule(ctx, "default")
		wantError(t, err, &NotFoundError{KindRule, "default"})
		_, err = x.CreateMetrics(ctx, []NewMetric{{Name: "cpu"}})
		wantError(t, err, &NoRuleError{"cpu"})
		_, err = x.CreateMetrics(ctx, []NewMetric{{Name: "cpu", Policy: "none"}})
		wantError(t, err, &NotFoundError{KindPolicy, "none"})
	})
}

// What Python's fnmatch.fnmatchcase says.
func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"", []string{""}, []string{"a"}},
		{"*", []string{"", "a", "a/b.c"}, nil},
		{"disk.*", []string{"disk.", "disk.a/b"}, []string{"disk", "Disk.a"}},
		{"a?c", []string{"abc", "aéc", "a.c"}, []string{"ac", "abbc"}},
		{"a*b*c", []string{"abc", "axbxbxc", "abcc"}, []string{"acb", "ab"}},
		{"[a-c]x", []string{"ax", "cx"}, []string{"dx", "-x"}},
		{"[!a-c]x", []string{"dx", "!x"}, []string{"ax", "x"}},
		{"[]x]", []string{"]", "x"}, []string{"[", "]x"}},
		{"[!]]", []string{"x", "["}, []string{"]"}},
		{"[a-]", []string{"a", "-"}, []string{"b"}},
		{"[abc", []string{"[abc"}, []string{"a"}},
		{"[!]", []string{"[!]"}, []string{"a"}},
		{"*[é-ü]", []string{"é", "xó"}, []string{"x"}},
		{"**a**", []string{"a", "bab"}, []string{"b"}},
	} {
		for _, name := range c.yes {
			if !Match(c.pattern, name) {
				t.Errorf("%q does not match %q", c.pattern, name)
			}
		}
		for _, name := range c.no {
			if Match(c.pattern, name) {
				t.Errorf("%q matches %q", c.pattern, name)
			}
		}
	}
}

// Without brackets and slashes, path.Match says the same.
func FuzzMatch(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("**", "")
	f.Add("[a-c]*", "b")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := Match(pattern, name)
		if strings.ContainsAny(pattern+name, `[]\/`) || len(pattern) > 100 || strings.ToValidUTF8(pattern+name, "") != pattern+name {
			return
		}
		if want, err := path.Match(pattern, name); err == nil && got != want {
			t.Fatalf("%q and %q: got %v", pattern, name, got)
		}
	})
}
