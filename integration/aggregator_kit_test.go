package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// aggregator is an agent's aggregator, as its clients see it.
type aggregator struct {
	*Agent
	listen string // of its API
}

// newAggregator makes an agent with an aggregator, which is not started yet. The
// options are those of the aggregator beyond path and listen, and what else the
// configuration holds.
func newAggregator(t *testing.T, options string) *aggregator {
	t.Helper()
	listen := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	g := &aggregator{NewAgent(t, ""), listen}
	g.options(options)
	return g
}

// options replaces the options.
func (g *aggregator) options(options string) {
	g.tb.Helper()
	const source = "[[pollster.internal]]\ninterval = '1h'\nmeters = ['nepho.source.polls']\n"
	g.Configure(source + fmt.Sprintf("[[storage.aggregator]]\npath = '${DIR}/aggregator'\nlisten = '%s'\n", g.listen) + options)
}

func (g *aggregator) start() *aggregator {
	g.tb.Helper()
	g.Start()
	g.AwaitReady()
	return g
}

// ask sends a request, with a body as JSON unless it is nil. The error is that of a
// server which gives no answer.
func (g *aggregator) ask(method, path string, body any) (code int, text string, err error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, "", err
		}
		content = bytes.NewReader(b)
	}
	r, err := http.NewRequest(method, "http://"+g.listen+path, content)
	if err != nil {
		return 0, "", err
	}
	r.SetBasicAuth("admin", "")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	answer, err := client().Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), err
}

// must sends a request that must be answered with a code, and decodes the answer.
func (g *aggregator) must(code int, method, path string, body, into any) {
	g.tb.Helper()
	got, text, err := g.ask(method, path, body)
	if err != nil || got != code {
		g.tb.Fatalf("%s %s: %d, not %d: %s %v", method, path, got, code, text, err)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			g.tb.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
	}
}

// The archive policy of these tests has windows of 10 and 60 seconds, and takes
// points of the current minute and the one before.
const (
	fine       = 10 * time.Second
	coarse     = time.Minute
	backWindow = 1
)

var kept = map[string]any{
	"name": "kept", "back_window": backWindow, "aggregation_methods": []string{"count", "sum", "min", "max"},
	"definition": []map[string]any{
		{"granularity": fine.Seconds(), "points": 10_000_000},
		{"granularity": coarse.Seconds(), "points": 10_000_000},
	},
}

// makeMetrics makes the policy, and metrics of it.
func (g *aggregator) makeMetrics(n int) []*series {
	g.tb.Helper()
	g.must(http.StatusCreated, "POST", "/v1/archive_policy", kept, nil)
	var all []*series
	for range n {
		all = append(all, g.makeMetric())
	}
	return all
}

func (g *aggregator) makeMetric() *series {
	g.tb.Helper()
	var made struct{ ID string }
	g.must(http.StatusCreated, "POST", "/v1/metric", map[string]any{"archive_policy_name": "kept"}, &made)
	return &series{id: made.ID, points: map[time.Time]float64{}}
}

// series is what a metric must hold, worked out slowly: all its points.
type series struct {
	id     string
	points map[time.Time]float64
	newest time.Time
}

// point is a measure as clients send it.
type point struct {
	Timestamp time.Time `json:"timestamp"`
	Value     float64   `json:"value"`
}

// takes adds points as one write that was acknowledged, and says how many of them
// were late. The last of equal times counts.
func (s *series) takes(points []point) (late int) {
	from := time.Time{}
	if !s.newest.IsZero() {
		from = s.newest.Truncate(coarse).Add(-backWindow * coarse)
	}
	for _, p := range points {
		if p.Timestamp.Before(from) {
			late++
			continue
		}
		s.points[p.Timestamp] = p.Value
		if p.Timestamp.After(s.newest) {
			s.newest = p.Timestamp
		}
	}
	return late
}

// windows are the values of windows.
type windows map[window]float64

type window struct {
	method      string
	granularity float64 // in seconds
	start       int64   // since 1970
}

func (w window) String() string {
	return fmt.Sprintf("%s of %gs at %s", w.method, w.granularity, time.Unix(w.start, 0).UTC().Format(time.RFC3339))
}

