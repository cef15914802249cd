package remote

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/sdk"
)

// filled is a neighbour with metrics of two projects, and begin is when their points begin.
func filled(t *testing.T) (n *neighbour, begin time.Time) {
	n = newNeighbour(t)
	begin = time.Now().Add(-time.Hour).Truncate(time.Hour)
	n.publish(t, func(out *sdk.Builder) {
		for i := range 6 {
			out.At(begin.Add(time.Duration(i) * 2 * time.Minute))
			a := out.On(sdk.Resource{ID: "vm/1", ProjectID: "p"})
			a.Gauge("cpu_util", "%", float64(i))
			a.Gauge("x/y", "u", 1)
			out.On(sdk.Resource{ID: "vm2", ProjectID: "q"}).Gauge("cpu_util", "%", float64(10*i))
			out.On(sdk.Resource{ID: "2cfdc9ae-8e6a-4b1c-9d5e-0f2a7c1b3d4e", ProjectID: "p"}).Gauge("cpu_util", "%", 7)
		}
	})
	return n, begin
}

// By its API an aggregator gives the series that it gives by itself.
func TestFindSeries(t *testing.T) {
	n, _ := filled(t)
	g := newGnocchi(t, n.url)
	names := []sdk.SeriesName{
		{Resource: "vm2", Meter: "cpu_util"}, {Resource: "nothing", Meter: "cpu_util"}, {Resource: "vm/1", Meter: "x/y"}, {Resource: "vm2", Meter: "x/y"},
		{Resource: "", Meter: "loose"}, {Resource: "vm2", Meter: "cpu_util"}, {Resource: "2cfdc9ae-8e6a-4b1c-9d5e-0f2a7c1b3d4e", Meter: "cpu_util"},
	}
	text, there := found(t, n, sdk.SeriesQuery{Scope: everything, Names: names})
	if !strings.Contains(text, "5 vm2 cpu_util") {
		t.Fatal(text)
	}
	one, two := there["vm2 cpu_util"], there["vm_1 x_y"]
	search := func(kind, filter string, meters ...string) sdk.SeriesQuery {
		return sdk.SeriesQuery{Search: &sdk.ResourceSearch{Type: kind, Filter: filter, Meters: meters}}
	}
	for _, q := range []sdk.SeriesQuery{
		{Names: names},
		{IDs: []string{one.ID, "no id", two.ID, uuid.NewString(), strings.ToUpper(one.ID)}},
		search("generic", ""),
		search("instance", "", "cpu_util"),
		search("generic", "", "x/y"),
		search("generic", `project_id = "q"`),
		search("generic", ` {"=": {"original_resource_id": "vm_1"}}`, "x/y"),
		search("generic", `not (original_resource_id in ["vm2", "b"] or original_resource_id like "2%") and ended_at = null`),
		search("generic", "project_id >"),
		search("generic", "nothing = 1"),
		search("nothing", ""),
	} {
		for _, scope := range []sdk.Scope{everything, {User: "u", Project: "p"}, {Project: "q"}, {User: "admin"}, {Project: "r"}, {}} {
			q.Scope = scope
			want, _ := found(t, n, q)
			got, series := found(t, g, q)
			if got != want {
				t.Errorf("%+v %+v: got %s, want %s", q, q.Search, got, want)
			}
			for name, s := range series {
				if s.ID != there[name].ID && there[name].ID != "" || s.Project != there[name].Project && there[name].ID != "" {
					t.Errorf("%+v is not %+v", s, there[name])
				}
			}
		}
	}
	// A number stays that of its metric.
	_, first := found(t, g, sdk.SeriesQuery{Scope: everything, Names: names})
	_, second := found(t, g, sdk.SeriesQuery{Scope: everything, IDs: []string{one.ID}})
	if a, b := first["vm2 cpu_util"], second["vm2 cpu_util"]; a.Number != b.Number || b.Number == 0 || b.Unit != "%" {
		t.Errorf("%+v and %+v", a, b)
	}
	if got, _ := found(t, g, sdk.SeriesQuery{Scope: everything, IDs: []string{uuid.NewString()}}); got != "" {
		t.Error(got)
	}
}

