package aggregator

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// found gives the series of an answer, each as position, resource and meter, and their
// numbers by resource and meter.
func found(t *testing.T, r sdk.SeriesReader, q sdk.SeriesQuery) (string, map[string]sdk.Series) {
	t.Helper()
	list, err := r.FindSeries(t.Context(), q)
	if err != nil {
		return "error: " + err.Error(), nil
	}
	var names []string
	series := map[string]sdk.Series{}
	for _, f := range list {
		name := f.Resource + " " + f.Meter
		names = append(names, fmt.Sprint(f.Position, " ", name))
		series[name] = f.Series
	}
	slices.Sort(names)
	return strings.Join(names, ", "), series
}

var everything = sdk.Scope{All: true}

func TestFindSeries(t *testing.T) {
	s := start(t, "")
	at := time.Now().Add(-time.Hour)
	err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) {
		out.At(at)
		a := out.On(sdk.Resource{ID: "vm/1", ProjectID: "p"})
		a.Gauge("cpu_util", "%", 1)
		a.Gauge("x/y", "u", 1)
		out.On(sdk.Resource{ID: "vm2", ProjectID: "q"}).Gauge("cpu_util", "%", 2)
	}))
	if err != nil {
		t.Fatal(err)
	}
	loose, err := s.index.CreateMetrics(t.Context(), []index.NewMetric{{Name: "loose", Creator: "u:p", Policy: "low"}})
	if err != nil {
		t.Fatal(err)
	}
	all := func(q sdk.SeriesQuery) sdk.SeriesQuery { q.Scope = everything; return q }
	byName := sdk.SeriesQuery{Names: []sdk.SeriesName{{Resource: "vm2", Meter: "cpu_util"}, {Resource: "nothing", Meter: "cpu_util"}, {Resource: "vm/1", Meter: "x/y"}, {Resource: "vm2", Meter: "x/y"}, {Resource: "", Meter: "loose"}, {Resource: "vm2", Meter: "cpu_util"}}}
	text, series := found(t, s, all(byName))
	if text != "0 vm2 cpu_util, 2 vm_1 x_y, 5 vm2 cpu_util" {
		t.Error(text)
	}
	one := series["vm2 cpu_util"]
	entry, err := s.index.LookupRefs(t.Context(), []engine.Ref{engine.Ref(one.Number)}, nil)
	if err != nil || entry[0] == nil || entry[0].ID.String() != one.ID {
		t.Fatalf("%+v is %v, error %v", one, entry, err)
	}
	one.Number, one.ID = 0, ""
	if want := (sdk.Series{Meter: "cpu_util", Unit: "%", Resource: "vm2", ResourceType: "instance", Project: "q", Creator: "admin"}); one != want {
		t.Errorf("got %+v, want %+v", one, want)
	}
	byID := sdk.SeriesQuery{IDs: []string{loose[0].ID.String(), "no id", series["vm_1 x_y"].ID, strings.ToUpper(series["vm2 cpu_util"].ID)}}
	generic := func(filter string, meters ...string) sdk.SeriesQuery {
		return sdk.SeriesQuery{Search: &sdk.ResourceSearch{Type: "generic", Filter: filter, Meters: meters}}
	}
	scoped := func(q sdk.SeriesQuery, project string) sdk.SeriesQuery {
		q.Scope = sdk.Scope{User: "u", Project: project}
		return q
	}
	for _, f := range []struct {
		q    sdk.SeriesQuery
		want string
	}{
		{all(byID), "0  loose, 2 vm_1 x_y, 3 vm2 cpu_util"},
		{scoped(byID, "p"), "0  loose, 2 vm_1 x_y"},
		{scoped(byID, "q"), "3 vm2 cpu_util"},
		{scoped(byID, ""), ""},
		{byID, ""},
		{scoped(byName, "p"), "2 vm_1 x_y"},
		{all(generic("")), "0 vm2 cpu_util, 0 vm_1 cpu_util, 0 vm_1 x_y"},
		{all(generic("", "cpu_util", "x/y")), "0 vm2 cpu_util, 0 vm_1 cpu_util, 0 vm_1 x_y"},
		{all(generic(`project_id = "q"`)), "0 vm2 cpu_util"},
		{all(generic(` {"=": {"original_resource_id": "vm_1"}}`, "x/y")), "0 vm_1 x_y"},
		{scoped(generic(""), "p"), "0 vm_1 cpu_util, 0 vm_1 x_y"},
		{scoped(generic(""), "r"), ""},
		{scoped(generic(""), ""), "error: a search needs a project, or the right to see everything"},
		{all(generic("project_id >")), "error: "},
		{all(generic("nothing = 1")), "error: "},
		{all(sdk.SeriesQuery{Search: &sdk.ResourceSearch{Type: "nothing"}}), "error: Resource type nothing does not exist"},
	} {
		got, _ := found(t, s, f.q)
		if got != f.want && !(f.want == "error: " && strings.HasPrefix(got, f.want)) {
			t.Errorf("%+v: got %s, want %s", f.q, got, f.want)
		}
		var refused *sdk.Refused
		if _, err := s.FindSeries(t.Context(), f.q); err != nil && !errors.As(err, &refused) {
			t.Errorf("%+v: error %#v", f.q, err)
		}
	}
}