// windows is what the metric must answer.
func (s *series) windows() windows {
	w := windows{}
	for _, g := range []time.Duration{fine, coarse} {
		for t, v := range s.points {
			name := func(method string) window { return window{method, g.Seconds(), t.Truncate(g).Unix()} }
			least, any := w[name("min")]
			if !any || v < least {
				w[name("min")] = v
			}
			if most := w[name("max")]; !any || v > most {
				w[name("max")] = v
			}
			w[name("count")]++
			w[name("sum")] += v
		}
	}
	return w
}

// differences lists where two differ, at most ten places.
func (w windows) differences(want windows) (wrong []string) {
	for name, v := range want {
		if got, ok := w[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s is missing", name))
		} else if got != v {
			wrong = append(wrong, fmt.Sprintf("%s is %g, not %g", name, got, v))
		}
	}
	for name := range w {
		if _, ok := want[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s must not be there", name))
		}
	}
	slices.Sort(wrong)
	return wrong[:min(len(wrong), 10)]
}

const allMethods = "aggregation=count&aggregation=sum&aggregation=min&aggregation=max"

// measured is a list of measures.
type measured [][3]any

// add adds the measures of a method.
func (w windows) add(method string, all measured) error {
	for _, m := range all {
		text, _ := m[0].(string)
		granularity, _ := m[1].(float64)
		v, ok := m[2].(float64)
		start, err := time.Parse(time.RFC3339, text)
		if err != nil || !ok {
			return fmt.Errorf("%v is no measure", m)
		}
		name := window{method, granularity, start.Unix()}
		if _, again := w[name]; again {
			return fmt.Errorf("%s comes twice", name)
		}
		w[name] = v
	}
	return nil
}

// expect compares all that is stored of metrics with what must be.
func (g *aggregator) expect(all []*series) {
	g.tb.Helper()
	if err := g.compare(all); err != nil {
		g.tb.Fatalf("%v", err)
	}
}

// compare is expect for a server that may not answer yet.
func (g *aggregator) compare(all []*series) error {
	var ids []string
	for _, s := range all {
		ids = append(ids, s.id)
	}
	code, text, err := g.ask("POST", "/v1/batch/metrics/measures/query?"+allMethods, ids)
	if err != nil || code != http.StatusOK {
		return fmt.Errorf("%d: %s %v", code, text, err)
	}
	var answer map[string]map[string]measured
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return err
	}
	for _, s := range all {
		got := windows{}
		for method, m := range answer[s.id] {
			if err := got.add(method, m); err != nil {
				return fmt.Errorf("metric %s: %w", s.id, err)
			}
		}
		if wrong := got.differences(s.windows()); len(wrong) > 0 {
			return fmt.Errorf("metric %s, of %d points: %s", s.id, len(s.points), strings.Join(wrong, "\n"))
		}
	}
	return nil
}

// write writes points of some metrics in one request, which must be taken.
func (g *aggregator) write(points map[*series][]point) {
	g.tb.Helper()
	if err := g.tryWrite(points); err != nil {
		g.tb.Fatalf("%v", err)
	}
}

// tryWrite writes points of some metrics in one request. If it is taken, the metrics
// must hold them from now on.
func (g *aggregator) tryWrite(points map[*series][]point) error {
	body := map[string][]point{}
	for s, p := range points {
		body[s.id] = p
	}
	code, text, err := g.ask("POST", "/v1/batch/metrics/measures", body)
	if err != nil {
		return err
	}
	if code != http.StatusAccepted {
		return &refused{code, text}
	}
	for s, p := range points {
		s.takes(p)
	}
	return nil
}

// refused is an answer that is not the one hoped for.
type refused struct {
	code int
	text string
}

func (r *refused) Error() string { return fmt.Sprintf("%d: %s", r.code, r.text) }

// row gives points a second apart with the values from, from + 1 and so on.
func row(start time.Time, n int, from float64) []point {
	var points []point
	for i := range n {
		points = append(points, point{start.Add(time.Duration(i) * time.Second), from + float64(i)})
	}
	return points
}

var testsBegun = time.Now()

// yesterday is a full hour long enough ago, the same one for as long as the tests run.
func yesterday() time.Time { return testsBegun.UTC().Add(-24 * time.Hour).Truncate(time.Hour) }

// objects lists files of the store whose names match.
func (g *aggregator) objects(pattern string) []string {
	g.tb.Helper()
	files, err := filepath.Glob(g.Path("aggregator", "objects", pattern))
	if err != nil {
		g.tb.Fatalf("cannot list: %v", err)
	}
	return files
}
