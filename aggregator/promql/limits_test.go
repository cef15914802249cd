package promql

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/nephoscope/nepho/aggregator/policy"
)

// What a query may read is counted over all of its selectors, and for all that run.
func TestPointsAreCounted(t *testing.T) {
	const limit = 1000
	r := newRig(t, Options{MaxSamples: limit})
	r.now = start.Add(400 * 24 * time.Hour)
	for n := range 4 {
		r.metric("admin", fmt.Sprint("vm-", n), "generic", "", nil, "minutes", "gauge", every(60, 100, constant(1)))
	}
	r.metric("admin", "vm", "generic", "", nil, "hours", "hours", every(3600, 200, constant(1)))
	tooMany := fmt.Sprintf("400 bad_data: the query reads more than %d points: ask for fewer series or a shorter time, or raise max_samples of the aggregator's option promql", limit)
	f := func(query, want string) {
		t.Helper()
		got := r.result("query_range", "query", query, "start", at(0), "end", at(6000), "step", "600")
		if got != want && (want != "" || strings.Contains(got, "bad_data")) {
			t.Errorf("%s: %s", query, got)
		}
		if held := r.s.pool.held.Load(); held != 0 {
			t.Errorf("%s: %d points are still held", query, held)
		}
	}
	one := `count_over_time(minutes{resource_id="vm-%d",granularity="60"}[2h])`
	// Each has 100 points, and costs something itself.
	f(fmt.Sprintf(one, 0), "")
	f(`count_over_time(minutes{granularity="60"}[2h])`, "")
	f(fmt.Sprintf(one+" + "+one, 0, 1), "")
	f(strings.Repeat(`count_over_time(minutes{granularity="60"}[2h]) + `, 2)+"1", tooMany)
	f(strings.TrimSuffix(strings.Repeat(fmt.Sprintf(one+" + ", 0), 8), " + "), tooMany)
	// A series that is not there costs little, however long it is.
	f(`count_over_time(minutes{granularity="60"}[5y])`, "")
	// Windows count once, although they hold for long.
	check(t, "hours", r.result("query", "query", "count(count_over_time(hours[200h]) + 0 * hours)", "time", at(199*3600+3599)), "{} 719999=1")

	// Others hold what this one would need.
	r.s.pool.held.Store(2*limit - 50)
	code, a := r.ask("query", "query", "hours", "time", at(3600))
	if code != http.StatusOK {
		t.Errorf("%d %+v", code, a)
	}
	code, a = r.ask("query", "query", "count_over_time(hours[50h])", "time", at(200*3600))
	if code != http.StatusServiceUnavailable || a.ErrorType != "unavailable" {
		t.Errorf("%d %+v", code, a)
	}
	if held := r.s.pool.held.Load(); held != 2*limit-50 {
		t.Errorf("%d points are held", held)
	}
}

// Long series are read part by part, and none of their windows twice.
func TestLongSeries(t *testing.T) {
	r := newRig(t, Options{})
	r.now = start.Add(30 * 24 * time.Hour)
	r.x.OnPolicy(r.e.SetPolicy)
	if err := r.x.CreatePolicy(t.Context(), &policy.Policy{Name: "seconds", Methods: policy.SetOf(policy.Mean), Definitions: []policy.Definition{{Granularity: time.Second}}}); err != nil {
		t.Fatal(err)
	}
	var list []measure
	const n = 60
	for i := range n {
		list = append(list, measure{i * 10_007, 1}, measure{i*10_007 + 1, 1})
	}
	list = append(list, measure{maxPart - 1, 1}, measure{maxPart, 1}, measure{maxPart + 1, 1})
	r.metric("admin", "vm", "generic", "", nil, "m", "seconds", list)
	end := n * 10_007
	if end < 3*maxPart {
		t.Fatal("the series is too short to be read in parts")
	}
	check(t, "all", r.result("query", "query", fmt.Sprintf("count_over_time(m[%ds])", end), "time", at(end-1)), fmt.Sprintf("{resource_id:vm,resource_type:generic} %d=%d", end-1, 2*n+3))
}

// What is long or deep is refused at once: the parser would not end for long.
func TestDeepQueries(t *testing.T) {
	r := newRig(t, Options{})
	f := func(query, want string) {
		t.Helper()
		code, a := r.ask("query", "query", query, "time", at(0))
		if code != 400 && want != "" || !strings.Contains(a.Error, want) {
			t.Errorf("%.20s: %d %s", query, code, a.Error)
		}
	}
	const many = "a query of more than 1000 operators and brackets is too long"
	for _, n := range []int{400, 30_000} {
		want := ""
		if n > maxNested {
			want = many
		}
		f(strings.Repeat("(", n)+"1"+strings.Repeat(")", n), want)
		f(strings.Repeat("-", n)+"1", want)
		f(strings.Repeat("1+", n)+"1", want)
		f(strings.Repeat("1^", n)+"1", want)
	}
	f(strings.Repeat("(", 30_000), many)
	f("m"+strings.Repeat("[5m:]", 10_000), many)
	f(`vector(1)-1-1`, "")
	f(`count({__name__="`+strings.Repeat("(+", 20_000)+`"})`, "") // is no operator
	f(strings.Repeat(" ", maxQuery)+"1", "a query of 65537 bytes is too long: 65536 are allowed")
	if code, a := r.ask("series", "match[]", strings.Repeat("(", 30_000)); code != 400 || !strings.Contains(a.Error, "too long") {
		t.Errorf("%d %s", code, a.Error)
	}
}

