package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// binaryMeasures is the form of answers that is smaller and faster than JSON.
const binaryMeasures = "application/vnd.nepho.measures"

// What the queries are about: windows of a minute of a point each.
const (
	queryWindows = 9070
	queryMetrics = 100
	queryDay     = 1440 // the newest windows
)

// answers are median times in milliseconds.
type answers struct{ one, binary, mean, all float64 }

// queries asks for all windows of one metric, and for a day of 100.
func queries(b *bench, tb parts.TB) {
	begin := time.Now().Add(-queryWindows * time.Minute).Truncate(time.Minute)
	s := startAggregator(tb, 2*time.Hour)
	s.fill(tb, begin)
	s.agent.Stop() // which makes blocks of all windows that are closed
	s.agent.Start()
	s.agent.AwaitReady()
	b.pause(tb, 3*time.Second) // until it is at rest
	ours := b.ask(tb, s, begin, 1000)
	ours.binary = b.latency(tb, s, 1000, "one metric in binary", http.MethodGet, s.oneQuery(), nil, binaryMeasures)
	s.agent.Stop()

	peers := func(func(answers) float64) []peer { return nil }
	if b.peers {
		var victoria, gnocchi answers
		victoriaErr := b.attempt(nil, func(tb parts.TB) {
			v := b.startVictoria(tb)
			v.fill(tb, begin)
			victoria = v.ask(tb, begin, 200)
		})
		gnocchiErr := b.attempt(nil, func(tb parts.TB) {
			s := b.startGnocchi(tb)
			s.fill(tb, begin)
			s.drained(b, tb)
			gnocchi = b.ask(tb, s, begin, 20)
		})
		peers = func(of func(answers) float64) []peer {
			return []peer{{gnocchiName, of(gnocchi), gnocchiErr}, {victoriaName, of(victoria), victoriaErr}}
		}
	}
	for _, q := range []struct {
		name string
		must float64
		of   func(answers) float64
	}{
		{"GET 9,070 measures as JSON", 1.5, func(a answers) float64 { return a.one }},
		{"mean across 100 metrics x 1,440", 1.5, func(a answers) float64 { return a.mean }},
		{"100 metrics x 1,440 returned as JSON", 20, func(a answers) float64 { return a.all }},
	} {
		b.report(q.name+", p50", "ms", goal{must: q.must}, []float64{q.of(ours)}, peers(q.of)...)
	}
	b.report("GET 9,070 measures in binary, p50", "ms", goal{must: 0.3}, []float64{ours.binary})
}

// fill stores what is asked for.
func (s *store) fill(tb parts.TB, begin time.Time) {
	tb.Helper()
	s.makeMetrics(tb, "bench", queryMetrics, "medium")
	walks := newSeries(hundredths, queryMetrics)
	for from := 0; from < queryMetrics; from += 10 {
		s.post(tb, walks.body(s.ids, from, from+10, begin, time.Minute, queryWindows))
	}
}

func (s *store) oneQuery() string {
	return "/v1/metric/" + s.ids[0] + "/measures?granularity=60&aggregation=mean"
}

// ask makes all queries a number of times.
func (b *bench) ask(tb parts.TB, s *store, begin time.Time, times int) (a answers) {
	tb.Helper()
	const form = "application/json"
	var got [][3]any
	if err := json.Unmarshal(s.do(tb, http.MethodGet, s.oneQuery(), nil, form), &got); err != nil || len(got) != queryWindows {
		tb.Fatalf("%d measures, not %d: %v", len(got), queryWindows, err)
	}
	a.one = b.latency(tb, s, times, "one metric", http.MethodGet, s.oneQuery(), nil, form)

	references := ""
	for _, id := range s.ids {
		references += " (" + id + " mean)"
	}
	day := begin.Add((queryWindows - queryDay) * time.Minute).UTC()
	path := "/v1/aggregates?" + url.Values{"granularity": {"60"}, "start": {day.Format("2006-01-02T15:04:05")}}.Encode()
	ask := func(what string, times int, operations string) float64 {
		body, _ := json.Marshal(map[string]string{"operations": operations}) // strings have JSON
		return b.latency(tb, s, times, what, http.MethodPost, path, body, form)
	}
	a.mean = ask("mean across metrics", times, "(aggregate mean (metric"+references+"))")
	a.all = ask("all of the metrics", max(times/5, 10), "(metric"+references+")")
	return a
}
