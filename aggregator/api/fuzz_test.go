package api

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
)

// FuzzRequests makes any request of the control plane: nothing may be the server's
// own fault, and every answer has to be as it is described.
func FuzzRequests(f *testing.F) {
	for _, seed := range [][4]string{
		{"POST", "/v1/archive_policy", "", `{"name": "x", "definition": [{"granularity": "1s", "points": 5}]}`},
		{"PATCH", "/v1/archive_policy/low", "", `{"definition": [{"granularity": "5 min", "points": 50}]}`},
		{"POST", "/v1/archive_policy_rule", "", `{"name": "x", "metric_pattern": "a[*", "archive_policy_name": "low"}`},
		{"POST", "/v1/resource_type", "", `{"name": "x", "attributes": {"a": {"type": "number", "min": 1}}}`},
		{"PATCH", "/v1/resource_type/host", "", `[{"op": "add", "path": "/attributes/x", "value": {"type": "string", "required": false}}]`},
		{"POST", "/v1/resource/host", "", `{"id": "h2", "size": 5, "metrics": {"a": {}}, "started_at": "-1 day"}`},
		{"GET", "/v1/resource/generic", "sort=user_id:desc-nullsfirst&limit=1&history=true&marker=x@1", ""},
		{"PATCH", "/v1/resource/host/h", "", `{"size": 1e400, "ended_at": "2200-01-01"}`},
		{"POST", "/v1/search/resource/host", "filter=size > 5 or not lifespan < '1 day'", ""},
		{"POST", "/v1/search/resource/generic", "details=1", `{"or": [{"like": {"original_resource_id": "%"}}, {"in": {"id": ["h"]}}]}`},
		{"DELETE", "/v1/resource/generic", "", `{"=": {"id": "nobody"}}`},
		{"POST", "/v1/metric", "", `{"name": "a", "resource_id": "h", "unit": "B"}`},
		{"GET", "/v1/metric", "id=x&status=delete&sort=name&creator=%00", ""},
		{"GET", "/v1/resource/host/h/history", "attrs=id&limit=2", ""},
		{"GET", "/v1/resource/host/h/metric/m", "", ""},
		{"GET", "/v1/resource/host/\x00", "", ""},
		{"GET", "/v1/archive_policy/\xff\xfe", "", ""},
		{"GET", "/v1/metric", "name=%ff&unit=%00&archive_policy_name=%00&limit=007", ""},
		{"GET", "/v1/resource/generic", "sort=id&sort=id&sort=type:desc&attrs=&marker=%00", ""},
		{"POST", "/v1/resource/host", "", "{\"id\": \"\xff\", \"size\": 5, \"metrics\": {\"\xff\": {}, \"\u0000\": {}}}"},
		{"POST", "/v1/resource/host", "", `{"id": "x", "size": 1e308, "started_at": "2262-04-11 23:47:16.9", "ended_at": 9e18, "user_id": "\u0000"}`},
		{"POST", "/v1/search/resource/host", "", `{"and": [{"=": {"size": 1e999}}, {"like": {"size": "%"}}, {"<": {"lifespan": -1}}, {"=": {"started_at": null}}]}`},
		{"POST", "/v1/search/resource/generic", "", `{"in": {"id": ["\u0000", 5, null, true]}}`},
		{"POST", "/v1/archive_policy", "", `{"name": "\ud800", "definition": [{"granularity": 1e-9, "timespan": "292 years"}]}`},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	ctx := context.Background()
	x, err := index.Open(ctx, index.Options{URL: filepath.Join(f.TempDir(), "index.db"), DefaultPolicies: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { x.Close() })
	if err := x.CreateType(ctx, index.ResourceType{Name: "host", Attributes: map[string]index.Attribute{"size": {Type: index.Number, Required: true}}}); err != nil {
		f.Fatal(err)
	}
	s := New(Options{Index: x, Auth: auth.None{}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), MaxBody: 1 << 20})
	ask := func(t testing.TB, method, path, query, body string) {
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Accept", "application/json")
		r.Header.Set("X-User-Id", "joe")
		r.Header.Set("Content-Type", mediaJSON)
		if method == "PATCH" && strings.HasPrefix(path, "/v1/resource_type") {
			r.Header.Set("Content-Type", mediaPatch)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%s %q ? %q %q: %d %s", method, path, query, body, w.Code, w.Body)
		}
		if err := checkAnswer(s, r, w); err != nil {
			t.Errorf("%s %q ? %q %q: %v\n%d %s", method, path, query, body, err, w.Code, w.Body)
		}
	}
	ask(f, "POST", "/v1/resource/host", "", `{"id": "h", "size": 1, "metrics": {"m": {}}}`)
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		for _, data := range []string{"measures", "batch", "aggregat", "search/metric", "changes", "influxdb", "prometheus", "status"} {
			if strings.Contains(path, data) {
				t.Skip("needs an engine")
			}
		}
		if !strings.HasPrefix(path, "/v1/") {
			path = "/v1/" + path
		}
		ask(t, method, path, query, body)
	})
}
