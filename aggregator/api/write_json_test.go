package api

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/window"
)

func TestAppendFloat(t *testing.T) {
	for want, v := range map[string]float64{
		"0.0":                     0,
		"-0.0":                    math.Copysign(0, -1),
		"42.0":                    42,
		"43.1":                    43.1,
		"-43.12":                  -43.12,
		"0.005":                   0.005,
		"-0.25":                   -0.25,
		"0.30000000000000004":     0.30000000000000004,
		"999999999999.999":        999999999999.999,
		"1000000000000.0":         1e12,
		"1000000000000000.0":      1e15,
		"9007199254740992.0":      1 << 53,
		"1e+16":                   1e16,
		"3.333333333333334e+16":   3.333333333333334e+16,
		"0.0001":                  0.0001,
		"1e-05":                   0.00001,
		"1e-07":                   1e-7,
		"5e-324":                  5e-324,
		"1.7976931348623157e+308": math.MaxFloat64,
		"null":                    math.NaN(),
	} {
		if got := string(appendFloat(nil, v)); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
	for _, v := range []float64{math.Inf(1), math.Inf(-1)} {
		if got := string(appendFloat(nil, v)); got != "null" {
			t.Errorf("%v is %s", v, got)
		}
	}
}

// TestAppendFloatIsShortest compares with package strconv.
func TestAppendFloatIsShortest(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 30_000 {
		v := math.Float64frombits(random.Uint64())
		switch random.IntN(3) {
		case 0:
			v = float64(random.Int64N(2e12)-1e12) / math.Pow10(random.IntN(6))
		case 1:
			v, _ = strconv.ParseFloat(fmt.Sprintf("%.*f", random.IntN(5), random.NormFloat64()*math.Pow10(random.IntN(14))), 64)
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		got := string(appendFloat(nil, v))
		if back, err := strconv.ParseFloat(got, 64); err != nil || math.Float64bits(back) != math.Float64bits(v) {
			t.Fatalf("%v is %s: %v", v, got, err)
		}
		digits := func(text string) string {
			text, _, _ = strings.Cut(text, "e")
			return strings.Trim(strings.NewReplacer("-", "", ".", "").Replace(text), "0")
		}
		if want := strconv.FormatFloat(v, 'e', -1, 64); digits(got) != digits(want) {
			t.Fatalf("%s is %s", want, got)
		}
	}
}

func TestWriteMeasures(t *testing.T) {
	start := time.Date(2026, 11, 21, 23, 59, 58, 0, time.UTC).UnixNano()
	var s window.Series
	for i := range 5 {
		s.Times = append(s.Times, start+int64(i)*500e6)
		s.Values = append(s.Values, []float64{1, 2.5, math.NaN(), math.Inf(1), -1e20}[i])
	}
	w := httptest.NewRecorder()
	var j jsonWriter
	j.start(w)
	j.raw("[")
	first := j.measures(&window.Series{}, "60.0", true)
	first = j.measures(&s, jsonSpan(500*time.Millisecond), first)
	if j.measures(&window.Series{Times: s.Times[:1], Values: s.Values[:1]}, `"Y"`, first) {
		t.Error("still the first")
	}
	j.raw("]")
	if err := j.finish(); err != nil {
		t.Fatal(err)
	}
	const want = `[["2026-11-21T23:59:58+00:00",0.5,1.0],["2026-11-21T23:59:58.500000+00:00",0.5,2.5],["2026-11-21T23:59:59+00:00",0.5,null],` +
		`["2026-11-21T23:59:59.500000+00:00",0.5,null],["2026-11-22T00:00:00+00:00",0.5,-1e+20],["2026-11-21T23:59:58+00:00","Y",1.0]]`
	if got := w.Body.String(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := w.Header().Get("Content-Length"); got != strconv.Itoa(len(want)) {
		t.Errorf("length %s", got)
	}
}

func TestWriteManyMeasures(t *testing.T) {
	s := benchmarkSeries(20_000)
	w := httptest.NewRecorder()
	var j jsonWriter
	j.start(w)
	j.raw("[")
	j.measures(s, "60.0", true)
	j.raw("]")
	if err := j.finish(); err != nil {
		t.Fatal(err)
	}
	if w.Header().Get("Content-Length") != "" {
		t.Error("the length of an answer in pieces is told")
	}
	var rows [][3]any
	if err := json.Unmarshal(w.Body.Bytes(), &rows); err != nil || len(rows) != s.Len() {
		t.Fatalf("%d measures, %v", len(rows), err)
	}
	for i, row := range rows {
		at, err := time.Parse(time.RFC3339, row[0].(string))
		if err != nil || at.UnixNano() != s.Times[i] || row[1] != 60.0 || row[2] != s.Values[i] {
			t.Fatalf("measure %d is %v", i, row)
		}
	}
}

func benchmarkSeries(n int) *window.Series {
	random := rand.New(rand.NewPCG(7, 8))
	s := &window.Series{}
	start := time.Date(2026, 11, 14, 0, 0, 0, 0, time.UTC).UnixNano()
	for i := range n {
		s.Times = append(s.Times, start+int64(i)*60e9)
		s.Values = append(s.Values, math.Round(random.Float64()*60000)/100/6)
	}
	return s
}

func BenchmarkWriteMeasures(b *testing.B) {
	for _, c := range []struct {
		name  string
		round float64
	}{{"means", 0}, {"2decimals", 100}} {
		s := benchmarkSeries(9070)
		for i := range s.Values {
			if c.round != 0 {
				s.Values[i] = math.Round(s.Values[i]*c.round) / c.round
			}
		}
		b.Run(c.name, func(b *testing.B) {
			w := httptest.NewRecorder()
			var j jsonWriter
			b.ReportAllocs()
			for b.Loop() {
				w.Body.Reset()
				j.start(w)
				j.measures(s, "60.0", true)
				if err := j.finish(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*s.Len()), "ns/measure")
		})
	}
}
