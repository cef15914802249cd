package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
)

// step is a request and what its answer has to be.
type step struct {
	user, request string // METHOD PATH
	body          string // JSON, "" for none
	headers       string // NAME: VALUE | NAME: VALUE
	status        int
	// want is JSON that the answer contains: objects have at least these members, lists
	// exactly these items, and "*" is anything. Errors are compared with their
	// description. Other text, in slashes, is a pattern for the whole body.
	want string
	// have is headers of the answer, as patterns: NAME: VALUE; NAME is not there if
	// VALUE is empty.
	have string
	// save names members of the answer for later steps, where {name} stands for
	// them: name=member name=.0.member name=Header-Name
	save string
}

// script runs steps against a server.
type script struct {
	*testing.T
	server *Server
	saved  map[string]string
}

func (s *script) run(steps ...step) {
	s.Helper()
	for _, step := range steps {
		s.one(step)
	}
}

func (s *script) expand(text string) string {
	for name, value := range s.saved {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

func (s *script) one(step step) {
	s.Helper()
	method, path, _ := strings.Cut(s.expand(step.request), " ")
	body := s.expand(step.body)
	r := httptest.NewRequest(method, "http://h:8041"+strings.ReplaceAll(path, " ", "%20"), strings.NewReader(body))
	r.SetBasicAuth(step.user, "")
	r.Header.Set("Accept", "application/json")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range pairs(s.expand(step.headers)) {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	where := fmt.Sprintf("%s %s %s %s", step.user, method, path, body)
	if w.Code != step.status {
		s.Fatalf("%s: %d %s, want %d", where, w.Code, w.Body, step.status)
	}
	if err := checkAnswer(s.server, r, w); err != nil {
		s.Errorf("%s: the answer is not as it is described: %v\n%s", where, err, w.Body)
	}
	for name, pattern := range pairs(s.expand(step.have)) {
		if got := w.Header().Get(name); !matches(pattern, got) {
			s.Errorf("%s: %s is %q, want %q", where, name, got, pattern)
		}
	}
	want := s.expand(step.want)
	if strings.HasPrefix(want, "/") && strings.HasSuffix(want, "/") {
		if !matches(want[1:len(want)-1], w.Body.String()) {
			s.Errorf("%s:\n got %s\nwant %s", where, w.Body, want)
		}
		return
	}
	var got any
	if want != "" || step.save != "" {
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			s.Fatalf("%s: %v: %s", where, err, w.Body)
		}
	}
	if want != "" {
		compared := got
		if w.Code >= 400 {
			compared = got.(map[string]any)["description"]
		}
		var value any
		if err := json.Unmarshal([]byte(want), &value); err != nil {
			s.Fatalf("%s: %v", want, err)
		}
		if err := contains(compared, value, ""); err != nil {
			s.Errorf("%s: %v\n got %s\nwant %s", where, err, w.Body, want)
		}
	}
	for save := range strings.FieldsSeq(step.save) {
		name, member, _ := strings.Cut(save, "=")
		if s.saved == nil {
			s.saved = map[string]string{}
		}
		if header := w.Header().Get(member); header != "" {
			s.saved[name] = header
			continue
		}
		v := got
		for part := range strings.SplitSeq(strings.TrimPrefix(member, "."), ".") {
			switch o := v.(type) {
			case map[string]any:
				v = o[part]
			case []any:
				var i int
				fmt.Sscan(part, &i)
				v = o[i]
			}
		}
		s.saved[name] = fmt.Sprint(v)
	}
}

func pairs(text string) map[string]string {
	all := map[string]string{}
	for pair := range strings.SplitSeq(text, " | ") {
		if name, value, ok := strings.Cut(pair, ": "); ok {
			all[name] = value
		} else if name, ok := strings.CutSuffix(pair, ":"); ok {
			all[name] = ""
		}
	}
	return all
}

func matches(pattern, text string) bool {
	ok, err := regexp.MatchString("^(?s:"+pattern+")$", text)
	return ok && err == nil
}

// contains reports where got is not as want says.
func contains(got, want any, at string) error {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is no object", at)
		}
		for name, value := range w {
			member, there := g[name]
			if !there {
				return fmt.Errorf("%s.%s is missing", at, name)
			}
			if err := contains(member, value, at+"."+name); err != nil {
				return err
			}
		}
		return nil
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Errorf("%s is no list of %d", at, len(w))
		}
		for i := range w {
			if err := contains(g[i], w[i], fmt.Sprintf("%s.%d", at, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if want != "*" && got != want {
		return fmt.Errorf("%s is %v, not %v", at, got, want)
	}
	return nil
}

// newScript makes a server with the default policies and the rule that gives low to
// every metric.
func newScript(t *testing.T, o Options) *script {
	t.Helper()
	t.Parallel()
	x, err := index.Open(context.Background(), index.Options{URL: filepath.Join(t.TempDir(), "index.db"), DefaultPolicies: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	o.Index, o.OperationTimeout = x, patience
	if o.Auth == nil {
		basic, err := auth.NewBasic(auth.BasicOptions{Admins: []string{"admin"}})
		if err != nil {
			t.Fatal(err)
		}
		o.Auth = basic
	}
	return &script{T: t, server: New(o)}
}

func TestPoliciesOverHTTP(t *testing.T) {
	s := newScript(t, Options{})
	const g = `"definition": [{"granularity": "1s", "points": 20}, {"granularity": "2s"}]`
	s.run(
		step{user: "joe", request: "GET /v1/archive_policy", status: 200, want: `[{"name": "bool"}, {"name": "high"}, {"name": "low"}, {"name": "medium"}]`},
		step{user: "joe", request: "GET /v1/archive_policy/bool", status: 200, want: `{"name": "bool", "back_window": 3600, "aggregation_methods": ["last"], "definition": [{"granularity": "0:00:01", "points": 31536000, "timespan": "365 days, 0:00:00"}]}`},
		step{user: "joe", request: "GET /v1/archive_policy/low/", status: 200, want: `{"definition": [{"granularity": "0:05:00", "points": 8640, "timespan": "30 days, 0:00:00"}]}`},
		step{user: "joe", request: "GET /v1/archive_policy/nope", status: 404, want: `"Archive policy nope does not exist"`},
		// Who may is asked before what is in the body.
		step{user: "joe", request: "POST /v1/archive_policy", body: `{}`, status: 403},
		step{user: "", request: "POST /v1/archive_policy", body: `{}`, status: 401, have: "WWW-Authenticate: Basic .*"},
		step{user: "admin", request: "POST /v1/archive_policy", body: `{"name": "✔é /x", "back_window": "2", "aggregation_methods": ["-mean", "+rate:last"], ` + g + `}`, status: 201,
			want: `{"name": "✔é /x", "back_window": 2, "aggregation_methods": ["sum", "max", "min", "std", "count", "rate:last"], "definition": [{"granularity": "0:00:01", "points": 20, "timespan": "0:00:20"}, {"granularity": "0:00:02", "points": null, "timespan": null}]}`,
			have: "Location: http://h:8041/v1/archive_policy/%E2%9C%94%C3%A9%20%2Fx"},
		step{user: "joe", request: "GET /v1/archive_policy/%E2%9C%94%C3%A9%20%2Fx", status: 200, want: `{"name": "✔é /x"}`},
		step{user: "admin", request: "POST /v1/archive_policy", body: `{"name": "low", ` + g + `}`, status: 409, want: `"Archive policy low already exists"`},
		step{user: "admin", request: "POST /v1/archive_policy", body: `{"name": "x"}`, status: 400, want: cause("required key not provided @ data['definition']", "definition")},
		step{user: "admin", request: "POST /v1/archive_policy", body: `{"name": "", ` + g + `}`, status: 400, want: cause("length of value must be at least 1 for dictionary value @ data['name']", "name")},
		step{user: "admin", request: "POST /v1/archive_policy", body: `{"name": "x", "back_window": -1, ` + g + `}`, status: 400, want: cause("value must be at least 0 for dictionary value @ data['back_window']", "back_window")},
		step{user: "admin", request: "POST /v1/archive_policy", body: `{"name": "x", "back_window": 9223372036854775807, ` + g + `}`, status: 400},
		step{user: "admin", request: "POST /v1/archive_policy", body: `[]`, status: 400, want: cause("expected a dictionary")},
		step{user: "admin", request: "POST /v1/archive_policy", body: `{}`, headers: "Content-Type: text/plain", status: 415},
		step{user: "admin", request: "PATCH /v1/archive_policy/low", body: `{"definition": [{"granularity": "5 min", "points": 50}]}`, status: 200, want: `{"name": "low", "definition": [{"granularity": "0:05:00", "points": 50, "timespan": "4:10:00"}]}`},
		step{user: "joe", request: "GET /v1/archive_policy/low", status: 200, want: `{"definition": [{"points": 50}]}`},
		step{user: "admin", request: "PATCH /v1/archive_policy/low", body: `{"definition": [{"granularity": "1s", "points": 50}]}`, status: 400, want: `"Archive policy low does not support change: 300.0 granularity interval was changed"`},
		step{user: "admin", request: "PATCH /v1/archive_policy/low", body: `{"definition": [{"granularity": "1s"}, {"granularity": "5min"}]}`, status: 400, want: `"Archive policy low does not support change: Cannot add or drop granularities"`},
		step{user: "admin", request: "PATCH /v1/archive_policy/low", body: `{"definition": [{"granularity": "5min"}], "name": "x"}`, status: 400, want: cause("extra keys not allowed @ data['name']", "name")},
		step{user: "joe", request: "PATCH /v1/archive_policy/low", body: `{}`, status: 403},
		step{user: "admin", request: "PATCH /v1/archive_policy/nope", body: `{}`, status: 404},
		step{user: "admin", request: "DELETE /v1/archive_policy/low", status: 400, want: `"Archive policy low is still in use"`},
		step{user: "joe", request: "DELETE /v1/archive_policy/medium", status: 403},
		step{user: "admin", request: "DELETE /v1/archive_policy/medium", status: 204, have: "Content-Type:"},
		step{user: "admin", request: "DELETE /v1/archive_policy/medium", status: 404, want: `"Archive policy medium does not exist"`},
		step{user: "admin", request: "PUT /v1/archive_policy/low", status: 405, have: "Allow: DELETE, GET, HEAD, PATCH"},
		step{user: "admin", request: "GET /v1/archive_policy", headers: "Accept: text/plain", status: 406, want: "/406 Not Acceptable.*/"},
	)
}

func TestRulesOverHTTP(t *testing.T) {
	s := newScript(t, Options{})
	s.run(
		step{user: "admin", request: "POST /v1/archive_policy_rule", body: `{"name": "disk", "metric_pattern": "disk.*", "archive_policy_name": "high"}`, status: 201,
			want: `{"name": "disk", "metric_pattern": "disk.*", "archive_policy_name": "high"}`, have: "Location: http://h:8041/v1/archive_policy_rule/disk"},
		step{user: "admin", request: "POST /v1/archive_policy_rule", body: `{"name": "io", "metric_pattern": "disk.io.*", "archive_policy_name": "medium"}`, status: 201},
		step{user: "joe", request: "GET /v1/archive_policy_rule", status: 200, want: `[{"metric_pattern": "disk.io.*"}, {"metric_pattern": "disk.*"}, {"metric_pattern": "*"}]`},
		step{user: "admin", request: "POST /v1/archive_policy_rule", body: `{"name": "disk", "metric_pattern": "x", "archive_policy_name": "high"}`, status: 409, want: `"Archive policy rule disk already exists"`},
		step{user: "admin", request: "POST /v1/archive_policy_rule", body: `{"name": "x", "metric_pattern": "x", "archive_policy_name": "nope"}`, status: 400, want: `{"cause": "Archive policy does not exist", "detail": "nope"}`},
		step{user: "admin", request: "POST /v1/archive_policy_rule", body: `{"name": "x", "archive_policy_name": "low"}`, status: 400, want: cause("required key not provided @ data['metric_pattern']", "metric_pattern")},
		step{user: "joe", request: "POST /v1/archive_policy_rule", body: `{}`, status: 403},
		step{user: "joe", request: "GET /v1/archive_policy_rule/io", status: 200, want: `{"archive_policy_name": "medium"}`},
		step{user: "joe", request: "GET /v1/archive_policy_rule/nope", status: 404, want: `"Archive policy rule nope does not exist"`},
		// The first rule that matches gives a metric its policy.
		step{user: "joe", request: "POST /v1/metric", body: `{"name": "disk.io.rate"}`, status: 201, want: `{"archive_policy_name": "medium"}`},
		step{user: "joe", request: "POST /v1/metric", body: `{"name": "disk.size"}`, status: 201, want: `{"archive_policy_name": "high"}`},
		step{user: "joe", request: "POST /v1/metric", body: `{}`, status: 201, want: `{"archive_policy_name": "low", "name": null}`},
		step{user: "admin", request: "PATCH /v1/archive_policy_rule/io", body: `{"name": "new"}`, status: 200, want: `{"name": "new", "metric_pattern": "disk.io.*"}`},
		step{user: "admin", request: "PATCH /v1/archive_policy_rule/new", body: `{"name": "new"}`, status: 200},
		step{user: "admin", request: "PATCH /v1/archive_policy_rule/new", body: `{"name": "disk"}`, status: 400, want: `"Archive policy rule new does not support change: Archive policy rule disk already exists."`},
		step{user: "admin", request: "PATCH /v1/archive_policy_rule/new", body: `{"metric_pattern": "x"}`, status: 400},
		step{user: "joe", request: "PATCH /v1/archive_policy_rule/new", body: `{"name": "x"}`, status: 403},
		step{user: "admin", request: "PATCH /v1/archive_policy_rule/io", body: `{"name": "x"}`, status: 404},
		step{user: "joe", request: "DELETE /v1/archive_policy_rule/new", status: 403},
		step{user: "admin", request: "DELETE /v1/archive_policy_rule/new", status: 204},
		step{user: "admin", request: "DELETE /v1/archive_policy_rule/new", status: 404},
		step{user: "admin", request: "DELETE /v1/archive_policy_rule/default", status: 204},
		step{user: "joe", request: "POST /v1/metric", body: `{"name": "cpu"}`, status: 400, want: `"No archive policy name specified and no archive policy rule found matching the metric name cpu"`},
	)
}

func TestResourceTypesOverHTTP(t *testing.T) {
	s := newScript(t, Options{})
	const patch = "Content-Type: application/json-patch+json"
	s.run(
		step{user: "joe", request: "GET /v1/resource_type", status: 200, want: `[{"name": "generic", "state": "active", "attributes": {}}]`},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "host", "attributes": {"s": {"type": "string"}, "n": {"type": "number", "max": 7.5}, "b": {"type": "bool", "required": false}, "u": {"type": "uuid", "required": false}, "d": {"type": "datetime", "required": false}, "a b": {"type": "string", "required": false, "min_length": 1, "max_length": 5}}}`, status: 201,
			want: `{"name": "host", "state": "active", "attributes": {"s": {"type": "string", "required": true, "min_length": 0, "max_length": 255}, "n": {"type": "number", "required": true, "min": null, "max": 7.5}, "b": {"type": "bool", "required": false}, "u": {"type": "uuid"}, "d": {"type": "datetime"}, "a b": {"min_length": 1, "max_length": 5}}}`,
			have: "Location: http://h:8041/v1/resource_type/host"},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "host"}`, status: 409, want: `"Resource type host already exists"`},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "generic"}`, status: 409},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "x", "attributes": {"id": {"type": "string"}}}`, status: 400, want: `"Invalid input: Resource attribute name id is invalid"`},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "x", "attributes": {"-": {"type": "string"}}}`, status: 400, want: `"Invalid input: Resource attribute name - is invalid"`},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "x", "attributes": {"` + strings.Repeat("a", 64) + `": {"type": "string"}}}`, status: 400},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "x", "attributes": {"a": {"type": "odd"}}}`, status: 400, want: cause("not a valid value for dictionary value @ data['attributes']['a']['type']: must be string, uuid, number, bool or datetime", "attributes", "a", "type")},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "x", "attributes": {"a": {}}}`, status: 400, want: cause("required key not provided @ data['attributes']['a']['type']", "attributes", "a", "type")},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "x", "attributes": {"a": {"type": "string", "max_length": 256}}}`, status: 400},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "x", "attributes": {"a": {"type": "string", "max": 5}}}`, status: 400},
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "x", "attributes": {"a": {"type": "string", "min_length": 9, "max_length": 5}}}`, status: 400, want: `"Invalid input: Resource attribute value min (or min_length) 9 must be less than or equal to max (or max_length) 5!"`},
		step{user: "joe", request: "POST /v1/resource_type", body: `{}`, status: 403},
		step{user: "joe", request: "GET /v1/resource_type/nope", status: 404, want: `"Resource type nope does not exist"`},
		step{user: "joe", request: "POST /v1/resource/host", body: `{"id": "h1", "s": "x", "n": 3, "u": "75C44741-CC60-4033-804E-2D3098C7D2E9", "d": "2014-01-01", "a b": "12345"}`, status: 201,
			want: `{"type": "host", "s": "x", "n": 3, "b": null, "u": "75c44741-cc60-4033-804e-2d3098c7d2e9", "d": "2014-01-01T00:00:00+00:00", "a b": "12345"}`},
		step{user: "joe", request: "POST /v1/resource/host", body: `{"id": "h2", "n": 3}`, status: 400, want: cause("required key not provided @ data['s']", "s")},
		step{user: "joe", request: "POST /v1/resource/host", body: `{"id": "h2", "s": "x", "n": 8}`, status: 400, want: cause("value must be at most 7.5 for dictionary value @ data['n']", "n")},
		step{user: "joe", request: "POST /v1/resource/host", body: `{"id": "h2", "s": "x", "n": "8"}`, status: 400, want: cause("expected Real for dictionary value @ data['n']", "n")},
		step{user: "joe", request: "POST /v1/resource/host", body: `{"id": "h2", "s": "x", "n": 1, "a b": "123456"}`, status: 400, want: cause("length of value must be at most 5 for dictionary value @ data['a b']", "a b")},
		step{user: "joe", request: "POST /v1/resource/host", body: `{"id": "h2", "s": "x", "n": 1, "u": "x"}`, status: 400, want: cause("badly formed hexadecimal UUID string for dictionary value @ data['u']", "u")},
		step{user: "admin", request: "DELETE /v1/resource_type/host", status: 400, want: `"Resource type host is still in use"`},
		step{user: "admin", request: "PATCH /v1/resource_type/host", headers: patch, body: `[{"op": "add", "path": "/attributes/new", "value": {"type": "number", "options": {"fill": 5}}}, {"op": "remove", "path": "/attributes/b"}]`, status: 200,
			want: `{"attributes": {"new": {"type": "number", "required": true}}}`},
		step{user: "joe", request: "GET /v1/resource/host/h1", status: 200, want: `{"new": 5, "s": "x"}`},
		step{user: "admin", request: "PATCH /v1/resource_type/host", headers: patch, body: `[{"op": "add", "path": "/attributes/x", "value": {"type": "number", "options": {"fill": "y"}}}]`, status: 400, want: `"Invalid input: Option 'fill' of resource attribute x is invalid: expected Real"`},
		step{user: "admin", request: "PATCH /v1/resource_type/host", headers: patch, body: `[{"op": "add", "path": "/attributes/id", "value": {"type": "number", "required": false}}]`, status: 400, want: `"Invalid input: Resource attribute name id is invalid"`},
		step{user: "admin", request: "PATCH /v1/resource_type/host", headers: patch, body: `[{"op": "remove", "path": "/attributes/b"}]`, status: 400, want: `"can't remove a non-existent object 'b'"`},
		step{user: "admin", request: "PATCH /v1/resource_type/host", body: `[]`, status: 415},
		step{user: "admin", request: "PATCH /v1/resource_type/host", headers: patch, body: `[]`, status: 200},
		step{user: "admin", request: "PATCH /v1/resource_type/generic", headers: patch, body: `[{"op": "add", "path": "/attributes/x", "value": {"type": "bool", "required": false}}]`, status: 400},
		step{user: "joe", request: "PATCH /v1/resource_type/host", headers: patch, body: `[]`, status: 403},
		step{user: "joe", request: "DELETE /v1/resource/host/h1", status: 204},
		step{user: "joe", request: "DELETE /v1/resource_type/host", status: 403},
		step{user: "admin", request: "DELETE /v1/resource_type/host", status: 204},
		step{user: "admin", request: "DELETE /v1/resource_type/host", status: 404},
		step{user: "admin", request: "DELETE /v1/resource_type/generic", status: 400, want: `"Resource type generic is still in use"`},
		step{user: "joe", request: "GET /v1/resource/host", status: 404, want: `"Resource type host does not exist"`},
	)
}

func TestResourcesOverHTTP(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	s := newScript(t, Options{Now: func() time.Time { return now }})
	const one = "/v1/resource/generic/75c44741-cc60-4033-804e-2d3098c7d2e9"
	s.run(
		step{user: "joe", request: "GET /v1/resource", status: 200, want: `{"generic": "http://h:8041/v1/resource/generic"}`},
		step{user: "joe", request: "GET /v1/resource/generic", status: 200, want: `[]`, have: "Link:"},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "75C44741-CC60-4033-804E-2D3098C7D2E9", "user_id": "u", "metrics": {"cpu": {"archive_policy_name": "high", "unit": "%"}, "mem": {}}}`, status: 201,
			want: `{"id": "75c44741-cc60-4033-804e-2d3098c7d2e9", "original_resource_id": "75C44741-CC60-4033-804E-2D3098C7D2E9", "type": "generic", "creator": "joe", "created_by_user_id": "joe", "created_by_project_id": "",
				"user_id": "u", "project_id": null, "started_at": "2026-01-02T03:04:05.000006+00:00", "ended_at": null, "revision_end": null, "revision_start": "*", "metrics": {"cpu": "*", "mem": "*"}}`,
			have: `Location: http://h:8041` + one + ` | ETag: "[0-9a-f]{40}" | Last-Modified: .* GMT`, save: "etag=ETag modified=Last-Modified cpu=metrics.cpu mem=metrics.mem"},
		step{user: "joe", request: "GET " + one, status: 200, have: "ETag: {etag} | Last-Modified: {modified}"},
		step{user: "joe", request: "HEAD " + one, status: 200, have: "ETag: {etag}"},
		step{user: "joe", request: "GET /v1/metric/{cpu}", status: 200, want: `{"name": "cpu", "unit": "%", "creator": "joe", "archive_policy": {"name": "high"}, "resource": {"id": "75c44741-cc60-4033-804e-2d3098c7d2e9", "user_id": "u"}}`},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "75c44741-cc60-4033-804e-2d3098c7d2e9"}`, status: 409, want: `"Resource 75c44741-cc60-4033-804e-2d3098c7d2e9 already exists"`},
		step{user: "joe", request: "POST /v1/resource/nope", body: `{"id": "x"}`, status: 404, want: `"Resource type nope does not exist"`},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{}`, status: 400, want: cause("required key not provided @ data['id']", "id")},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": 5}`, status: 400, want: cause("expected str for dictionary value @ data['id']", "id")},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "x", "started_at": "2014-01-03", "ended_at": "2014-01-01"}`, status: 400, want: `"Start timestamp cannot be after end timestamp"`},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "x", "started_at": null}`, status: 400},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "x", "user_id": 5}`, status: 400, want: cause("not a valid value for dictionary value @ data['user_id']: must be a string or null", "user_id")},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "x", "metrics": {"a/b": {}}}`, status: 400, want: `"'/' is not supported in metric name"`},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "x", "metrics": {"a": {"archive_policy_name": "nope"}}}`, status: 400, want: `"Archive policy nope does not exist"`},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "x", "metrics": {"a": "75c44741-cc60-4033-804e-2d3098c7d2e9"}}`, status: 400, want: `"Metric 75c44741-cc60-4033-804e-2d3098c7d2e9 does not exist"`},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "x", "metrics": {"a": 5}}`, status: 400, want: cause("not a valid value for dictionary value @ data['metrics']['a']: must be the id of a metric, or an object for a new one", "metrics", "a")},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "x", "metrics": {"a": {"unit": "` + strings.Repeat("x", 32) + `"}}}`, status: 400},
		// Nothing of the refused ones is left.
		step{user: "joe", request: "GET /v1/resource/generic?attrs=id&attrs=type&attrs=odd", status: 200, want: `[{"id": "75c44741-cc60-4033-804e-2d3098c7d2e9", "type": "generic"}]`},

		step{user: "joe", request: "PATCH " + one, body: `{}`, status: 200, have: "ETag: {etag}"},
		step{user: "joe", request: "PATCH " + one, body: `{"user_id": "u"}`, status: 200, have: "ETag: {etag}"},
		step{user: "joe", request: "PATCH " + one, body: `{"user_id": "v", "project_id": "p", "ended_at": "2030-01-01"}`, status: 200, want: `{"user_id": "v", "project_id": "p", "ended_at": "2030-01-01T00:00:00+00:00", "metrics": {"cpu": "{cpu}"}}`, save: "etag2=ETag"},
		step{user: "joe", request: "PATCH " + one, body: `{"ended_at": null}`, status: 200, want: `{"ended_at": null}`},
		step{user: "joe", request: "PATCH " + one, body: `{"ended_at": "2014-01-01"}`, status: 400, want: `"Start timestamp cannot be after end timestamp"`},
		step{user: "joe", request: "PATCH " + one, body: `{"id": "x"}`, status: 400, want: cause("extra keys not allowed @ data['id']", "id")},
		step{user: "joe", request: "PATCH " + one, body: `{"metrics": {"cpu": "{cpu}", "new": {}}}`, status: 200, want: `{"metrics": {"cpu": "{cpu}", "new": "*"}}`, save: "etag3=ETag"},
		step{user: "joe", request: "GET /v1/metric/{mem}", status: 200, want: `{"resource": null}`},
		step{user: "joe", request: "PATCH " + one, body: `{"metrics": {"x": {"archive_policy_name": "nope"}}}`, status: 400, want: `"Archive policy nope does not exist"`},
		step{user: "jim", request: "PATCH " + one, body: `{}`, status: 403},
		step{user: "jim", request: "GET " + one, status: 403},
		step{user: "admin", request: "GET " + one, status: 200},
		step{user: "joe", request: "PATCH /v1/resource/generic/odd", body: `{}`, status: 404, want: `"Resource bf944a89-24c5-5a1a-b2c9-8b36f4c7151b does not exist"`},

		step{user: "joe", request: "GET " + one, headers: "If-None-Match: {etag3}", status: 304, have: "ETag: {etag3} | Content-Type:"},
		step{user: "joe", request: "GET " + one, headers: "If-None-Match: *", status: 304},
		step{user: "joe", request: "GET " + one, headers: "If-None-Match: {etag}", status: 200},
		step{user: "joe", request: "GET " + one, headers: "If-Match: {etag}", status: 412},
		step{user: "joe", request: "GET " + one, headers: "If-Match: {etag3}", status: 200},
		step{user: "joe", request: "GET " + one, headers: "If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT", status: 304},
		step{user: "joe", request: "GET " + one, headers: "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT", status: 412},
		// Entity tags win over dates.
		step{user: "joe", request: "GET " + one, headers: "If-Match: {etag3} | If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT", status: 200},
		step{user: "joe", request: "PATCH " + one, headers: "If-Match: {etag}", body: `{"user_id": "w"}`, status: 412},
		step{user: "joe", request: "PATCH " + one, headers: "If-None-Match: *", body: `{"user_id": "w"}`, status: 412},
		step{user: "joe", request: "DELETE " + one, headers: "If-Match: {etag}", status: 412},
		step{user: "joe", request: "PATCH " + one, headers: "If-Match: {etag3}", body: `{"user_id": "w"}`, status: 200},

		step{user: "joe", request: "GET " + one + "/history", status: 200, want: `[{"user_id": "u", "revision_end": "*"}, {"user_id": "v"}, {"user_id": "v"}, {"user_id": "w", "revision_end": null, "metrics": {"cpu": "{cpu}"}}]`},
		step{user: "joe", request: "GET " + one + "/history?limit=1&sort=revision_start:desc", status: 200, want: `[{"user_id": "w"}]`,
			have: "Link: <http://h:8041" + one + `/history\?limit=1&marker=75c44741-cc60-4033-804e-2d3098c7d2e9%40-1&sort=revision_start%3Adesc>; rel="next"`},
		step{user: "joe", request: "GET " + one + "/history?limit=1&sort=revision_start:desc&marker=75c44741-cc60-4033-804e-2d3098c7d2e9@-1", status: 200, want: `[{"user_id": "v"}]`},
		step{user: "jim", request: "GET " + one + "/history", status: 403},
		step{user: "joe", request: "GET /v1/resource/generic/odd/history", status: 404},

		step{user: "jim", request: "DELETE " + one, status: 403},
		step{user: "joe", request: "DELETE " + one, status: 204},
		step{user: "joe", request: "DELETE " + one, status: 404, want: `"Resource 75c44741-cc60-4033-804e-2d3098c7d2e9 does not exist"`},
		step{user: "joe", request: "GET /v1/metric/{cpu}", status: 404, want: `"Metric {cpu} does not exist"`},
		step{user: "joe", request: "GET /v1/metric/{mem}", status: 200},
	)
}

