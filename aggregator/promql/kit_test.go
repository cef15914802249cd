package promql

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
)

// rig is a server over a real index and a real engine.
type rig struct {
	t   testing.TB
	x   *index.Index
	e   *engine.Engine
	s   *Server
	now time.Time
	who auth.Identity
	err error // of the authenticator
}

// Identify implements auth.Authenticator.
func (r *rig) Identify(*http.Request) (auth.Identity, error) { return r.who, r.err }

// start is when the first measures are: a full hour.
var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, now: start.Add(2 * time.Hour), who: auth.Identity{Everything: true}}
	clock := func() time.Time { return r.now }
	var err error
	if r.x, err = index.Open(t.Context(), index.Options{URL: filepath.Join(dir, "index.sqlite")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.x.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, p := range []*policy.Policy{
		{Name: "gauge", Methods: policy.SetOf(policy.Mean, policy.Max, policy.Min, policy.Sum, policy.Count), Definitions: []policy.Definition{
			{Granularity: time.Minute, Points: 120}, {Granularity: 5 * time.Minute, Points: 1000}, {Granularity: time.Hour},
		}},
		{Name: "counter", Methods: policy.SetOf(policy.Mean, policy.Last, policy.Mean.Rate()), Definitions: []policy.Definition{{Granularity: time.Minute, Points: 1000}}},
		{Name: "hours", Methods: policy.SetOf(policy.Max), Definitions: []policy.Definition{{Granularity: time.Hour}}},
	} {
		if err := r.x.CreatePolicy(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	policies, err := r.x.Policies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	store, err := objects.Local(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	if r.e, err = engine.Open(t.Context(), engine.Options{Dir: filepath.Join(dir, "data"), Objects: store, Sync: time.Minute, MaxFuture: time.Hour, Now: clock}, policies); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.e.Close(t.Context()) }) // its checkpoint is cut short
	if err := r.x.CreateType(t.Context(), index.ResourceType{Name: "instance", Attributes: map[string]index.Attribute{
		"host": {Type: index.String, MaxLength: 255}, "flavor-name": {Type: index.String, MaxLength: 255}, "vcpus": {Type: index.Number}, "metric": {Type: index.String, MaxLength: 255},
	}}); err != nil {
		t.Fatal(err)
	}
	o.Index, o.Engine, o.Auth, o.Now = r.x, r.e, r, clock
	o.Timeout = 5 * time.Minute // for a machine that has much else to do
	r.s = New(o)
	return r
}

// point is a measure so many seconds after start.
type measure struct {
	second int
	value  float64
}

// every makes measures at regular times.
func every(step, n int, value func(i int) float64) []measure {
	var list []measure
	for i := range n {
		list = append(list, measure{i * step, value(i)})
	}
	return list
}

func constant(v float64) func(int) float64 { return func(int) float64 { return v } }

func (r *rig) write(e *index.Entry, list []measure) {
	r.t.Helper()
	var b engine.Batch
	b.Metric(e.Ref, e.PolicyID)
	for _, m := range list {
		b.Point(start.Add(time.Duration(m.second)*time.Second).UnixNano(), m.value)
	}
	if _, err := r.e.Write(r.t.Context(), &b); err != nil {
		r.t.Fatal(err)
	}
}

// metric makes a metric of a resource, and measures of it.
func (r *rig) metric(creator, resource, typ, project string, attributes map[string]any, name, policy string, list []measure) {
	r.t.Helper()
	id, err := index.ResourceID(resource, creator)
	if err != nil {
		r.t.Fatal(err)
	}
	w := index.Wanted{Resource: index.Resource{ID: id, Original: resource, Type: typ, Creator: creator, Attributes: attributes}, Metrics: []index.NewMetric{{Name: name, Policy: policy, Unit: "u"}}}
	if project != "" {
		w.Resource.Project = &project
	}
	ensured, err := r.x.EnsureResources(r.t.Context(), []index.Wanted{w})
	if err != nil || ensured[0].Err != nil {
		r.t.Fatal(err, ensured[0].Err)
	}
	r.write(ensured[0].Entries[0], list)
}

// remote makes a metric as Prometheus's remote write does.
func (r *rig) remote(labels map[string]string, policy string, list []measure) {
	r.t.Helper()
	r.metric("admin", "job@instance", "generic", "", nil, "none", "counter", nil)
	id, _ := index.ResourceID("job@instance", "admin")
	entries, err := r.x.EnsureMetrics(r.t.Context(), []index.NewMetric{{ID: uuid.Nil, Name: labels["__name__"] + fmt.Sprint(len(labels)), Creator: "admin", Policy: policy, Resource: id, Labels: labels}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(entries[0], list)
}

// answer is what the API gives.
type answer struct {
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
	Warnings  []string        `json:"warnings"`
	Infos     []string        `json:"infos"`
}

// ask asks with parameters in pairs.
func (r *rig) ask(path string, parameters ...string) (int, answer) {
	r.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		form.Add(parameters[i], parameters[i+1])
	}
	w := httptest.NewRecorder()
	r.s.ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), "GET", "/prometheus/api/v1/"+path+"?"+form.Encode(), nil))
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Header().Get("Content-Type") != "application/json" {
		r.t.Fatalf("%s: %v: %s", path, err, w.Body)
	}
	return w.Code, a
}

// at is a time so many seconds after start, as a parameter.
func at(second int) string { return fmt.Sprint(start.Unix() + int64(second)) }

// result is what a query gives, a line per series: labels, and values with seconds
// after start.
func (r *rig) result(path string, parameters ...string) string {
	r.t.Helper()
	code, a := r.ask(path, parameters...)
	if code != 200 || a.Status != "success" {
		return fmt.Sprintf("%d %s: %s", code, a.ErrorType, a.Error)
	}
	var data struct {
		Result json.RawMessage
	}
	if err := json.Unmarshal(a.Data, &data); err != nil {
		r.t.Fatal(err)
	}
	var list []struct {
		Metric map[string]string
		Value  *[2]any
		Values [][2]any
	}
	if json.Unmarshal(data.Result, &list) != nil {
		return string(data.Result)
	}
	var lines []string
	for _, s := range list {
		if s.Value != nil {
			s.Values = [][2]any{*s.Value}
		}
		labels, err := json.Marshal(s.Metric)
		if err != nil {
			r.t.Fatal(err)
		}
		line := strings.ReplaceAll(string(labels), `"`, "")
		for _, v := range s.Values {
			line += fmt.Sprintf(" %v=%v", v[0].(float64)-float64(start.Unix()), v[1])
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// list is what a request for texts gives.
func (r *rig) list(path string, parameters ...string) string {
	r.t.Helper()
	code, a := r.ask(path, parameters...)
	var texts []string
	if err := json.Unmarshal(a.Data, &texts); code != 200 || err != nil {
		return fmt.Sprintf("%d %s: %s", code, a.ErrorType, a.Error)
	}
	if len(a.Warnings) > 0 {
		texts = append(texts, fmt.Sprint(a.Warnings))
	}
	return strings.Join(texts, " ")
}
