package influxdb

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
)

// expectValues checks what a measurement holds, in the order of time.
func expectValues(t *testing.T, db *parts.InfluxServer, database, measurement string, want ...float64) {
	t.Helper()
	var got []float64
	for _, series := range db.Query(database, fmt.Sprintf("SELECT value FROM %q", measurement)) {
		for _, row := range series.Values {
			v, err := row[1].(json.Number).Float64()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, v)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has %v, want %v", measurement, got, want)
	}
}

// odd holds text that every stage of escaping could stumble over.
var odd = []string{
	"plain", "with space", "comma,and=equals", `quo"te`, `back\slash`, "ünïcode ☁", "tab\tand\nlines\r\n",
	`ends with \`, `before\, comma`, `twice\\`, "#comment", "trailing ", " leading", "'single'", "{braces}", `a\nb`,
}

func TestInfluxDBKeepsExactlyWhatWasSent(t *testing.T) {
	db := parts.InfluxDB(t)
	for _, gzip := range []bool{true, false} {
		database := fmt.Sprintf("nepho %v", gzip)
		p := start(t, fmt.Sprintf("url = %q\ndatabase = %q\ngzip = %v\nmetadata_tags = ['*', '!secret']\nmax_lines = 7", db.URL, database, gzip))
		at := time.Unix(1_700_000_000, 123_456_789)
		batch := build(t, func(out *sdk.Builder) {
			for i, text := range odd {
				out.Add(sdk.Sample{
					Name: "meter " + text, Unit: text, Volume: 0.1 * float64(i), ResourceID: text, ProjectID: "p" + text, UserID: text + "u",
					Metadata: sdk.Metadata{
						"key " + text: text, "n": 5, "f": 0.25, "yes": true, "none": nil, "empty": "", "list": []any{1},
						"in":       map[string]any{"ner": map[string]any{"x": "y"}},
						"secret":   "z",
						"source":   "must not replace the sample's own, empty or not",
						"user_id":  "likewise",
						"time":     "is InfluxDB's own",
						"_field":   "is InfluxDB's own",
						"zz after": "unit",
					},
					Timestamp: at.Add(time.Duration(i)),
				})
			}
		})
		if err := p.Publish(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		for i, text := range odd {
			name := clean("meter " + text)
			quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name)
			series := db.Query(database, `SELECT value FROM "`+quoted+`" GROUP BY *`)
			if len(series) != 1 || len(series[0].Values) != 1 {
				t.Errorf("%q: %v", text, series)
				continue
			}
			want := map[string]string{
				"resource_id": clean(text), "project_id": clean("p" + text), "user_id": clean(text + "u"), "unit": clean(text),
				clean("key " + text): clean(text), "n": "5", "f": "0.25", "yes": "true", "in.ner.x": "y", "zz after": "unit",
			}
			if !maps.Equal(series[0].Tags, want) {
				t.Errorf("%q has tags\n%q, want\n%q", text, series[0].Tags, want)
			}
			if got, want := fmt.Sprint(series[0].Values[0]), fmt.Sprintf("[%d %v]", at.Add(time.Duration(i)).UnixNano(), 0.1*float64(i)); got != want {
				t.Errorf("%q holds %s, want %s", text, got, want)
			}
		}
	}
}

func TestInfluxDBTakesEveryFiniteFloat(t *testing.T) {
	db := parts.InfluxDB(t)
	p := start(t, fmt.Sprintf("url = %q", db.URL))
	volumes := []float64{
		0, 1, -1, 0.1, 1e15, 1e15 - 1, 1<<53 + 2, -1 << 60, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, math.Pi * 1e-200, 1e21, 123456.789,
	}
	batch := build(t, func(out *sdk.Builder) {
		for i, v := range volumes {
			out.Add(gauge("v", v, second(i)))
		}
		out.Add(gauge("v", math.NaN(), second(100)))
		out.Add(gauge("v", math.Inf(1), second(101)))
		out.Add(gauge("v", math.Inf(-1), second(102)))
	})
	n := len(volumes)
	if rows := refusedRows(t, p.Publish(t.Context(), batch)); !slices.Equal(rows, []int{n, n + 1, n + 2}) {
		t.Errorf("refused rows %v, want the last three of %d", rows, n+3)
	}
	expectValues(t, db, "nepho", "v", volumes...)
}

func TestInfluxDBEvents(t *testing.T) {
	db := parts.InfluxDB(t)
	p := start(t, fmt.Sprintf("url = %q\nevent_tags = ['resource_id', 'state']", db.URL))
	events := func(out *sdk.Builder) {
		out.Add(gauge("cpu", 1, second(0)))
		for i, text := range odd {
			out.AddEvent(sdk.Event{
				MessageID: text, EventType: "compute.instance.create." + text, Generated: second(i),
				Traits: []sdk.Trait{
					{Name: "resource_id", Type: sdk.Text, Value: text}, {Name: "state", Type: sdk.Integer, Value: int64(i)},
					{Name: "text " + text, Type: sdk.Text, Value: text}, {Name: "n", Type: sdk.Integer, Value: int64(i)},
					{Name: "f", Type: sdk.Float, Value: 0.5}, {Name: "at", Type: sdk.Datetime, Value: second(i)}, {Name: "time", Type: sdk.Text, Value: "x"},
					{Name: "message_id", Type: sdk.Text, Value: "not this"},
				},
			})
		}
	}
	if err := p.Publish(t.Context(), build(t, events)); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, series := range db.Query("nepho", `SELECT * FROM events GROUP BY event_type, resource_id, state`) {
		for _, row := range series.Values {
			at, _ := row[0].(json.Number).Int64()
			i := int(at/1e9 - second(0).Unix())
			text := odd[i]
			wantTags := map[string]string{"event_type": clean("compute.instance.create." + text), "resource_id": clean(text), "state": fmt.Sprint(i)}
			if !maps.Equal(series.Tags, wantTags) {
				t.Errorf("event %d has tags %q, want %q", i, series.Tags, wantTags)
			}
			want := map[string]string{
				"message_id": text, clean("text " + text): text, "n": fmt.Sprint(i), "f": "0.5", "at": second(i).UTC().Format(time.RFC3339), "trait_time": "x",
			}
			for c, column := range series.Columns[1:] {
				if v := row[c+1]; v != nil && fmt.Sprint(v) != want[column] {
					t.Errorf("event %d has %s = %q, want %q", i, column, v, want[column])
				} else if v != nil {
					delete(want, column)
				}
			}
			if len(want) > 0 {
				t.Errorf("event %d lacks %q", i, want)
			}
			rows++
		}
	}
	if rows != len(odd) {
		t.Errorf("%d events, want %d", rows, len(odd))
	}

	without := start(t, fmt.Sprintf("url = %q\ndatabase = 'other'\nevents = false", db.URL))
	if err := without.Publish(t.Context(), build(t, events)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(db.Query("other", "SHOW MEASUREMENTS")); !strings.Contains(got, "[[cpu]]") {
		t.Errorf("without events there are %s", got)
	}
}

// A field that is an integer already refuses floats: exactly those samples are
// refused, all others are written.
func TestInfluxDBPartialWrite(t *testing.T) {
	db := parts.InfluxDB(t)
	db.CreateDatabase("nepho")
	db.Write("nepho", fmt.Sprintf("bad.a value=1i %d\nbad.b value=1i %[1]d", second(0).UnixNano()))
	requests := 0
	front := proxy(t, db.URL, func() { requests++ })
	p := start(t, fmt.Sprintf("url = %q\nmax_lines = 400", front))
	var want []int
	batch := build(t, func(out *sdk.Builder) {
		for i := range 1000 {
			name := fmt.Sprintf("good.%d", i%20)
			if i%20 == 7 && i > 500 {
				name = "bad.a"
			} else if i == 999 {
				name = "bad.b"
			}
			if strings.HasPrefix(name, "bad") {
				want = append(want, i)
			}
			out.Add(gauge(name, float64(i), second(i)))
		}
	})
	err := p.Publish(t.Context(), batch)
	if rows := refusedRows(t, err); !slices.Equal(rows, want) {
		t.Errorf("refused rows %v, want %v", rows, want)
	}
	if !strings.Contains(err.Error(), "field type conflict") || !strings.Contains(err.Error(), "26 of 1000 rows") {
		t.Errorf("the error does not tell the reason: %v", err)
	}
	if requests > 40 {
		t.Errorf("%d requests to find the bad meters", requests)
	}
	t.Logf("%d requests", requests)
	written := 0
	for _, series := range db.Query("nepho", "SELECT count(value) FROM /good/") {
		n, _ := series.Values[0][1].(json.Number).Int64()
		written += int(n)
	}
	if written != 1000-len(want) {
		t.Errorf("%d samples written, want %d", written, 1000-len(want))
	}
}

// Points beyond the retention policy are refused by time, not by meter.
func TestInfluxDBRetention(t *testing.T) {
	db := parts.InfluxDB(t)
	db.CreateDatabase("nepho")
	db.Query("nepho", `CREATE RETENTION POLICY "short" ON nepho DURATION 1h REPLICATION 1`)
	p := start(t, fmt.Sprintf("url = %q\nretention_policy = 'short'", db.URL))
	var want []int
	now := time.Now() // once, or two points of a meter may have the same time
	batch := build(t, func(out *sdk.Builder) {
		for i := range 500 {
			at := now.Add(-time.Duration(i) * time.Microsecond)
			if i >= 300 && i < 340 {
				at = second(i)
				want = append(want, i)
			}
			out.Add(gauge(fmt.Sprintf("m%d", i%5), float64(i), at))
		}
	})
	if rows := refusedRows(t, p.Publish(t.Context(), batch)); !slices.Equal(rows, want) {
		t.Errorf("refused rows %v, want %v", rows, want)
	}
	written := 0
	for _, series := range db.Query("nepho", "SELECT count(value) FROM short./.*/") {
		n, _ := series.Values[0][1].(json.Number).Int64()
		written += int(n)
	}
	if written != 500-len(want) {
		t.Errorf("%d samples written, want %d", written, 500-len(want))
	}
}

func TestInfluxDBRestartedPausedDown(t *testing.T) {
	db := parts.InfluxDB(t)
	p := start(t, fmt.Sprintf("url = %q\nrequest_timeout = '1m'", db.URL))
	publish := func(i int) error {
		return p.Publish(t.Context(), build(t, samplesOf(gauge("cpu", float64(i), second(i)))))
	}
	expect := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if refused := (*sdk.Refused)(nil); errorAs(err, &refused) {
			t.Errorf("refused: %v", err)
		}
	}
	if err := publish(0); err != nil {
		t.Fatal(err)
	}
	db.Restart()
	if err := publish(1); err != nil {
		t.Fatalf("after a restart: %v", err)
	}
	db.Pause()
	p.client.timeout = 300 * time.Millisecond
	expect(publish(2), "no answer from "+db.URL+" within 300ms")
	p.client.timeout = time.Minute
	db.Resume()
	if err := publish(2); err != nil {
		t.Fatalf("after a pause: %v", err)
	}
	db.Kill9()
	// The first finds the connection broken that was kept, unless that is known.
	expect(publish(3), "cannot write to "+db.URL)
	expect(publish(3), "connection refused")
	db.Start()
	if err := publish(3); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	expectValues(t, db, "nepho", "cpu", 0, 1, 2, 3)
}

func TestVictoriaMetrics(t *testing.T) {
	db := parts.VictoriaMetrics(t)
	f := func(toml, selector, name string) {
		t.Helper()
		p := start(t, fmt.Sprintf("url = %q\n%s", db.URL, toml))
		batch := build(t, func(out *sdk.Builder) {
			for i, text := range odd {
				out.Add(sdk.Sample{
					Name: "m." + name, Unit: text, Volume: 0.5 * float64(i), ResourceID: fmt.Sprintf("r%02d", i), ProjectID: text, Timestamp: second(i),
				})
			}
			out.AddEvent(sdk.Event{MessageID: "1", EventType: "x", Generated: second(0)})
		})
		if err := p.Publish(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		all := db.Export(selector)
		if len(all) != len(odd) {
			t.Fatalf("%s: %d series, want %d", selector, len(all), len(odd))
		}
		for _, s := range all {
			var i int
			fmt.Sscanf(s.Metric["resource_id"], "r%d", &i)
			text := clean(odd[i])
			if s.Metric["unit"] != text || s.Metric["project_id"] != text {
				t.Errorf("%q: labels %q", text, s.Metric)
			}
			if !slices.Equal(s.Values, []float64{0.5 * float64(i)}) || !slices.Equal(s.Timestamps, []int64{second(i).UnixMilli()}) {
				t.Errorf("%q: values %v at %v", text, s.Values, s.Timestamps)
			}
		}
	}
	f("", `{__name__="m.v1_value",db="nepho"}`, "v1")
	f("bucket = 'b'\norg = 'o'", `{__name__="m.v2_value"}`, "v2")
	f("measurement = 'all'\ndatabase = 'x'", `{__name__="all_value",db="x",meter="m.all"}`, "all")
}

// A batch that is sent again changes nothing.
func TestWritingTwice(t *testing.T) {
	db := parts.InfluxDB(t)
	p := start(t, fmt.Sprintf("url = %q", db.URL))
	batch := build(t, samplesOf(gauge("cpu", 1, second(1)), gauge("cpu", 2, second(2))))
	for range 3 {
		if err := p.Publish(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	expectValues(t, db, "nepho", "cpu", 1, 2)
}

func TestConnectionIsKept(t *testing.T) {
	db := parts.InfluxDB(t)
	p := start(t, fmt.Sprintf("url = %q", db.URL))
	dials := countDials(p.client.transport)
	for i := range 20 {
		if err := p.Publish(t.Context(), build(t, samplesOf(gauge("cpu", 1, second(i))))); err != nil {
			t.Fatal(err)
		}
	}
	// A connection is not used again when its writing goroutine has nothing to say
	// for 50 ms after the answer, as on a busy machine.
	if n := dials.Load(); n > 5 {
		t.Errorf("%d connections, want 1, or a few more", n)
	}
}
