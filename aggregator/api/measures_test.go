package api

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestPostAndGetMeasures(t *testing.T) {
	p := newPlane(t)
	id := p.metric("admin", "fine")
	path := "/v1/metric/" + id + "/measures"
	if got := p.ask(202, "POST", path, []measure{
		{today("10:33:57"), 43.1}, {today("10:34:12"), 12}, {today("10:34:13.5"), "1e17"}, {today("10:34:20"), 1e-7}, {today("10:35:20"), 0.30000000000000004},
	}); got != "" {
		t.Errorf("answer %q", got)
	}
	hour := rows(3600, "10:00:00", 2.000000000000001e+16)
	minutes := rows(60, "10:33:00", 43.1, "10:34:00", 3.333333333333334e+16, "10:35:00", 0.30000000000000004)
	seconds := rows(1, "10:33:57", 43.1, "10:34:12", 12, "10:34:13", 1e17, "10:34:20", 1e-7, "10:35:20", 0.30000000000000004)
	p.answers(joined(hour, minutes, seconds), "GET", path, nil)
	p.answers(joined(hour, minutes, seconds), "GET", path+"?refresh=true&aggregation=mean", nil)
	p.answers(minutes, "GET", path+"?granularity=60", nil)
	p.answers(minutes, "GET", path+"?granularity=1+minute&start=&stop=", nil)
	p.answers(rows(60, "10:34:00", 3.333333333333334e+16, "10:35:00", 0.30000000000000004), "GET", path+"?granularity=60&start=2026-11-22T10:34:10", nil)
	p.answers(rows(60, "10:33:00", 43.1, "10:34:00", 3.333333333333334e+16), "GET", path+"?granularity=60&stop=2026-11-22T10:34:10", nil)
	p.answers("[]", "GET", path+"?start=2026-11-23&stop=2026-11-22", nil)
	p.answers("[]", "GET", path+"?start=-1+hour&stop=2026-11-22T13:00", nil)
	p.answers(rows(60, "10:34:00", -15.700000000000001, "10:35:00", 0.29999990000000004), "GET", path+"?granularity=60&aggregation=rate:mean", nil)
	p.answers(rows(60, "10:33:00", 1, "10:34:00", 3, "10:35:00", 1), "GET", path+"?granularity=60&aggregation=count", nil)
	p.answers(rows(3600, "10:00:00", 3), "GET", path+"?granularity=60&aggregation=count&resample=1h", nil)
	p.answers(rows(120, "10:32:00", 43.1, "10:34:00", 1.666666666666667e+16), "GET", path+"?granularity=60&resample=120", nil)
	p.answers(`[["2026-01-01T00:00:00+00:00","Y",3.0]]`, "GET", path+"?granularity=60&aggregation=count&resample=Y", nil)
	p.answers("[]", "GET", "/v1/metric/"+p.metric("admin", "fine")+"/measures", nil)
}

// The texts are those of Gnocchi 4.4.2.
func TestGetMeasuresRefuses(t *testing.T) {
	p := newPlane(t)
	id := p.metric("admin", "coarse")
	path := "/v1/metric/" + id + "/measures"
	argument := func(name, reason string) string {
		return fmt.Sprintf(`{"cause":"Argument value error","detail":%q,"reason":%q}`, name, reason)
	}
	for _, c := range []struct {
		status             int
		query, description string
	}{
		{404, "granularity=42", `"Aggregation method 'mean' at granularity '42.0' for metric ` + id + ` does not exist"`},
		{404, "aggregation=sum", `{"cause":"Aggregation method does not exist for this metric","detail":{"metric":"` + id + `","aggregation_method":"sum"}}`},
		{404, "aggregation=foo", `{"cause":"Aggregation method does not exist for this metric","detail":{"metric":"` + id + `","aggregation_method":"foo"}}`},
		{404, "aggregation=", `{"cause":"Aggregation method does not exist for this metric","detail":{"metric":"` + id + `","aggregation_method":""}}`},
		{400, "resample=120", `"A granularity must be specified to resample"`},
		{400, "granularity=300&resample=foo", `"Unable to parse timespan"`},
		{400, "granularity=300&resample=-1", `"Timespan must be positive"`},
		{400, "granularity=0", argument("granularity", "Timespan must be positive")},
		{400, "granularity=foo", argument("granularity", "Unable to parse timespan")},
		{400, "granularity=", argument("granularity", "Unable to parse timespan")},
		{400, "start=foo", argument("start", "Must be a datetime or a timestamp")},
		{400, "stop=foo", argument("stop", "Must be a datetime or a timestamp")},
		{400, "refresh=maybe", "\"Unable to parse `refresh': invalid truth value 'maybe'\""},
	} {
		p.refused(c.status, c.description, "GET", path+"?"+c.query, nil)
	}
	p.refused(404, `"Metric foo does not exist"`, "GET", "/v1/metric/foo/measures", nil)
	p.refused(404, `"Metric a0000000-0000-0000-0000-000000000000 does not exist"`, "GET", "/v1/metric/a0000000-0000-0000-0000-000000000000/measures", nil)
	p.ask(406, "GET", path, nil, "Accept", "text/html")
}

