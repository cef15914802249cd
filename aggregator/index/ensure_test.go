package index

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestEnsureResources(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		clock(x)
		instances(t, x)
		vm := func(host string, metrics ...NewMetric) Wanted {
			return Wanted{Resource{ID: id(1), Original: "vm", Type: "instance", Creator: "c", Project: ptr("p"), Attributes: map[string]any{"host": host, "vcpus": 2, "on": nil}}, metrics}
		}
		cpu, mem := NewMetric{Name: "cpu", Unit: "ns", Policy: "high"}, NewMetric{Name: "mem"}
		got := must(x.EnsureResources(ctx, []Wanted{vm("a", cpu, mem), {Resource: Resource{ID: id(2), Type: Generic}}}))(t)
		same(t, []bool{got[0].Created, got[0].Changed, got[1].Created}, []bool{true, false, true})
		r := must(x.Resource(ctx, "instance", id(1)))(t)
		same(t, []any{r.Original, r.Creator, *r.Project, r.User, r.Attributes["host"], r.Attributes["vcpus"], len(r.Metrics)}, []any{"vm", "c", "p", (*string)(nil), "a", 2.0, 2})
		m := must(x.Metric(ctx, r.Metrics["cpu"]))(t)
		same(t, []any{m.Unit, m.Policy, m.Creator}, []any{"ns", "high", "c"})
		same(t, got[0].Entries[0], &Entry{m.ID, m.Ref, m.PolicyID, "c", "p", x.cache.nameKey(id(1), "cpu")})

		// All is there: nothing is written.
		before := x.Changes()
		again := must(x.EnsureResources(ctx, []Wanted{vm("a", mem, cpu, cpu)}))(t)
		same(t, again[0].Entries, []*Entry{got[0].Entries[1], got[0].Entries[0], got[0].Entries[0]})
		same(t, []any{again[0].Created, again[0].Changed, again[0].Err, x.Changes()}, []any{false, false, nil, before})

		// A change makes a revision; what is nil stays. The project shows in the entries.
		changed := vm("b", cpu)
		changed.Resource.Project, changed.Resource.User = ptr("q"), ptr("u")
		changed.Resource.Attributes = map[string]any{"host": "b"}
		second := must(x.EnsureResources(ctx, []Wanted{changed}))(t)
		same(t, []any{second[0].Changed, second[0].Entries[0].Project}, []any{true, "q"})
		same(t, must(x.Lookup(ctx, []uuid.UUID{m.ID}, nil))(t)[0].Project, "q")
		r = must(x.Resource(ctx, "instance", id(1)))(t)
		same(t, []any{*r.User, r.Attributes["host"], r.Attributes["vcpus"]}, []any{"u", "b", 2.0})
		same(t, len(must(x.History(ctx, "instance", id(1), Page{Limit: 10}))(t)), 2)
		ended := r.Started.Add(time.Hour)
		changed.Resource.Ended = &ended
		same(t, must(x.EnsureResources(ctx, []Wanted{changed}))(t)[0].Changed, true)
		same(t, must(x.EnsureResources(ctx, []Wanted{changed}))(t)[0].Changed, false)
	})
}

