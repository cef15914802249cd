package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// sizes stores a day of windows of a second, each of one point.
func sizes(b *bench, tb parts.TB) {
	const day, metrics = 86_400, 10
	for _, c := range []struct {
		shape shape
		must  float64
	}{{hundredths, 1.35}, {fullPrecision, 6.6}, {slowCounter, 2.6}, {constant, 0.03}} {
		s := startAggregator(tb, 2*time.Second)
		s.do(tb, http.MethodPost, "/v1/archive_policy", []byte(`{"name": "second", "definition": [{"granularity": 1}], "aggregation_methods": ["count", "max", "sum", "min", "mean"]}`), "")
		s.makeMetrics(tb, "bench", metrics, "second")
		walks := newSeries(c.shape, metrics)
		begin := time.Now().Add(-2 * day * time.Second).Truncate(time.Hour)
		for i := range metrics {
			s.post(tb, walks.body(s.ids, i, i+1, begin, time.Second, day))
		}
		b.pause(tb, 5*time.Second)
		s.agent.Stop()
		bytes := folderSize(tb, filepath.Join(s.agent.Path("aggregator"), "objects", "blocks"))
		b.report("bytes a window of one point, "+c.shape.name, "B", goal{must: c.must}, []float64{float64(bytes) / (day * metrics)})
	}
}

func folderSize(tb parts.TB, dir string) (bytes int64) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return bytes
}

// restarts kills an aggregator that has an hour of points in its log, and waits
// until it answers again with all of them.
func restarts(b *bench, tb parts.TB) {
	for _, c := range []struct {
		metrics int
		must    float64
	}{{10_000, 1}, {100_000, 5}} {
		s := startAggregator(tb, 24*time.Hour)
		idle := s.anon()
		if c.metrics == 10_000 {
			b.report("memory of an idle aggregator", "MiB", goal{must: 40}, []float64{s.pss()})
		}
		s.makeMetrics(tb, "bench", c.metrics, "medium")
		walks := newSeries(hundredths, c.metrics)
		begin := time.Now().Add(-2 * time.Hour).Truncate(time.Hour)
		for minute := 0; minute < 60; minute += 10 {
			for from := 0; from < c.metrics; from += 100 {
				s.post(tb, walks.body(s.ids, from, from+100, begin.Add(time.Duration(minute)*time.Minute), 10*time.Second, 60))
			}
		}
		b.report(fmt.Sprintf("memory of each of %d live metrics, an hour of points", c.metrics), "KB", goal{must: 2.5}, []float64{(s.anon() - idle) * 1048.576 / float64(c.metrics)})
		s.agent.Kill9()
		begun := time.Now()
		s.agent.Launch()
		path := "/v1/metric/" + s.ids[c.metrics-1] + "/measures?granularity=60&aggregation=count"
		b.await(tb, 20*time.Millisecond, 5*time.Minute, "the aggregator's answer after a restart", func() bool {
			request, _ := http.NewRequest(http.MethodGet, s.url+path, nil)
			request.Header = s.headers
			answer, err := s.client.Do(request)
			if err != nil {
				return false
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return false
			}
			var got [][3]any
			if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || len(got) != 60 {
				tb.Fatalf("after a restart a metric has %d windows: %v", len(got), err)
			}
			return true
		})
		took := time.Since(begun)
		b.report(fmt.Sprintf("restart with an hour of log, %d metrics", c.metrics), "s", goal{must: c.must}, []float64{took.Seconds()})
		s.agent.Stop()
	}
}
