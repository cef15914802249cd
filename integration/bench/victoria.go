package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/nephoscope/nepho/integration/parts"
)

const victoriaName = "VictoriaMetrics 1.79.5"

// victoria is a VictoriaMetrics that is given the same walks by remote write.
type victoria struct {
	*parts.VictoriaServer
	client *http.Client
}

func (b *bench) startVictoria(tb parts.TB) *victoria {
	tb.Helper()
	if err := b.install("victoria-metrics", "/usr/bin/victoria-metrics"); err != nil {
		tb.Fatalf("%v", err)
	}
	return &victoria{parts.VictoriaMetrics(tb), &http.Client{Timeout: 5 * time.Minute}}
}

func (v *victoria) cpu(tb parts.TB) time.Duration {
	tb.Helper()
	d, err := processorTime(v.PID())
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return d
}

func (v *victoria) do(tb parts.TB, method, path string, body []byte) []byte {
	tb.Helper()
	request, err := http.NewRequest(method, v.URL+path, bytes.NewReader(body))
	if err != nil {
		tb.Fatalf("%v", err)
	}
	answer, err := v.client.Do(request)
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

// write is a request with points of the walks from..to.
func (w *series) write(from, to int, begin time.Time, step time.Duration, points int) ([]byte, error) {
	var request prompb.WriteRequest
	for i := from; i < to; i++ {
		one := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "bench"}, {Name: "resource_id", Value: "bench"}, {Name: "metric", Value: "m" + strconv.Itoa(i)}}}
		for p := range points {
			w.values[i] = w.shape.next(w.random, w.values[i])
			one.Samples = append(one.Samples, prompb.Sample{Value: w.values[i], Timestamp: begin.Add(time.Duration(p) * step).UnixMilli()})
		}
		request.Timeseries = append(request.Timeseries, one)
	}
	raw, err := request.Marshal()
	return snappy.Encode(nil, raw), err
}

// send sends a load and gives the measures per second of processor time.
func (v *victoria) send(b *bench, tb parts.TB, l load) float64 {
	tb.Helper()
	walks := newSeries(hundredths, allMetrics)
	at := time.Now().Add(-l.span() - time.Hour).Truncate(time.Hour)
	cpu := v.cpu(tb)
	for range l.turns {
		for from := 0; from < allMetrics; from += l.metrics {
			body, err := walks.write(from, from+l.metrics, at, l.step, l.points)
			if err != nil {
				tb.Fatalf("%v", err)
			}
			v.do(tb, http.MethodPost, "/api/v1/write", body)
		}
		at = at.Add(time.Duration(l.points) * l.step)
	}
	v.do(tb, http.MethodGet, "/internal/force_flush", nil)
	b.pause(tb, 5*time.Second)
	return float64(l.requests()*l.metrics*l.points) / (v.cpu(tb) - cpu).Seconds()
}

// latency is the median time of a query in milliseconds.
func (v *victoria) latency(tb parts.TB, times int, query string, from, to time.Time) float64 {
	tb.Helper()
	path := "/api/v1/query_range?" + url.Values{
		"query": {query}, "step": {"60s"}, "nocache": {"1"},
		"start": {fmt.Sprint(from.Unix())}, "end": {fmt.Sprint(to.Unix())},
	}.Encode()
	var took []time.Duration
	for i := range times + times/10 {
		begun := time.Now()
		v.do(tb, http.MethodGet, path, nil)
		if i >= times/10 {
			took = append(took, time.Since(begun))
		}
	}
	return quantile(took, 0.5)
}

// fill stores what is asked for.
func (v *victoria) fill(tb parts.TB, begin time.Time) {
	tb.Helper()
	walks := newSeries(hundredths, queryMetrics)
	for from := 0; from < queryMetrics; from += 10 {
		body, err := walks.write(from, from+10, begin, time.Minute, queryWindows)
		if err != nil {
			tb.Fatalf("%v", err)
		}
		v.do(tb, http.MethodPost, "/api/v1/write", body)
	}
	v.do(tb, http.MethodGet, "/internal/force_flush", nil)
}

// ask makes all queries a number of times.
func (v *victoria) ask(tb parts.TB, begin time.Time, times int) answers {
	tb.Helper()
	end := begin.Add(queryWindows * time.Minute)
	day := end.Add(-queryDay * time.Minute)
	return answers{
		one:  v.latency(tb, times, `bench{metric="m0"}`, begin, end),
		mean: v.latency(tb, times, "avg(bench)", day, end),
		all:  v.latency(tb, times, "bench", day, end),
	}
}
