package api

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/nephoscope/nepho/aggregator/index"
)

func (p *plane) remoteWrite(user string, series ...prompb.TimeSeries) *httptest.ResponseRecorder {
	p.Helper()
	return p.request(user, "POST", "/v1/prometheus/write", writeRequest(p, &prompb.WriteRequest{Timeseries: series}),
		"Content-Type", "application/x-protobuf", "Content-Encoding", "snappy")
}

func (p *plane) written(series ...prompb.TimeSeries) {
	p.Helper()
	if w := p.remoteWrite("admin", series...); w.Code != 202 || w.Body.Len() != 0 {
		p.Errorf("%d %s", w.Code, w.Body)
	}
}

func samples(values ...float64) []prompb.Sample {
	var list []prompb.Sample
	for i, v := range values {
		list = append(list, prompb.Sample{Value: v, Timestamp: planeNow.UnixMilli() + int64(i)*1000})
	}
	return list
}

// metricsOf are the names of a resource's metrics with their labels.
func (p *plane) metricsOf(user, resource string) map[string]map[string]string {
	p.Helper()
	id, err := index.ResourceID(resource, user)
	if err != nil {
		p.Fatal(err)
	}
	all, err := p.x.ResourceMetrics(context.Background(), []uuid.UUID{id})
	if err != nil {
		p.Fatal(err)
	}
	names := map[string]map[string]string{}
	for _, m := range all[id] {
		names[m.Name] = m.Labels
	}
	return names
}

func TestRemoteWrite(t *testing.T) {
	p := newPlane(t)
	p.rule("*", "fine")
	target := []string{"instance", "a:9100", "job", "node"}
	labels := func(more ...string) []string { return append(more, target...) }
	up := labels("__name__", "up")
	idle, user := labels("__name__", "cpu", "mode", "idle"), labels("__name__", "cpu", "mode", "user")
	load := labels("__name__", "load", "period", "1m")
	p.written(
		timeSeries(samples(1, 0), up...), timeSeries(samples(10), idle...), timeSeries(samples(20), user...), timeSeries(samples(3), load...),
		timeSeries([]prompb.Sample{{Value: math.Float64frombits(staleMarker), Timestamp: planeNow.UnixMilli()}}, labels("__name__", "gone")...),
	)
	got := p.ask(200, "GET", "/v1/resource/prometheus/node@a:9100", nil)
	if !strings.Contains(got, `"job":"node"`) || !strings.Contains(got, `"instance":"a:9100"`) || !strings.Contains(got, `"type":"prometheus"`) {
		t.Error(got)
	}
	names := p.metricsOf("admin", "node@a:9100")
	want := map[string]map[string]string{
		"up":               {"__name__": "up", "instance": "a:9100", "job": "node"},
		`cpu{mode="idle"}`: {"__name__": "cpu", "instance": "a:9100", "job": "node", "mode": "idle"},
		`cpu{mode="user"}`: {"__name__": "cpu", "instance": "a:9100", "job": "node", "mode": "user"},
		"load":             {"__name__": "load", "instance": "a:9100", "job": "node", "period": "1m"},
		"gone":             {"__name__": "gone", "instance": "a:9100", "job": "node"},
	}
	if !maps.EqualFunc(names, want, maps.Equal) {
		t.Errorf("%v", names)
	}
	path := "/v1/resource/prometheus/node@a:9100/metric/"
	p.answers(rows(1, "12:00:00", 1, "12:00:01", 0), "GET", path+"up/measures?granularity=1", nil)
	p.answers(rows(1, "12:00:00", 10), "GET", path+"cpu%7Bmode=%22idle%22%7D/measures?granularity=1", nil)
	p.answers("[]", "GET", path+"gone/measures", nil)

	// A second set of labels has the long name, and what is there stays what it is:
	// from memory, and when that is lost, and with labels in another order.
	fiveMinutes := labels("__name__", "load", "period", "5m")
	p.written(timeSeries(samples(4), fiveMinutes...), timeSeries(samples(5), load...))
	p.s = New(p.s.o)
	p.written(timeSeries(samples(6), load...), timeSeries(samples(7), "period", "5m", "instance", "a:9100", "__name__", "load", "job", "node"))
	p.answers(rows(1, "12:00:00", 6), "GET", path+"load/measures?granularity=1", nil)
	p.answers(rows(1, "12:00:00", 7), "GET", path+"load%7Bperiod=%225m%22%7D/measures?granularity=1", nil)
	if names := p.metricsOf("admin", "node@a:9100"); len(names) != 6 {
		t.Errorf("%v", names)
	}

	// One series in both orders in one request, and samples that come again.
	p.written(timeSeries(samples(8), "__name__", "x", "job", "j"), timeSeries(samples(9), "job", "j", "__name__", "x"))
	p.written(timeSeries(samples(9), "__name__", "x", "job", "j"))
	p.answers(rows(1, "12:00:00", 9), "GET", "/v1/resource/prometheus/j@none/metric/x/measures?granularity=1", nil)

	// Users do not meet.
	if w := p.remoteWrite("bob", timeSeries(samples(99), up...)); w.Code != 202 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	p.answers(rows(1, "12:00:00", 1, "12:00:01", 0), "GET", path+"up/measures?granularity=1", nil)
	if names := p.metricsOf("bob", "node@a:9100"); len(names) != 1 {
		t.Errorf("%v", names)
	}
}