// What is wrong with one does not touch others.
func TestEnsureResourcesTellsOfEach(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		ok(t, x.CreateType(ctx, ResourceType{"t", map[string]Attribute{"a": {Type: Number, Required: true}}}))
		ok(t, x.DeleteRule(ctx, "default"))
		ok(t, x.CreateType(ctx, ResourceType{Name: "u"}))
		must(x.CreateResource(ctx, &Resource{ID: id(1), Type: "u"}, nil, nil))(t)
		wanted := []Wanted{
			{Resource{ID: id(1), Type: "t", Attributes: map[string]any{"a": 1}}, []NewMetric{{Name: "m", Policy: "low"}}}, // is of type u
			{Resource{ID: id(2), Type: "t", Attributes: map[string]any{"a": "x"}}, []NewMetric{{Name: "m", Policy: "low"}}},
			{Resource{ID: id(3), Type: "t"}, []NewMetric{{Name: "m", Policy: "low"}}},
			{Resource{ID: id(4), Type: "none"}, nil},
			{Resource{ID: id(5), Type: Generic}, []NewMetric{{Name: "m"}, {Name: "n", Policy: "none"}, {Name: "o", Policy: "low"}}},
			{Resource{ID: id(6), Type: Generic}, []NewMetric{{Name: "a\x00", Policy: "low"}}},
			{Resource{ID: id(7), Type: "t", Attributes: map[string]any{"a": 1, "b": 1}}, nil},
			{Resource{ID: id(8), Type: Generic, Creator: "\xff"}, nil},
			{Resource{ID: id(9), Type: "t", Attributes: map[string]any{"a": 1}}, []NewMetric{{Name: "m", Policy: "low"}}},
		}
		reasons := []string{
			"resource " + id(1).String() + " is of type u, not t",
			"expected Real for attribute a of resource type t",
			"resource type t requires the attribute a",
			"Resource type none does not exist",
			"metric m of resource " + id(5).String() + ": No archive policy name specified and no archive policy rule found matching the metric name m\n" +
				"metric n of resource " + id(5).String() + ": Archive policy none does not exist",
			"metric \"a\\x00\" of resource " + id(6).String() + ": name is no text in UTF-8, or has a character of code 0",
			"Resource type t has no b attribute",
			"creator is no text in UTF-8, or has a character of code 0",
			"",
		}
		for pass := range 2 {
			before := x.Changes()
			for i, e := range must(x.EnsureResources(ctx, wanted))(t) {
				reason := ""
				if e.Err != nil {
					reason = e.Err.Error()
				}
				same(t, reason, reasons[i])
				same(t, e.Created, pass == 0 && (i == 4 || i == 5 || i == 8))
				made := 0
				for _, entry := range e.Entries {
					if entry != nil {
						made++
					}
				}
				same(t, made, map[int]int{0: 1, 4: 1, 8: 1}[i])
			}
			if pass == 1 && x.Changes() != before {
				t.Error("what can't be done is tried in a transaction again and again")
			}
		}
		_, err := x.Resource(ctx, Generic, id(2))
		var missing *NotFoundError
		same(t, errors.As(err, &missing), true)
	})
}

// A resource that nothing was known of becomes one of a type; what it was stays in the
// history of generic ones.
func TestEnsureResourcesChangesGeneric(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		clock(x)
		instances(t, x)
		ok(t, x.CreateType(ctx, ResourceType{"strict", map[string]Attribute{"a": {Type: String, Required: true}}}))
		ensure := func(wanted ...Wanted) []Ensured {
			t.Helper()
			return must(x.EnsureResources(ctx, wanted))(t)
		}
		want := func(n int, typ string, attributes map[string]any, metric string) Wanted {
			return Wanted{Resource{ID: id(n), Type: typ, Attributes: attributes}, []NewMetric{{Name: metric}}}
		}
		first := ensure(want(1, Generic, nil, "m"))[0].Entries[0]
		got := ensure(want(1, "instance", map[string]any{"host": "h"}, "m"))[0]
		same(t, []any{got.Changed, got.Err, got.Entries[0]}, []any{true, error(nil), first})
		same(t, must(x.Resource(ctx, "instance", id(1)))(t).Attributes["host"], "h")
		ensure(want(1, "instance", map[string]any{"host": "i"}, "m"))
		before := x.Changes()
		for range 2 { // a generic one is wanted again, by a sample of which nothing is known
			same(t, ensure(want(1, Generic, nil, "m"))[0], Ensured{Entries: []*Entry{first}})
		}
		same(t, x.Changes(), before)

		history := func(typ string) (types []string) {
			for _, r := range must(x.History(ctx, typ, id(1), Page{Limit: 10}))(t) {
				types = append(types, fmt.Sprint(r.Type, r.Attributes["host"]))
			}
			return types
		}
		same(t, history(Generic), []string{"generic<nil>", "instance<nil>", "instance<nil>"})
		same(t, history("instance"), []string{"instanceh", "instancei"})
		all := must(x.Resources(ctx, ResourceQuery{Type: Generic, History: true, Details: true, Page: Page{Limit: 10}}))(t)
		same(t, []any{len(all), all[0].Type, all[1].Attributes["host"]}, []any{3, Generic, "h"})

		// Without what the type requires it stays generic, and gets its metrics.
		ensure(want(2, Generic, nil, "m"))
		got = ensure(want(2, "strict", nil, "n"))[0]
		same(t, []any{fmt.Sprint(got.Err), got.Entries[0] != nil}, []any{"resource type strict requires the attribute a", true})
		got = ensure(want(2, "none", nil, "o"))[0]
		same(t, []any{fmt.Sprint(got.Err), got.Entries[0] != nil}, []any{"Resource type none does not exist", true})
		same(t, must(x.Resource(ctx, Generic, id(2)))(t).Type, Generic)
		ensure(want(2, "strict", map[string]any{"a": "b"}, "n"))
		same(t, must(x.Resource(ctx, "strict", id(2)))(t).Attributes["a"], "b")

		// Of two types in one go the first counts.
		for n := 3; n <= 4; n++ {
			if n == 4 {
				ensure(want(n, Generic, nil, "m"))
			}
			list := ensure(want(n, Generic, nil, "m"), want(n, "instance", map[string]any{"host": "h"}, "m"), want(n, "strict", map[string]any{"a": "b"}, "m"),
				want(n, "instance", map[string]any{"host": "i"}, "m"))
			same(t, []any{list[0].Err, list[1].Err, fmt.Sprint(list[2].Err), list[3].Err},
				[]any{error(nil), error(nil), "resource " + id(n).String() + " is of type instance, not strict", error(nil)})
			same(t, must(x.Resource(ctx, "instance", id(n)))(t).Attributes["host"], "i")
		}
		for _, typ := range []string{"instance", "strict"} {
			must(x.DeleteResources(ctx, ResourceQuery{Type: typ}))(t)
			ok(t, x.DeleteType(ctx, typ))
		}
	})
}

