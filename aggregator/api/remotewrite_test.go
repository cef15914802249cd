package api

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/window"
)

// writeRequest is a WriteRequest of Prometheus as it is sent.
func writeRequest(tb testing.TB, r *prompb.WriteRequest) []byte {
	tb.Helper()
	message, err := r.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return snappy.Encode(nil, message)
}

func timeSeries(samples []prompb.Sample, labels ...string) prompb.TimeSeries {
	s := prompb.TimeSeries{Samples: samples}
	for i := 0; i < len(labels); i += 2 {
		s.Labels = append(s.Labels, prompb.Label{Name: labels[i], Value: labels[i+1]})
	}
	return s
}

// slowly reads a WriteRequest with Prometheus's own code.
func slowly(message []byte) (labels []map[string]string, p posted, s skipped, err error) {
	var r prompb.WriteRequest
	if err := r.Unmarshal(message); err != nil {
		return nil, p, s, err
	}
	for _, series := range r.Timeseries {
		set := map[string]string{}
		for _, l := range series.Labels {
			set[l.Name] = l.Value
		}
		labels = append(labels, set)
		for _, sample := range series.Samples {
			switch {
			case math.Float64bits(sample.Value) == staleMarker:
			case sample.Timestamp < 0 || sample.Timestamp > math.MaxInt64/1_000_000:
				s.early++
			default:
				p.points = append(p.points, window.Point{Time: sample.Timestamp * 1_000_000, Value: sample.Value})
			}
		}
		s.histograms += len(series.Histograms)
		p.end()
	}
	return labels, p, s, nil
}

func sameWriteRequest(message []byte) error {
	var p posted
	var s skipped
	series, err := readWriteRequest(message, nil, &p, &s)
	wantLabels, wantPosted, wantSkipped, wantErr := slowly(message)
	if err != nil {
		return nil // stricter than gogo's code is fine, as long as it takes what Prometheus sends
	}
	if wantErr != nil {
		// Fields that we do not read may be wrong.
		return nil
	}
	if s != wantSkipped || !samePosted(&p, &wantPosted) || len(series) != len(wantLabels) {
		return fmt.Errorf("%d series %+v %+v, want %d %+v %+v", len(series), s, p, len(wantLabels), wantSkipped, wantPosted)
	}
	for i, one := range series {
		set := map[string]string{}
		if err := readLabels(one.labels, func(name, value string) { set[name] = value }); err != nil {
			return nil
		}
		if !maps.Equal(set, wantLabels[i]) {
			return fmt.Errorf("labels %v, want %v", set, wantLabels[i])
		}
	}
	return nil
}

func TestReadWriteRequest(t *testing.T) {
	request := &prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{
			timeSeries([]prompb.Sample{{Value: 1.5, Timestamp: 1_700_000_000_000}, {Value: 0, Timestamp: 1_700_000_015_000}}, "__name__", "up", "instance", "a:9100", "job", "node"),
			timeSeries([]prompb.Sample{{Value: math.Float64frombits(staleMarker), Timestamp: 5}, {Value: math.NaN(), Timestamp: 6}, {Value: 1, Timestamp: -1}}, "__name__", strings.Repeat("x", 300)),
			{Labels: []prompb.Label{{Name: "__name__", Value: "h"}}, Histograms: []prompb.Histogram{{Sum: 1}}, Exemplars: []prompb.Exemplar{{Value: 1}}},
			{},
		},
		Metadata: []prompb.MetricMetadata{{MetricFamilyName: "up", Help: "help"}},
	}
	message, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := sameWriteRequest(message); err != nil {
		t.Error(err)
	}
	var p posted
	var s skipped
	series, err := readWriteRequest(message, nil, &p, &s)
	if err != nil || len(series) != 4 || len(p.points) != 3 || s != (skipped{early: 1, histograms: 1}) {
		t.Errorf("%d series, %+v, %+v, %v", len(series), p, s, err)
	}
	for cut := range message {
		var p posted
		var s skipped
		// Cut where a field ends it is another message; elsewhere it must be refused.
		if _, err := readWriteRequest(message[:cut], nil, &p, &s); err == nil {
			if _, _, _, err := slowly(message[:cut]); err != nil {
				t.Errorf("%d of %d bytes are read", cut, len(message))
			}
		}
	}
}