// TestChangesMeanwhile changes a resource between the look at its revision and the
// conditional change, which then must not happen.
func TestChangesMeanwhile(t *testing.T) {
	s := newScript(t, Options{})
	const one = "/v1/resource/generic/75c44741-cc60-4033-804e-2d3098c7d2e9"
	s.run(step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "75c44741-cc60-4033-804e-2d3098c7d2e9", "user_id": "a"}`, status: 201, save: "etag=ETag"})
	// The body is read after the look.
	meanwhile := readFunc(func([]byte) (int, error) {
		s.run(step{user: "admin", request: "PATCH " + one, body: `{"user_id": "b"}`, status: 200})
		return 0, io.EOF
	})
	r := httptest.NewRequest("PATCH", one, io.MultiReader(meanwhile, strings.NewReader(`{"user_id": "c"}`)))
	r.SetBasicAuth("joe", "")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("If-Match", s.saved["etag"])
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	if w.Code != http.StatusPreconditionFailed {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.run(step{user: "joe", request: "GET " + one, status: 200, want: `{"user_id": "b"}`})
}

// TestDeletesMeanwhile changes and deletes resources at the same time. Of a change and a
// deletion of the same revision one has to fail.
func TestDeletesMeanwhile(t *testing.T) {
	s := newScript(t, Options{})
	send := func(method, path, body string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.SetBasicAuth("joe", "")
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		return w
	}
	for i := range 30 {
		made := send("POST", "/v1/resource/generic", fmt.Sprintf(`{"id": "r%d", "user_id": "a"}`, i))
		one := fmt.Sprintf("/v1/resource/generic/r%d", i)
		changed := make(chan int)
		go func() { changed <- send("PATCH", one, `{"user_id": "b"}`).Code }()
		deletion := send("DELETE", one, "", "If-Match", made.Header().Get("ETag")).Code
		change := <-changed
		if !(change == 200 && deletion == 412) && !(change == 404 && deletion == 204) {
			t.Fatalf("the change is answered with %d, and the deletion with %d", change, deletion)
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestTransformedIDs(t *testing.T) {
	s := newScript(t, Options{})
	long := strings.Repeat("x", 255)
	s.run(
		// Gnocchi gives the same text of the same user the same id.
		step{user: "foobar", request: "POST /v1/resource/generic", body: `{"id": "n1"}`, status: 201, save: "id=id", want: `{"original_resource_id": "n1"}`},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "n1"}`, status: 201, want: `{"id": "e9e8d89e-f252-5c27-be86-eaa37102b51e"}`},
		step{user: "foobar", request: "GET /v1/resource/generic/n1", status: 200, want: `{"id": "{id}", "creator": "foobar"}`},
		step{user: "foobar", request: "GET /v1/resource/generic/{id}", status: 200},
		step{user: "jim", request: "GET /v1/resource/generic/n1", status: 404},
		step{user: "jim", request: "GET /v1/resource/generic/{id}", status: 403},
		step{user: "foobar", request: "POST /v1/resource/generic", body: `{"id": "a/b"}`, status: 400, want: cause("'/' is not supported in resource id for dictionary value @ data['id']", "id")},
		step{user: "foobar", request: "GET /v1/resource/generic/a%2Fb", status: 404},
		step{user: "foobar", request: "POST /v1/resource/generic", body: `{"id": "` + long + `"}`, status: 201},
		step{user: "foobar", request: "POST /v1/resource/generic", body: `{"id": "x` + long + `"}`, status: 400, want: cause("transformable resource id >255 max allowed characters for dictionary value @ data['id']", "id")},
		step{user: "foobar", request: "GET /v1/resource/generic/x" + long, status: 404},
		step{user: "foobar", request: "POST /v1/metric", body: `{"name": "m", "resource_id": "n1"}`, status: 201, want: `{"resource_id": "{id}"}`},
		step{user: "foobar", request: "POST /v1/search/resource/generic", body: `{"=": {"id": "n1"}}`, status: 200, want: `[{"id": "{id}"}]`},
	)
}