func TestEnsureResourcesWantedTwice(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		instances(t, x)
		w := func(host, metric string) Wanted {
			return Wanted{Resource{ID: id(1), Type: "instance", Attributes: map[string]any{"host": host}}, []NewMetric{{Name: metric}}}
		}
		for range 2 {
			got := must(x.EnsureResources(t.Context(), []Wanted{w("a", "m"), w("b", "n"), w("b", "m")}))(t)
			same(t, got[0].Entries[0], got[2].Entries[0])
			r := must(x.Resource(t.Context(), "instance", id(1)))(t)
			same(t, []any{r.Attributes["host"], len(r.Metrics)}, []any{"b", 2})
		}
	})
}

func TestEnsureMetrics(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		r := must(x.CreateResource(ctx, &Resource{ID: id(1), Type: Generic}, nil, []NewMetric{{Name: "a"}}))(t)
		got := must(x.EnsureMetrics(ctx, []NewMetric{{Name: "b", Resource: id(1), Creator: "c"}, {Name: "a", Resource: id(1), Policy: "none"}, {Name: "b", Resource: id(1)}}))(t)
		same(t, got[1].ID, r.Metrics["a"])
		same(t, []any{got[0], got[0].Creator}, []any{got[2], "c"})
		_, err := x.EnsureMetrics(ctx, []NewMetric{{Name: "z", Resource: id(1)}, {Name: "a", Resource: id(2)}})
		wantError(t, err, &NotFoundError{KindResource, id(2).String()})
		same(t, len(must(x.Resource(ctx, Generic, id(1)))(t).Metrics), 2)
	})
}

// Many make the same things at once, on two processes' indexes where there may be
// two: each thing is made once, and all get the same.
func TestRaces(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		y := x
		if x.database.Shared() {
			y = open(t, x.where)
		}
		instances(t, x)
		var wait sync.WaitGroup
		at := func(n int) *Index { return []*Index{x, y}[n%2] }
		const workers, things = 8, 12
		type outcome struct{ resource, named, metric int }
		outcomes := make([]outcome, workers)
		entries := make([][][]*Entry, workers)
		failures := make(chan error, workers*things*4)
		start := make(chan struct{})
		for w := range workers {
			wait.Go(func() {
				<-start
				for n := range things {
					var exists *ExistsError
					_, err := at(w).CreateResource(ctx, &Resource{ID: id(n), Type: "instance", Creator: fmt.Sprint("c", w)}, nil, []NewMetric{{Name: "first"}})
					if err == nil {
						outcomes[w].resource++
					} else if !errors.As(err, &exists) {
						failures <- err
					}
					_, err = at(w).CreateMetrics(ctx, []NewMetric{{Name: "named", Resource: id(n)}})
					if err == nil {
						outcomes[w].named++
					} else if !errors.As(err, new(*NamedMetricError)) {
						failures <- err
					}
					_, err = at(w).CreateMetrics(ctx, []NewMetric{{ID: id(1000 + n)}})
					if err == nil {
						outcomes[w].metric++
					} else if !errors.As(err, &exists) {
						failures <- err
					}
					ensured, err := at(w).EnsureResources(ctx, []Wanted{
						{Resource{ID: id(100 + n), Type: "instance", Attributes: map[string]any{"host": fmt.Sprint(w)}}, []NewMetric{{Name: "a", Labels: map[string]string{"l": fmt.Sprint(n % 3)}}, {Name: "b"}}},
						{Resource{ID: id(200 - n), Type: Generic}, []NewMetric{{Name: "a"}}},
					})
					if err != nil {
						failures <- err
						return
					}
					entries[w] = append(entries[w], append(ensured[0].Entries, ensured[1].Entries...))
				}
			})
		}
		close(start)
		wait.Wait()
		close(failures)
		for err := range failures {
			t.Error(err)
		}
		if t.Failed() {
			t.FailNow()
		}
		total := outcome{}
		for _, o := range outcomes {
			total.resource, total.named, total.metric = total.resource+o.resource, total.named+o.named, total.metric+o.metric
		}
		same(t, total, outcome{things, things, things})
		for _, e := range entries {
			for n := range things {
				for i := range e[n] {
					same(t, e[n][i].ID, entries[0][n][i].ID)
				}
			}
		}
		same(t, len(must(x.Resources(ctx, ResourceQuery{Type: Generic, Page: Page{Limit: 1000}}))(t)), 3*things)
	})
}