// By its API an aggregator gives the windows that it gives by itself; what is wrong with
// one metric does not keep others from theirs.
func TestWindows(t *testing.T) {
	n, begin := filled(t)
	g := newGnocchi(t, n.url)
	q := sdk.SeriesQuery{Scope: everything, Search: &sdk.ResourceSearch{Type: "generic"}}
	_, there := found(t, n, q)
	_, here := found(t, g, q)
	gone := uuid.New()
	queries := func(series map[string]sdk.Series, gone uint64) []sdk.WindowQuery {
		a, b, c := series["vm_1 cpu_util"].Number, series["vm2 cpu_util"].Number, series["vm_1 x_y"].Number
		to := begin.Add(time.Hour)
		return []sdk.WindowQuery{
			{Series: []uint64{a, gone, b, a}, Granularity: 5 * time.Minute, Aggregation: "mean", From: begin, To: to},
			{Series: []uint64{c, a}, Granularity: 5 * time.Minute, Aggregation: "max", From: begin.Add(6 * time.Minute), To: begin.Add(10 * time.Minute)},
			{Series: []uint64{a, b}, Granularity: 7 * time.Second, Aggregation: "mean", From: begin, To: to},
			{Series: []uint64{a, gone}, Granularity: 5 * time.Minute, Aggregation: "95pct", From: begin, To: to},
			{Series: []uint64{0, 1 << 40}, Granularity: 5 * time.Minute, Aggregation: "mean", From: begin, To: to},
			{Granularity: 5 * time.Minute, Aggregation: "mean"},
		}
	}
	want := rows(n.Windows(t.Context(), queries(there, 1<<40)))
	if got := rows(g.Windows(t.Context(), queries(here, g.numbers.of(gone)))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(want, "[0.5 ") && !strings.Contains(want, "[1 ") {
		t.Error("there is little to compare: " + want)
	}
}

// By its API an aggregator computes what it computes by itself, for those who may.
func TestCompute(t *testing.T) {
	n, begin := filled(t)
	g := newGnocchi(t, n.url)
	_, series := found(t, n, sdk.SeriesQuery{Scope: everything, Search: &sdk.ResourceSearch{Type: "generic"}})
	a, b := series["vm_1 cpu_util"].ID, series["vm2 cpu_util"].ID
	all := &sdk.ResourceSearch{Type: "generic"}
	kept := 0
	for _, f := range []struct {
		expression string
		search     *sdk.ResourceSearch
	}{
		{`["aggregate", "mean", ["metric", "` + a + `", "mean"], ["metric", "` + b + `", "mean"]]`, nil},
		{`["aggregate", "mean", ["metric", ["` + a + `", "mean"], ["` + b + `", "mean"]]]`, nil},
		{`["metric", ["` + a + `", "mean"], ["` + b + `", "max"]]`, nil},
		{"(* 100 (/ (metric " + a + " mean) (metric " + a + " max)))", nil},
		{"(+ (metric " + a + " mean) 1.5)", nil},
		{"(metric " + a + " last)", nil},
		{"(metric " + uuid.NewString() + " mean)", nil},
		{"(metric cpu_util mean)", nil},
		{"(metric cpu_util", nil},
		{"(aggregate sum (metric cpu_util mean))", all},
		{"(aggregate sum (metric 'x_y' mean))", all},
		{`["aggregate", "max", ["metric", "cpu*", "mean"]]`, &sdk.ResourceSearch{Type: "instance", Filter: `{"=": {"project_id": "p"}}`}},
		{"(aggregate sum (metric cpu_util mean))", &sdk.ResourceSearch{Type: "generic", Filter: `original_resource_id = "vm2"`}},
		{"(aggregate sum (metric cpu_util mean))", &sdk.ResourceSearch{Type: "generic", Filter: `original_resource_id = "x") or (id != null`}},
		{"(aggregate sum (metric nothing mean))", all},
		{"(aggregate sum (metric cpu_util mean))", &sdk.ResourceSearch{Type: "nothing"}},
		{"(aggregate sum (metric cpu_util mean))", &sdk.ResourceSearch{}},
	} {
		for _, scope := range []sdk.Scope{everything, {Project: "p"}, {Project: "q", User: "u"}, {}} {
			q := sdk.ComputeQuery{Scope: scope, Language: "operations", Expression: f.expression, Search: f.search, From: begin, To: begin.Add(time.Hour), Granularity: 5 * time.Minute}
			want := computedText(n.Compute(t.Context(), q))
			for range 2 { // who may see what is remembered
				if got := computedText(g.Compute(t.Context(), q)); got != want {
					t.Errorf("%s in %+v for %+v: got %s, want %s", f.expression, f.search, scope, got, want)
				}
			}
			if want != "refused" {
				kept++
			}
		}
	}
	if kept < 15 {
		t.Errorf("only %d expressions are computed", kept)
	}
	for _, q := range []sdk.ComputeQuery{{Language: "promql", Expression: "up"}, {Language: "sql"}, {Language: "operations", Expression: "(metric " + a + " mean)"}} {
		q.Scope = everything
		if got := computedText(g.Compute(t.Context(), q)); got != "refused" {
			t.Errorf("%+v: %s", q, got)
		}
	}
}

// An aggregator tells by its API which series advance.
func TestFollow(t *testing.T) {
	n, begin := filled(t)
	g := newGnocchi(t, n.url)
	at := begin.Add(40 * time.Minute)
	write := func() {
		n.publish(t, func(out *sdk.Builder) {
			out.At(at)
			out.On(sdk.Resource{ID: "vm2", ProjectID: "q"}).Gauge("cpu_util", "%", 1)
			out.On(sdk.Resource{ID: "new", ProjectID: "q"}).Gauge("cpu_util", "%", 1)
			out.On(sdk.Resource{ID: "vm/1", ProjectID: "p"}).Gauge("x/y", "u", 1)
		})
	}
	follow := func(q sdk.FollowQuery, series int) (described []string) {
		t.Helper()
		times := map[uint64]int64{}
		first := true
		for a, err := range g.Follow(t.Context(), q) {
			if err != nil {
				t.Fatal(err)
			}
			if first {
				if len(a.Numbers)+len(a.New) != 0 {
					t.Errorf("the first is %+v", a)
				}
				at = at.Add(time.Minute)
				write()
				first = false
			}
			for _, s := range a.New {
				described = append(described, s.Resource+" "+s.Meter)
			}
			for i, number := range a.Numbers {
				times[number] = a.Times[i]
			}
			if len(times) == series {
				break
			}
		}
		for number, told := range times {
			if told != at.UnixNano() {
				t.Errorf("series %d is at %d, not %d", number, told, at.UnixNano())
			}
		}
		return described
	}
	if got := follow(sdk.FollowQuery{}, 3); len(got) != 3 {
		t.Errorf("described are %q", got)
	}
	if got := follow(sdk.FollowQuery{Meters: []string{"x/y"}}, 1); len(got) != 1 || got[0] != "vm_1 x_y" {
		t.Errorf("described are %q", got)
	}
	if got := follow(sdk.FollowQuery{Undescribed: true}, 3); len(got) != 0 {
		t.Errorf("described are %q", got)
	}
}

// Numbers are never given twice, and what is asked for keeps its number.
func TestNumbers(t *testing.T) {
	n := newNumbers(3)
	stays := uuid.New()
	number := n.of(stays)
	given := map[uint64]bool{number: true}
	var early uuid.UUID
	for i := range 20 {
		id := uuid.New()
		if i == 0 {
			early = id
		}
		other := n.of(id)
		if given[other] {
			t.Fatalf("%d is given twice", other)
		}
		given[other] = true
		if got, ok := n.id(other); !ok || got != id {
			t.Errorf("%d is %v", other, got)
		}
		if got := n.of(stays); got != number {
			t.Errorf("the number is %d, not %d", got, number)
		}
		if got, ok := n.id(number); !ok || got != stays {
			t.Errorf("the metric is %v", got)
		}
	}
	if len(n.young.ids) > 3 || len(n.old.ids) > 3 {
		t.Errorf("%d and %d are kept", len(n.young.ids), len(n.old.ids))
	}
	if again := n.of(early); given[again] {
		t.Errorf("%d is given twice", again)
	}
}