// rowText is a row of windows: seconds after begin and values.
func rowText(begin time.Time, row sdk.WindowRow) string {
	if row.Err != nil {
		return row.Err.Error()
	}
	text := ""
	for i, at := range row.Times {
		text += fmt.Sprintf("%v=%v ", time.Unix(0, at).Sub(begin), row.Values[i])
	}
	return strings.TrimSpace(text)
}

func TestWindows(t *testing.T) {
	s := start(t, "")
	begin := time.Now().Add(-2 * time.Hour).Truncate(time.Hour)
	err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) {
		for i := range 6 {
			out.At(begin.Add(time.Duration(i) * 30 * time.Second))
			out.On(sdk.Resource{ID: "a"}).Gauge("cpu_util", "%", float64(i))
			if i < 2 {
				out.On(sdk.Resource{ID: "b"}).Gauge("cpu_util", "%", float64(10*i))
			}
		}
		out.On(sdk.Resource{ID: "gone"}).Gauge("cpu_util", "%", 1)
	}))
	if err != nil {
		t.Fatal(err)
	}
	_, series := found(t, s, sdk.SeriesQuery{Scope: everything, Search: &sdk.ResourceSearch{Type: "generic"}})
	number := func(resource string) uint64 { return series[resource+" cpu_util"].Number }
	unwritten, err := s.index.CreateMetrics(t.Context(), []index.NewMetric{{Policy: "medium"}})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := s.index.LookupRefs(t.Context(), []engine.Ref{engine.Ref(number("gone"))}, nil)
	if err != nil || s.index.DeleteMetric(t.Context(), gone[0].ID) != nil {
		t.Fatal(err)
	}
	ask := func(granularity time.Duration, aggregation string, from, to time.Duration, numbers ...uint64) sdk.WindowQuery {
		return sdk.WindowQuery{Series: numbers, Granularity: granularity, Aggregation: aggregation, From: begin.Add(from), To: begin.Add(to)}
	}
	a, b := number("a"), number("b")
	w, err := s.Windows(t.Context(), []sdk.WindowQuery{
		ask(time.Minute, "mean", 0, time.Hour, b, a, 0, number("gone"), 1<<40, a),
		ask(time.Minute, "max", 90*time.Second, 2*time.Minute, a, b),
		ask(time.Minute, "max", 90*time.Second, 2*time.Minute+1, a, uint64(unwritten[0].Ref)),
		ask(7*time.Second, "max", 0, time.Hour, a),
		ask(time.Minute, "std", 0, time.Hour, a),
		ask(time.Minute, "nonsense", 0, time.Hour, a),
		ask(time.Hour, "sum", time.Minute, time.Hour, a, b),
		ask(time.Minute, "mean", time.Hour, 0, a),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range w.All() {
		got = append(got, rowText(begin, row))
	}
	none := sdk.NoSeries.Error()
	minutes := "0s=0.5 1m0s=2.5 2m0s=4.5"
	want := []string{
		"0s=5", minutes, none, none, none, minutes,
		"1m0s=3", "",
		"1m0s=3 2m0s=5", "",
		sdk.NoGranularity.Error(), sdk.NoAggregation.Error(), sdk.NoAggregation.Error(),
		"0s=15", "0s=10",
		"",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Through the real protocol: what is written is told, whatever wrote it, with what it
// is about.
func TestFollowSeries(t *testing.T) {
	p := sdktest.StartWith(t, sdktest.Options{Config: "path = ''\nlisten = ''"})
	next, stop := iter.Pull2(p.Series().Follow(t.Context(), sdk.FollowQuery{Meters: []string{"cpu_util"}}))
	defer stop()
	advance := func() map[string]time.Duration {
		t.Helper()
		a, err, ok := next()
		if err != nil || !ok {
			t.Fatalf("error %v", err)
		}
		told := map[string]time.Duration{}
		for i, n := range a.Numbers {
			told[fmt.Sprint(n)] = time.Duration(a.Times[i])
		}
		for _, s := range a.New {
			told[s.Resource+" "+s.Meter] = told[fmt.Sprint(s.Number)]
			delete(told, fmt.Sprint(s.Number))
		}
		return told
	}
	if first := advance(); len(first) != 0 {
		t.Errorf("the first tells of %v", first)
	}
	begin := time.Now().Add(-time.Hour).Truncate(time.Minute)
	publish := func(meter string, seconds ...int) {
		t.Helper()
		for _, n := range seconds {
			err := p.Publish(t.Context(), sdk.Sample{Name: meter, ResourceID: "vm", Volume: 1, Timestamp: begin.Add(time.Duration(n) * time.Second)})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	is := func(name string, second int) {
		t.Helper()
		want := map[string]time.Duration{name: time.Duration(begin.Add(time.Duration(second) * time.Second).UnixNano())}
		if got := advance(); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	publish("memory", 1)
	publish("cpu_util", 1, 2)
	is("vm cpu_util", 2)
	publish("cpu_util", 3, 4, 5)
	publish("memory", 9)
	_, series := found(t, p.Series(), sdk.SeriesQuery{Scope: everything, Names: []sdk.SeriesName{{Resource: "vm", Meter: "cpu_util"}}})
	number := series["vm cpu_util"].Number
	is(fmt.Sprint(number), 5)

	// A store that ends and starts again has the same numbers.
	p.Kill()
	if _, err, _ := next(); err == nil {
		t.Error("a store that was killed goes on")
	}
	p.Restart()
	next, stop = iter.Pull2(p.Series().Follow(t.Context(), sdk.FollowQuery{Undescribed: true}))
	defer stop()
	if first := advance(); len(first) != 0 {
		t.Errorf("the first tells of %v", first)
	}
	publish("cpu_util", 6)
	is(fmt.Sprint(number), 6)
	w, err := p.Series().Windows(t.Context(), []sdk.WindowQuery{{Series: []uint64{number}, Granularity: time.Minute, Aggregation: "count", From: begin, To: time.Now()}})
	if err != nil || len(w.Values) != 1 {
		t.Errorf("got %v, error %v", w, err)
	}
}

func TestCompute(t *testing.T) {
	s := start(t, "")
	begin := time.Now().Add(-2 * time.Hour).Truncate(time.Hour)
	err := s.Publish(t.Context(), build(t, func(out *sdk.Builder) {
		for i := range 4 {
			out.At(begin.Add(time.Duration(i) * 30 * time.Second))
			out.On(sdk.Resource{ID: "a", ProjectID: "p"}).Gauge("cpu_util", "%", float64(i))
			out.On(sdk.Resource{ID: "b", ProjectID: "q"}).Gauge("cpu_util", "%", float64(10*i))
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	_, series := found(t, s, sdk.SeriesQuery{Scope: everything, Search: &sdk.ResourceSearch{Type: "generic"}})
	a, b := series["a cpu_util"].ID, series["b cpu_util"].ID
	generic := &sdk.ResourceSearch{Type: "generic"}
	onlyB := &sdk.ResourceSearch{Type: "generic", Filter: `project_id = "q"`}
	p := sdk.Scope{User: "u", Project: "p"}
	f := func(q sdk.ComputeQuery, want string) {
		t.Helper()
		if q.Language == "" {
			q.Language, q.Granularity = "operations", time.Minute
		}
		if q.To.IsZero() {
			q.From, q.To = begin, begin.Add(time.Hour)
		}
		list, err := s.Compute(t.Context(), q)
		var lines []string
		for _, c := range list {
			lines = append(lines, fmt.Sprint(c.Labels, " ", rowText(begin, sdk.WindowRow{Times: c.Times, Values: c.Values})))
		}
		slices.Sort(lines)
		got := strings.Join(lines, "; ")
		var refused *sdk.Refused
		if err != nil {
			got = "error: " + err.Error()
			if !errors.As(err, &refused) {
				t.Errorf("%s: error %#v", q.Expression, err)
			}
		}
		if got != want && !(strings.HasSuffix(want, "...") && strings.HasPrefix(got, strings.TrimSuffix(want, "..."))) {
			t.Errorf("%s of %+v\ngot  %s\nwant %s", q.Expression, q.Scope, got, want)
		}
	}
	mean := "(aggregate mean (metric cpu_util mean))"
	f(sdk.ComputeQuery{Scope: everything, Expression: mean, Search: generic}, "map[] 0s=2.75 1m0s=13.75")
	f(sdk.ComputeQuery{Scope: p, Expression: mean, Search: generic}, "map[] 0s=0.5 1m0s=2.5")
	f(sdk.ComputeQuery{Scope: p, Expression: mean, Search: onlyB}, "")
	f(sdk.ComputeQuery{Expression: mean, Search: generic}, "error: ...")
	f(sdk.ComputeQuery{Scope: everything, Expression: `["*", 2, ["metric", "cpu_*", "max"]]`, Search: onlyB}, "map[aggregation:max meter:cpu_util resource:b] 0s=20 1m0s=60")
	f(sdk.ComputeQuery{Scope: everything, Expression: "(+ (metric " + a + " mean) (metric " + b + " mean))"}, "map[] 0s=5.5 1m0s=27.5")
	f(sdk.ComputeQuery{Scope: p, Expression: "(metric " + a + " mean)"}, "map[aggregation:mean series:"+a+"] 0s=0.5 1m0s=2.5")
	f(sdk.ComputeQuery{Scope: p, Expression: "(metric " + b + " mean)"}, "error: 403...")
	f(sdk.ComputeQuery{Scope: everything, Expression: "(metric " + a + " std)"}, "error: 404...")
	f(sdk.ComputeQuery{Scope: everything, Expression: "(metric"}, "error: ...")
	f(sdk.ComputeQuery{Scope: everything, Expression: mean}, "error: 400...")
	f(sdk.ComputeQuery{Scope: everything, Expression: mean, Search: &sdk.ResourceSearch{Type: "nothing"}}, "error: 400...")
	f(sdk.ComputeQuery{Scope: everything, Expression: mean, Search: &sdk.ResourceSearch{Type: "generic", Filter: "nothing = 1"}}, "error: ...")
	f(sdk.ComputeQuery{Scope: everything, Language: "operations", Expression: mean, Search: generic}, "error: operations need a granularity")
	f(sdk.ComputeQuery{Scope: everything, Language: "sql"}, `error: language "sql" is neither operations nor promql`)

	at := begin.Add(time.Minute)
	f(sdk.ComputeQuery{Scope: everything, Language: "promql", Expression: "sum(cpu_util)", To: at}, "map[] 1m0s=27.5")
	f(sdk.ComputeQuery{Scope: p, Language: "promql", Expression: "sum(cpu_util)", To: at}, "map[] 1m0s=2.5")
	f(sdk.ComputeQuery{Scope: everything, Language: "promql", Expression: "sum by (resource_id) (cpu_util)", From: begin, To: at, Granularity: time.Minute},
		"map[resource_id:a] 0s=0.5 1m0s=2.5; map[resource_id:b] 0s=5 1m0s=25")
	f(sdk.ComputeQuery{Scope: everything, Language: "promql", Expression: "1 + 1", To: at}, "map[] 1m0s=2")
	f(sdk.ComputeQuery{Scope: everything, Language: "promql", Expression: "cpu_util > 1000", To: at}, "")
	f(sdk.ComputeQuery{Language: "promql", Expression: "cpu_util", To: at}, "error: the token is of no project...")
	f(sdk.ComputeQuery{Scope: everything, Language: "promql", Expression: "cpu_util >", To: at}, "error: ...")
	f(sdk.ComputeQuery{Scope: everything, Language: "promql", Expression: `"text"`, To: at}, "error: the expression gives a string, not numbers")
}
