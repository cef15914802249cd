package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

// store is a server with Gnocchi's API, and metrics in it.
type store struct {
	url     string
	client  *http.Client
	headers http.Header
	// cpu is the processor time of all its processes, pss their memory in MiB, anon that
	// without files.
	cpu       func() time.Duration
	pss, anon func() float64

	agent *integration.Agent // nil if it is a peer
	ids   []string           // of the metrics
}

// aggregatorConfig keeps windows in blocks often, so that their making is in what
// is measured; an hour of log is made with a long time between checkpoints.
const aggregatorConfig = `
[[pollster.internal]]
interval = "1h"

[[storage.aggregator]]
path       = '${DIR}/aggregator'
listen     = '%s'
auth       = 'basic'
checkpoint = '%s'
`

// startAggregator starts an agent with an aggregator.
func startAggregator(tb parts.TB, checkpoint time.Duration) *store {
	tb.Helper()
	listen := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(tb))
	a := integration.StartAgent(tb, fmt.Sprintf(aggregatorConfig, listen, checkpoint))
	s := newStore("http://" + listen)
	s.agent = a
	s.cpu = func() time.Duration { return agentUsage(tb, a).total() }
	own := func() []int {
		return slices.DeleteFunc(a.Processes(), func(pid int) bool { return role(pid) != "storage/aggregator" })
	}
	s.pss = func() float64 { return memory(tb, own()) }
	s.anon = func() float64 { return anonymous(tb, own()) }
	return s
}

func newStore(url string) *store {
	s := &store{url: url, client: &http.Client{Timeout: 5 * time.Minute}, headers: http.Header{}}
	s.headers.Set("Authorization", "Basic YWRtaW46") // admin, no password
	s.headers.Set("Content-Type", "application/json")
	return s
}

// do makes a request and gives the answer's body.
func (s *store) do(tb parts.TB, method, path string, body []byte, accept string) []byte {
	tb.Helper()
	request, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	if err != nil {
		tb.Fatalf("%v", err)
	}
	request.Header = s.headers.Clone()
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		tb.Fatalf("%s %s: %s, %v: %.300s", method, path, answer.Status, err, text)
	}
	return text
}

// post sends measures for some metrics.
func (s *store) post(tb parts.TB, body []byte) {
	tb.Helper()
	if text := s.do(tb, http.MethodPost, "/v1/batch/metrics/measures", body, ""); len(text) > 0 {
		tb.Fatalf("not all measures were kept: %.300s", text)
	}
}

// makeMetrics makes metrics m0, m1, ... on a resource of its own.
func (s *store) makeMetrics(tb parts.TB, resource string, n int, policy string) {
	tb.Helper()
	s.do(tb, http.MethodPost, "/v1/resource/generic", []byte(fmt.Sprintf(`{"id": %q}`, resource)), "")
	// One request for each thousand, as peers take long.
	for from := 0; from < n; from += 1000 {
		metrics := map[string]any{}
		for i := from; i < min(from+1000, n); i++ {
			metrics["m"+strconv.Itoa(i)] = map[string]string{"archive_policy_name": policy}
		}
		body, _ := json.Marshal(metrics)
		s.do(tb, http.MethodPost, "/v1/resource/generic/"+resource+"/metric", body, "")
	}
	var answer struct{ Metrics map[string]string }
	if err := json.Unmarshal(s.do(tb, http.MethodGet, "/v1/resource/generic/"+resource, nil, ""), &answer); err != nil {
		tb.Fatalf("%v", err)
	}
	s.ids = make([]string, n)
	for i := range s.ids {
		if s.ids[i] = answer.Metrics["m"+strconv.Itoa(i)]; s.ids[i] == "" {
			tb.Fatalf("metric m%d was not made", i)
		}
	}
}

// shape makes values of a metric.
type shape struct {
	name string
	next func(r *rand.Rand, last float64) float64
}

// The shapes are those of processor use in hundredths, of measurements at full
// precision, of a counter that grows slowly, and of what does not change.
var (
	hundredths = shape{"two decimals", func(r *rand.Rand, last float64) float64 {
		return math.Round(math.Abs(math.Mod(last+r.NormFloat64()*2, 100))*100) / 100
	}}
	fullPrecision = shape{"full precision", func(r *rand.Rand, last float64) float64 {
		return math.Abs(math.Mod(last+r.NormFloat64()*2, 100))
	}}
	slowCounter = shape{"slow counter", func(r *rand.Rand, last float64) float64 {
		return math.Trunc(last) + float64(r.IntN(200_000))
	}}
	constant = shape{"constant", func(*rand.Rand, float64) float64 { return 4096 }}
)

// series are walks of a shape, one for each metric.
type series struct {
	shape  shape
	values []float64
	random *rand.Rand
}

func newSeries(s shape, n int) *series {
	w := &series{s, make([]float64, n), rand.New(rand.NewPCG(1, 2))}
	for i := range w.values {
		w.values[i] = math.Round(w.random.Float64() * 100)
	}
	return w
}

// body is a request with points of the metrics from..to, every step from the time
// begin on, in Gnocchi's form.
func (w *series) body(ids []string, from, to int, begin time.Time, step time.Duration, points int) []byte {
	body := []byte{'{'}
	for i := from; i < to; i++ {
		if i > from {
			body = append(body, ',')
		}
		body = strconv.AppendQuote(body, ids[i])
		body = append(body, ':', '[')
		for p := range points {
			if p > 0 {
				body = append(body, ',')
			}
			w.values[i] = w.shape.next(w.random, w.values[i])
			body = append(body, `{"timestamp":"`...)
			body = begin.Add(time.Duration(p)*step).AppendFormat(body, "2006-01-02T15:04:05")
			body = append(body, `","value":`...)
			body = strconv.AppendFloat(body, w.values[i], 'f', -1, 64)
			body = append(body, '}')
		}
		body = append(body, ']')
	}
	return append(body, '}')
}

// quantile of durations, in milliseconds.
func quantile(times []time.Duration, q float64) float64 {
	slices.Sort(times)
	return times[int(q*float64(len(times)-1))].Seconds() * 1e3
}

// latency is the median of the time to ask for something, after some attempts that
// do not count. It also says how long the quickest took, and what processor time the server
// spent on each: of a busy machine they tell more.
func (b *bench) latency(tb parts.TB, s *store, times int, what, method, path string, body []byte, accept string) float64 {
	tb.Helper()
	var took []time.Duration
	var cpu time.Duration
	for i := range times + times/10 {
		if i == times/10 {
			cpu = s.cpu()
		}
		begun := time.Now()
		s.do(tb, method, path, body, accept)
		if i >= times/10 {
			took = append(took, time.Since(begun))
		}
	}
	cpu = (s.cpu() - cpu) / time.Duration(times)
	b.say("  %s: %.3f ms at best, p50 %.3f ms, p95 %.3f ms, %.2f CPU-ms (load average %s)",
		what, quantile(took, 0), quantile(took, 0.5), quantile(took, 0.95), cpu.Seconds()*1e3, loadAverage())
	return quantile(took, 0.5)
}
