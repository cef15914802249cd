package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// With the index in a database, what the aggregator holds in memory is enough for
// writes for a while; without it they are refused, and nothing is wrong afterwards.
func TestAggregatorPostgres(t *testing.T) {
	t.Parallel()
	p := parts.PostgreSQL(t)
	g := newAggregator(t, fmt.Sprintf("index = '%s'\n", p.Database())).start()
	all := g.makeMetrics(4)
	points := map[*series][]point{}
	next := func(at int) {
		for i, s := range all {
			points[s] = row(yesterday().Add(time.Duration(at)*time.Minute), 60, float64(at*100+i))
		}
	}
	next(0)
	g.write(points)
	g.Stop()
	g.start()
	g.expect(all)

	p.Kill9()
	for at := range 3 {
		next(1 + at)
		err := g.tryWrite(points)
		if r := new(refused); err != nil && (!errors.As(err, &r) || r.code != http.StatusServiceUnavailable) {
			t.Errorf("a write without the database: %v", err)
		}
	}
	code, text, err := g.ask("POST", "/v1/metric", map[string]any{"archive_policy_name": "kept"})
	if err != nil || code < http.StatusInternalServerError {
		t.Errorf("a metric is made without the database: %d: %s %v", code, text, err)
	}
	p.Start()
	Eventually(t, "writes go on", func() error { return g.tryWrite(points) })
	next(10)
	Eventually(t, "writes go on", func() error { return g.tryWrite(points) })
	all = append(all, g.makeMetric())
	next(11)
	g.write(points)
	g.expect(all)
	g.Stop()
	g.start()
	g.expect(all)
	g.Stop()
	g.verify(t)
}