// A metric that was deleted is made again.
func TestRemoteWriteAfterDeletion(t *testing.T) {
	p := newPlane(t)
	p.rule("*", "fine")
	p.written(timeSeries(samples(1), "__name__", "up", "job", "j"))
	p.ask(204, "DELETE", "/v1/resource/prometheus/j@none/metric/up", nil, "Accept", "*/*")
	p.written(timeSeries(samples(2), "__name__", "up", "job", "j"))
	p.answers(rows(1, "12:00:00", 2), "GET", "/v1/resource/prometheus/j@none/metric/up/measures?granularity=1", nil)
	p.ask(204, "DELETE", "/v1/resource/prometheus/j@none", nil, "Accept", "*/*")
	p.written(timeSeries(samples(3), "__name__", "up", "job", "j"))
	p.answers(rows(1, "12:00:00", 3), "GET", "/v1/resource/prometheus/j@none/metric/up/measures?granularity=1", nil)
}

// A metric of the plain name that somebody else made is not written to.
func TestRemoteWriteBesideOtherMetrics(t *testing.T) {
	p := newPlane(t)
	p.rule("*", "fine")
	p.written(timeSeries(samples(1), "__name__", "a", "job", "j"))
	p.ask(200, "POST", "/v1/resource/prometheus/j@none/metric", `{"up":{}}`)
	p.written(timeSeries(samples(2), "__name__", "up", "job", "j", "x", "y"))
	p.answers("[]", "GET", "/v1/resource/prometheus/j@none/metric/up/measures?granularity=1", nil)
	p.answers(rows(1, "12:00:00", 2), "GET", "/v1/resource/prometheus/j@none/metric/up%7Bx=%22y%22%7D/measures?granularity=1", nil)
}

