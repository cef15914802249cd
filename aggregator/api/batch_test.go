package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestBatchOfMetrics(t *testing.T) {
	p := newPlane(t)
	a, b := p.metric("admin", "coarse"), p.metric("admin", "coarse")
	batch := "/v1/batch/metrics/measures"
	w := p.request("admin", "POST", batch, fmt.Sprintf(`{"%s":[{"timestamp":"2026-11-22T10:00:00","value":1}],"%s":[{"timestamp":1795341600,"value":2}],"%s":[{"timestamp":"2026-11-22T10:05:00","value":3}]}`,
		strings.ToUpper(a), b, a))
	if w.Code != 202 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "0" {
		t.Errorf("%d %s %s", w.Code, w.Header(), w.Body)
	}
	p.answers(rows(300, "10:00:00", 1, "10:05:00", 3), "GET", "/v1/metric/"+a+"/measures", nil)
	p.answers(rows(300, "10:00:00", 2), "GET", "/v1/metric/"+b+"/measures", nil)
	p.ask(202, "POST", batch, `{}`)
	p.refused(400, `"Unknown metrics: a0000000-0000-0000-0000-000000000000, b0000000-0000-0000-0000-000000000000"`, "POST", batch,
		`{"B0000000-0000-0000-0000-000000000000":[],"`+a+`":[{"timestamp":"2026-11-22T10:05:00","value":9}],"a0000000-0000-0000-0000-000000000000":[]}`)
	p.answers(rows(300, "10:00:00", 1, "10:05:00", 3), "GET", "/v1/metric/"+a+"/measures", nil)
	p.refused(400, `{"cause":"Invalid input","reason":"extra keys not allowed @ data['foo']","detail":["foo"]}`, "POST", batch, `{"foo":[]}`)
}

func TestBatchOfNamedMetrics(t *testing.T) {
	p := newPlane(t)
	id := p.resource("admin", "generic", "res1", "", "cpu=coarse")
	p.resource("admin", "generic", "46c9418d-d63b-4cdd-be89-8f57ffc5952e", "", "iops=coarse")
	batch := "/v1/batch/resources/metrics/measures"
	one := []measure{{today("10:00:00"), 1}}
	p.ask(202, "POST", batch, map[string]any{"res1": map[string]any{"cpu": one}, "46C9418D-D63B-4CDD-BE89-8F57FFC5952E": map[string]any{"iops": map[string]any{"measures": one, "unit": "ignored"}}})
	p.answers(rows(300, "10:00:00", 1), "GET", "/v1/resource/generic/res1/metric/cpu/measures", nil)
	p.answers(rows(300, "10:00:00", 1), "GET", "/v1/resource/generic/46c9418d-d63b-4cdd-be89-8f57ffc5952e/metric/iops/measures", nil)
	p.refused(400, `"Unknown metrics: `+id.String()+`/mem, `+id.String()+`/zz"`, "POST", batch, map[string]any{"res1": map[string]any{"zz": one, "mem": one, "cpu": one}})
	p.ask(202, "POST", batch, `{}`)
	p.ask(202, "POST", batch, `{"res1":{}}`)
	p.refused(400, `{"cause":"Invalid input","reason":"extra keys not allowed @ data['a/b']","detail":["a/b"]}`, "POST", batch, map[string]any{"a/b": map[string]any{"c": one}})
	p.refused(400, "\"Unable to parse `create_metrics': invalid truth value 'maybe'\"", "POST", batch+"?create_metrics=maybe", `{}`)
}

