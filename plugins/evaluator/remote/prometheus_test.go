package remote

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

func newPrometheus(t *testing.T, o PrometheusOptions) *Prometheus {
	t.Helper()
	o.Timeout = time.Minute
	p, err := NewPrometheus(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// By Prometheus's API an aggregator gives the values that it gives by itself.
func TestPromQL(t *testing.T) {
	n, begin := filled(t)
	p := newPrometheus(t, PrometheusOptions{URL: n.url + "/prometheus", Username: "admin"})
	kept := 0
	for _, expression := range []string{
		"cpu_util", `max_over_time(cpu_util{resource="vm2"}[20m])`, "sum(cpu_util)", "sum(cpu_util) / 0", "-sum(cpu_util) / 0", "0 / (sum(cpu_util) * 0)", "1.5", "scalar(sum(cpu_util))", `"text"`, "nothing", "sum(", "cpu_util offset 1m",
	} {
		for _, step := range []time.Duration{0, time.Minute, 150 * time.Second} {
			q := sdk.ComputeQuery{Scope: everything, Language: "promql", Expression: expression, From: begin, To: begin.Add(11*time.Minute + 250*time.Millisecond), Granularity: step}
			want := computedText(n.Compute(t.Context(), q))
			if got := computedText(p.Compute(t.Context(), q)); got != want {
				t.Errorf("%s by %v:\n%s\nwant\n%s", expression, step, got, want)
			}
			if want != "refused" && want != "" {
				kept++
			}
		}
	}
	if kept < 20 {
		t.Errorf("only %d have values", kept)
	}
}

// Of others than administrators every selector has their project.
func TestPromQLOfProjects(t *testing.T) {
	var asked string
	url := serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
		form := r.Header.Get("Content-Type")
		if r.Method != http.MethodPost || form != "application/x-www-form-urlencoded" {
			t.Errorf("%s of %s", r.Method, form)
		}
		asked = body
		fmt.Fprint(w, `{"status": "success", "data": {"resultType": "vector", "result": []}}`)
	})
	p := newPrometheus(t, PrometheusOptions{URL: url, ProjectLabel: "project"})
	for _, f := range []struct{ expression, want string }{
		{"up", `up{project="p"}`},
		{`up{project="q"}`, `up{project="p",project="q"}`},
		{`{__name__=~".+"}`, `{__name__=~".+",project="p"}`},
		{`{project!=""} or vector(1)`, `{project!="",project="p"} or vector(1)`},
		{"sum by (x) (rate(a[5m])) / on (x) group_left () max_over_time(b[1h:5m] offset 1d)", `sum by (x) (rate(a{project="p"}[5m])) / on (x) group_left () max_over_time(b{project="p"}[1h:5m] offset 1d)`},
		{`label_replace(a, "project", "p", "", "") unless absent(b @ start())`, `label_replace(a{project="p"}, "project", "p", "", "") unless absent(b{project="p"} @ start())`},
		{"sum(", ""},
		{strings.Repeat("(", 2000) + "up" + strings.Repeat(")", 2000), ""}, // takes the parser long
		{"info(up)", ""}, // reads series that no selector names
	} {
		got, err := p.within(&sdk.Scope{User: "u", Project: "p"}, f.expression)
		if (err != nil) != (f.want == "") || got != f.want {
			t.Errorf("%s: got %s, error %v", f.expression, got, err)
		}
	}
	ask := func(p *Prometheus, scope sdk.Scope) string {
		asked = ""
		return computedText(p.Compute(t.Context(), sdk.ComputeQuery{Scope: scope, Language: "promql", Expression: "up", To: time.Unix(1_700_000_000, 123_456_789)}))
	}
	if got := ask(p, sdk.Scope{Project: `p"} or up{x="`}); got != "" || asked != "query=up%7Bproject%3D%22p%5C%22%7D+or+up%7Bx%3D%5C%22%22%7D&time=1700000000.123" {
		t.Error(got, asked)
	}
	if got := ask(p, everything); got != "" || asked != "query=up&time=1700000000.123" {
		t.Error(got, asked)
	}
	if got := ask(p, sdk.Scope{User: "u"}); got != "refused" || asked != "" {
		t.Error(got, asked)
	}
	if got := ask(newPrometheus(t, PrometheusOptions{URL: url}), sdk.Scope{Project: "p"}); got != "refused" || asked != "" {
		t.Error(got, asked)
	}
}