// A metric that can't be made does not keep others of its resource from being made, and a
// unit no metric at all.
func TestEnsureResourcesLeavesOutMetrics(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		wanted := []Wanted{{Resource{ID: id(1), Type: Generic}, []NewMetric{
			{Name: "long", Unit: strings.Repeat("ü", 32)},
			{Name: strings.Repeat("n", maxName+1)},
			{Name: "odd", Unit: "\xff\x00B"},
			{Name: "labels", Labels: map[string]string{"a": "\x00"}},
		}}}
		for range 2 {
			e := must(x.EnsureResources(ctx, wanted))(t)[0]
			same(t, []bool{e.Entries[0] != nil, e.Entries[1] != nil, e.Entries[2] != nil, e.Entries[3] != nil}, []bool{true, false, true, false})
			if e.Err == nil || !strings.Contains(e.Err.Error(), "at most 4096 characters") || !strings.Contains(e.Err.Error(), "label is no text") {
				t.Errorf("%v", e.Err)
			}
		}
		r := must(x.Resource(ctx, Generic, id(1)))(t)
		same(t, must(x.Metric(ctx, r.Metrics["long"]))(t).Unit, strings.Repeat("ü", 31))
		same(t, must(x.Metric(ctx, r.Metrics["odd"]))(t).Unit, "B")
	})
}

// One metric is never given to two sets of labels.
func TestEnsureResourcesComparesLabels(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		want := func(value string) NewMetric {
			return NewMetric{Name: "up", Labels: map[string]string{"__name__": "up", "cpu": value}}
		}
		other := &LabelsError{id(1), "up"}
		ensure := func(metrics ...NewMetric) Ensured {
			t.Helper()
			return must(x.EnsureResources(ctx, []Wanted{{Resource{ID: id(1), Type: Generic}, metrics}}))(t)[0]
		}
		e := ensure(want("0"), want("1"))
		same(t, []bool{e.Entries[0] != nil, e.Entries[1] != nil}, []bool{true, false})
		var labels *LabelsError
		same(t, errors.As(e.Err, &labels), true)
		same(t, labels, other)
		again := ensure(want("1"), want("0"), NewMetric{Name: "up"})
		same(t, again.Entries, []*Entry{nil, e.Entries[0], e.Entries[0]})
		same(t, errors.As(again.Err, &labels), true)
	})
}

// Two nodes that make metrics of one name at a time do not get the same one for
// different labels.
func TestEnsureResourcesOfTwoNodes(t *testing.T) {
	t.Parallel()
	url := where(t, "postgres")
	nodes := []*Index{open(t, url), open(t, url)}
	ctx := t.Context()
	for n := range 20 {
		var group sync.WaitGroup
		results := make([]Ensured, len(nodes))
		for i, x := range nodes {
			group.Go(func() {
				m := NewMetric{Name: "up", Labels: map[string]string{"cpu": fmt.Sprint(i)}}
				list, err := x.EnsureResources(ctx, []Wanted{{Resource{ID: id(n), Type: Generic}, []NewMetric{m}}})
				if err != nil {
					t.Error(err)
					return
				}
				results[i] = list[0]
			})
		}
		group.Wait()
		if (results[0].Entries[0] != nil) == (results[1].Entries[0] != nil) {
			t.Fatalf("%+v", results)
		}
	}
}
