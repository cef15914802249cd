package api

import (
	"fmt"
	"strings"
	"testing"
)

// filled is a plane with metrics a and b of the policy fine and c of coarse, all of
// admin. Minutes: a has 10:33 43.1, 10:34 12, 10:35 0.5; b has 10:33 43.1, 10:34 12, 10:37 7.
func filled(t *testing.T) (p *plane, a, b, c string) {
	p = newPlane(t)
	a, b, c = p.metric("admin", "fine"), p.metric("admin", "fine"), p.metric("admin", "coarse")
	p.ask(202, "POST", "/v1/batch/metrics/measures", map[string]any{
		a: []measure{{today("10:33:57"), 43.1}, {today("10:34:12"), 12}, {today("10:35:20"), 0.5}},
		b: []measure{{today("10:33:57"), 43.1}, {today("10:34:12"), 12}, {today("10:37:20"), 7}},
		c: []measure{{today("10:33:57"), 1}},
	})
	return p, a, b, c
}

func operationsBody(format string, args ...any) map[string]any {
	return map[string]any{"operations": fmt.Sprintf(format, args...)}
}

func TestAggregates(t *testing.T) {
	p, a, b, c := filled(t)
	minutesA := rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:35:00", 0.5)
	for _, x := range []struct {
		query string
		body  map[string]any
		want  string
	}{
		{"granularity=60", operationsBody("(metric %s mean)", a), `{"measures":{"` + a + `":{"mean":` + minutesA + `}}}`},
		{"granularity=60", map[string]any{"operations": []any{"metric", strings.ToUpper(a), "mean"}}, `{"measures":{"` + a + `":{"mean":` + minutesA + `}}}`},
		{"", operationsBody("(metric %s max)", a), `{"measures":{"` + a + `":{"max":` + joined(rows(3600, "10:00:00", 43.1), minutesA,
			rows(1, "10:33:57", 43.1, "10:34:12", 12, "10:35:20", 0.5)) + `}}}`},
		{"granularity=60", operationsBody("(aggregate mean (metric (%s mean) (%s mean)))", a, b),
			`{"measures":{"aggregated":` + rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:35:00", 0.5, "10:37:00", 7) + `}}`},
		{"granularity=60", operationsBody("(metric (%s mean) (%s max) (%s max))", a, b, a),
			`{"measures":{"` + a + `":{"mean":` + minutesA + `,"max":` + minutesA + `},"` + b + `":{"max":` + rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:37:00", 7) + `}}}`},
		{"granularity=60&fill=0", operationsBody("(metric (%s mean) (%s mean))", a, b),
			`{"measures":{"` + a + `":{"mean":` + rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:35:00", 0.5, "10:37:00", 0) +
				`},"` + b + `":{"mean":` + rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:35:00", 0, "10:37:00", 7) + `}}}`},
		{"granularity=60&fill=null", operationsBody("(metric (%s mean) (%s mean))", a, b),
			`{"measures":{"` + a + `":{"mean":` + rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:35:00", 0.5, "10:37:00", nil) +
				`},"` + b + `":{"mean":` + rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:35:00", nil, "10:37:00", 7) + `}}}`},
		{"granularity=60&needed_overlap=100", operationsBody("(metric (%s mean) (%s mean))", a, b),
			`{"measures":{"` + a + `":{"mean":` + rows(60, "10:33:00", 43.1, "10:34:00", 12) + `},"` + b + `":{"mean":` + rows(60, "10:33:00", 43.1, "10:34:00", 12) + `}}}`},
		{"granularity=60", operationsBody("(> (metric %s mean) 12)", a), `{"measures":{"` + a + `":{"mean":` + rows(60, "10:33:00", 1, "10:34:00", 0, "10:35:00", 0) + `}}}`},
		{"granularity=60", operationsBody("(resample max 120 (metric %s mean))", a), `{"measures":{"` + a + `":{"mean":` + rows(120, "10:32:00", 43.1, "10:34:00", 12) + `}}}`},
		{"granularity=60&start=2026-11-22T10:34:30&stop=2026-11-22T10:35", operationsBody("(metric %s mean)", a), `{"measures":{"` + a + `":{"mean":` + rows(60, "10:34:00", 12) + `}}}`},
		{"granularity=60&start=2027&stop=2026", operationsBody("(metric %s mean)", a), `{"measures":{"` + a + `":{"mean":[]}}}`},
		{"", operationsBody("(metric %s mean)", p.metric("admin", "coarse")), ""},
	} {
		if x.want == "" {
			if got := p.ask(200, "POST", "/v1/aggregates?"+x.query, x.body); !strings.Contains(got, `{"mean":[]}`) {
				t.Error(got)
			}
			continue
		}
		p.answers(x.want, "POST", "/v1/aggregates?"+x.query, x.body)
	}
	got := p.ask(200, "POST", "/v1/aggregates?details=true&granularity=300", operationsBody("(metric %s mean)", c))
	if !strings.Contains(got, `"references":[{"id":"`+c+`"`) || !strings.Contains(got, `"archive_policy":{`) {
		t.Error(got)
	}
}

func TestAggregatesRefuse(t *testing.T) {
	p, a, b, c := filled(t)
	unknown := "b0000000-0000-0000-0000-000000000000"
	for _, x := range []struct {
		status      int
		query       string
		body        any
		description string
	}{
		{404, "", operationsBody("(metric %s nope)", a), `{"cause":"Metrics with unknown aggregation","detail":[["` + a + `","nope"]]}`},
		{404, "", operationsBody("(metric %s max)", c), `{"cause":"Metrics with unknown aggregation","detail":[["` + c + `","max"]]}`},
		{400, "", operationsBody("(metric foo mean)"), `{"cause":"Invalid metric references","reason":"badly formed hexadecimal UUID string","detail":[["foo","mean"]]}`},
		{404, "", operationsBody("(metric %s mean)", unknown), `{"cause":"Unknown metrics","reason":"Provided metrics don't exists","detail":["` + unknown + `"]}`},
		{400, "granularity=42", operationsBody("(metric %s mean)", a), `{"cause":"Metrics can't being aggregated","reason":"Granularities are missing","detail":[["` + a + `","mean",42.0]]}`},
		{400, "", operationsBody("(aggregate mean (metric (%s mean) (%s mean)))", a, c), `{"cause":"Metrics can't being aggregated","reason":"No granularity match","detail":[["` + a + `","mean"],["` + c + `","mean"]]}`},
		{400, "granularity=60", operationsBody("(rolling mean 20 (metric %s mean))", a), `{"cause":"Metrics can't being aggregated","reason":"Rolling window '20' is greater than serie length '3'","detail":[["` + a + `","mean"]]}`},
		{400, "granularity=60&needed_overlap=100&start=2026-11-22T10:00&stop=2026-11-22T11:00", operationsBody("(metric (%s mean) (%s mean))", a, b),
			`{"cause":"Metrics can't being aggregated","reason":"Less than 100.000000% of datapoints overlap in this timespan (50.00%)","detail":[["` + a + `","mean"],["` + b + `","mean"]]}`},
		{400, "", map[string]any{"operations": "(metric", "x": 1}, `{"cause":"Invalid input","reason":"extra keys not allowed @ data['x']","detail":["x"]}`},
		{400, "", []any{}, `{"cause":"Invalid input","reason":"expected a dictionary","detail":[]}`},
		{400, "", map[string]any{}, `{"cause":"Invalid input","reason":"required key not provided @ data['operations']","detail":["operations"]}`},
		{400, "", map[string]any{"operations": []any{}}, `{"cause":"Invalid input","reason":"Operation must not be empty for dictionary value @ data['operations']","detail":["operations"]}`},
		{400, "details=maybe", operationsBody("(metric %s mean)", a), "\"Unable to parse `details': invalid truth value 'maybe'\""},
		{400, "fill=foo", operationsBody("(metric %s mean)", a), `{"cause":"Argument value error","detail":"fill","reason":"Must be a float, 'dropna' or 'null'"}`},
		{400, "needed_overlap=foo", operationsBody("(metric %s mean)", a), `{"cause":"Argument value error","detail":"needed_overlap","reason":"Must be a number"}`},
		{400, "start=foo", operationsBody("(metric %s mean)", a), `{"cause":"Argument value error","detail":"start","reason":"Must be a datetime or a timestamp"}`},
		{400, "granularity=foo", operationsBody("(metric %s mean)", a), `{"cause":"Argument value error","detail":"granularity","reason":"Unable to parse timespan"}`},
		{400, "", map[string]any{"operations": "(metric cpu mean)", "resource_type": "nope", "search": map[string]any{}}, `{"cause":"Resource type does not exist","detail":"nope"}`},
		{400, "", map[string]any{"operations": "(metric cpu mean)", "resource_type": "generic", "search": map[string]any{"=": map[string]any{"nope": 1}}}, `"Resource type generic has no nope attribute"`},
		{400, "", map[string]any{"operations": "(metric (cpu mean) (abc mean))", "resource_type": "generic", "search": map[string]any{}}, `{"cause":"Metrics not found","detail":["abc","cpu"]}`},
		{400, "groupby=nope", map[string]any{"operations": "(metric cpu mean)", "resource_type": "generic", "search": map[string]any{}}, "\"Invalid pagination: `Sort key supplied is invalid: nope'\""},
	} {
		p.refused(x.status, x.description, "POST", "/v1/aggregates?"+x.query, x.body)
	}
}

// grouped makes resources res1 (cpu 4, mem 5), res2 (cpu 8) of the project p2 and res3 (cpu 16) of it, all of admin.
func withResources(t *testing.T) (p *plane, ids [3]string) {
	p = newPlane(t)
	ids[0] = p.resource("admin", "generic", "res1", "", "cpu=fine", "mem=fine").String()
	ids[1] = p.resource("admin", "generic", "res2", "p2", "cpu=fine").String()
	ids[2] = p.resource("admin", "generic", "res3", "p2", "cpu=fine").String()
	one := func(v float64) []measure { return []measure{{today("10:33:57"), v}} }
	p.ask(202, "POST", "/v1/batch/resources/metrics/measures", map[string]any{
		"res1": map[string]any{"cpu": one(4), "mem": one(5)}, "res2": map[string]any{"cpu": one(8)}, "res3": map[string]any{"cpu": one(16)},
	})
	return p, ids
}

func TestAggregatesOfResources(t *testing.T) {
	p, ids := withResources(t)
	value := func(v float64) string { return rows(60, "10:33:00", v) }
	for _, x := range []struct {
		query, operations string
		search            any
		want              string
	}{
		{"", "(metric cpu mean)", map[string]any{}, `{"measures":{"` + ids[0] + `":{"cpu":{"mean":` + value(4) + `}},"` + ids[1] + `":{"cpu":{"mean":` + value(8) + `}},"` + ids[2] + `":{"cpu":{"mean":` + value(16) + `}}}}`},
		{"", "(metric (c* mean) (*e* max))", "id = 'res1'", `{"measures":{"` + ids[0] + `":{"cpu":{"mean":` + value(4) + `},"mem":{"max":` + value(5) + `}}}}`},
		{"", "(metric (cpu mean) (cpu max) (nope mean))", map[string]any{"=": map[string]any{"id": "res2"}}, `{"measures":{"` + ids[1] + `":{"cpu":{"mean":` + value(8) + `,"max":` + value(8) + `}}}}`},
		{"", "(aggregate sum (metric * mean))", "original_resource_id like 'res%'", `{"measures":{"aggregated":` + value(33) + `}}`},
		{"&groupby=user_id&groupby=project_id&groupby=user_id", "(aggregate mean (metric cpu mean))", map[string]any{"!=": map[string]any{"id": "x"}},
			`[{"group":{"project_id":"p2","user_id":null},"measures":{"measures":{"aggregated":` + value(12) + `}}},{"group":{"project_id":null,"user_id":null},"measures":{"measures":{"aggregated":` + value(4) + `}}}]`},
		{"&groupby=project_id", "(metric mem mean)", map[string]any{}, `[{"group":{"project_id":null},"measures":{"measures":{"` + ids[0] + `":{"mem":{"mean":` + value(5) + `}}}}}]`},
		{"&groupby=original_resource_id", "(metric cpu mean)", "id = res3", `[{"group":{"original_resource_id":"res3"},"measures":{"measures":{"` + ids[2] + `":{"cpu":{"mean":` + value(16) + `}}}}}]`},
	} {
		p.answers(x.want, "POST", "/v1/aggregates?granularity=60"+x.query, map[string]any{"operations": x.operations, "resource_type": "generic", "search": x.search})
	}
	got := p.ask(200, "POST", "/v1/aggregates?granularity=60&details=true", map[string]any{"operations": "(metric cpu mean)", "resource_type": "generic", "search": "id = res2"})
	if !strings.Contains(got, `"references":[{`) || !strings.Contains(got, `"original_resource_id":"res2"`) || strings.Contains(got, "res1") {
		t.Error(got)
	}
}

func TestAggregationOfMetrics(t *testing.T) {
	p, a, b, c := filled(t)
	path := "/v1/aggregation/metric?"
	both := "metric=" + a + "&metric=" + b + "&granularity=60"
	for query, want := range map[string]string{
		"metric=" + a + "&granularity=60":                  rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:35:00", 0.5),
		"metric=" + a + "&metric=" + a + "&granularity=60": rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:35:00", 0.5),
		"metric=" + a + "&granularity=60&resample=120":     rows(120, "10:32:00", 43.1, "10:34:00", 6.25),
		both:                                    rows(60, "10:33:00", 43.1, "10:34:00", 12),
		both + "&needed_overlap=0":              rows(60, "10:33:00", 43.1, "10:34:00", 12),
		both + "&fill=0&reaggregation=max":      rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:35:00", 0.5, "10:37:00", 7),
		both + "&fill=0&resample=120":           rows(120, "10:32:00", 43.1, "10:34:00", 6.125, "10:36:00", 3.5),
		both + "&fill=null":                     rows(60, "10:33:00", 43.1, "10:34:00", 12, "10:35:00", 0.5, "10:37:00", 7),
		both + "&fill=0&resample=Y":             `[["2026-01-01T00:00:00+00:00","Y",14.7125]]`,
		"":                                      "[]",
		"metric=" + c:                           rows(300, "10:30:00", 1),
		"metric=" + c + "&refresh=yes":          rows(300, "10:30:00", 1),
		"metric=" + p.metric("admin", "coarse"): "[]",
	} {
		p.answers(want, "GET", path+query, nil)
	}
	p.answers(rows(60, "10:33:00", 43.1, "10:34:00", 12), "POST", path+"granularity=60", []string{a, b})
	p.answers("[]", "POST", path, []string{})
	unknown := "b0000000-0000-0000-0000-000000000000"
	noSum := `{"cause":"Aggregation method does not exist for this metric","detail":{"metric":"` + c + `","aggregation_method":"sum"}}`
	for _, x := range []struct {
		status             int
		query, description string
	}{
		{400, "metric=foo", `"Invalid input: not a valid value @ data[0]: must be the id of a metric"`},
		{404, "metric=" + unknown, `"Metric ` + unknown + ` does not exist"`},
		{404, "metric=" + a + "&granularity=42", `"Aggregation method 'mean' at granularity '42.0' for metric ` + a + ` does not exist"`},
		{404, "metric=" + a + "&metric=" + b + "&granularity=42", `"Aggregation method 'mean' at granularity '42.0' for metric ` + a + ` does not exist"`},
		{400, "metric=" + a + "&metric=" + c, `{"cause":"Metrics can't being aggregated","reason":"No granularity match","detail":[["` + a + `","mean"],["` + c + `","mean"]]}`},
		{404, "metric=" + c + "&aggregation=sum", noSum},
		{404, "metric=" + c + "&metric=" + a + "&aggregation=sum&granularity=300", `"Aggregation method 'sum' at granularity '300.0' for metric ` + c + ` does not exist"`},
		{400, "metric=" + a + "&metric=" + b + "&resample=120", `"A granularity must be specified to resample"`},
		{400, "metric=" + a + "&refresh=maybe", "\"Unable to parse `refresh': invalid truth value 'maybe'\""},
		{400, "metric=" + a + "&metric=" + p.metric("admin", "fine") + "&granularity=60", ""},
		{400, both + "&fill=0&reaggregation=last", ""},
	} {
		if x.description == "" {
			p.ask(x.status, "GET", path+x.query, nil)
			continue
		}
		p.refused(x.status, x.description, "GET", path+x.query, nil)
	}
	p.refused(400, `{"cause":"Invalid input","reason":"expected a list","detail":[]}`, "POST", path, `{"a":1}`)
	p.refused(400, `{"cause":"Invalid input","reason":"not a valid value @ data[0]: must be the id of a metric","detail":["0"]}`, "POST", path, `["foo"]`)
}

func TestAggregationOfResources(t *testing.T) {
	p, _ := withResources(t)
	path := "/v1/aggregation/resource/generic/metric/"
	value := func(v float64) string { return rows(60, "10:33:00", v) }
	p.answers(rows(60, "10:33:00", 28.0/3), "POST", path+"cpu?granularity=60", nil)
	p.answers(value(12), "POST", path+"cpu?granularity=60", `{"like":{"project_id":"p%"}}`)
	p.answers(value(4), "POST", path+"cpu?granularity=60&filter=id+%3D+res1", nil)
	p.answers(value(5), "POST", path+"mem?granularity=60", nil)
	p.answers("[]", "POST", path+"nope", nil)
	p.answers("[]", "POST", path+"cpu?groupby=user_id", `{"=":{"id":"x"}}`)
	p.answers(`[{"group":{"project_id":"p2"},"measures":`+value(24)+`},{"group":{"project_id":null},"measures":`+value(4)+`}]`,
		"POST", path+"cpu?granularity=60&groupby=project_id&reaggregation=sum", `{"!=":{"id":"x"}}`)
	p.answers(`[{"group":{"project_id":"p2"},"measures":[]},{"group":{"project_id":null},"measures":`+value(5)+`}]`,
		"POST", path+"mem?granularity=60&groupby=project_id", `{"!=":{"id":"x"}}`)
	p.refused(400, `"Invalid groupby attribute: nope"`, "POST", path+"cpu?groupby=nope", nil)
	p.refused(400, `"Resource type generic has no nope attribute"`, "POST", path+"cpu", `{"=":{"nope":"x"}}`)
	p.refused(404, `"Resource type nope does not exist"`, "POST", "/v1/aggregation/resource/nope/metric/cpu", `{}`)
	p.ask(405, "GET", path+"cpu", nil)
}

func TestSearchMeasures(t *testing.T) {
	p, a, b, c := filled(t)
	path := "/v1/search/metric?metric_id=" + a
	p.answers(`{"`+a+`":`+rows(60, "10:33:00", 43.1, "10:34:00", 12)+`}`, "POST", path+"&granularity=60", `{">=":12}`)
	p.answers(`{"`+a+`":`+joined(rows(3600), rows(60, "10:34:00", 12), rows(1, "10:34:12", 12))+`}`, "POST", path, `{"=":12}`)
	p.answers(`{"`+a+`":`+rows(60, "10:33:00", 43.1)+`,"`+b+`":`+rows(60, "10:33:00", 43.1)+`}`, "POST", path+"&metric_id="+b+"&granularity=60", `{"and":[{">=":[{"+":23},50]},{"!=":55}]}`)
	p.answers(`{"`+a+`":[]}`, "POST", path+"&start=2026-11-22T10:36&granularity=60", `{">=":0}`)
	p.answers(`{}`, "POST", "/v1/search/metric?metric_id=b0000000-0000-0000-0000-000000000000", `{">=":12}`)
	noMax := func(g string) string {
		return `{"cause":"Aggregation does not exist","detail":{"granularity":` + g + `,"aggregation_method":"max"}}`
	}
	p.refused(400, `"No query specified in body"`, "POST", path, nil)
	p.refused(400, `{"cause":"Invalid input","reason":"extra keys not allowed @ data['foo']: it is no operator","detail":["foo"]}`, "POST", path, `{"foo":12}`)
	p.refused(400, `"Invalid value for start"`, "POST", path+"&start=foo", `{">=":12}`)
	p.refused(400, `"Invalid value for stop"`, "POST", path+"&stop=", `{">=":12}`)
	p.refused(400, noMax("300.0"), "POST", path+"&granularity=300&aggregation=max", `{">=":12}`)
	p.refused(400, noMax("300.0"), "POST", "/v1/search/metric?aggregation=max&metric_id="+c, `{">=":12}`)
	p.ask(400, "POST", "/v1/search/metric?metric_id=foo", `{">=":12}`)
	p.ask(400, "POST", "/v1/search/metric", `{">=":12}`)
	p.ask(415, "POST", path, `{">=":12}`, "Content-Type", "text/plain")
}
