package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
)

// plane is a server with an engine and an index of its own.
type plane struct {
	testing.TB
	x *index.Index
	e *engine.Engine
	s *Server

	later atomic.Int64 // by how much the time is after planeNow
	dir   string       // of its files
}

// patience is how long a request may take on a machine that has much else to do.
const patience = 5 * time.Minute

// planeNow is the time of planes, unless they say otherwise.
var planeNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// newPlane makes a plane whose users are known by their names only, as in Gnocchi's
// mode basic, with the policies fine (1 s, 1 min and 1 h; all methods; a long back window),
// coarse (5 min; mean; no back window) and Gnocchi's medium, and no rule.
func newPlane(tb testing.TB) *plane {
	tb.Helper()
	ctx, dir := context.Background(), tb.TempDir()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	x, err := index.Open(ctx, index.Options{URL: filepath.Join(dir, "index.db")})
	must(err)
	store, err := objects.Local(filepath.Join(dir, "objects"))
	must(err)
	p := &plane{TB: tb, x: x, dir: dir}
	now := func() time.Time { return planeNow.Add(time.Duration(p.later.Load())) }
	e, err := engine.Open(ctx, engine.Options{Dir: filepath.Join(dir, "data"), Objects: store, MaxFuture: time.Hour, Now: now}, nil)
	must(err)
	x.OnPolicy(e.SetPolicy)
	all := policy.Set{}
	for m := range policy.Method(policy.Methods) {
		all.Add(m)
	}
	must(x.CreatePolicy(ctx, &policy.Policy{
		Name: "fine", BackWindow: 100_000, Methods: all,
		Definitions: []policy.Definition{{Granularity: time.Second, Points: 86400}, {Granularity: time.Minute, Points: 10080}, {Granularity: time.Hour}},
	}))
	must(x.CreatePolicy(ctx, &policy.Policy{
		Name: "coarse", Methods: policy.SetOf(policy.Mean), Definitions: []policy.Definition{{Granularity: 5 * time.Minute, Points: 1000}},
	}))
	must(x.CreatePolicy(ctx, &policy.Policy{
		Name: "medium", Methods: policy.SetOf(policy.Mean, policy.Min, policy.Max, policy.Sum, policy.Std, policy.Count),
		Definitions: []policy.Definition{{Granularity: time.Minute, Points: 10080}, {Granularity: time.Hour, Points: 8760}},
	}))
	who, err := auth.NewBasic(auth.BasicOptions{Admins: []string{"admin"}})
	must(err)
	p.e, p.s = e, New(Options{Index: x, Engine: e, Auth: who, Now: now, OperationTimeout: patience})
	tb.Cleanup(func() {
		if err := e.Close(ctx); err != nil {
			tb.Error(err)
		}
		if err := x.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// rule gives metrics whose names match a pattern a policy.
func (p *plane) rule(pattern, policy string) {
	p.Helper()
	if err := p.x.CreateRule(context.Background(), index.Rule{Name: pattern, Pattern: pattern, Policy: policy}); err != nil {
		p.Fatal(err)
	}
}

// request makes a request as a user. A body that is no text or bytes is sent as
// JSON. headers are names and values.
func (p *plane) request(user, method, path string, body any, headers ...string) *httptest.ResponseRecorder {
	p.Helper()
	var data []byte
	switch b := body.(type) {
	case nil:
	case string:
		data = []byte(b)
	case []byte:
		data = b
	default:
		var err error
		if data, err = json.Marshal(b); err != nil {
			p.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, path, bytes.NewReader(data))
	if body == nil {
		r = httptest.NewRequest(method, path, nil)
	}
	r.SetBasicAuth(user, "")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.s.ServeHTTP(w, r)
	if err := checkAnswer(p.s, r, w); err != nil {
		p.Errorf("%s %s: the answer is not as it is described: %v\n%.2000s", method, path, err, w.Body)
	}
	return w
}

// ask makes a request as admin, and gives the body of the answer, which must have
// the status.
func (p *plane) ask(status int, method, path string, body any, headers ...string) string {
	p.Helper()
	w := p.request("admin", method, path, body, headers...)
	if w.Code != status {
		p.Errorf("%s %s %v: %d %s, want %d", method, path, body, w.Code, w.Body, status)
	}
	return w.Body.String()
}

// refused makes a request as admin, which must be refused with a status and a
// description.
func (p *plane) refused(status int, description, method, path string, body any, headers ...string) {
	p.Helper()
	got := p.ask(status, method, path, body, headers...)
	var answer struct{ Description json.RawMessage }
	if err := json.Unmarshal([]byte(got), &answer); err != nil || !sameJSON(string(answer.Description), description) {
		p.Errorf("%s %s %v:\n got %s\nwant %s", method, path, body, got, description)
	}
}

// answers makes a request as admin, whose answer must be 200 and a JSON value.
func (p *plane) answers(want, method, path string, body any, headers ...string) {
	p.Helper()
	if got := p.ask(http.StatusOK, method, path, body, headers...); !sameJSON(got, want) {
		p.Errorf("%s %s %v:\n got %s\nwant %s", method, path, body, got, want)
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// metric makes a metric, and gives its id.
func (p *plane) metric(user, policy string) string {
	p.Helper()
	m, err := p.x.CreateMetrics(context.Background(), []index.NewMetric{{Creator: user, Policy: policy}})
	if err != nil {
		p.Fatal(err)
	}
	return m[0].ID.String()
}

// resource makes a resource of a type with metrics, as a user.
func (p *plane) resource(user, typ, id, project string, metrics ...string) uuid.UUID {
	p.Helper()
	rid, err := index.ResourceID(id, user)
	if err != nil {
		p.Fatal(err)
	}
	r := &index.Resource{ID: rid, Original: id, Type: typ, Creator: user}
	if project != "" {
		r.Project = &project
	}
	var list []index.NewMetric
	for _, m := range metrics {
		name, policy, _ := strings.Cut(m, "=")
		list = append(list, index.NewMetric{Name: name, Policy: policy, Creator: user})
	}
	if _, err := p.x.CreateResource(context.Background(), r, nil, list); err != nil {
		p.Fatal(err)
	}
	return rid
}

// today is a time of the day of planeNow, as bodies have it.
func today(clock string) string { return "2026-11-22T" + clock }

// measure is a measure in a body.
type measure struct {
	Timestamp any `json:"timestamp"`
	Value     any `json:"value"`
}

// rows are measures of one granularity as answers have them: clock and value in turn.
func rows(granularity float64, clocksAndValues ...any) string {
	var list []string
	for i := 0; i < len(clocksAndValues); i += 2 {
		value, err := json.Marshal(clocksAndValues[i+1])
		if err != nil {
			panic(err)
		}
		list = append(list, fmt.Sprintf(`["%s+00:00",%v,%s]`, today(clocksAndValues[i].(string)), granularity, value))
	}
	return "[" + strings.Join(list, ",") + "]"
}

// joined are lists one after another.
func joined(lists ...string) string {
	var parts []string
	for _, list := range lists {
		if inner := strings.TrimSuffix(strings.TrimPrefix(list, "["), "]"); inner != "" {
			parts = append(parts, inner)
		}
	}
	return "[" + strings.Join(parts, ",") + "]"
}