func TestRemoteWriteOfWhatIsNotStored(t *testing.T) {
	p := newPlane(t)
	p.rule("a*", "coarse")
	good := timeSeries(samples(1), "__name__", "a", "job", "j")
	p.written(good)
	late := timeSeries([]prompb.Sample{{Value: 1, Timestamp: planeNow.UnixMilli() - 3600e3}}, "__name__", "a", "job", "j")
	future := timeSeries([]prompb.Sample{{Value: 1, Timestamp: planeNow.UnixMilli() + 7200e3}}, "__name__", "a2", "job", "j")
	ruleless := timeSeries(samples(1, 2), "__name__", "b", "job", "j")
	last := timeSeries(samples(7), "__name__", "a3", "job", "j")
	w := p.remoteWrite("admin", late, future, ruleless, prompb.TimeSeries{Labels: good.Labels, Histograms: []prompb.Histogram{{Sum: 1}}}, last)
	for _, want := range []string{"1 are too late", "1 are too far in the future", "2 belong to metrics without an archive policy", "1 are native histograms", "The others were."} {
		if w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d %s, want %s", w.Code, w.Body, want)
		}
	}
	p.answers(rows(300, "12:00:00", 7), "GET", "/v1/resource/prometheus/j@none/metric/a3/measures", nil)
	if w := p.remoteWrite("admin", timeSeries(samples(1), "job", "j")); w.Code != 400 || !strings.Contains(w.Body.String(), "no label __name__") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRemoteWriteRefuses(t *testing.T) {
	p := newPlane(t)
	good := writeRequest(t, &prompb.WriteRequest{})
	huge := snappy.Encode(nil, make([]byte, 1<<20))
	p.s.o.MaxBody = 1 << 16
	for _, c := range []struct {
		body                  []byte
		contentType, encoding string
		status                int
	}{
		{good, "application/x-protobuf", "snappy", 202},
		{good, "application/x-protobuf;proto=prometheus.WriteRequest", "snappy", 202},
		{good, "application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy", 415},
		{good, "application/json", "snappy", 415},
		{good, "application/x-protobuf", "gzip", 415},
		{[]byte("no snappy"), "application/x-protobuf", "snappy", 400},
		{nil, "application/x-protobuf", "snappy", 400},
		{snappy.Encode(nil, []byte("no protobuf")), "application/x-protobuf", "snappy", 400},
		{huge, "application/x-protobuf", "snappy", 413},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, "application/x-protobuf", "snappy", 413},
	} {
		if w := p.request("admin", "POST", "/v1/prometheus/write", c.body, "Content-Type", c.contentType, "Content-Encoding", c.encoding); w.Code != c.status {
			t.Errorf("%q %s %s: %d %s, want %d", c.body[:min(20, len(c.body))], c.contentType, c.encoding, w.Code, w.Body, c.status)
		}
	}
}

// One bad series does not cost the others anything.
func TestRemoteWriteLeavesOutBadSeries(t *testing.T) {
	p := newPlane(t)
	p.rule("*", "fine")
	p.resource("admin", "generic", "x@none", "") // of another type
	good := func(job string) prompb.TimeSeries { return timeSeries(samples(1), "__name__", "up", "job", job) }
	for name, c := range map[string]struct {
		bad prompb.TimeSeries
		why string
	}{
		"no name":          {timeSeries(samples(1, 2), "job", "a"), "it has no label __name__"},
		"a character of 0": {timeSeries(samples(1, 2), "__name__", "up", "a", "\x00"), "has the character U+0000"},
		"another type":     {timeSeries(samples(1, 2), "__name__", "up", "job", "x"), "Resource already exists"},
		"not UTF-8":        {timeSeries(samples(1, 2), "__name__", "up", "a", "\xff"), "is not UTF-8"},
	} {
		w := p.remoteWrite("admin", good("before "+name), c.bad, good("after "+name))
		if body := w.Body.String(); w.Code != 400 || !strings.Contains(body, "2 belong to series of which no metric can be made") || !strings.Contains(body, c.why) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		for _, place := range []string{"before ", "after "} {
			path := "/v1/resource/prometheus/" + strings.ReplaceAll(place+name, " ", "%20") + "@none/metric/up/measures?granularity=1"
			p.answers(rows(1, "12:00:00", 1), "GET", path, nil)
		}
	}
}

// Two nodes on one index do not put two series into one metric.
func TestRemoteWriteOfTwoNodes(t *testing.T) {
	p := newPlane(t)
	p.rule("*", "fine")
	nodes := []*plane{p, {TB: t, x: p.x, e: p.e, s: New(p.s.o)}}
	for n := range 30 {
		job := fmt.Sprint("job", n)
		var group sync.WaitGroup
		for i, node := range nodes {
			group.Go(func() {
				node.written(timeSeries(samples(float64(i)), "__name__", "cpu", "cpu", fmt.Sprint(i), "job", job))
			})
		}
		group.Wait()
		for name, labels := range p.metricsOf("admin", job+"@none") {
			value, err := strconv.ParseFloat(labels["cpu"], 64)
			if err != nil {
				t.Fatal(err)
			}
			id, err := index.ResourceID(job+"@none", "admin")
			if err != nil {
				t.Fatal(err)
			}
			p.answers(rows(1, "12:00:00", value), "GET", "/v1/resource/prometheus/"+id.String()+"/metric/"+url.PathEscape(name)+"/measures?granularity=1", nil)
		}
		if names := p.metricsOf("admin", job+"@none"); len(names) != 2 {
			t.Errorf("%v", names)
		}
	}
}