func TestMetricsOverHTTP(t *testing.T) {
	s := newScript(t, Options{})
	s.run(
		step{user: "joe", request: "POST /v1/metric", body: `{"archive_policy_name": "high", "name": "n", "unit": "B/s"}`, status: 201, save: "m=id",
			want: `{"id": "*", "name": "n", "unit": "B/s", "creator": "joe", "created_by_user_id": "joe", "created_by_project_id": "", "resource_id": null, "archive_policy_name": "high"}`,
			have: "Location: http://h:8041/v1/metric/[0-9a-f-]{36}"},
		step{user: "joe", request: "POST /v1/metric", body: `{}`, status: 201, want: `{"name": null, "unit": null, "archive_policy_name": "low"}`, save: "m2=id"},
		step{user: "joe", request: "GET /v1/metric/{m}", status: 200, want: `{"id": "{m}", "resource": null, "archive_policy": {"name": "high"}}`},
		step{user: "jim", request: "GET /v1/metric/{m}", status: 403},
		step{user: "joe", request: "GET /v1/metric/nope", status: 404, want: `"Metric nope does not exist"`},
		step{user: "joe", request: "POST /v1/metric", body: `{"archive_policy_name": "nope"}`, status: 400, want: `"Archive policy nope does not exist"`},
		step{user: "joe", request: "POST /v1/metric", body: `{"name": "a/b"}`, status: 400, want: `"'/' is not supported in metric name"`},
		step{user: "joe", request: "POST /v1/metric", body: `{"unit": "` + strings.Repeat("x", 32) + `"}`, status: 400, want: cause("length of value must be at most 31 for dictionary value @ data['unit']", "unit")},
		step{user: "joe", request: "POST /v1/metric", body: `{"user_id": "x"}`, status: 400, want: cause("extra keys not allowed @ data['user_id']", "user_id")},
		step{user: "joe", request: "POST /v1/metric", body: `{"resource_id": "r"}`, status: 400, want: `{"cause": "Attribute value error", "detail": "name", "reason": "Name cannot be null if resource_id is not null"}`},
		step{user: "joe", request: "POST /v1/metric", body: `{"resource_id": "r", "name": "x"}`, status: 404},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "r"}`, status: 201, save: "r=id"},
		step{user: "joe", request: "POST /v1/metric", body: `{"resource_id": "r", "name": "x"}`, status: 201, want: `{"resource_id": "{r}"}`, save: "x=id"},
		step{user: "joe", request: "POST /v1/metric", body: `{"resource_id": "r", "name": "x"}`, status: 400, want: `{"cause": "Named metric already exists", "detail": "x"}`},
		step{user: "jim", request: "POST /v1/metric", body: `{"resource_id": "{r}", "name": "y"}`, status: 403},

		step{user: "joe", request: "GET /v1/metric?limit=1", status: 200, want: `[{"id": "*", "archive_policy": {"name": "*"}, "resource_id": null}]`, have: `Link: <http://h:8041/v1/metric\?limit=1&marker=[0-9a-f-]{36}&sort=id%3Aasc>; rel="next"`},
		step{user: "joe", request: "GET /v1/metric?name=n", status: 200, want: `[{"id": "{m}"}]`, have: "Link:"},
		step{user: "joe", request: "GET /v1/metric?id={m}", status: 200, want: `[{"id": "{m}"}]`},
		step{user: "joe", request: "GET /v1/metric?id=odd", status: 200, want: `[]`},
		step{user: "joe", request: "GET /v1/metric?unit=B/s&creator=joe&archive_policy_name=high&odd=1", status: 200, want: `[{"id": "{m}"}]`},
		step{user: "joe", request: "GET /v1/metric?archive_policy_name=nope", status: 200, want: `[]`},
		step{user: "joe", request: "GET /v1/metric?user_id=joe&project_id=p", status: 200, want: `[]`},
		step{user: "joe", request: "GET /v1/metric?status=odd", status: 400, want: `"Invalid input: not a valid value for dictionary value @ data['status']: must be active or delete"`},
		// Where there are no projects everybody's metrics are listed.
		step{user: "jim", request: "GET /v1/metric?sort=name:desc", status: 200, want: `["*", "*", "*"]`},

		step{user: "joe", request: "GET /v1/resource/generic/r/metric", status: 200, want: `[{"name": "x", "resource_id": "{r}", "archive_policy": {"name": "low"}}]`},
		step{user: "joe", request: "POST /v1/resource/generic/r/metric", body: `{"a": {"archive_policy_name": "high"}, "free": "{m2}"}`, status: 200, want: `[{"name": "a"}, {"name": "free", "id": "{m2}"}, {"name": "x"}]`},
		step{user: "joe", request: "POST /v1/resource/generic/r/metric", body: `{"a": {}}`, status: 409, want: `"Named metric a already exists"`},
		step{user: "joe", request: "POST /v1/resource/generic/r/metric", body: `{"b": {"archive_policy_name": "nope"}}`, status: 400, want: `"Archive policy nope does not exist"`},
		step{user: "joe", request: "POST /v1/resource/generic/r/metric", body: `5`, status: 400, want: cause("expected a dictionary")},
		step{user: "joe", request: "POST /v1/resource/generic/odd/metric", body: `{}`, status: 404},
		step{user: "jim", request: "POST /v1/resource/generic/{r}/metric", body: `{}`, status: 403},
		step{user: "joe", request: "GET /v1/resource/generic/r/metric/x", status: 200, want: `{"id": "{x}", "resource": {"id": "{r}"}}`},
		step{user: "joe", request: "GET /v1/resource/generic/r/metric/odd", status: 404, want: `"Metric odd does not exist"`},
		step{user: "joe", request: "GET /v1/resource/generic/odd/metric/x", status: 404},
		step{user: "jim", request: "GET /v1/resource/generic/{r}/metric/x", status: 403},
		step{user: "joe", request: "POST /v1/resource/generic/r/metric/x", body: `{}`, status: 405, have: "Allow: DELETE, GET, HEAD"},
		step{user: "jim", request: "DELETE /v1/resource/generic/{r}/metric/x", status: 403},
		step{user: "joe", request: "DELETE /v1/resource/generic/r/metric/x", status: 204},
		step{user: "joe", request: "DELETE /v1/resource/generic/r/metric/x", status: 404},
		step{user: "joe", request: "GET /v1/resource/generic/r", status: 200, want: `{"metrics": {"a": "*"}}`},

		step{user: "jim", request: "DELETE /v1/metric/{m}", status: 403},
		step{user: "joe", request: "DELETE /v1/metric/{m}", status: 204},
		step{user: "joe", request: "DELETE /v1/metric/{m}", status: 404, want: `"Metric {m} does not exist"`},
		step{user: "joe", request: "GET /v1/metric/{m}", status: 404},
		step{user: "joe", request: "GET /v1/metric?status=delete&name=n", status: 200, want: `[{"id": "{m}"}]`},
	)
}