func TestPrometheusFaults(t *testing.T) {
	for _, f := range []struct {
		status     int
		body, want string
	}{
		{400, `{"status":"error","errorType":"bad_data","error":"..."}`, "refused"},
		{422, `{"status":"error","errorType":"execution","error":"..."}`, "refused"},
		{400, "Client sent an HTTP request to an HTTPS server.", "error"},
		{401, "", "error"},
		{404, "", "error"},
		{503, `{"status":"error","errorType":"timeout","error":"..."}`, "error"},
		{302, "", "error"},
		{200, "<html>", "error"},
		{200, `{"status":"error"}`, "error"},
		{200, `{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`, "refused"},
		{200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}`, "refused"},
		{200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,2]}]}}`, "error"},
		{200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"2","3"]}]}}`, "error"},
		{200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1e99,"2"]}]}}`, "error"},
		{200, `{"status":"success","data":{"resultType":"scalar","result":{}}}`, "error"},
		{200, `{"status":"success","data":{"resultType":"scalar","result":[1.5,"-Inf"]}}`, "map[] [1500000000] [-Inf]"},
		{200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1,"2"],[2,"NaN"]]}]}}`, "map[a:b] [1000000000 2000000000] [2 NaN]"},
	} {
		p := newPrometheus(t, PrometheusOptions{URL: serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			if got := r.Header.Get("Authorization"); got != "Bearer secret" {
				t.Errorf("asked by %q", got)
			}
			w.WriteHeader(f.status)
			fmt.Fprint(w, f.body)
		}), Token: "secret"})
		if got := computedText(p.Compute(t.Context(), sdk.ComputeQuery{Scope: everything, Language: "promql", Expression: "up"})); got != f.want {
			t.Errorf("%d %s: %s", f.status, f.body, got)
		}
	}
}

// Prometheus is asked for expressions only.
func TestPrometheusRefuses(t *testing.T) {
	p := newPrometheus(t, PrometheusOptions{URL: "http://127.0.0.1:1"})
	if got, _ := found(t, p, sdk.SeriesQuery{Scope: everything, IDs: []string{"x"}}); got != "refused" {
		t.Error(got)
	}
	if got := rows(p.Windows(t.Context(), nil)); got != "refused" {
		t.Error(got)
	}
	if got := computedText(p.Compute(t.Context(), sdk.ComputeQuery{Scope: everything, Language: "operations", Expression: "(metric x mean)"})); got != "refused" {
		t.Error(got)
	}
	for _, err := range p.Follow(t.Context(), sdk.FollowQuery{}) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"2"]}]}}`))
	f.Add([]byte(`{"status":"success","data":{"resultType":"scalar","result":[1.5,"-Inf"]}}`))
	f.Add([]byte(`[["2026-01-01T00:00:00+00:00", 60.0, 1.0]]`))
	f.Add([]byte(`{"description": {"cause": "Unknown metrics", "detail": ["x", ["y", "mean"]]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if list, err := valuesOf(data); err == nil {
			for _, s := range list {
				if len(s.Times) != len(s.Values) {
					t.Errorf("%+v", s)
				}
			}
		}
		f := &failure{status: 404, body: data}
		if text := f.Error(); len(text) > maxTold+100 {
			t.Errorf("an error of %d bytes", len(text))
		}
		f.cause()
		var p point
		if p.UnmarshalJSON(data) == nil && p.time < 0 {
			t.Errorf("%+v", p)
		}
	})
}
