package api

import (
	"bytes"
	"io"
	"math"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/operations"
)

// What is small on the wire must not become more than the memory there is.
func TestRequestsAreLimited(t *testing.T) {
	p := newPlane(t)
	id := p.metric("admin", "coarse")
	samples := protowire.AppendBytes([]byte{tagSeries}, bytes.Repeat([]byte{tagSample, 0}, maxPoints+4096))
	for name, c := range map[string]struct{ path, body string }{
		"empty series of Prometheus":  {"/v1/prometheus/write", string(snappy.Encode(nil, []byte(strings.Repeat("\x0a\x00", maxSeries+1))))},
		"empty samples of Prometheus": {"/v1/prometheus/write", string(snappy.Encode(nil, samples))},
		"metrics in a batch":          {"/v1/batch/resources/metrics/measures", `{"r":{"":[]` + strings.Repeat(`,"":[]`, maxSeries) + "}}"},
		"resources in a batch":        {"/v1/batch/resources/metrics/measures", `{"":{}` + strings.Repeat(`,"":{}`, maxSeries) + "}"},
		"ids":                         {"/v1/aggregation/metric", "[0" + strings.Repeat(",0", maxValues) + "]"},
		"a long name":                 {"/v1/metric", `{"name":"` + strings.Repeat("x", maxInput) + `"}`},
		"values of a search":          {"/v1/search/resource/generic", `{"in":{"id":[0` + strings.Repeat(",0", maxValues) + "]}}"},
	} {
		media := "application/json"
		if c.path == "/v1/prometheus/write" {
			media = "application/x-protobuf"
		}
		if got := p.ask(413, "POST", c.path, c.body, "Content-Type", media); !strings.Contains(got, "more than") && !strings.Contains(got, "longer than") {
			t.Errorf("%s: %.300s", name, got)
		}
	}
	if used := p.s.work.used.Load(); used != 0 {
		t.Errorf("%d bytes are held by nobody", used)
	}
	// A list is not in memory as a list of objects.
	body := "[" + strings.Repeat("{},", 1<<19) + "{}]"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.ask(400, "POST", "/v1/metric/"+id+"/measures", body)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > uint64(10*len(body)) {
		t.Errorf("%d bytes of body need %d", len(body), n)
	}
}

// The limits hold for all who read points. These begin close to them.
func TestReadersStopAtLimits(t *testing.T) {
	for name, read := range map[string]func(p *posted) error{
		"fields of InfluxDB": func(p *posted) error {
			return (&lineReader{p: p, tag: "host", unit: 1}).read([]byte("m,host=h a=1,b=1"))
		},
		"metrics in an odd batch": func(p *posted) error {
			return decodeMeasures([]byte(`{"r":{"\u0061":[],"b":[]}}`), measuresByName, time.Time{}, p)
		},
	} {
		for free, code := range map[int]int{2: 0, 1: 413} {
			got := 0
			if e := refusal(read(&posted{ends: make([]int, maxSeries-free)})); e != nil {
				got = e.Code
			}
			if got != code {
				t.Errorf("%s: %d with room for %d", name, got, free)
			}
		}
	}
}

// A line may not have more tags than anybody needs.
func TestTagsAreLimited(t *testing.T) {
	l := lineReader{p: &posted{}, tag: "host", unit: 1}
	if err := l.read([]byte("m,host=h" + strings.Repeat(",a=b", maxTags+1) + " f=1")); err == nil || !strings.Contains(err.Error(), "more than 1000 tags") {
		t.Errorf("%v", err)
	}
}

// Requests that need more memory together than there is wait outside.
func TestWorkIsLimited(t *testing.T) {
	p := newPlane(t)
	path := "/v1/metric/" + p.metric("admin", "coarse") + "/measures"
	p.s.work.most = 1 << 20
	large := "[" + strings.Repeat(" ", 600<<10) + "]"
	p.ask(413, "POST", path, large+large)
	reader, writer := io.Pipe()
	first := httptest.NewRequest("POST", path, reader)
	first.ContentLength = int64(len(large))
	first.SetBasicAuth("admin", "")
	first.Header.Set("Content-Type", "application/json")
	done := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		p.s.ServeHTTP(w, first)
		done <- w.Code
	}()
	io.WriteString(writer, "[") // it is read, so the memory is held
	if w := p.request("admin", "POST", path, large); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	p.ask(202, "POST", path, "[]") // there is room for small ones
	io.WriteString(writer, large[1:])
	writer.Close()
	if code := <-done; code != 202 {
		t.Errorf("the first: %d", code)
	}
	p.ask(202, "POST", path, large)
	if used := p.s.work.used.Load(); used != 0 {
		t.Errorf("%d bytes are held by nobody", used)
	}
}

// What aggregates read is limited for all of a request, and so is what they compute.
func TestAggregatesAreLimited(t *testing.T) {
	p := newPlane(t)
	id := p.metric("admin", "fine")
	p.ask(202, "POST", "/v1/metric/"+id+"/measures", []measure{{today("11:00:00"), 1}, {today("11:00:01"), 2}})
	operation, err := operations.Parse([]byte(`["metric", "` + id + `", "mean"]`))
	if err != nil {
		t.Fatal(err)
	}
	ctx := auth.With(t.Context(), auth.Identity{User: "admin"})
	d := &dataPlane{Server: p.s}
	columns, err := d.columnsByID(ctx, operation.References)
	if err != nil {
		t.Fatal(err)
	}
	a := aggregation{operation: operation, interval: interval{earliest, math.MaxInt64}, granularity: time.Second}
	for held, want := range map[int]bool{maxHeld - 4: true, maxHeld - 3: false, maxHeld - 1: false} { // two windows, and two values
		_, err := d.compute(ctx, &reader{held: held}, &a, columns)
		if refused := refusal(err); (err == nil) != want || err != nil && (refused == nil || refused.Code != 400) {
			t.Errorf("%d: %v", held, err)
		}
	}
}
