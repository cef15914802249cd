package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// stored reads the numbers of a measurement from InfluxDB, which keeps what is
// written again once.
func stored(t *testing.T, db *parts.InfluxServer, measurement string) map[int]int {
	t.Helper()
	got := map[int]int{}
	for _, series := range db.Query("nepho", fmt.Sprintf("SELECT value FROM %q", measurement)) {
		for _, row := range series.Values {
			v, err := row[1].(json.Number).Float64()
			if err != nil {
				t.Fatal(err)
			}
			got[int(v)]++
		}
	}
	return got
}

func influx(url string) string {
	return fmt.Sprintf(`
[[pollster.generator]]
numbered = true
samples = 300
interval = "20ms"
timeout = "60s"
[[publisher.influxdb]]
url = %q
request_timeout = "1s"
connect_timeout = "1s"
retry_max = "300ms"
`, url)
}

// awaitSink waits for a state of the sink.
func (a *Agent) awaitSink(pipeline, publisher string, failing bool) {
	a.tb.Helper()
	Eventually(a.tb, fmt.Sprintf("it is noticed that %s fails or not: %v", publisher, failing), func() error {
		if k := a.Sink(pipeline, publisher); (k.Error != "") != failing {
			return fmt.Errorf("its error is %q", k.Error)
		}
		return nil
	})
}

func TestInfluxDBKilledPausedRestarted(t *testing.T) {
	t.Parallel()
	db := parts.InfluxDB(t)
	a := StartAgent(t, influx(db.URL))
	step := 3_000
	next := func() {
		awaitNumber(t, a, "generator", last(t, a, "generator")+step)
		addsUp(t, a)
	}
	next()
	db.Kill9()
	next()
	a.awaitSink("default", "influxdb", true)
	db.Start()
	a.awaitSink("default", "influxdb", false)
	next()
	db.Pause()
	a.awaitSink("default", "influxdb", true)
	next()
	db.Resume()
	a.awaitSink("default", "influxdb", false)
	next()
	db.Restart()
	next()
	dry(t, a)
	a.Stop()
	expectAll(t, stored(t, db, "generator.number"), last(t, a, "generator"), 0)
	// One for each interruption, however often it was tried.
	n, ends := strings.Count(a.Log(), "publisher does not take samples"), strings.Count(a.Log(), "publisher takes samples again")
	if n < 2 || n != ends {
		t.Errorf("%d complaints in the log of three interruptions, and %d ends of them", n, ends)
	}
}

// front stands before a server and fails on request.
type front struct {
	url  string
	mode atomic.Pointer[func(w http.ResponseWriter, pass func(http.ResponseWriter))]
}

func newFront(t *testing.T, target string) *front {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // of clients that did not wait
	f := &front{url: "http://" + l.Addr().String()}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pass := func(w http.ResponseWriter) { proxy.ServeHTTP(w, r) }
		if mode := f.mode.Load(); mode != nil {
			(*mode)(w, pass)
		} else {
			pass(w)
		}
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return f
}

func (f *front) set(mode func(w http.ResponseWriter, pass func(http.ResponseWriter))) {
	f.mode.Store(&mode)
}

// nowhere takes an answer that the client is not to see.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