// While the index's database is away, whatever needs it is answered with 503, a reason
// and when to try again. What the aggregator has in memory may be answered still.
// Service goes on by itself.
func TestAggregatorIndexAway(t *testing.T) {
	t.Parallel()
	p := parts.PostgreSQL(t)
	g := newAggregator(t, fmt.Sprintf("index = '%s'\n", p.Database())).start()
	metric := g.makeMetrics(1)[0]
	const id = "a0000000-0000-0000-0000-00000000000f"
	g.must(http.StatusCreated, "POST", "/v1/resource/generic", map[string]any{
		"id": id, "metrics": map[string]any{"power": map[string]any{"archive_policy_name": "kept"}},
	}, nil)
	g.must(http.StatusNoContent, "POST", "/v1/influxdb/query?q=CREATE+DATABASE+hosts", nil, nil)
	measures := row(yesterday(), 1, 1)
	operations := map[string]any{"operations": "(metric " + metric.id + " sum)"}
	all := []request{
		{"GET", "/v1/archive_policy", nil},
		{"POST", "/v1/archive_policy", map[string]any{"name": "other", "definition": kept["definition"]}},
		{"GET", "/v1/archive_policy/kept", nil},
		{"PATCH", "/v1/archive_policy/kept", map[string]any{"definition": kept["definition"]}},
		{"DELETE", "/v1/archive_policy/low", nil},
		{"GET", "/v1/archive_policy_rule", nil},
		{"POST", "/v1/archive_policy_rule", map[string]any{"name": "other", "metric_pattern": "x.*", "archive_policy_name": "kept"}},
		{"GET", "/v1/archive_policy_rule/default", nil},
		{"PATCH", "/v1/archive_policy_rule/default", map[string]any{"name": "new"}},
		{"DELETE", "/v1/archive_policy_rule/default", nil},
		{"GET", "/v1/resource_type", nil},
		{"POST", "/v1/resource_type", map[string]any{"name": "other"}},
		{"GET", "/v1/resource_type/generic", nil},
		{"PATCH", "/v1/resource_type/generic", []any{}},
		{"DELETE", "/v1/resource_type/generic", nil},
		{"GET", "/v1/resource", nil},
		{"GET", "/v1/resource/generic", nil},
		{"POST", "/v1/resource/generic", map[string]any{"id": "b"}},
		{"DELETE", "/v1/resource/generic", map[string]any{"=": map[string]any{"id": id}}},
		{"POST", "/v1/search/resource/generic", map[string]any{"=": map[string]any{"id": id}}},
		{"GET", "/v1/resource/generic/" + id, nil},
		{"PATCH", "/v1/resource/generic/" + id, map[string]any{"user_id": "u"}},
		{"DELETE", "/v1/resource/generic/" + id, nil},
		{"GET", "/v1/resource/generic/" + id + "/history", nil},
		{"GET", "/v1/resource/generic/" + id + "/metric", nil},
		{"POST", "/v1/resource/generic/" + id + "/metric", map[string]any{"heat": map[string]any{"archive_policy_name": "kept"}}},
		{"GET", "/v1/resource/generic/" + id + "/metric/power", nil},
		{"DELETE", "/v1/resource/generic/" + id + "/metric/power", nil},
		{"GET", "/v1/metric", nil},
		{"POST", "/v1/metric", map[string]any{"archive_policy_name": "kept"}},
		{"GET", "/v1/metric/" + metric.id, nil},
		{"DELETE", "/v1/metric/" + metric.id, nil},
		{"GET", "/v1/metric/" + metric.id + "/measures?aggregation=sum", nil},
		{"POST", "/v1/metric/" + metric.id + "/measures", measures},
		{"GET", "/v1/resource/generic/" + id + "/metric/power/measures?aggregation=sum", nil},
		{"POST", "/v1/resource/generic/" + id + "/metric/power/measures", measures},
		{"POST", "/v1/batch/metrics/measures", map[string]any{metric.id: measures}},
		{"POST", "/v1/batch/resources/metrics/measures", map[string]any{id: map[string]any{"power": measures}}},
		{"POST", "/v1/batch/resources/metrics/measures?create_metrics=true", map[string]any{id: map[string]any{"fresh": measures}}},
		{"POST", "/v1/batch/metrics/measures/query?aggregation=sum", []string{metric.id}},
		{"POST", "/v1/search/metric?aggregation=sum&metric_id=" + metric.id, map[string]any{">": 1}},
		{"POST", "/v1/aggregates", operations},
		{"POST", "/v1/aggregates?details=true", operations},
		{"POST", "/v1/aggregates", map[string]any{"operations": "(metric power sum)", "resource_type": "generic", "search": map[string]any{}}},
		{"GET", "/v1/aggregation/metric?aggregation=sum&metric=" + metric.id, nil},
		{"POST", "/v1/aggregation/metric?aggregation=sum", []string{metric.id}},
		{"POST", "/v1/aggregation/resource/generic/metric/power?aggregation=sum", nil},
		{"POST", "/v1/changes", []string{id}},
		{"POST", "/v1/influxdb/query?q=CREATE+DATABASE+other", nil},
		{"POST", "/v1/influxdb/write?db=hosts", "cpu,host=a usage=1"},
		{"GET", "/prometheus/api/v1/labels", nil},
		{"GET", "/prometheus/api/v1/query?query=power", nil},
		{"GET", "/prometheus/api/v1/series?match[]=power", nil},
		{"GET", "/prometheus/api/v1/label/job/values", nil},
	}
	var described struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	g.must(http.StatusOK, "GET", "/v1/openapi.json", nil, &described)
	// These need no index, or a form of their own: see the tests of package api.
	without := []string{"GET /", "GET /v1/", "GET /v1/openapi.json", "GET /healthcheck", "GET /v1/capabilities",
		"GET /v1/status", "GET /v1/influxdb/ping", "GET /v1/changes", "POST /v1/prometheus/write"}
	for path, methods := range described.Paths {
		for method := range methods {
			name := strings.ToUpper(method) + " " + path
			if !slices.Contains(without, name) && !slices.ContainsFunc(all, func(r request) bool { return r.is(name) }) {
				t.Errorf("%s is not asked", name)
			}
		}
	}

	p.Kill9()
	Eventually(t, "the database is away", func() error {
		if code, _, _ := g.ask("GET", "/v1/metric", nil); code == http.StatusOK {
			return errNot
		}
		return nil
	})
	for _, r := range all {
		code, header, text := g.send(t, r)
		// Of a metric that was used just now all is in memory that its measures need.
		remembered := strings.Contains(r.path, "measures") || strings.Contains(r.path, "aggreg") || strings.Contains(r.path, "search/metric")
		if remembered && code < 300 {
			continue
		}
		if code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(text, "index is away") {
			t.Errorf("%s %s without the database: %d %v: %s", r.method, r.path, code, header, text)
		}
	}
	p.Start()
	for _, r := range all {
		if r.method == "GET" {
			Eventually(t, r.path+" is answered again", func() error {
				if code, _, text := g.send(t, r); code != http.StatusOK {
					return fmt.Errorf("%d: %s", code, text)
				}
				return nil
			})
		}
	}
	// The next time the server says that it goes.
	p.Stop()
	if code, header, text := g.send(t, request{"GET", "/v1/metric", nil}); code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("a list after the database was stopped: %d %v: %s", code, header, text)
	}
	p.Start()
	g.must(http.StatusCreated, "POST", "/v1/metric", map[string]any{"archive_policy_name": "kept"}, nil)
	// Twice, for reads and for changes.
	sentences := []string{`msg="the index is away`, `msg="the index is back"`}
	for _, sentence := range sentences {
		Eventually(t, "the log says twice "+sentence, func() error {
			n := strings.Count(g.Log(), sentence)
			return want(n >= 2, "%d times", n)
		})
	}
	g.Stop()
	for _, sentence := range sentences {
		if n := strings.Count(g.Log(), sentence); n > 4 {
			t.Errorf("the log has %d times %s:\n%s", n, sentence, g.LogTail())
		}
	}
}

// request is one for [aggregator.send]: body is text, or what becomes JSON.
type request struct {
	method, path string
	body         any
}

// is reports whether a request is for an operation such as GET /v1/metric/{id}.
func (r request) is(operation string) bool {
	path, _, _ := strings.Cut(r.path, "?")
	method, pattern, _ := strings.Cut(operation, " ")
	got, want := strings.Split(path, "/"), strings.Split(pattern, "/")
	return r.method == method && slices.EqualFunc(got, want, func(a, b string) bool { return a == b || strings.HasPrefix(b, "{") })
}

// send sends a request, which must be answered.
func (g *aggregator) send(t *testing.T, q request) (code int, header http.Header, text string) {
	t.Helper()
	content := []byte(nil)
	if line, ok := q.body.(string); ok {
		content = []byte(line)
	} else if q.body != nil {
		var err error
		if content, err = json.Marshal(q.body); err != nil {
			t.Fatal(err)
		}
	}
	r, err := http.NewRequest(q.method, "http://"+g.listen+q.path, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("admin", "")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	answer, err := client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(b)
}