// Labels may be anywhere in a series, and fields in any order.
func TestReadSeriesInAnyOrder(t *testing.T) {
	label := func(name string) []byte {
		b, err := (&prompb.TimeSeries{Labels: []prompb.Label{{Name: name, Value: "v"}}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sample, err := (&prompb.TimeSeries{Samples: []prompb.Sample{{Value: 2, Timestamp: 3}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range [][]byte{
		bytes.Join([][]byte{label("a"), sample, label("b"), label("c")}, nil),
		bytes.Join([][]byte{sample, label("a"), label("b"), label("c")}, nil),
		bytes.Join([][]byte{label("a"), label("b"), sample, label("c")}, nil),
	} {
		before := bytes.Clone(message)
		var p posted
		var s skipped
		labels, err := readSeries(message, &p, &s)
		if err != nil {
			t.Fatal(err)
		}
		var names string
		if err := readLabels(labels, func(name, value string) { names += name + value }); err != nil || names != "avbvcv" || len(p.points) != 1 {
			t.Errorf("%s, %+v, %v", names, p, err)
		}
		if !bytes.Equal(before, message) {
			t.Error("the message was changed")
		}
	}
}

func TestParseLabels(t *testing.T) {
	message := func(labels ...string) []byte {
		s := timeSeries(nil, labels...)
		b, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	long := strings.Repeat("é", 200)
	names := map[string][]string{}
	for _, c := range []struct {
		labels                []string
		plain, long, resource string // # at the end stands for a part of a digest
	}{
		{[]string{"__name__", "up", "job", "node", "instance", "a:9100"}, "up", "up", "node@a:9100"},
		{[]string{"__name__", "up", "job", "node", "instance", "b:9100"}, "up", "up", "node@b:9100"},
		{[]string{"__name__", "up"}, "up", "up", "none@none"},
		{[]string{"__name__", "up", "empty", ""}, "up", "up", "none@none"},
		{[]string{"__name__", "up", "job", "none"}, "up", "up", "none@none#"},
		{[]string{"__name__", "up", "instance", "none"}, "up", "up", "none@none#"},
		{[]string{"mode", "idle", "__name__", "cpu", "cpu", "0"}, "cpu", `cpu{cpu="0",mode="idle"}`, "none@none"},
		{[]string{"__name__", "cpu", "cpu", `a"b`}, "cpu", `cpu{cpu="a\"b"}`, "none@none"},
		{[]string{"__name__", "fs", "mountpoint", "/"}, "fs", `fs{mountpoint="_"}#`, "none@none"},
		{[]string{"__name__", "fs", "mountpoint", "_"}, "fs", `fs{mountpoint="_"}`, "none@none"},
		{[]string{"__name__", "a/b"}, "a_b", "a_b#", "none@none"},
		{[]string{"__name__", "a_b"}, "a_b", "a_b", "none@none"},
		{[]string{"__name__", "up", "job", "ns/a"}, "up", "up", "ns_a@none#"},
		{[]string{"__name__", "up", "job", "ns_a"}, "up", "up", "ns_a@none"},
		{[]string{"__name__", "up", "job", "a@b", "instance", "c"}, "up", "up", "a@b@c#"},
		{[]string{"__name__", "up", "job", "a", "instance", "b@c"}, "up", "up", "a@b@c"},
		{[]string{"__name__", "x", "l", long}, "x", `x{l="` + long[:232] + "#", "none@none"},
		{[]string{"__name__", "x", "l", long + "y"}, "x", `x{l="` + long[:232] + "#", "none@none"},
		{[]string{"__name__", "x", "job", long + "y"}, "x", "x", long[:238] + "#"},
		{[]string{"__name__", "x", "job", long + "z"}, "x", "x", long[:238] + "#"},
	} {
		set, err := parseLabels(message(c.labels...))
		if err != nil {
			t.Fatal(err)
		}
		resource, attributes := set.resource()
		same := func(got, want string) bool {
			if start, ok := strings.CutSuffix(want, "#"); ok {
				return strings.HasPrefix(got, want) && len(got) == len(start)+17
			}
			return got == want
		}
		if set.plain != c.plain || !same(set.long, c.long) || !same(resource, c.resource) {
			t.Errorf("%v: %q %q %q", c.labels, set.plain, set.long, resource)
		}
		if len(set.long) > maxName || len(resource) > maxName || len(attributes["job"].(string)) > maxName || strings.Contains(set.long+set.plain+resource, "/") {
			t.Errorf("%v: %q", c.labels, set.long)
		}
		names[resource+"\x00"+set.long] = append(names[resource+"\x00"+set.long], fmt.Sprint(set.labels))
	}
	for name, sets := range names {
		for _, set := range sets {
			if set != sets[0] {
				t.Errorf("%q is %s and %s", name, sets[0], set)
			}
		}
	}
	for want, labels := range map[string][]string{
		"no label __name__":     {"job", "x"},
		`the label "a" twice`:   {"__name__", "x", "a", "1", "a", "2"},
		`"\xff" is not UTF-8`:   {"__name__", "x", "\xff", "1"},
		"more than 1000 labels": strings.Split(strings.Repeat("a,b,", 1001)+"a,b", ","),
	} {
		if _, err := parseLabels(message(labels...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestLabelSetMatch(t *testing.T) {
	set := &labelSet{plain: "up", long: `up{a="b"}`, labels: map[string]string{"__name__": "up", "a": "b"}}
	other := &index.Metric{ID: uuid.Max, Name: "up", Labels: map[string]string{"__name__": "up"}}
	bare := &index.Metric{Name: `up{a="b"}`}
	mine := &index.Metric{Name: "up", Labels: map[string]string{"a": "b", "__name__": "up"}}
	if m := set.match([]*index.Metric{other, bare}); m != nil {
		t.Errorf("%+v", m)
	}
	if m := set.match([]*index.Metric{other, bare, mine}); m != mine {
		t.Errorf("%+v", m)
	}
}

func TestSkipped(t *testing.T) {
	if err := (&skipped{}).err(); err != nil {
		t.Error(err)
	}
	s := skipped{late: 2, unnamed: 1, first: 1_700_000_000_000_000_000}
	const want = "400: Some samples were not stored: 2 are too late for the archive policy of their metric; " +
		"1 belong to metrics without an archive policy: no archive policy rule matches their name; one of them is of 2023-11-14T22:13:20+00:00. The others were."
	if err := s.err(); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func FuzzReadWriteRequest(f *testing.F) {
	for _, r := range []*prompb.WriteRequest{
		{},
		{Timeseries: []prompb.TimeSeries{timeSeries([]prompb.Sample{{Value: 1, Timestamp: 2}}, "__name__", "up", "job", "j")}},
		{Timeseries: []prompb.TimeSeries{{Histograms: []prompb.Histogram{{Sum: 1}}, Exemplars: []prompb.Exemplar{{Value: 2}}}}, Metadata: []prompb.MetricMetadata{{Help: "h"}}},
	} {
		message, err := r.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		if err := sameWriteRequest(message); err != nil {
			t.Fatal(err)
		}
		var p posted
		var s skipped
		series, _ := readWriteRequest(message, nil, &p, &s)
		for _, one := range series {
			if set, err := parseLabels(one.labels); err == nil && (len(set.long) > maxName || strings.Contains(set.long+set.plain, "/")) {
				t.Fatalf("%+v", set)
			}
		}
	})
}

// exposition is what a node exporter's series look like.
func exposition(series, samples int) *prompb.WriteRequest {
	random := rand.New(rand.NewPCG(1, 2))
	r := &prompb.WriteRequest{}
	for i := range series {
		var list []prompb.Sample
		for k := range samples {
			list = append(list, prompb.Sample{Value: math.Round(random.Float64()*1e4) / 100, Timestamp: 1_700_000_000_000 + int64(k)*15_000})
		}
		r.Timeseries = append(r.Timeseries, timeSeries(list,
			"__name__", "node_cpu_seconds_total", "cpu", fmt.Sprint(i/8), "instance", "compute-0001.example.org:9100", "job", "node",
			"mode", []string{"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"}[i%8]))
	}
	return r
}

func BenchmarkReadWriteRequest(b *testing.B) {
	for _, c := range []struct{ series, samples int }{{2000, 1}, {100, 60}} {
		b.Run(fmt.Sprintf("%dx%d", c.series, c.samples), func(b *testing.B) {
			message, err := exposition(c.series, c.samples).Marshal()
			if err != nil {
				b.Fatal(err)
			}
			var (
				p      posted
				s      skipped
				series []remoteSeries
				cache  = newLabelCache()
			)
			b.ReportAllocs()
			for b.Loop() {
				p.reset()
				if series, err = readWriteRequest(message, series[:0], &p, &s); err != nil {
					b.Fatal(err)
				}
				cache.setKeys("admin", series)
			}
			b.ReportMetric(float64(b.N)*float64(len(p.points))/b.Elapsed().Seconds()/1e6, "Mpoints/s")
		})
	}
}