func TestPagination(t *testing.T) {
	s := newScript(t, Options{MaxLimit: 3})
	for i := range 5 {
		s.run(step{user: "joe", request: "POST /v1/resource/generic", status: 201, save: fmt.Sprintf("r%d=id", i),
			body: fmt.Sprintf(`{"id": "r%d", "started_at": "2014-01-0%d", "user_id": %s}`, i, 1+i%2, []string{`"a"`, "null", `"b"`, "null", `"c"`}[i])})
	}
	const list = "GET /v1/resource/generic?attrs=original_resource_id"
	id := func(i ...int) string {
		var all []string
		for _, i := range i {
			all = append(all, fmt.Sprintf(`{"original_resource_id": "r%d"}`, i))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	s.run(
		// The default is the most that there can be, in the order of their making.
		step{user: "joe", request: list, status: 200, want: id(0, 1, 2), have: `Link: <http://h:8041/v1/resource/generic\?attrs=original_resource_id&limit=3&marker={r2}&sort=revision_start%3Aasc&sort=started_at%3Aasc>; rel="next"`},
		step{user: "joe", request: list + "&limit=3&marker={r2}&sort=revision_start:asc&sort=started_at:asc", status: 200, want: id(3, 4), have: "Link:"},
		step{user: "joe", request: list + "&limit=99999999999999999999", status: 200, want: id(0, 1, 2)},
		// A full page has a link even when nothing follows.
		step{user: "joe", request: list + "&limit=2&marker={r2}", status: 200, want: id(3, 4), have: "Link: .+"},
		step{user: "joe", request: list + "&limit=2&sort=started_at:desc&sort=user_id:asc", status: 200, want: id(1, 3)},
		step{user: "joe", request: list + "&sort=user_id:asc-nullsfirst&limit=3", status: 200, want: `["*", "*", {"original_resource_id": "r0"}]`},
		step{user: "joe", request: list + "&sort=user_id:asc-nullslast&limit=3", status: 200, want: id(0, 2, 4)},
		step{user: "joe", request: list + "&sort=user_id:desc-nullslast&limit=1&marker={r2}", status: 200, want: id(0)},
		step{user: "joe", request: list + "&sort=user_id:&limit=1", status: 200},
	)
	for _, c := range []struct{ query, want string }{
		{"limit=0", `{"cause": "Argument value error", "reason": "value must be at least 1 for dictionary value @ data['limit']"}`},
		{"limit=-9999999999999999999999", `{"cause": "Argument value error", "reason": "expected int for dictionary value @ data['limit']"}`},
		{"limit=x", `{"cause": "Argument value error", "reason": "expected int for dictionary value @ data['limit']"}`},
		{"sort=odd", "\"Invalid pagination: `Sort key supplied is invalid: odd'\""},
		{"sort=id:odd", "\"Invalid pagination: `Unknown sort direction, must be one of: asc, desc, asc-nullsfirst, asc-nullslast, desc-nullsfirst, desc-nullslast'\""},
		{"sort=id:asc-odd", `"*"`},
		{"sort=id:-nullsfirst", `"*"`},
		{"sort=id:asc-", `"*"`},
		{"marker=odd", "\"Invalid pagination: `Invalid marker: `odd''\""},
		{"marker=75c44741-cc60-4033-804e-2d3098c7d2e9", "\"Invalid pagination: `Invalid marker: `75c44741-cc60-4033-804e-2d3098c7d2e9''\""},
	} {
		s.run(step{user: "joe", request: "GET /v1/resource/generic?" + c.query, status: 400, want: c.want},
			step{user: "joe", request: "GET /v1/metric?" + c.query, status: 400, want: c.want},
			step{user: "joe", request: "POST /v1/search/resource/generic?" + c.query, body: "{}", status: 400, want: c.want})
	}
}

func TestSearchOverHTTP(t *testing.T) {
	s := newScript(t, Options{})
	s.run(
		step{user: "admin", request: "POST /v1/resource_type", body: `{"name": "host", "attributes": {"size": {"type": "number"}}}`, status: 201},
		step{user: "joe", request: "POST /v1/resource/host", body: `{"id": "h", "size": 5, "started_at": "2014-01-01", "ended_at": "2014-01-02"}`, status: 201},
		step{user: "joe", request: "POST /v1/resource/generic", body: `{"id": "g", "user_id": "u"}`, status: 201},
		step{user: "joe", request: "PATCH /v1/resource/host/h", body: `{"size": 7}`, status: 200},
		step{user: "joe", request: "POST /v1/search/resource/generic", status: 200, want: `[{"original_resource_id": "g"}, {"original_resource_id": "h"}]`},
		step{user: "joe", request: "POST /v1/search/resource/generic", body: `{}`, status: 200, want: `["*", "*"]`},
		step{user: "joe", request: "POST /v1/search/resource/host", body: `{"and": [{">=": {"size": 7}}, {"=": {"lifespan": "1 day"}}]}`, status: 200, want: `[{"size": 7}]`},
		step{user: "joe", request: "POST /v1/search/resource/host?filter=size > 5 and ended_at = \"2014-01-02\"", status: 200, want: `[{"size": 7}]`},
		step{user: "joe", request: "POST /v1/search/resource/host?history=true", body: `{"<": {"size": 10}}`, status: 200, want: `[{"size": 5, "revision_end": "*"}, {"size": 7}]`},
		step{user: "joe", request: "POST /v1/search/resource/generic?details=true", body: `{"=": {"type": "host"}}`, status: 200, want: `[{"size": 7}]`},
		step{user: "joe", request: "GET /v1/resource/generic", headers: "Accept: application/json; details=True; history=true", status: 200, want: `["*", "*", "*"]`},
		step{user: "joe", request: "GET /v1/resource/generic?details=maybe", status: 400, want: "\"Unable to parse `details': invalid truth value 'maybe'\""},
		step{user: "joe", request: "POST /v1/search/resource/host", body: `{"=": {"odd": 7}}`, status: 400, want: `"Resource type host has no odd attribute"`},
		step{user: "joe", request: "POST /v1/search/resource/host", body: "{\"=\": {\"size\": \"x\"}}", status: 400, want: "\"Invalid value: `x' for field `size'\""},
		step{user: "joe", request: "POST /v1/search/resource/host", body: `{"and": {}}`, status: 400, want: `{"cause": "Invalid input"}`},
		step{user: "joe", request: "POST /v1/search/resource/host", body: `{`, status: 400, want: `{"cause": "Unable to decode body"}`},
		step{user: "joe", request: "POST /v1/search/resource/host?filter=size >", status: 400, want: `"*"`},
		step{user: "joe", request: "POST /v1/search/resource/host", body: `{"=": {"size": 7}}`, headers: "Content-Type: text/plain", status: 415},
		step{user: "joe", request: "POST /v1/search/resource/nope", status: 404, want: `"Resource type nope does not exist"`},

		// Deletions by a search take only what the one who asks may delete.
		step{user: "joe", request: "DELETE /v1/resource/generic", status: 400, want: `"*"`},
		step{user: "joe", request: "DELETE /v1/resource/generic", body: `{}`, status: 400},
		step{user: "joe", request: "DELETE /v1/resource/nope", body: `{"=": {"user_id": "u"}}`, status: 404},
		step{user: "jim", request: "DELETE /v1/resource/generic", body: `{"=": {"user_id": "u"}}`, status: 200, want: `{"deleted": 0}`},
		step{user: "joe", request: "DELETE /v1/resource/generic?filter=user_id = 'odd'", status: 200, want: `{"deleted": 0}`},
		step{user: "joe", request: "DELETE /v1/resource/generic?filter=user_id = 'u'", status: 200, want: `{"deleted": 1}`},
		step{user: "admin", request: "DELETE /v1/resource/host", body: `{"like": {"original_resource_id": "h%"}}`, status: 200, want: `{"deleted": 1}`},
		step{user: "joe", request: "GET /v1/resource/generic", status: 200, want: `[]`},
	)
}

// tenants knows users of projects by their names: USER:PROJECT, and admins.
type tenants struct{}

func (tenants) Identify(r *http.Request) (auth.Identity, error) {
	name, _, _ := r.BasicAuth()
	user, project, _ := strings.Cut(name, "@")
	who := auth.Identity{User: user, Project: project, Tenant: true}
	if user == "admin" {
		who.Roles = []string{"admin"}
	}
	return who, nil
}

// TestTenancy has the rules of Gnocchi with Keystone: who sees and changes what.
func TestTenancy(t *testing.T) {
	s := newScript(t, Options{Auth: tenants{}})
	s.run(
		// Made by a service for the project p.
		step{user: "svc@s", request: "POST /v1/resource/generic", body: `{"id": "75c44741-cc60-4033-804e-2d3098c7d2e9", "project_id": "p", "metrics": {"cpu": {}}}`, status: 201, save: "r=id cpu=metrics.cpu",
			want: `{"creator": "svc:s", "created_by_user_id": "svc", "created_by_project_id": "s"}`},
		step{user: "ann@a", request: "POST /v1/resource/generic", body: `{"id": "aaaaaaaa-cc60-4033-804e-2d3098c7d2e9", "metrics": {"mem": {}}}`, status: 201, save: "a=id mem=metrics.mem"},
		step{user: "ann@a", request: "POST /v1/metric", body: `{}`, status: 201, save: "free=id"},
	)
	for _, c := range []struct {
		user                string
		see, change, ann    int // statuses of the service's resource, and of Ann's
		resources, metrics  int // in lists
		seesAnn, deleteable int
	}{
		{"admin@x", 200, 200, 200, 2, 3, 200, 2},
		{"svc@s", 200, 200, 403, 1, 1, 403, 1},
		{"other@s", 200, 200, 403, 1, 1, 403, 1}, // of the creator's project
		{"svc@t", 403, 403, 403, 0, 0, 403, 0},
		{"pat@p", 200, 403, 403, 1, 1, 403, 0}, // of the resource's project
		{"bob@a", 403, 403, 200, 1, 2, 200, 1},
		{"bob@b", 403, 403, 403, 0, 0, 403, 0},
	} {
		s.run(
			step{user: c.user, request: "GET /v1/resource/generic/{r}", status: c.see},
			step{user: c.user, request: "GET /v1/resource/generic/{r}/history", status: c.see},
			step{user: c.user, request: "GET /v1/resource/generic/{r}/metric/cpu", status: c.see},
			step{user: c.user, request: "GET /v1/metric/{cpu}", status: c.see},
			step{user: c.user, request: "PATCH /v1/resource/generic/{r}", body: "{}", status: c.change},
			step{user: c.user, request: "POST /v1/resource/generic/{r}/metric", body: "{}", status: c.change},
			step{user: c.user, request: "GET /v1/resource/generic/{a}", status: c.seesAnn},
			step{user: c.user, request: "GET /v1/metric/{free}", status: c.seesAnn},
			step{user: c.user, request: "PATCH /v1/resource/generic/{a}", body: "{}", status: c.ann},
			step{user: c.user, request: "GET /v1/resource/generic?attrs=id", status: 200, want: items(c.resources)},
			step{user: c.user, request: "POST /v1/search/resource/generic?attrs=id", status: 200, want: items(c.resources)},
			step{user: c.user, request: "GET /v1/metric", status: 200, want: items(c.metrics)},
		)
		if c.change == 403 {
			s.run(
				step{user: c.user, request: "DELETE /v1/resource/generic/{r}", status: 403},
				step{user: c.user, request: "DELETE /v1/metric/{cpu}", status: 403},
				step{user: c.user, request: "DELETE /v1/resource/generic/{r}/metric/cpu", status: 403},
			)
		}
		if c.deleteable == 0 {
			s.run(step{user: c.user, request: "DELETE /v1/resource/generic", body: `{"!=": {"id": "odd"}}`, status: 200, want: `{"deleted": 0}`})
		}
	}
	s.run(
		// Without a project there is nothing to list.
		step{user: "pat@", request: "GET /v1/resource/generic", status: 403, want: `"Insufficient privileges: lists are of a project, and the request has none."`},
		step{user: "pat@", request: "GET /v1/metric", status: 403},
		step{user: "pat@", request: "DELETE /v1/resource/generic", body: `{"=": {"id": "x"}}`, status: 403},
		step{user: "admin@", request: "GET /v1/metric", status: 200, want: `["*", "*", "*"]`},
		step{user: "svc@s", request: "GET /v1/status", status: 403},
		step{user: "svc@s", request: "POST /v1/archive_policy", body: "{}", status: 403},
		// A metric of another creator is not attached.
		step{user: "svc@s", request: "PATCH /v1/resource/generic/{r}", body: `{"metrics": {"x": "{free}"}}`, status: 400, want: `"Metric {free} does not exist"`},
		step{user: "svc@s", request: "GET /v1/metric?user_id=svc&project_id=s", status: 200, want: `[{"id": "{cpu}"}]`},
		step{user: "svc@s", request: "DELETE /v1/resource/generic", body: `{"!=": {"id": "odd"}}`, status: 200, want: `{"deleted": 1}`},
		step{user: "admin@x", request: "GET /v1/resource/generic", status: 200, want: `[{"id": "{a}"}]`},
	)
}

// items is a list of so many.
func items(n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(`"*",`, n), ",") + "]"
}

func TestRootOverHTTP(t *testing.T) {
	s := newScript(t, Options{Build: "nepho 1.2"})
	s.run(
		step{request: "GET /", status: 200, want: `{"build": "nepho 1.2", "versions": [{"id": "v1.0", "status": "CURRENT", "links": [{"rel": "self", "href": "http://h:8041/v1/"}]}]}`},
		step{request: "GET /v1/", status: 200, want: `{"version": "1.0", "links": [{"rel": "self", "href": "http://h:8041/v1"}, {"rel": "aggregates"}, {"rel": "aggregation"}, {"rel": "archive_policy"}, {"rel": "archive_policy_rule"}, {"rel": "batch"}, {"rel": "capabilities"}, {"rel": "influxdb"}, {"rel": "metric"}, {"rel": "resource"}, {"rel": "resource_type"}, {"rel": "search"}, {"rel": "status", "href": "http://h:8041/v1/status"}]}`},
		step{request: "GET /healthcheck", headers: "Accept: */*", status: 200, want: "//", have: "Content-Type: text/plain.*"},
		step{request: "GET /healthcheck", status: 200, want: `{"detailed": false, "reasons": []}`},
		step{request: "GET /v1/capabilities", status: 200, want: `{"aggregation_methods": "*"}`},
	)
}

func TestStatusOverHTTP(t *testing.T) {
	p := newPlane(t)
	s := &script{T: t, server: p.s}
	s.run(
		step{user: "joe", request: "GET /v1/status", status: 403},
		step{user: "admin", request: "GET /v1/status", status: 200, want: `{"storage": {"summary": {"metrics": 0, "measures": 0}, "measures_to_process": {}}, "metricd": {"processors": ["aggregator"], "statistics": {"aggregator": {"accepted measures": 0}}}}`},
		step{user: "admin", request: "GET /v1/status?details=false", status: 200, want: `{"storage": {"summary": {}}}`},
		step{user: "admin", request: "GET /v1/status?details=odd", status: 400},
	)
}