func TestPostMeasuresRefuses(t *testing.T) {
	p := newPlane(t)
	path := "/v1/metric/" + p.metric("admin", "fine") + "/measures"
	p.refused(400, `{"cause":"Invalid input","reason":"unexpected measures format","detail":[]}`, "POST", path, `{}`)
	p.refused(400, `{"cause":"Invalid input","reason":"unexpected timestamp 'Unable to convert timestamps'","detail":[]}`, "POST", path, `[{"timestamp":"foo","value":1}]`)
	p.refused(400, `{"cause":"Unable to decode body","reason":"Expected object or value","detail":[]}`, "POST", path, `[`)
	p.refused(400, `{"cause":"Unable to decode body","reason":"Expected object or value","detail":[]}`, "POST", path, ``)
	p.ask(415, "POST", path, `[]`, "Content-Type", "text/plain")
	p.ask(415, "POST", path, `[]`, "Content-Encoding", "br")
	p.refused(404, `"Metric foo does not exist"`, "POST", "/v1/metric/foo/measures", `[`)
	p.ask(202, "POST", path, `[]`)
	p.ask(202, "POST", path, `[]`, "Content-Type", "application/json; charset=utf-8")
	p.answers("[]", "GET", path, nil)
}

func TestPostMeasuresPacked(t *testing.T) {
	p := newPlane(t)
	id := p.metric("admin", "coarse")
	path := "/v1/metric/" + id + "/measures"
	packed := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	body := packed(`[{"timestamp":"2026-11-22T10:00:00","value":3}]`)
	p.ask(202, "POST", path, body, "Content-Encoding", "gzip")
	p.answers(rows(300, "10:00:00", 3), "GET", path, nil)
	p.ask(400, "POST", path, body[:len(body)-4], "Content-Encoding", "gzip")
	p.ask(400, "POST", path, "[]", "Content-Encoding", "gzip")
	broken := bytes.Clone(body)
	broken[len(broken)-6] ^= 1
	p.ask(400, "POST", path, broken, "Content-Encoding", "gzip")
	// A megabyte of zeros takes a kilobyte.
	p.s.o.MaxBody = 1 << 20
	p.ask(413, "POST", path, packed("["+strings.Repeat(" ", 1<<20)+"]"), "Content-Encoding", "gzip")
}