func TestBatchCreatesMetrics(t *testing.T) {
	p := newPlane(t)
	p.rule("auto.*", "coarse")
	p.resource("admin", "generic", "res1", "", "cpu=coarse")
	batch := "/v1/batch/resources/metrics/measures?create_metrics=true"
	one := []measure{{today("10:00:00"), 1}}
	p.ask(202, "POST", batch, map[string]any{"res1": map[string]any{
		"cpu": one, "auto.a": one, "new": map[string]any{"archive_policy_name": "fine", "unit": "ks", "measures": one},
	}})
	if got := p.ask(200, "GET", "/v1/resource/generic/res1/metric/new", nil); !strings.Contains(got, `"unit":"ks"`) || !strings.Contains(got, `"name":"fine"`) {
		t.Error(got)
	}
	p.answers(rows(300, "10:00:00", 1), "GET", "/v1/resource/generic/res1/metric/auto.a/measures", nil)
	p.answers(rows(1, "10:00:00", 1), "GET", "/v1/resource/generic/res1/metric/new/measures?granularity=1", nil)

	p.refused(400, `{"cause":"Unknown resources","detail":[{"resource_id":"2fbfbb20-8d56-5e1e-afb9-b3007da11fdf","original_resource_id":"foobar"}]}`,
		"POST", batch, map[string]any{"foobar": map[string]any{"auto.a": one, "auto.b": one}}, "Authorization", "basic Zm9vYmFyOg==")
	p.refused(400, `"'/' is not supported in metric name"`, "POST", batch, map[string]any{"res1": map[string]any{"a/b": one}})
	p.refused(400, `"No archive policy name specified and no archive policy rule found matching the metric name other"`, "POST", batch, map[string]any{"res1": map[string]any{"auto.c": one, "other": one}})
	p.refused(400, `"Archive policy nope does not exist"`, "POST", batch, map[string]any{"res1": map[string]any{"x": map[string]any{"archive_policy_name": "nope", "measures": one}}})
	for _, bad := range []string{"", strings.Repeat("n", 300)} {
		p.ask(400, "POST", batch, map[string]any{"res1": map[string]any{bad: one}})
	}
	p.ask(400, "POST", batch, map[string]any{"res1": map[string]any{"auto.u": map[string]any{"unit": strings.Repeat("u", 50), "measures": one}}})
	// What was refused has made nothing.
	got := p.ask(200, "GET", "/v1/resource/generic/res1", nil)
	for _, name := range []string{"auto.c", "auto.u", "other", `"x"`} {
		if strings.Contains(got, name) {
			t.Errorf("%s was made: %s", name, got)
		}
	}
	// Metrics of others' resources are not made.
	hers := p.resource("alice", "generic", "hers", "", "cpu=coarse")
	if w := p.request("bob", "POST", batch, map[string]any{hers.String(): map[string]any{"auto.x": one}}); w.Code != 403 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBatchQuery(t *testing.T) {
	p := newPlane(t)
	a, b := p.metric("admin", "fine"), p.metric("admin", "fine")
	c := p.metric("admin", "coarse")
	p.ask(202, "POST", "/v1/batch/metrics/measures", map[string]any{
		a: []measure{{today("10:00:00"), 1}, {today("10:00:30"), 2}, {today("10:01:00"), 6}}, b: []measure{{today("10:00:00"), 5}}, c: []measure{{today("10:01:00"), 7}},
	})
	query := "/v1/batch/metrics/measures/query"
	p.answers(`{"`+a+`":{"mean":`+joined(rows(3600, "10:00:00", 3), rows(60, "10:00:00", 1.5, "10:01:00", 6))+`,
		"max":`+joined(rows(3600, "10:00:00", 6), rows(60, "10:00:00", 2, "10:01:00", 6))+`},
		"`+b+`":{"mean":`+joined(rows(3600, "10:00:00", 5), rows(60, "10:00:00", 5))+`,"max":`+joined(rows(3600, "10:00:00", 5), rows(60, "10:00:00", 5))+`}}`,
		"POST", query+"?aggregation=mean&aggregation=max&aggregation=mean&granularity=60&granularity=3600&granularity=60", []string{a, b, a})
	p.answers(`{"`+c+`":{"mean":`+rows(300, "10:00:00", 7)+`}}`, "POST", query, []string{c})
	p.answers(`{"`+a+`":{"mean":`+rows(60, "10:01:00", 6)+`}}`, "POST", query+"?granularity=60&start=2026-11-22T10:01", []string{a})
	p.answers(`{"`+a+`":{"count":[["2026-11-01T00:00:00+00:00","M",2]]}}`, "POST", query+"?granularity=60&aggregation=count&resample=M", []string{a})
	p.answers(`{"`+a+`":{"mean":[]}}`, "POST", query+"?granularity=60&start=2027&stop=2026", []string{a})
	p.answers(`{}`, "POST", query, []string{})

	w := p.request("admin", "POST", query+"?granularity=60&aggregation=max&aggregation=last", []string{b, a}, "Accept", mediaMeasures)
	series, err := readBinary(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range series {
		got = append(got, fmt.Sprint(s.id, s.method, s.Values))
	}
	if want := []string{b + "max[5]", b + "last[5]", a + "max[2 6]", a + "last[2 6]"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}

	unknown := "a0000000-0000-0000-0000-000000000000"
	p.refused(404, `{"cause":"Unknown metrics","reason":"Provided metrics don't exists","detail":["`+unknown+`"]}`, "POST", query, []string{a, unknown})
	p.refused(404, `{"cause":"Metrics with unknown aggregation","detail":[["`+c+`","max"]]}`, "POST", query+"?aggregation=max", []string{a, c})
	p.refused(400, `{"cause":"Metrics can't being aggregated","reason":"Granularities are missing","detail":[["`+c+`","mean",60.0]]}`, "POST", query+"?granularity=60", []string{a, c})
	p.refused(400, `{"cause":"Invalid input","reason":"not a valid value @ data[1]: must be the id of a metric","detail":["1"]}`, "POST", query, []string{a, "x"})
	p.refused(400, `{"cause":"Argument value error","detail":"aggregation","reason":"unknown aggregation method \"x\""}`, "POST", query+"?aggregation=x", []string{a})
}

// Parts come in their order, however many there are.
func TestInOrder(t *testing.T) {
	p := newPlane(t)
	var ids []string
	for range 100 {
		ids = append(ids, p.metric("admin", "fine"))
	}
	body := map[string]any{}
	for i, id := range ids {
		var list []measure
		for k := range 60 {
			list = append(list, measure{fmt.Sprintf("2026-11-22T%02d:%02d:00", 10+k%2, k), i})
		}
		body[id] = list
	}
	p.ask(202, "POST", "/v1/batch/metrics/measures", body)
	got := p.ask(200, "POST", "/v1/batch/metrics/measures/query?granularity=60", ids)
	last := 0
	for i, id := range ids {
		place := strings.Index(got, id)
		if place < last {
			t.Fatalf("metric %d is at %d, the one before at %d", i, place, last)
		}
		last = place
	}
	if n := strings.Count(got, "+00:00"); n != 6000 {
		t.Errorf("%d measures", n)
	}
}
