package api

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/index"
)

// benchClient sends requests that were made before over one connection, and takes the
// answers, so that what it costs is little beside the server.
type benchClient struct {
	testing.TB
	conn   net.Conn
	answer *bufio.Reader
	body   []byte
}

func newBenchClient(tb testing.TB, p *plane) *benchClient {
	tb.Helper()
	server := httptest.NewServer(p.s)
	tb.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return &benchClient{TB: tb, conn: conn, answer: bufio.NewReaderSize(conn, 1<<20), body: make([]byte, 1<<20)}
}

// rawRequest is a request as it goes over the wire.
func rawRequest(method, path, body string, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic YWRtaW46\r\nContent-Length: %d\r\n", method, path, len(body))
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// do sends a request, and gives the length of the answer's body.
func (c *benchClient) do(request []byte, status int) int {
	if _, err := c.conn.Write(request); err != nil {
		c.Fatal(err)
	}
	answer, err := http.ReadResponse(c.answer, nil)
	if err != nil {
		c.Fatal(err)
	}
	size := 0
	for {
		n, err := answer.Body.Read(c.body)
		size += n
		if err == io.EOF {
			break
		}
		if err != nil {
			c.Fatal(err)
		}
	}
	if answer.StatusCode != status {
		c.Fatalf("%s %s", answer.Status, c.body[:min(size, 500)])
	}
	return size
}

// cpuTime is what this process has used.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchMetrics makes metrics of the stock policy medium.
func benchMetrics(b *testing.B, p *plane, n int) []string {
	wanted := make([]index.NewMetric, n)
	for i := range wanted {
		wanted[i] = index.NewMetric{Creator: "admin", Policy: "medium"}
	}
	made, err := p.x.CreateMetrics(context.Background(), wanted)
	if err != nil {
		b.Fatal(err)
	}
	ids := make([]string, n)
	for i, m := range made {
		ids[i] = m.ID.String()
	}
	return ids
}

// timeSlot is where a body has the time of a measure.
type timeSlot struct{ offset, point int }

// batchBody is a request with points of each metric, 10 s apart, and where their
// times are, so that the next request can have later ones.
func batchBody(ids []string, points int) (request []byte, slots []timeSlot) {
	var b bytes.Buffer
	b.WriteByte('{')
	for m, id := range ids {
		if m > 0 {
			b.WriteString(", ")
		}
		b.WriteString(`"` + id + `": [`)
		for i := range points {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(`{"timestamp": "`)
			slots = append(slots, timeSlot{b.Len(), i})
			fmt.Fprintf(&b, `2026-11-22T00:00:00", "value": %.2f}`, float64((m*7919+i*104729)%10000)/100)
		}
		b.WriteByte(']')
	}
	b.WriteByte('}')
	request = rawRequest("POST", "/v1/batch/metrics/measures", b.String(), "Content-Type", "application/json")
	for i := range slots {
		slots[i].offset += len(request) - b.Len()
	}
	return request, slots
}

// BenchmarkPostBatch posts measures through HTTP on loopback to a server with its
// index, log and head. The CPU time is that of client and server.
func BenchmarkPostBatch(b *testing.B) {
	for _, c := range []struct{ metrics, request, points int }{{100, 100, 60}, {10_000, 10_000, 1}, {10_000, 100, 1}} {
		b.Run(fmt.Sprintf("%dx%d_of_%d", c.request, c.points, c.metrics), func(b *testing.B) {
			p := newPlane(b)
			ids := benchMetrics(b, p, c.metrics)
			client := newBenchClient(b, p)
			type body struct {
				request []byte
				slots   []timeSlot
			}
			var bodies []body
			for from := 0; from < len(ids); from += c.request {
				request, slots := batchBody(ids[from:from+c.request], c.points)
				bodies = append(bodies, body{request, slots})
			}
			var spent time.Duration // for new times in the bodies
			post := func(i int) {
				begun := cpuTime(b)
				body := bodies[i%len(bodies)]
				later := time.Duration(i/len(bodies)*c.points) * 10 * time.Second
				p.later.Store(int64(later))
				for _, slot := range body.slots {
					t := planeNow.Add(later + time.Duration(slot.point)*10*time.Second)
					t.AppendFormat(body.request[slot.offset:slot.offset], "2006-01-02T15:04:05")
				}
				spent += cpuTime(b) - begun
				if client.do(body.request, 202) > 0 {
					b.Fatal("measures were dropped")
				}
			}
			// Every metric is known, and has a point.
			for i := range bodies {
				post(i)
			}
			n := len(bodies)
			b.ReportAllocs()
			spent = 0
			begun := cpuTime(b)
			for b.Loop() {
				post(n)
				n++
			}
			used := cpuTime(b) - begun - spent
			b.ReportMetric(float64(b.N*c.request*c.points)/used.Seconds()/1e6, "Mmeasures/CPU-s")
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "CPU-ns/op")
		})
	}
}

// BenchmarkRead reads measures through HTTP on loopback.
func BenchmarkRead(b *testing.B) {
	const windows, metrics = 9070, 100
	p := newPlane(b)
	ids := benchMetrics(b, p, metrics)
	client := newBenchClient(b, p)
	start := planeNow.Add(-windows * time.Minute)
	for _, id := range ids {
		var body bytes.Buffer
		body.WriteString(`{"` + id + `":[`)
		for i := range windows {
			if i > 0 {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `{"timestamp":%d,"value":%.2f}`, start.Unix()+int64(i)*60, float64(i*104729%10000)/100)
		}
		body.WriteString("]}")
		client.do(rawRequest("POST", "/v1/batch/metrics/measures", body.String(), "Content-Type", "application/json"), 202)
	}
	if err := p.e.Checkpoint(context.Background()); err != nil {
		b.Fatal(err)
	}
	day := planeNow.Add(-1440 * time.Minute).Format("2006-01-02T15:04:05")
	references, list := "", ""
	for _, id := range ids {
		references += " (" + id + " mean)"
		list += `,"` + id + `"`
	}
	asJSON := []string{"Content-Type", "application/json", "Accept", "application/json"}
	asBinary := []string{"Content-Type", "application/json", "Accept", mediaMeasures}
	one := "/v1/metric/" + ids[0] + "/measures?granularity=60&aggregation=mean"
	aggregates, query := "/v1/aggregates?granularity=60&start="+day, "/v1/batch/metrics/measures/query?granularity=60&start="+day
	for _, c := range []struct {
		name    string
		request []byte
	}{
		{"9070_JSON", rawRequest("GET", one, "", asJSON...)},
		{"9070_binary", rawRequest("GET", one, "", asBinary...)},
		{"mean_of_100x1440", rawRequest("POST", aggregates, `{"operations":"(aggregate mean (metric`+references+`))"}`, asJSON...)},
		{"100x1440_aggregates", rawRequest("POST", aggregates, `{"operations":"(metric`+references+`)"}`, asJSON...)},
		{"100x1440_query", rawRequest("POST", query, "["+list[1:]+"]", asJSON...)},
		{"100x1440_query_binary", rawRequest("POST", query, "["+list[1:]+"]", asBinary...)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			size := client.do(c.request, 200)
			begun := cpuTime(b)
			for b.Loop() {
				client.do(c.request, 200)
			}
			b.ReportMetric(float64((cpuTime(b)-begun).Nanoseconds())/float64(b.N)/1e6, "CPU-ms/op")
			b.ReportMetric(float64(size), "B/answer")
		})
	}
}