// What is only to be stored has the same limits.
func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		`sum by (host) (rate(requests{code=~"5.."}[5m])) / 2`: "",
		"sum(":                              "unclosed left parenthesis",
		"info(m)":                           "not enabled",
		strings.Repeat("(", 30_000):         "a query of more than 1000 operators and brackets is too long",
		strings.Repeat(" ", maxQuery) + "1": "a query of 65537 bytes is too long: 65536 are allowed",
	} {
		_, err := Parse(text)
		var query *QueryError
		if (err == nil) != (want == "") || err != nil && (!errors.As(err, &query) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.20s: %v", text, err)
		}
	}
}

// The engine would go through the steps of these one by one, for days.
func TestSubqueriesOfManySteps(t *testing.T) {
	r := newRig(t, Options{MaxSamples: 200_000})
	for query, want := range map[string]string{
		"sum_over_time(vector(1)[100y:1ms])":                                      "400 bad_data: a subquery of more than 200000 steps",
		"sum_over_time(vector(1)[50y:])":                                          "400 bad_data: a subquery of more than 200000 steps",
		"sum_over_time(sum_over_time(vector(1)[1s:1ms])[1d:1h])":                  "400 bad_data: a subquery of more than 200000 steps",
		"sum_over_time(sum_over_time(vector(1)[2s:1s])[10s:1s])":                  "{} 0=20",
		"sum_over_time(vector(1)[1m:1ms])":                                        "{} 0=60000",
		"sum_over_time(vector(1)[150s:1ms]) + sum_over_time(vector(1)[150s:1ms])": "422 execution: query processing would load too many samples into memory in query execution",
	} {
		if got := r.result("query", "query", query, "time", at(0)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", query, got)
		}
	}
}

// A new name is found at once, although others were read just before.
func TestNewNames(t *testing.T) {
	r := newRig(t, Options{})
	r.metric("admin", "vm", "generic", "", nil, "cpu", "gauge", []measure{{0, 1}})
	check(t, "the first", r.result("query", "query", "sum(cpu)", "time", at(0)), "{} 0=1")
	r.metric("admin", "vm", "generic", "", nil, "memory.usage", "gauge", []measure{{0, 2}})
	check(t, "the second", r.result("query", "query", "sum(memory_usage)", "time", at(0)), "{} 0=2")
	r.metric("admin", "vm", "generic", "", nil, "disk", "gauge", []measure{{0, 3}})
	check(t, "all that resemble", r.result("query", "query", `sum({__name__=~"dis.*"})`, "time", at(0)), "{} 0=3")
	r.now = r.now.Add(stale)
	check(t, "all", r.result("query", "query", `sum({__name__=~".+"})`, "time", at(0)), "{} 0=6")
}

func TestPagesOfOtherOrigins(t *testing.T) {
	r := newRig(t, Options{URLPrefix: "/metric", CORSOrigins: []string{"https://grafana"}})
	for method, want := range map[string]int{"GET": 200, "OPTIONS": 200, "DELETE": 405} {
		q := httptest.NewRequest(method, "/metric/prometheus/api/v1/query?query=1", nil)
		q.Header.Set("Origin", "https://grafana")
		q.Header.Set("Access-Control-Request-Method", "POST")
		w := httptest.NewRecorder()
		r.s.ServeHTTP(w, q)
		if w.Code != want || w.Header().Get("Access-Control-Allow-Origin") != "https://grafana" {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
	}
}

// Long answers are sent in pieces; the query has its place until the last.
func TestLongAnswers(t *testing.T) {
	r := newRig(t, Options{Concurrency: 1})
	for n := range 30 {
		r.metric("admin", fmt.Sprint("vm-", n), "generic", "", nil, "m", "gauge", every(60, 120, func(i int) float64 { return float64(n*1000 + i) }))
	}
	target := "/prometheus/api/v1/query_range?" + url.Values{"query": {"m"}, "start": {at(0)}, "end": {at(7140)}, "step": {"60"}, "limit": {"29"}}.Encode()
	w := &watching{ResponseRecorder: httptest.NewRecorder(), s: r.s}
	r.s.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	var a struct {
		Data     struct{ Result []struct{ Values [][2]any } }
		Warnings []string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || len(a.Data.Result) != 29 || len(a.Warnings) != 1 {
		t.Fatalf("%v: %d series, %v", err, len(a.Data.Result), a.Warnings)
	}
	for n, one := range a.Data.Result {
		if len(one.Values) != 120 {
			t.Errorf("series %d has %d points", n, len(one.Values))
		}
	}
	if w.pieces < 2 || w.free > 0 || w.held < w.pieces {
		t.Errorf("%d pieces, at %d of which the place was free, at %d of which points were held", w.pieces, w.free, w.held)
	}
	if len(r.s.slots) != 0 || r.s.pool.held.Load() != 0 {
		t.Error("the query still has its place")
	}

	// One that takes too long is broken off, so that it does not look complete.
	func() {
		defer func() {
			if fault := recover(); fault != http.ErrAbortHandler {
				t.Errorf("it ended with %v", fault)
			}
		}()
		reply{value: promql.Matrix{}}.send(httptest.NewRecorder(), time.Now().Add(-time.Second))
	}()
}

// watching looks at a server while it answers.
type watching struct {
	*httptest.ResponseRecorder
	s                  *Server
	pieces, free, held int
}

func (w *watching) Write(p []byte) (int, error) {
	w.pieces++
	if len(w.s.slots) == 0 {
		w.free++
	}
	if w.s.pool.held.Load() > 0 {
		w.held++
	}
	return w.ResponseRecorder.Write(p)
}