func TestMeasuresOfNamedMetrics(t *testing.T) {
	p := newPlane(t)
	p.resource("admin", "generic", "res1", "", "cpu=coarse")
	path := "/v1/resource/generic/res1/metric/cpu/measures"
	p.ask(202, "POST", path, []measure{{today("10:00:00"), 3}})
	p.answers(rows(300, "10:00:00", 3), "GET", path, nil)
	p.refused(404, `"Metric mem does not exist"`, "GET", "/v1/resource/generic/res1/metric/mem/measures", nil)
	p.refused(404, `"Metric mem does not exist"`, "POST", "/v1/resource/generic/res1/metric/mem/measures", `[]`)
	p.refused(404, `"Resource type nope does not exist"`, "GET", "/v1/resource/nope/res1/metric/cpu/measures", nil)
	w := p.request("admin", "GET", "/v1/resource/generic/foo/metric/cpu/measures", nil)
	if w.Code != 404 || !strings.Contains(w.Body.String(), "Resource 7acf4bc8-81de-5932-ab59-eda92e59b49a does not exist") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	p.ask(201, "POST", "/v1/resource_type", `{"name":"other"}`)
	if w := p.request("admin", "GET", "/v1/resource/other/res1/metric/cpu/measures", nil); w.Code != 404 || !strings.Contains(w.Body.String(), "Resource ") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWhoMayReadAndWriteMeasures(t *testing.T) {
	p := newPlane(t)
	id := p.metric("alice", "coarse")
	path := "/v1/metric/" + id + "/measures"
	other := p.metric("bob", "coarse")
	for _, c := range []struct {
		user, method, path string
		body               any
		status             int
	}{
		{"alice", "POST", path, `[]`, 202},
		{"bob", "POST", path, `[]`, 403},
		{"admin", "POST", path, `[]`, 202},
		{"alice", "GET", path, nil, 200},
		{"bob", "GET", path, nil, 403},
		{"alice", "POST", "/v1/batch/metrics/measures", map[string]any{id: []measure{}}, 202},
		{"alice", "POST", "/v1/batch/metrics/measures", map[string]any{id: []measure{}, other: []measure{}}, 403},
		{"admin", "POST", "/v1/batch/metrics/measures", map[string]any{id: []measure{}, other: []measure{}}, 202},
		{"alice", "POST", "/v1/batch/metrics/measures/query", []string{id}, 200},
		{"alice", "POST", "/v1/batch/metrics/measures/query", []string{id, other}, 403},
		{"alice", "POST", "/v1/aggregates", map[string]any{"operations": []any{"metric", other, "mean"}}, 403},
		{"alice", "GET", "/v1/aggregation/metric?metric=" + other, nil, 403},
		{"alice", "POST", "/v1/search/metric?metric_id=" + other, `{"=":1}`, 403},
		{"", "GET", path, nil, 401},
	} {
		if w := p.request(c.user, c.method, c.path, c.body); w.Code != c.status {
			t.Errorf("%s %s %s %v: %d %s, want %d", c.user, c.method, c.path, c.body, w.Code, w.Body, c.status)
		}
	}
}

func TestMeasuresInTheFuture(t *testing.T) {
	p := newPlane(t)
	id := p.metric("admin", "coarse")
	path := "/v1/metric/" + id + "/measures"
	p.refused(400, `{"cause":"Timestamp too far in the future","detail":"2036-11-22T10:00:00+00:00",
		"reason":"measures after 2026-11-22T13:00:00+00:00 are refused, and nothing of the request was stored; is the clock right?"}`,
		"POST", path, []measure{{today("10:00:00"), 1}, {"2036-11-22T10:00:00", 2}})
	p.answers("[]", "GET", path, nil)
	p.ask(202, "POST", path, []measure{{today("12:59:59"), 1}})
	got := p.ask(202, "POST", "/v1/batch/metrics/measures", map[string]any{id: []measure{{today("12:59:59"), 2}, {"2036-11-22T10:00:00", 2}, {"2037-11-22T10:00:00", 2}}})
	if want := `{"accepted":1,"late":0,"future":2,"refused":[{"metric":"` + id + `","timestamp":"2036-11-22T10:00:00+00:00","reason":"future"}]}`; !sameJSON(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	p.answers(rows(300, "12:55:00", 2), "GET", path, nil)
}

func TestLateMeasures(t *testing.T) {
	p := newPlane(t)
	p.resource("admin", "generic", "res1", "", "cpu=coarse", "empty=coarse", "mem=coarse")
	batch := "/v1/batch/resources/metrics/measures"
	p.ask(202, "POST", batch, map[string]any{"res1": map[string]any{"cpu": []measure{{today("10:00:00"), 1}}, "mem": []measure{{today("10:00:00"), 1}}}})
	// An empty list does not move the places of the others.
	got := p.ask(202, "POST", batch, `{"res1": {"empty": [], "mem": [{"timestamp":"2026-11-22T10:00:10","value":1}],
		"cpu": [{"timestamp":"2026-11-22T10:00:10","value":1},{"timestamp":"2026-11-22T09:59:50","value":1},{"timestamp":"2026-11-22T09:59:40","value":1}]}}`)
	if want := `{"accepted":2,"late":2,"future":0,"refused":[{"metric":"res1/cpu","timestamp":"2026-11-22T09:59:50+00:00","reason":"late"}]}`; !sameJSON(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if w := p.request("admin", "POST", "/v1/resource/generic/res1/metric/cpu/measures", []measure{{today("09:59:50"), 1}}); w.Code != http.StatusAccepted || !strings.Contains(w.Body.String(), `"late":1`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBinaryAnswers(t *testing.T) {
	p := newPlane(t)
	id := p.metric("admin", "fine")
	path := "/v1/metric/" + id + "/measures"
	p.ask(202, "POST", path, []measure{{today("10:00:00"), 1}, {today("10:00:01"), 2}, {today("10:02:00"), 4}})
	w := p.request("admin", "GET", path+"?aggregation=max", nil, "Accept", mediaMeasures)
	series, err := readBinary(w.Body.Bytes())
	if err != nil || w.Code != 200 || w.Header().Get("Content-Type") != mediaMeasures {
		t.Fatalf("%d %s %v", w.Code, w.Header(), err)
	}
	var got []string
	for _, s := range series {
		got = append(got, fmt.Sprintf("%v %s %v %v", s.id == uuid.MustParse(id), s.method, s.period.Span, s.Values))
	}
	const want = "[true max 1h0m0s [4] true max 1m0s [2 4] true max 1s [1 2 4]]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v", got)
	}
	w = p.request("admin", "GET", path+"?granularity=60&resample=M", nil, "Accept", mediaMeasures)
	if series, err = readBinary(w.Body.Bytes()); err != nil || len(series) != 1 || series[0].period.Letter != 'M' || series[0].Len() != 1 {
		t.Errorf("%+v %v", series, err)
	}
}
