package promql

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
)

// check compares answers.
func check(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestInstantQueries(t *testing.T) {
	r := newRig(t, Options{})
	r.metric("admin", "vm-1", "instance", "p1", map[string]any{"host": "c1", "flavor-name": "tiny", "vcpus": 2.0, "metric": "x"}, "cpu.util", "gauge", []measure{{0, 1}, {10, 3}, {60, 5}})
	r.metric("admin", "vm-2", "instance", "p2", map[string]any{"host": "c2"}, "cpu.util", "gauge", []measure{{60, 7}})
	r.metric("admin", "vm-2", "instance", "p2", nil, "memory", "gauge", []measure{{60, 9}})
	const one = "{__name__:cpu_util,attribute_metric:x,flavor_name:tiny,host:c1,metric:cpu.util,project_id:p1,resource_id:vm-1,resource_type:instance,vcpus:2}"
	const two = "{__name__:cpu_util,host:c2,metric:cpu.util,project_id:p2,resource_id:vm-2,resource_type:instance}"
	f := func(query string, second int, want string) {
		t.Helper()
		check(t, query, r.result("query", "query", query, "time", at(second)), want)
	}
	f("cpu_util", 61, one+" 61=5\n"+two+" 61=7")
	f("cpu_util", 30, one+" 30=2")
	f("cpu_util", 60+299, one+" 359=5\n"+two+" 359=7")
	f("cpu_util", 60+301, "")
	f(`{"cpu.util",host="c1"}`, 61, one+" 61=5")
	f(`{metric="cpu.util",vcpus="2"}`, 61, one+" 61=5")
	f(`{metric="",resource_id="vm-2"}`, 61, "{__name__:memory,host:c2,project_id:p2,resource_id:vm-2,resource_type:instance} 61=9")
	f(`cpu_util{host=~"c1|c3"}`, 61, one+" 61=5")
	f(`cpu_util{host=~"c.*",project_id!="p1"}`, 61, two+" 61=7")
	f(`cpu_util{flavor_name=""}`, 61, two+" 61=7")
	f(`cpu_util{vcpus=~"1|2"}`, 61, one+" 61=5")
	f(`cpu_util{vcpus="3"}`, 61, "")
	f(`cpu_util{attribute_metric="x"}`, 61, one+" 61=5")
	f(`cpu_util{resource_type="instance",resource_id="vm-2"}`, 61, two+" 61=7")
	f(`cpu_util{resource_type="generic"}`, 61, "")
	f(`cpu_util{nothing="x"}`, 61, "")
	f(`cpu_util{user_id=""}`, 61, one+" 61=5\n"+two+" 61=7")
	f(`nothing`, 61, "")
	f(`sum by (host) ({__name__=~"cpu_util|memory"})`, 61, "{host:c1} 61=5\n{host:c2} 61=16")
	f(`cpu_util{host="c1",aggregation="max"}`, 30, strings.Replace(one, "attribute_metric", "aggregation:max,attribute_metric", 1)+" 30=3")
	f(`count by (aggregation) (cpu_util{host="c1",aggregation=~".+"})`, 30, "{aggregation:mean} 30=1\n{aggregation:sum} 30=1\n{aggregation:max} 30=1\n{aggregation:min} 30=1\n{aggregation:count} 30=1")
	f(`cpu_util{host="c1",granularity="1h"}`, 3000, "{__name__:cpu_util,attribute_metric:x,flavor_name:tiny,granularity:1h,host:c1,metric:cpu.util,project_id:p1,resource_id:vm-1,resource_type:instance,vcpus:2} 3000=3")
	f(`count by (granularity) (cpu_util{host="c1",granularity!=""})`, 30, "{granularity:60} 30=1\n{granularity:300} 30=1\n{granularity:3600} 30=1")
	f(`cpu_util{granularity="7"}`, 30, "")
	f(`cpu_util{granularity="x"}`, 30, `400 bad_data: granularity "x" is no timespan such as 300, 5m or 1h`)
	f("1+1", 5, fmt.Sprintf(`[%s,"2"]`, at(5)))
	f(`"text"`, 5, fmt.Sprintf(`[%s,"text"]`, at(5)))
}

func TestRangesChooseGranularities(t *testing.T) {
	r := newRig(t, Options{})
	r.now = start.Add(4 * time.Hour)
	// Two hours by minutes are kept, older ones by 5 minutes or hours.
	r.metric("admin", "vm", "generic", "", nil, "m", "gauge", every(60, 240, func(i int) float64 { return float64(i) }))
	values := func(query string, from, to, step int) string {
		t.Helper()
		line := r.result("query_range", "query", query, "start", at(from), "end", at(to), "step", fmt.Sprint(step))
		_, line, _ = strings.Cut(line, "} ")
		return line
	}
	check(t, "by minutes", values("m", 12000, 12240, 60), "12000=200 12060=201 12120=202 12180=203 12240=204")
	check(t, "finer than there is", values("m", 12000, 12060, 30), "12000=200 12030=200 12060=201")
	check(t, "by 5 minutes", values("m", 12000, 12900, 300), "12000=202 12300=207 12600=212 12900=217")
	check(t, "by minutes that are gone", values("m", 3000, 3240, 60), "3000=52 3060=52 3120=52 3180=52 3240=52")
	check(t, "by hours", values("m", 0, 14400, 3600), "0=29.5 3600=89.5 7200=149.5 10800=209.5")
	check(t, "hours by quarters", values(`m{granularity="1h"}`, 0, 4500, 900), "0=29.5 900=29.5 1800=29.5 2700=29.5 3600=89.5 4500=89.5")
	check(t, "a range of windows", values("avg_over_time(m[20m])", 12600, 12600, 60), "12600=204.5")
	check(t, "the largest of all", values("max_over_time(m[1h])", 14400, 14400, 60), "14400=239")
	check(t, "all of them", values("sum_over_time(m[4h])", 14399, 14399, 60), fmt.Sprintf("14399=%d", 239*240/2))
	check(t, "windows are counted", values("count_over_time(m[1h])", 14399, 14399, 60), "14399=12")
	check(t, "an offset", values("m offset 1h", 14400, 14400, 60), "14400=180")
	check(t, "a fixed time", values(fmt.Sprintf("m @ %s", at(12000)), 14400, 14460, 60), "14400=200 14460=200")
	check(t, "a subquery", values("max_over_time(m[10m:1m])", 12000, 12000, 60), "12000=200")
}

// Counters of samples work with rate(), whatever else is kept of them.
func TestRates(t *testing.T) {
	r := newRig(t, Options{})
	r.metric("admin", "vm", "generic", "", nil, "cpu", "counter", every(10, 360, func(i int) float64 { return float64(i) * 25 }))
	f := func(query, want string) {
		t.Helper()
		got := r.result("query", "query", query, "time", at(3000))
		_, got, _ = strings.Cut(got, "} ")
		check(t, query, got, want)
	}
	// The last values of minutes are 60 s and 150 apart.
	f("rate(cpu[10m])", "3000=2.5")
	f("increase(cpu[10m])", "3000=1500")
	f("irate(cpu[10m])", "3000=2.5")
	f(`cpu{aggregation="rate:mean"}`, "3000=25")
	// Of the first value in the last minute to that of the mean.
	f("cpu", "3000=7562.5")
	f("last_over_time(cpu[2m])", "3000=7625")
}

func TestRemoteWrittenMetrics(t *testing.T) {
	r := newRig(t, Options{})
	r.remote(map[string]string{"__name__": "up", "job": "node", "instance": "a:9100"}, "counter", []measure{{0, 1}, {30, 2}, {60, 0}})
	r.remote(map[string]string{"__name__": "up", "job": "node", "instance": "b:9100", "dc": "x"}, "gauge", []measure{{0, 1}, {30, 2}})
	r.metric("admin", "vm", "generic", "", nil, "cpu", "gauge", []measure{{0, 5}})
	f := func(query, want string) {
		t.Helper()
		check(t, query, r.result("query", "query", query, "time", at(59)), want)
	}
	// The last value where it is kept, else the mean.
	f("up", "{__name__:up,dc:x,instance:b:9100,job:node} 59=1.5\n{__name__:up,instance:a:9100,job:node} 59=2")
	f(`up{instance="a:9100"}`, "{__name__:up,instance:a:9100,job:node} 59=2")
	f(`up{dc=""}`, "{__name__:up,instance:a:9100,job:node} 59=2")
	f(`up{resource_type="generic"}`, "")
	f(`up{instance="a:9100",aggregation="mean"}`, "{__name__:up,aggregation:mean,instance:a:9100,job:node} 59=1.5")
	f(`{job=~"n.*",dc!="x"}`, "{__name__:up,instance:a:9100,job:node} 59=2")
	f(`count({__name__=~".+"})`, "{} 59=3")
}

func TestTenancy(t *testing.T) {
	r := newRig(t, Options{})
	r.metric("u1:p1", "vm-1", "instance", "p1", map[string]any{"host": "c1"}, "cpu", "gauge", []measure{{0, 1}})
	r.metric("admin", "vm-2", "instance", "p2", map[string]any{"host": "c2"}, "cpu", "gauge", []measure{{0, 2}})
	r.remote(map[string]string{"__name__": "up"}, "counter", []measure{{0, 4}})
	f := func(who auth.Identity, query, want string) {
		t.Helper()
		r.who = who
		check(t, fmt.Sprint(who, query), r.result("query", "query", query, "time", at(0)), want)
	}
	p1, p2 := auth.Identity{User: "x", Project: "p1", Tenant: true}, auth.Identity{User: "x", Project: "p2", Tenant: true}
	f(p1, "sum(cpu)", "{} 0=1")
	f(p2, "sum(cpu)", "{} 0=2")
	f(p2, `sum(cpu{host=~"c1|c2"})`, "{} 0=2")
	f(auth.Identity{User: "x", Project: "p3", Tenant: true}, "cpu", "")
	f(auth.Identity{User: "x", Project: "p1", Tenant: true, Roles: []string{"admin"}}, "sum(cpu)", "{} 0=3")
	// Without projects they read what they made, as in Gnocchi's API.
	f(auth.Identity{User: "x"}, "sum(cpu)", "")
	f(auth.Identity{User: "x"}, `sum({host=~"c1|c2"})`, "")
	f(auth.Identity{User: "x"}, "up", "")
	f(auth.Identity{User: "admin"}, "sum(cpu)", "{} 0=2")
	f(auth.Identity{User: "admin"}, `sum({host=~"c1|c2"})`, "{} 0=2")
	f(auth.Identity{User: "admin"}, "sum(up)", "{} 0=4")
	f(auth.Identity{}, "cpu", "")
	f(auth.Identity{User: "x", Tenant: true}, "cpu", "403 forbidden: the token is of no project, so there is nothing to see")
	r.who = p2
	check(t, "values", r.list("label/host/values"), "c2")
	check(t, "series", r.list("label/resource_id/values", "match[]", "cpu"), "vm-2")
	r.err = &auth.Refusal{Code: 401, Reason: "who are you?", Challenge: "Basic"}
	if code, a := r.ask("query", "query", "1"); code != 401 || a.Status != "error" || a.Error != "who are you?" {
		t.Errorf("%d %+v", code, a)
	}
	r.err = errors.New("broken, with a secret")
	if code, a := r.ask("query", "query", "1"); code != 500 || strings.Contains(a.Error, "secret") {
		t.Errorf("%d %+v", code, a)
	}
}

// Resources of two creators may have one id; their metrics are told apart all the same.
func TestEqualLabels(t *testing.T) {
	r := newRig(t, Options{})
	r.metric("a", "vm", "generic", "", nil, "cpu", "gauge", []measure{{0, 1}})
	r.metric("b", "vm", "generic", "", nil, "cpu", "gauge", []measure{{0, 2}})
	check(t, "sum", r.result("query", "query", "sum(cpu)", "time", at(0)), "{} 0=3")
	if got := r.result("query", "query", "cpu", "time", at(0)); strings.Count(got, "metric_id:") != 2 {
		t.Error(got)
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t, Options{MaxSeries: 3, Concurrency: 1})
	for n := range 4 {
		r.metric("admin", fmt.Sprint("vm-", n), "instance", "", map[string]any{"host": fmt.Sprint("c", n%2)}, "cpu", "gauge", every(60, 120, constant(1)))
	}
	check(t, "too many series", r.result("query", "query", "cpu", "time", at(0)),
		"400 bad_data: the selector means more than 3 metrics: narrow it down by labels, or raise max_series of the aggregator's option promql")
	check(t, "few enough", r.result("query", "query", `count(cpu{host="c1"})`, "time", at(7199)), "{} 7199=2")
	check(t, "too many steps", r.result("query_range", "query", "1", "start", at(0), "end", at(11001), "step", "1"),
		"400 bad_data: more than 11000 points of each series are too many: ask for a longer step")
	// While another runs there is no place.
	leave, err := r.s.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if code, a := r.ask("query", "query", "1", "timeout", "20ms"); code != 503 || a.ErrorType != "timeout" {
		t.Errorf("%d %+v", code, a)
	}
	leave()
	if code, _ := r.ask("query", "query", "1", "timeout", "1m"); code != 200 {
		t.Error(code)
	}
	if got := r.result("query", "query", `{resource_id=~"vm-1|vm-2"}`, "time", at(7199), "limit", "1"); strings.Count(got, "vm-") != 1 {
		t.Error(got)
	}
}

func TestBadRequests(t *testing.T) {
	r := newRig(t, Options{})
	for _, f := range [][]string{
		{"query", `400 bad_data: unknown position: parse error: no expression found in input`},
		{"query", "400 bad_data: 1:7: parse error: unexpected <op:*>", "query", "1 + + * 2"},
		{"query", `400 bad_data: time "x" is no time such as 1763766000 or 2025-11-21T23:00:00Z`, "query", "1", "time", "x"},
		{"query", `400 bad_data: timeout "x" is no duration above 0, such as 60 or 1m`, "query", "1", "timeout", "x"},
		{"query", `400 bad_data: limit "-1" is no number from 0 on`, "query", "1", "limit", "-1"},
		{"query_range", `400 bad_data: step "" is no duration above 0, such as 60 or 1m`, "query", "1", "start", "1", "end", "2"},
		{"query_range", `400 bad_data: a step of at least 1 ms is needed`, "query", "up", "start", "1", "end", "2", "step", "0.0001"},
		{"query_range", `400 bad_data: more than 11000 points`, "query", "1", "start", "1", "end", "20", "step", "0.0019"},
		{"query_range", `400 bad_data: start and end are needed, such as 1763766000 or 2025-11-21T23:00:00Z`, "query", "1", "start", "1", "step", "1m"},
		{"query_range", `400 bad_data: end is before start`, "query", "1", "start", "2", "end", "1", "step", "1m"},
		{"query_range", `400 bad_data: invalid expression type "range vector" for range query`, "query", "m[5m]", "start", "1", "end", "2", "step", "1m"},
		{"series", `400 bad_data: no match[] parameter: give a selector such as cpu_util`},
		{"series", `400 bad_data: match[] "{" is no selector: 1:2: parse error: unexpected end of input inside braces`, "match[]", "{"},
		{"nothing", "404 not_found: there is no /prometheus/api/v1/nothing: see /prometheus/api/v1/query and its neighbours"},
	} {
		got := r.result(f[0], f[2:]...)
		if !strings.HasPrefix(got, f[1]) {
			t.Errorf("%q: %s", f, got)
		}
	}
	w := httptest.NewRecorder()
	r.s.ServeHTTP(w, httptest.NewRequest("DELETE", "/prometheus/api/v1/query", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	w = httptest.NewRecorder()
	long := httptest.NewRequest("POST", "/prometheus/api/v1/query", strings.NewReader("query="+strings.Repeat("1", maxForm)))
	long.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.s.ServeHTTP(w, long)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "request body too large") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	form := httptest.NewRequest("POST", "/prometheus/api/v1/query", strings.NewReader("query=2%2B2&time=1"))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.s.ServeHTTP(w, form)
	if want := `{"status":"success","data":{"resultType":"scalar","result":[1,"4"]}}`; w.Body.String() != want {
		t.Errorf("%s", w.Body)
	}
}

func TestLists(t *testing.T) {
	r := newRig(t, Options{})
	r.metric("admin", "vm-1", "instance", "p1", map[string]any{"host": "c1", "vcpus": 2.0}, "cpu.util", "gauge", []measure{{0, 1}})
	r.metric("admin", "vm-2", "instance", "p2", map[string]any{"host": "c2"}, "memory", "counter", []measure{{3600, 1}})
	r.metric("admin", "vm-3", "instance", "p2", map[string]any{"host": "c3"}, "memory", "counter", nil)
	r.remote(map[string]string{"__name__": "up", "job": "node"}, "counter", []measure{{0, 1}})
	check(t, "labels", r.list("labels"), "__name__ aggregation attribute_metric flavor_name granularity host job metric project_id resource_id resource_type user_id vcpus")
	check(t, "labels of some", r.list("labels", "match[]", "cpu_util", "match[]", "up"), "__name__ host job metric project_id resource_id resource_type vcpus")
	check(t, "some labels", r.list("labels", "limit", "2"), "__name__ aggregation [results truncated due to limit]")
	check(t, "names", r.list("label/__name__/values"), "cpu_util memory none up")
	check(t, "names as they are", r.list("label/metric/values"), "cpu.util")
	check(t, "hosts", r.list("label/host/values"), "c1 c2 c3")
	check(t, "hosts of some", r.list("label/host/values", "match[]", "memory"), "c2")
	check(t, "vcpus", r.list("label/vcpus/values"), "2")
	check(t, "types", r.list("label/resource_type/values"), "generic instance")
	check(t, "projects", r.list("label/project_id/values"), "p1 p2")
	check(t, "jobs", r.list("label/job/values"), "node")
	check(t, "methods", r.list("label/aggregation/values"), "count last max mean min rate:mean sum")
	check(t, "granularities", r.list("label/granularity/values"), "300 3600 60")
	check(t, "nothing", r.list("label/nothing/values"), "")
	series := func(want string, parameters ...string) {
		t.Helper()
		_, a := r.ask("series", parameters...)
		check(t, fmt.Sprint(parameters), strings.ReplaceAll(string(a.Data), `"`, ""), want)
	}
	series(`[{__name__:memory,host:c2,project_id:p2,resource_id:vm-2,resource_type:instance}]`, "match[]", "memory")
	series(`[{__name__:cpu_util,host:c1,metric:cpu.util,project_id:p1,resource_id:vm-1,resource_type:instance,vcpus:2},{__name__:memory,host:c2,project_id:p2,resource_id:vm-2,resource_type:instance}]`,
		"match[]", "memory", "match[]", `{host=~"c.+"}`)
	series(`[{__name__:memory,host:c2,project_id:p2,resource_id:vm-2,resource_type:instance}]`, "match[]", `{host=~"c.+"}`, "start", at(3600))
	series(`[{__name__:memory,aggregation:last,granularity:60,host:c2,project_id:p2,resource_id:vm-2,resource_type:instance}]`, "match[]", `memory{aggregation="last",granularity=~"60|300"}`)
	_, a := r.ask("metadata", "metric", "memory")
	check(t, "metadata", string(a.Data), `{"memory":[{"type":"counter","help":"","unit":"u"}]}`)
	_, a = r.ask("metadata")
	if got := string(a.Data); !strings.Contains(got, `"cpu_util":[{"type":"gauge","help":"","unit":"u"}]`) {
		t.Error(got)
	}
	for path, want := range map[string]string{"rules": `{"groups":[]}`, "alerts": `{"alerts":[]}`, "query_exemplars": "[]"} {
		_, a := r.ask(path)
		check(t, path, string(a.Data), want)
	}
	if _, a := r.ask("status/buildinfo"); !strings.Contains(string(a.Data), `"application":"Nepho"`) {
		t.Errorf("%s", a.Data)
	}
}
