package influxdb

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/nephoscope/nepho/sdk"
)

func TestClean(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		if got := clean(s); got != want {
			t.Errorf("clean(%q) = %q, want %q", s, got, want)
		}
	}
	f("", "")
	f("plain ☁", "plain ☁")
	f("a\nb\x00\x7f", "a b  ")
	f(`C:\`, `C:/`)
	f(`C:\dir`, `C:\dir`)
	f(`a\,b\=c\ d\\e`, `a/,b/=c/ d/\e`)
	f("a\\\n", "a/ ")
}

func TestLines(t *testing.T) {
	f := func(toml string, want string) {
		t.Helper()
		p := start(t, toml)
		p.encoder.begin(build(t, func(out *sdk.Builder) {
			out.Add(sdk.Sample{
				Name: "disk.read", Type: sdk.Cumulative, Unit: "B", Volume: 1.5, ResourceID: "r 1", ProjectID: "p", Source: "openstack",
				Metadata: sdk.Metadata{"host": "h", "flavor": map[string]any{"name": "m1", "id": 1}}, Timestamp: time.Unix(0, 7),
			})
			out.Add(sdk.Sample{Name: "n", Volume: 2, ResourceID: "r", Timestamp: time.Unix(0, -7)})
		}))
		var got strings.Builder
		for p.encoder.next() {
			got.Write(p.encoder.text)
		}
		if got.String() != want {
			t.Errorf("%s gives\n%swant\n%s", toml, &got, want)
		}
	}
	f("", "disk.read,project_id=p,resource_id=r\\ 1,source=openstack,unit=B value=1.5 7\n"+
		"n,resource_id=r value=2 -7\n")
	f("measurement = 'nepho_{type}'\nsample_tags = ['resource_id']\nmetadata_tags = ['*', '!*.id']",
		"nepho_cumulative,flavor.name=m1,host=h,meter=disk.read,resource_id=r\\ 1 value=1.5 7\n"+
			"nepho_gauge,meter=n,resource_id=r value=2 -7\n")
	f("measurement = '{meter} {unit}'\nsample_tags = ['type', 'user_id']\nmetadata_tags = ['zone', 'host']",
		"disk.read\\ B,host=h,type=cumulative value=1.5 7\n"+
			"n\\ ,type=gauge value=2 -7\n")
	f("sample_tags = []", "disk.read value=1.5 7\nn value=2 -7\n")
}

// point is a decoded line.
type point struct {
	measurement string
	tags        []pair
	fields      map[string]lineprotocol.Value
	at          time.Time
}

// parse reads lines with InfluxData's own decoder.
func parse(t testing.TB, text []byte) []point {
	t.Helper()
	var points []point
	d := lineprotocol.NewDecoderWithBytes(text)
	for d.Next() {
		p := point{fields: map[string]lineprotocol.Value{}}
		m, err := d.Measurement()
		if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		p.measurement = string(m)
		for {
			key, value, err := d.NextTag()
			if err != nil {
				t.Fatalf("%v in %q", err, text)
			}
			if key == nil {
				break
			}
			p.tags = append(p.tags, pair{string(key), string(value)})
		}
		for {
			key, value, err := d.NextField()
			if err != nil {
				t.Fatalf("%v in %q", err, text)
			}
			if key == nil {
				break
			}
			p.fields[string(key)] = value
		}
		if p.at, err = d.Time(lineprotocol.Nanosecond, time.Time{}); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		points = append(points, p)
	}
	return points
}

// Whatever a batch holds, a decoder reads back what clean makes of it.
func FuzzEncode(f *testing.F) {
	for i, s := range odd {
		f.Add(s, odd[(i+1)%len(odd)], odd[(i+5)%len(odd)], 0.1*float64(i), int64(i)*1e18)
	}
	p := start(f, "metadata_tags = ['*']\nsample_tags = ['resource_id', 'unit', 'type', 'project_id']\nevent_tags = ['a*']")
	f.Fuzz(func(t *testing.T, name, key, value string, volume float64, at int64) {
		if name == "" || value == "" {
			return
		}
		name, key, value = strings.ToValidUTF8(name, "\uFFFD"), strings.ToValidUTF8(key, "\uFFFD"), strings.ToValidUTF8(value, "\uFFFD")
		when := time.Unix(0, at).UTC()
		b := build(t, func(out *sdk.Builder) {
			out.Add(sdk.Sample{Name: name, Unit: key, Volume: volume, ResourceID: value, ProjectID: name, Metadata: sdk.Metadata{key: value}, Timestamp: when})
			out.AddEvent(sdk.Event{MessageID: key, EventType: name, Generated: when, Traits: []sdk.Trait{
				{Name: key, Type: sdk.Text, Value: value}, {Name: "n", Type: sdk.Float, Value: volume},
			}})
		})
		p.encoder.begin(b)
		more := p.encoder.next()
		if math.IsNaN(volume) || math.IsInf(volume, 0) || !isTime(at) {
			if !slices.Contains(p.encoder.unwritable, 0) {
				t.Fatalf("volume %v at %d was written", volume, at)
			}
			return
		}
		if !more || len(p.encoder.rows) != 2 {
			t.Fatalf("rows %v written, refused %v: %v", p.encoder.rows, p.encoder.unwritable, p.encoder.reason)
		}
		points := parse(t, p.encoder.text)
		if len(points) != 2 {
			t.Fatalf("%d points in %q", len(points), p.encoder.text)
		}
		s, e := points[0], points[1]
		want := []pair{{"project_id", clean(name)}, {"resource_id", clean(value)}, {"type", "gauge"}, {"unit", clean(key)}}
		if k := clean(key); !isReserved(k) && k != "type" && k != "unit" && k != "project_id" && k != "resource_id" {
			want = append(want, pair{k, clean(value)})
		}
		want = slices.DeleteFunc(want, func(p pair) bool { return p.value == "" })
		slices.SortFunc(want, func(a, b pair) int { return strings.Compare(a.key, b.key) })
		if s.measurement != cleanMeasurement(name) || !slices.Equal(s.tags, want) || s.fields["value"].FloatV() != volume || !s.at.Equal(when) {
			t.Fatalf("%q reads as %+v, want tags %q", p.encoder.text, s, want)
		}
		if added := e.at.Sub(when); added < 0 || added > 999 || added > 0 && at%1000 != 0 {
			t.Fatalf("the event of %v is written at %v", when, e.at)
		}
		if e.fields["message_id"].StringV() != key || e.measurement != "events" {
			t.Fatalf("%q reads as %+v", p.encoder.text, e)
		}
		if k := clean(key); !strings.HasPrefix(key, "a") && k != "" && k != "message_id" && !isReserved(k) && k != "n" && e.fields[k].StringV() != value {
			t.Fatalf("%q reads as %+v", p.encoder.text, e)
		}
	})
}

// Events of one type and moment are points of their own; one that is sent again
// is the same point. A time that is finer than microseconds stays.
func TestEventsOfOneMoment(t *testing.T) {
	p := start(t, "")
	f := func(id string, when time.Time) time.Time {
		t.Helper()
		p.encoder.begin(build(t, func(out *sdk.Builder) {
			out.AddEvent(sdk.Event{MessageID: id, EventType: "compute.instance.update", Generated: when})
		}))
		if !p.encoder.next() {
			t.Fatalf("not written: %v", p.encoder.reason)
		}
		return parse(t, p.encoder.text)[0].at
	}
	when := second(1).Add(123456 * time.Microsecond)
	a, b := f("a", when), f("b", when)
	if a.Equal(b) || !a.Truncate(time.Microsecond).Equal(when) || !b.Truncate(time.Microsecond).Equal(when) {
		t.Errorf("two events at %v are written at %v and %v", when, a, b)
	}
	if again := f("a", when); !again.Equal(a) {
		t.Errorf("an event is written at %v, and again at %v", a, again)
	}
	if at := f("a", when.Add(7)); !at.Equal(when.Add(7)) {
		t.Errorf("%v is written as %v", when.Add(7), at)
	}
	for _, last := range []int64{math.MaxInt64 / 1000 * 1000, math.MaxInt64} {
		if at := eventTime(sdk.Event{MessageID: "a", Generated: time.Unix(0, last)}); at != last {
			t.Errorf("at the end of the range, %d becomes %d", last, at)
		}
	}
}

// Of traits whose names are the same when cleaned, the first is written.
func TestEventsWithTraitsOfOneName(t *testing.T) {
	p := start(t, "")
	p.encoder.begin(build(t, func(out *sdk.Builder) {
		out.AddEvent(sdk.Event{MessageID: "1", EventType: "x", Generated: second(1), Traits: []sdk.Trait{
			{Name: "a b", Type: sdk.Text, Value: "first"}, {Name: "a b", Type: sdk.Integer, Value: int64(2)}, {Name: "a\nb", Type: sdk.Integer, Value: int64(3)},
			{Name: "trait_time", Type: sdk.Integer, Value: int64(4)}, {Name: "time", Type: sdk.Text, Value: "second"},
		}})
	}))
	if !p.encoder.next() {
		t.Fatalf("not written: %v", p.encoder.reason)
	}
	text := string(p.encoder.text)
	if want := `events,event_type=x message_id="1",a\ b="first",trait_time=4 `; !strings.HasPrefix(text, want) {
		t.Errorf("written as %q, want %q", text, want)
	}
}

// FuzzAnswer feeds answers of servers to what reads them.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"error":"partial write: x dropped=3"}`), "5", 400)
	f.Add([]byte(`{"results":[{"error":"y"}]}`), "Sun, 22 Nov 2026 00:03:36 GMT", 503)
	f.Add([]byte("<html>"), "-1", 400)
	c := &client{shown: "http://x"}
	f.Fuzz(func(t *testing.T, body []byte, after string, status int) {
		a := &answer{status: status, retryAfter: retryAfter(after, time.Now())}
		a.message, a.isInflux = messageOf(body)
		if err := c.judge(a); (err == nil) != (status >= 200 && status < 300) {
			t.Errorf("status %d gives %v", status, err)
		}
		if a.dropped() < 0 || a.retryAfter < 0 || len(a.short()) > 400 {
			t.Errorf("dropped %d, after %v, %q", a.dropped(), a.retryAfter, a.short())
		}
	})
}