func TestSinkSlowAndAnswering500(t *testing.T) {
	t.Parallel()
	db := parts.InfluxDB(t)
	f := newFront(t, db.URL)
	a := StartAgent(t, influx(f.url))
	var failures atomic.Int64
	fail := func(w http.ResponseWriter) {
		failures.Add(1)
		http.Error(w, `{"error":"engine: a shard has a headache"}`, http.StatusInternalServerError)
	}
	for name, mode := range map[string]func(w http.ResponseWriter, pass func(http.ResponseWriter)){
		"500": func(w http.ResponseWriter, _ func(http.ResponseWriter)) { fail(w) },
		"500 after it was written": func(w http.ResponseWriter, pass func(http.ResponseWriter)) {
			pass(nowhere{http.Header{}})
			fail(w)
		},
		"cut off": func(w http.ResponseWriter, pass func(http.ResponseWriter)) {
			pass(nowhere{http.Header{}})
			failures.Add(1)
			panic(http.ErrAbortHandler)
		},
		"slow": func(w http.ResponseWriter, pass func(http.ResponseWriter)) {
			time.Sleep(250 * time.Millisecond)
			failures.Add(1)
			pass(w)
		},
		"too slow": func(w http.ResponseWriter, pass func(http.ResponseWriter)) {
			failures.Add(1)
			time.Sleep(1500 * time.Millisecond)
			pass(w)
		},
	} {
		failures.Store(0)
		f.set(mode)
		awaitNumber(t, a, "generator", last(t, a, "generator")+3_000)
		Eventually(t, "the sink has been "+name, func() error {
			if n := failures.Load(); n < 2 {
				return fmt.Errorf("%d times", n)
			}
			return nil
		})
		addsUp(t, a)
		f.set(func(w http.ResponseWriter, pass func(http.ResponseWriter)) { pass(w) })
		a.awaitSink("default", "influxdb", false)
	}
	dry(t, a)
	a.Stop()
	expectAll(t, stored(t, db, "generator.number"), last(t, a, "generator"), 0)
	if k := deadLetters(t, a, "default/influxdb.jsonl"); len(k) > 0 {
		t.Errorf("%d dead letters, such as %+v", len(k), k[0])
	}
}

// InfluxDB takes a part of a request and refuses the rest for good: a field has
// another type there. Exactly these samples become dead letters.
func TestInfluxDBPartialWrite(t *testing.T) {
	t.Parallel()
	db := parts.InfluxDB(t)
	db.CreateDatabase("nepho")
	db.Write("nepho", `conflict.number,resource_id=r value="text"`)
	a := StartAgent(t, fmt.Sprintf(`
[[pollster.exec]]
interval = "1h"
precision = "us"
shell = true
run = """
awk -v t=$(date +%%s) 'BEGIN { for (n = 1; n <= 3000; n++) printf "%%s,resource_id=r number=%%d %%d%%06d\\n", (n %% 7 ? "generator" : "conflict"), n, t, n }'
"""
[[publisher.influxdb]]
url = %q
`, db.URL))
	Eventually(t, "all is settled", func() error {
		if k := a.Sink("default", "influxdb"); k.Published+k.Refused != 3000 {
			return fmt.Errorf("%d published, %d refused", k.Published, k.Refused)
		}
		return nil
	})
	if k := a.Sink("default", "influxdb"); k.Refused != 3000/7 {
		t.Errorf("%d refused, want %d", k.Refused, 3000/7)
	}
	addsUp(t, a)
	a.Stop()
	dead := map[int]int{}
	for _, l := range deadLetters(t, a, "default/influxdb.jsonl") {
		if l.Sample == nil || l.Sample.Name != "conflict.number" || l.From != "default/influxdb" || !strings.Contains(l.Reason, "conflict") {
			t.Fatalf("dead letter %+v", l)
		}
		dead[int(l.Sample.Volume)]++
	}
	got := stored(t, db, "generator.number")
	for n := 1; n <= 3000; n++ {
		refused := n%7 == 0
		if dead[n] == 1 != refused || (got[n] == 1) == refused {
			t.Fatalf("number %d is %d times a dead letter and %d times there", n, dead[n], got[n])
		}
	}
}

// A publisher that refuses a row of each batch: the counters and the dead letters
// say the same.
func TestRowsRefusedForGood(t *testing.T) {
	t.Parallel()
	a := StartAgent(t, `
[[pollster.generator]]
numbered = true
samples = 100
interval = "10ms"
timeout = "60s"
[[publisher.discard]]
fail = "refuse_rows"
fail_every = 3
`)
	awaitNumber(t, a, "generator", 10_000)
	addsUp(t, a)
	Eventually(t, "all is settled", func() error {
		k := a.Sink("default", "discard")
		if n := uint64(len(deadLetters(t, a, "default/discard.jsonl"))); k.Refused != n || n < 10 {
			return fmt.Errorf("%d refused, %d dead letters", k.Refused, n)
		}
		return nil
	})
	a.Stop()
	for n, times := range numbersOf(deadLetters(t, a, "default/discard.jsonl")) {
		if times != 1 || n%100 != 1 {
			t.Errorf("number %d is %d times a dead letter", n, times)
		}
	}
}
