package index

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/google/uuid"
)

// labelled makes metrics with random labels, some of them deleted.
func labelled(t *testing.T, x *Index) []*Metric {
	t.Helper()
	r := random(3)
	for n := range 3 {
		must(x.CreateResource(t.Context(), &Resource{ID: id(n), Type: Generic, Project: []*string{nil, ptr("p"), ptr("q")}[n]}, nil, nil))(t)
	}
	var create []NewMetric
	for n := range 150 {
		labels := map[string]string{"__name__": []string{"up", "cpu", "mem"}[r.IntN(3)]}
		for _, name := range []string{"job", "instance", "é"} {
			if r.IntN(3) > 0 {
				labels[name] = []string{"a", "ab", "b\nc", "1"}[r.IntN(4)]
			}
		}
		m := NewMetric{Name: fmt.Sprint("m", n), Resource: id(r.IntN(3)), Labels: labels, Creator: []string{"u", "v:q"}[r.IntN(2)]}
		if n%7 == 0 {
			m.Labels = nil
		}
		create = append(create, m)
	}
	all := must(x.CreateMetrics(t.Context(), create))(t)
	for n, m := range all {
		if n%9 == 4 {
			ok(t, x.DeleteMetric(t.Context(), m.ID))
			m.Deleted = true
		}
	}
	return all
}

func matches(t *testing.T, m *Metric, matchers []Matcher) bool {
	t.Helper()
	for _, c := range matchers {
		is := m.Labels[c.Name] == c.Value
		if c.Regexp {
			is = regexp.MustCompile("(?s)^(?:" + c.Value + ")$").MatchString(m.Labels[c.Name])
		}
		if is == c.Not {
			return false
		}
	}
	return true
}

func TestLabels(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		all := labelled(t, x)
		projects := map[uuid.UUID]string{id(1): "p", id(2): "q"}
		r := random(4)
		for range 50 {
			var matchers []Matcher
			for range r.IntN(4) {
				c := Matcher{Name: []string{"__name__", "job", "instance", "é", "none"}[r.IntN(5)], Value: []string{"up", "cpu", "a", "", "1"}[r.IntN(5)], Not: r.IntN(3) == 0}
				if r.IntN(3) == 0 {
					c.Regexp, c.Value = true, []string{"a.*", "a|1", ".*", ".+", "", "b.c", "u[p]?", "(?i)UP"}[r.IntN(8)]
				}
				matchers = append(matchers, c)
			}
			scope := Scope{[]string{"", "", "p", "q"}[r.IntN(4)]}
			var want []*Metric
			names, values := map[string]bool{}, map[string]bool{}
			for _, m := range all {
				mine := scope.Project == "" || projects[m.Resource] == scope.Project || m.Creator == "v:"+scope.Project
				if m.Labels == nil || m.Deleted || !mine || !matches(t, m, matchers) {
					continue
				}
				want = append(want, m)
				for name := range m.Labels {
					names[name] = true
				}
				if value, has := m.Labels["job"]; has {
					values[value] = true
				}
			}
			same(t, must(x.Labelled(ctx, matchers, scope, 1000))(t), want)
			if n := len(want) / 2; n > 0 {
				same(t, must(x.Labelled(ctx, matchers, scope, n))(t), want[:n])
			}
			pages := func(list func(after string) ([]string, error)) (all []string) {
				after := ""
				for {
					page := must(list(after))(t)
					all = append(all, page...)
					if len(page) < 2 {
						return all
					}
					after = page[len(page)-1]
				}
			}
			same(t, pages(func(after string) ([]string, error) { return x.LabelNames(ctx, matchers, scope, after, 2) }), slices.Sorted(maps.Keys(names)))
			same(t, pages(func(after string) ([]string, error) { return x.LabelValues(ctx, "job", matchers, scope, after, 2) }), slices.Sorted(maps.Keys(values)))
		}
		_, err := x.Labelled(ctx, []Matcher{{Name: "a", Value: "(", Regexp: true}}, Scope{}, 1)
		if _, invalid := err.(*InvalidError); !invalid {
			t.Errorf("got %v for a bad regular expression", err)
		}
	})
}

// Of a condition that too many labels satisfy, metrics are asked one by one.
func TestTooManyLabels(t *testing.T) {
	t.Parallel()
	x := open(t, where(t, "sqlite"))
	create := make([]NewMetric, countLimit+2)
	for n := range create {
		create[n].Labels = map[string]string{"n": fmt.Sprint(n)}
	}
	create[0].Labels = map[string]string{"m": "0"}
	must(x.CreateMetrics(t.Context(), create))(t)
	list := must(x.Labelled(t.Context(), []Matcher{{Name: "n", Value: ".+", Regexp: true}}, Scope{}, len(create)))(t)
	same(t, []any{len(list), list[0].Labels["n"]}, []any{countLimit + 1, "1"})
}

// More metrics than one page has.
func TestManyLabels(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		var create []NewMetric
		for n := range 1200 {
			create = append(create, NewMetric{Name: "m", Labels: map[string]string{"__name__": "m", "n": fmt.Sprint(n), "half": fmt.Sprint(n % 2)}})
		}
		must(x.CreateMetrics(t.Context(), create))(t)
		list := must(x.Labelled(t.Context(), []Matcher{{Name: "n", Value: ".+", Regexp: true}, {Name: "half", Value: "1"}}, Scope{}, 10_000))(t)
		same(t, len(list), 600)
		list = must(x.Labelled(t.Context(), nil, Scope{}, 10_000))(t)
		same(t, len(list), 1200)
		same(t, len(must(x.LabelValues(t.Context(), "n", nil, Scope{}, "", 10_000))(t)), 1200)
	})
}