// ceilometerLike makes a batch of 100 resources with 20 meters each.
func ceilometerLike(t testing.TB) *sdk.Batch {
	now := time.Now()
	return build(t, func(out *sdk.Builder) {
		for r := range 99 {
			on := out.On(sdk.Resource{
				ID: fmt.Sprintf("%08x-9a9a-4b4b-8c8c-%012x", r*7919, r), ProjectID: fmt.Sprintf("%032x", r/10), UserID: fmt.Sprintf("%032x", r/5), Source: "openstack",
				Metadata: sdk.Metadata{"display_name": fmt.Sprintf("vm-%d", r), "host": "compute-17", "flavor": "m1.small", "vcpus": 2, "memory_mb": 2048, "status": "active"},
			})
			for m := range 20 {
				on.Cumulative(fmt.Sprintf("disk.device.counter.%d", m), "B", float64(now.UnixNano()%1e12*int64(m+1)))
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	p := start(b, "")
	batch := ceilometerLike(b)
	bytes := 0
	for b.Loop() {
		p.encoder.begin(batch)
		for p.encoder.next() {
			bytes = len(p.encoder.text)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch.Len()), "ns/line")
	b.ReportMetric(float64(bytes)/float64(batch.Len()), "B/line")
}

// BenchmarkLibraryEncoder is what the same lines cost with InfluxData's encoder.
func BenchmarkLibraryEncoder(b *testing.B) {
	batch := ceilometerLike(b)
	var e lineprotocol.Encoder
	e.SetLax(true)
	for b.Loop() {
		e.Reset()
		for _, s := range batch.Samples() {
			e.StartLine(s.Name)
			e.AddTag("project_id", s.ProjectID)
			e.AddTag("resource_id", s.ResourceID)
			e.AddTag("source", s.Source)
			e.AddTag("unit", s.Unit)
			e.AddTag("user_id", s.UserID)
			value, _ := lineprotocol.FloatValue(s.Volume)
			e.AddField("value", value)
			e.EndLine(s.Timestamp)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch.Len()), "ns/line")
}

// BenchmarkPublish includes what receiving costs, decompression apart.
func BenchmarkPublish(b *testing.B) {
	for _, gzip := range []bool{true, false} {
		b.Run(fmt.Sprintf("gzip=%v", gzip), func(b *testing.B) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusNoContent)
			}))
			defer server.Close()
			p := start(b, fmt.Sprintf("url = %q\ngzip = %v", server.URL, gzip))
			batch := ceilometerLike(b)
			before := cpuSeconds(b)
			for b.Loop() {
				if err := p.Publish(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			lines := float64(b.N * batch.Len())
			b.ReportMetric(lines/b.Elapsed().Seconds(), "lines/s")
			b.ReportMetric((cpuSeconds(b)-before)/lines*1e6, "CPU-s/Mlines")
		})
	}
}

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
