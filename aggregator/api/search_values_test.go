package api

import (
	"math"
	"strings"
	"testing"
)

func TestSearchByValue(t *testing.T) {
	for _, c := range []struct {
		search string
		yes    []float64
		no     []float64
	}{
		{`{">=":12}`, []float64{12, 13, math.Inf(1)}, []float64{11.9, math.NaN()}},
		{`{"≥":12}`, []float64{12}, []float64{11}},
		{`{"eq":1}`, []float64{1}, []float64{2}},
		{`{"!=":1}`, []float64{2, math.NaN()}, []float64{1}},
		{`{"and":[{">=":[{"+":23},50]},{"!=":55}]}`, []float64{27, 54}, []float64{26, 55}},
		{`{"∧":[{">":1},{"<":20}]}`, []float64{2}, []float64{1, 20}},
		{`{"or":[{"<":1},{">":20}]}`, []float64{0, 21}, []float64{1, 20}},
		{`{"∨":[{"<":1},{">":20}]}`, []float64{0, 21}, []float64{1, 20}},
		{`{"and":[]}`, []float64{0}, nil},
		{`{"or":[]}`, nil, []float64{0}},
		{`{"+":1}`, []float64{0, 1}, []float64{-1}},
		{`{"=":[{"%":[-7,5]},3]}`, []float64{0}, nil},
		{`{"=":[{"mod":5},{"-":[10,7]}]}`, []float64{8, -2}, []float64{5}},
		{`{"<":[{"**":2},{"*":[3,{"/":[9,3]}]}]}`, []float64{2, -2.9}, []float64{3}},
		{`{">":[40,{"+":1}]}`, []float64{38}, []float64{39}},
		{`{"=":[{"/":[1,0]},{"÷":[2,0]}]}`, []float64{0}, nil},
		{` { "and" : [ { "or" : [ { "lt" : 0 } , { "gt" : 10 } ] } , { "ne" : 11 } ] } `, []float64{-1, 12}, []float64{5, 11}},
	} {
		in, err := newInput([]byte(c.search))
		if err != nil {
			t.Fatal(err)
		}
		matches := in.search()
		if err := in.err(); err != nil {
			t.Errorf("%s: %v", c.search, err)
			continue
		}
		for _, v := range c.yes {
			if matches(v) == 0 {
				t.Errorf("%s does not match %v", c.search, v)
			}
		}
		for _, v := range c.no {
			if matches(v) != 0 {
				t.Errorf("%s matches %v", c.search, v)
			}
		}
	}
}

func TestSearchByValueRefuses(t *testing.T) {
	for search, want := range map[string]string{
		`{"foo":12}`:                "extra keys not allowed @ data['foo']",
		`{"not":[{">=":12}]}`:       "Unknown operator not",
		`{">":[1]}`:                 "expected float for dictionary value @ data['>']",
		`{">":[1,2,3]}`:             "expected float for dictionary value @ data['>']",
		`{">":"1"}`:                 "expected float for dictionary value @ data['>']",
		`{">":null}`:                "expected float for dictionary value @ data['>']",
		`{">":["1",2]}`:             "expected float @ data['>'][0]",
		`{">":1,"<":3}`:             "length of value must be at most 1",
		`{}`:                        "length of value must be at least 1",
		`[]`:                        "expected a dictionary",
		`{"and":{">":1}}`:           "expected a list for dictionary value @ data['and']",
		`{"and":[5]}`:               "expected a dictionary @ data['and'][0]",
		`{">":[{"and":[]},1]}`:      "extra keys not allowed @ data['>'][0]['and']",
		`{"and":[{"or":[{}]}]}`:     "length of value must be at least 1 @ data['and'][0]['or'][0]",
		`{"and":[{"x":1},{"y":1}]}`: "extra keys not allowed @ data['and'][0]['x']",
	} {
		in, err := newInput([]byte(search))
		if err != nil {
			t.Fatal(err)
		}
		in.search()
		if err := in.err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", search, err, want)
		}
	}
}

// A search must not need more memory than there is, or go on when nobody waits.
func TestSearchByValueIsLimited(t *testing.T) {
	p := newPlane(t)
	path := "/v1/search/metric?metric_id=" + p.metric("admin", "coarse")
	nested := func(n int) string {
		return strings.Repeat(`{"and":[`, n) + `{">":1}` + strings.Repeat(`]}`, n)
	}
	p.ask(200, "POST", path, nested(maxSearchDepth-1))
	for _, body := range []string{nested(maxSearchDepth), nested(4990), strings.Repeat(`{"=":[1,`, 200) + `{"=":1}` + strings.Repeat(`]}`, 200)} {
		if got := p.ask(400, "POST", path, body); !strings.Contains(got, "conditions nest at most 64 deep") {
			t.Errorf("%.200s", got)
		}
	}
	p.ask(413, "POST", path, `{"or":[{"=":1}`+strings.Repeat(`,{"=":1}`, maxSearch/8)+`]}`)
}
