package operations

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

var nan, infinity = math.NaN(), math.Inf(1)

func parsed(t testing.TB, text string) *Operation {
	t.Helper()
	o, err := ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// line is a series with points at the times 0, 1, 2 and so on; NaN is none there.
func line(values ...float64) window.Series {
	var s window.Series
	for i, v := range values {
		if v == v {
			s.Times, s.Values = append(s.Times, int64(i)), append(s.Values, v)
		}
	}
	return s
}

// of gives one series to each reference.
func of(series ...window.Series) []Column {
	var columns []Column
	for i, s := range series {
		columns = append(columns, Column{i, s})
	}
	return columns
}

// text is a result in short: time:value of each series.
func text(r Result) string {
	var b strings.Builder
	if r.Aggregated {
		b.WriteString("= ")
	}
	for i, s := range r.Series {
		if i > 0 {
			b.WriteString(" | ")
		}
		for j, t := range s.Times {
			if j > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%d:%.4g", t, s.Values[j])
		}
	}
	return b.String()
}

func TestEvaluate(t *testing.T) {
	a, b := line(1, 2, 3, 4), line(10, nan, 30, 40)
	for _, c := range []struct {
		operation string
		fill      Fill
		want      string
	}{
		{"(metric a mean)", FillDrop, "0:1 1:2 2:3 3:4"},
		{"(metric (a mean) (b mean))", FillDrop, "0:1 1:2 2:3 3:4 | 0:10 2:30 3:40"},
		{"(metric (a mean) (b mean))", FillNull, "0:1 1:2 2:3 3:4 | 0:10 1:NaN 2:30 3:40"},
		{"(metric (a mean) (b mean))", FillWith(-1), "0:1 1:2 2:3 3:4 | 0:10 1:-1 2:30 3:40"},
		{"(aggregate mean (metric (a mean) (b mean)))", FillDrop, "= 0:5.5 1:2 2:16.5 3:22"},
		{"(aggregate mean (metric (a mean) (b mean)))", FillWith(0), "= 0:5.5 1:1 2:16.5 3:22"},
		{"(aggregate count (metric (a mean) (b mean)))", FillDrop, "= 0:2 1:1 2:2 3:2"},
		{"(aggregate std (metric (a mean) (b mean)))", FillDrop, "= 0:4.5 1:0 2:13.5 3:18"},
		{"(aggregate var (metric (a mean) (b mean)))", FillDrop, "= 0:20.25 1:0 2:182.2 3:324"},
		{"(aggregate median (metric (a mean) (b mean)))", FillDrop, "= 0:5.5 1:2 2:16.5 3:22"},
		{"(aggregate min (metric (b mean) (a mean)))", FillDrop, "= 0:1 1:2 2:3 3:4"},
		{"(aggregate mean (metric a mean) (metric b mean))", FillDrop, "= 0:5.5 1:2 2:16.5 3:22"},
		{"(aggregate count (metric (a mean) (b mean)) (* 2 (metric a mean)))", FillDrop, "= 0:3 1:2 2:3 3:3"},
		{"(aggregate rate:sum (metric a mean) (metric b mean))", FillDrop, "= 1:-9 2:31 3:11"},
		{"(+ (aggregate max (metric a mean) (metric b mean)) (metric a mean))", FillDrop, "= 0:11 1:4 2:33 3:44"},
		{"(aggregate rate:sum (metric (a mean) (b mean)))", FillDrop, "= 1:-9 2:31 3:11"},
		{"(rateofchange (metric (a mean) (b mean)))", FillDrop, "1:1 2:1 3:1 | 3:10"},
		{"(rolling sum 2 (metric (a mean) (b mean)))", FillDrop, "1:3 2:5 3:7 | 1:10 2:30 3:70"},
		{"(rolling count 3 (metric b mean))", FillDrop, "3:3"},
		{"(rolling count 2 (metric (a mean) (b mean)))", FillDrop, "1:2 2:2 3:2 | 1:1 2:1 3:2"},
		{"(rolling rate:max 2 (metric a mean))", FillDrop, "2:1 3:1"},
		{"(+ (metric a mean) (metric b mean))", FillDrop, "= 0:11 2:33 3:44"},
		{"(- 1 (metric a mean))", FillDrop, "0:0 1:-1 2:-2 3:-3"},
		{"(/ (metric a mean) 0)", FillDrop, ""},
		{"(/ (metric a mean) 0)", FillNull, "0:+Inf 1:+Inf 2:+Inf 3:+Inf"},
		{"(% (neg (metric a mean)) 3)", FillDrop, "0:2 1:1 2:0 3:2"},
		{"(% (metric a mean) -3)", FillDrop, "0:-2 1:-1 2:-0 3:-2"},
		{"(% (metric a mean) 0)", FillDrop, ""},
		{"(** 2 (metric a mean))", FillDrop, "0:2 1:4 2:8 3:16"},
		{"(> (metric (a mean) (b mean)) 2)", FillDrop, "0:0 1:0 2:1 3:1 | 0:1 2:1 3:1"},
		{"(aggregate mean (!= (metric (a mean) (b mean)) 1))", FillDrop, "= 0:0.5 1:1 2:1 3:1"},
		{"(aggregate sum (> (metric (a mean) (b mean)) 2))", FillDrop, "= 0:1 1:0 2:2 3:2"},
		{"(** (metric b mean) 0)", FillNull, "0:1 2:1 3:1"},
		{"(clip (metric a mean) 2 3)", FillDrop, "0:2 1:2 2:3 3:3"},
		{"(clip (metric a mean) 2)", FillDrop, "0:2 1:2 2:3 3:4"},
		{"(clip 2.5 (metric a mean) 3)", FillDrop, "0:2.5 1:2.5 2:3 3:3"},
		{"(clip (metric b mean) (metric a mean) 35)", FillDrop, "= 0:10 2:30 3:35"},
		{"(clip_min (metric a mean) 3)", FillDrop, "0:3 1:3 2:3 3:4"},
		{"(clip_max (metric a mean) 3)", FillDrop, "0:1 1:2 2:3 3:3"},
		{"(floor (/ (metric a mean) 2))", FillDrop, "0:0 1:1 2:1 3:2"},
		{"(ceil (/ (metric a mean) 2))", FillDrop, "0:1 1:1 2:2 3:2"},
		{"(abs (negative (metric a mean)))", FillDrop, "0:1 1:2 2:3 3:4"},
		{"(+ (metric a mean) (metric a mean))", FillDrop, "= 0:2 1:4 2:6 3:8"},
		// The first of several aggregated ones; one series goes with each of several.
		{"(+ (metric (a mean) (b mean)) (aggregate max (metric (a mean) (b mean))))", FillDrop, "= 0:11 1:4 2:33 3:44"},
		{"(resample mean 0.000000002 (metric (a mean) (b mean)))", FillDrop, "0:1.5 2:3.5 | 0:10 2:35"},
		{"(resample var 0.000000002 (metric (a mean) (b mean)))", FillNull, "0:0.5 2:0.5 | 0:NaN 2:50"},
		{"(resample count 0.000000003 (metric (a mean) (b mean)))", FillDrop, "0:3 3:1 | 0:2 3:1"},
		{"(resample rate:sum 0.000000003 (metric (a mean) (b mean)))", FillDrop, "0:2 3:1 | 0:20 3:10"},
		{"(resample rate:sum 0.000000001 (metric (a mean) (b mean)))", FillDrop, "1:1 2:1 3:1 | 2:20 3:10"},
	} {
		o := parsed(t, c.operation)
		series := map[string]window.Series{"a": a, "b": b}
		in := Input{Granularity: 1, Fill: c.fill}
		for i, r := range o.References {
			in.Columns = append(in.Columns, Column{i, series[r.Metric]})
		}
		got, err := o.Evaluate(t.Context(), in)
		if err != nil || text(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", c.operation, text(got), err, c.want)
		}
	}
	if text(Result{Series: []window.Series{a, b}}) != "0:1 1:2 2:3 3:4 | 0:10 2:30 3:40" {
		t.Error("the series have changed")
	}
}

func TestResultPeriod(t *testing.T) {
	for operation, want := range map[string]timetext.Period{
		"(metric a mean)":                          {Span: time.Minute},
		"(aggregate sum (metric a mean))":          {Span: time.Minute},
		"(resample sum 1h (metric a mean))":        {Span: time.Hour},
		"(* 2 (resample sum 1h (metric a mean)))":  {Span: time.Hour},
		"(rolling sum 1 (metric a mean))":          {Span: time.Minute},
		"(- (metric a mean) (metric a mean))":      {Span: time.Minute},
		"(- 5 (resample mean 60 (metric a mean)))": {Span: time.Minute},
	} {
		r, err := parsed(t, operation).Evaluate(t.Context(), Input{Granularity: time.Minute, Columns: of(line(1, 2))})
		if err != nil || r.Period != want {
			t.Errorf("%s: %v, %v", operation, r.Period, err)
		}
	}
}

// Several series may be found by one reference, and some by none.
func TestWildcards(t *testing.T) {
	o := parsed(t, "(/ (aggregate sum (metric net.* mean)) (metric vcpus mean))")
	columns := []Column{{0, line(1, 2)}, {1, line(2, 4)}, {0, line(3, 6)}}
	r, err := o.Evaluate(t.Context(), Input{Granularity: 1, Columns: columns, Fill: FillDrop})
	if err != nil || text(r) != "= 0:2 1:2" {
		t.Errorf("%s, %v", text(r), err)
	}
	var fault *Error
	if _, err = o.Evaluate(t.Context(), Input{Granularity: 1, Columns: columns[2:]}); !errors.As(err, &fault) ||
		fault.Cause != "Metrics not found" || fmt.Sprint(fault.Detail) != "[vcpus]" {
		t.Errorf("%v", err)
	}
}

func TestOverlap(t *testing.T) {
	a, b := line(nan, 1, 2, 3, nan, 5, 6, nan), line(0, nan, 2, 3, 4, 5, nan, 7)
	for _, c := range []struct {
		needed      float64
		start, stop bool
		want        string
	}{
		{75, false, false, "= 2:4 3:6 4:NaN 5:10"},
		{60, true, false, "= 0:NaN 1:NaN 2:4 3:6 4:NaN 5:10"},
		{50, false, true, "= 2:4 3:6 4:NaN 5:10 6:NaN 7:NaN"},
		{37.5, true, true, "= 0:NaN 1:NaN 2:4 3:6 4:NaN 5:10 6:NaN 7:NaN"},
		{0, true, true, "= 0:NaN 1:NaN 2:4 3:6 4:NaN 5:10 6:NaN 7:NaN"},
		{75.5, false, false, "Less than 75.500000% of datapoints overlap in this timespan (75.00%)"},
		{100, true, true, "Less than 100.000000% of datapoints overlap in this timespan (37.50%)"},
		{50.1, true, false, "Less than 50.100000% of datapoints overlap in this timespan (50.00%)"},
	} {
		in := Input{Granularity: 1, NeededOverlap: c.needed, HasStart: c.start, HasStop: c.stop, Columns: of(a, b)}
		r, err := parsed(t, "(+ (metric a mean) (metric b mean))").Evaluate(t.Context(), in)
		got := text(r)
		var fault *Error
		if errors.As(err, &fault) {
			got = fault.Reason
			if fault.Cause != "Metrics can't being aggregated" || fmt.Sprint(fault.Detail) != "[[a mean] [b mean]]" {
				t.Errorf("%+v", fault)
			}
		}
		if c.needed == 60 { // 3 of 6 times
			c.want = "Less than 60.000000% of datapoints overlap in this timespan (50.00%)"
		}
		if got != c.want {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
	in := Input{Granularity: 1, NeededOverlap: 0.1, Columns: of(line(1), line(nan, 1))}
	o := parsed(t, "(+ (metric a mean) (metric b mean))")
	var fault *Error
	if _, err := o.Evaluate(t.Context(), in); !errors.As(err, &fault) || fault.Reason != "No overlap" {
		t.Errorf("%v", err)
	}
	in.NeededOverlap = 0
	if r, err := o.Evaluate(t.Context(), in); err != nil || text(r) != "= 0:NaN 1:NaN" {
		t.Errorf("%s, %v", text(r), err)
	}
	in.Columns = of(line(), line())
	if r, err := o.Evaluate(t.Context(), in); err != nil || text(r) != "= " {
		t.Errorf("%s, %v", text(r), err)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	many := []Column{{0, line(1, 2, 3)}, {0, line(1, 2, 3)}, {1, line(1, 2, 3)}, {1, line(1, 2, 3)}, {1, line(1, 2, 3)}}
	for operation, want := range map[string]string{
		"(rolling mean 4 (metric a mean))":                               "Rolling window '4' is greater than serie length '3'",
		"(+ (metric a mean) (rateofchange (metric b mean)))":             "Can't compute timeseries with different granularity (metric a mean) <> (rateofchange (metric b mean))",
		"(+ (metric a mean) (resample sum 60 (metric b mean)))":          "Can't compute timeseries with different granularity (metric a mean) <> (resample sum 60 (metric b mean))",
		"(aggregate sum (metric a mean) (rateofchange (metric b mean)))": "Can't compute timeseries with different granularity (metric a mean) <> (rateofchange (metric b mean))",
		"(clip 1 (metric a mean) (rolling max 2 (metric b max)))":        "Can't compute timeseries with different granularity 1 <> (metric a mean) <> (rolling max 2 (metric b max))",
		"(- (metric a mean) (metric b mean))":                            "Can't compute 2 timeseries with 3: (metric a mean) <> (metric b mean)",
	} {
		var fault *Error
		o := parsed(t, operation)
		columns := slices.DeleteFunc(slices.Clone(many), func(c Column) bool { return c.Reference >= len(o.References) })
		_, err := o.Evaluate(t.Context(), Input{Granularity: 1, Columns: columns, Fill: FillDrop})
		if !errors.As(err, &fault) || fault.Reason != want {
			t.Errorf("%s: %v", operation, err)
		}
	}
}

// What a request may make us hold is bounded.
func TestEvaluateBounds(t *testing.T) {
	var columns []Column
	for i := range 300 { // no two have a common time, so there are 300·300·200 cells
		s := window.Series{Times: make([]int64, 200), Values: make([]float64, 200)}
		for j := range s.Times {
			s.Times[j] = int64(j*300 + i)
		}
		columns = append(columns, Column{0, s})
	}
	var fault *Error
	o := parsed(t, "(aggregate mean (metric a mean))")
	if _, err := o.Evaluate(t.Context(), Input{Granularity: 1, Columns: columns, Fill: FillDrop}); !errors.As(err, &fault) ||
		!strings.HasPrefix(fault.Reason, "More than 16777216 values at a time: ask for fewer") {
		t.Errorf("%v", err)
	}
	if _, err := o.Evaluate(t.Context(), Input{Granularity: 1, Columns: columns[:200], Fill: FillDrop}); err != nil {
		t.Errorf("%v", err)
	}
}

func TestEvaluateStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, operation := range []string{"(metric a mean)", "(rolling median 2 (metric a mean))", "(resample mean 60 (metric a mean))"} {
		if _, err := parsed(t, operation).Evaluate(ctx, Input{Granularity: 1, Columns: of(line(1, 2, 3))}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", operation, err)
		}
	}
}

// One operation may be evaluated many times at once, and leaves its input as it is.
func TestEvaluateConcurrently(t *testing.T) {
	o := parsed(t, "(+ (neg (abs (metric a mean))) (rolling rate:mean 1 (resample sum 0.000000002 (metric b mean))))")
	o.root = o.root.operands[0] // times differ otherwise
	columns := of(line(1, -2, 3, nan, 5), line(1, 2, nan, 4))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				r, err := o.Evaluate(t.Context(), Input{Granularity: 1, Columns: columns, Fill: FillDrop})
				if got := text(Result{Series: r.Series[:1]}); err != nil || got != "0:-1 1:-2 2:-3 4:-5" {
					t.Errorf("%s, %v", got, err)
					return
				}
			}
		})
	}
	group.Wait()
	if got := text(Result{Series: []window.Series{columns[0].Series, columns[1].Series}}); got != "0:1 1:-2 2:3 4:5 | 0:1 1:2 3:4" {
		t.Errorf("the input has become %s", got)
	}
}

// The reference: values by time, functions by their definitions, for each time and
// window on its own.
func referenceFunction(name string, values []float64) float64 {
	var v []float64
	for _, x := range values {
		if x == x {
			v = append(v, x)
		}
	}
	slices.Sort(v)
	n := float64(len(v))
	total := 0.0
	for _, x := range v {
		total += x
	}
	switch {
	case name == "count":
		return n
	case name == "sum":
		return total
	case n == 0:
		return nan
	}
	squares := 0.0
	for _, x := range v {
		squares += (x - total/n) * (x - total/n)
	}
	switch name {
	case "mean":
		return total / n
	case "min":
		return v[0]
	case "max":
		return v[len(v)-1]
	case "var":
		return squares / n
	case "std":
		return math.Sqrt(squares / n)
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func TestFunctionsAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		var columns []Column
		values := map[int64][]float64{} // of each time: of each series, NaN where there is none
		n := 1 + r.IntN(9)
		dense, specials := r.IntN(2) == 0, r.IntN(3) == 0
		for i := range n {
			var s window.Series
			for at := range int64(40) {
				if !dense && r.IntN(3) == 0 {
					continue
				}
				v := r.NormFloat64() * 100
				if specials && r.IntN(5) == 0 {
					v = []float64{nan, infinity, 0, 1e300}[r.IntN(4)]
				}
				s.Times, s.Values = append(s.Times, at*10), append(s.Values, v)
				if values[at*10] == nil {
					values[at*10] = slices.Repeat([]float64{nan}, n)
				}
				values[at*10][i] = v
			}
			columns = append(columns, Column{0, s})
		}
		var times []int64
		for at := range values {
			times = append(times, at)
		}
		slices.Sort(times)
		name := functionKinds[r.IntN(len(functionKinds))]
		in := Input{Granularity: 10, Columns: columns, Fill: FillNull}

		got, err := parsed(t, "(aggregate "+name+" (metric a mean))").Evaluate(t.Context(), in)
		if err != nil || !slices.Equal(got.Series[0].Times, times) {
			t.Fatalf("round %d: %v, %v", round, got, err)
		}
		for i, at := range times {
			if v, want := got.Series[0].Values[i], referenceFunction(name, values[at]); !alike(v, want) {
				t.Fatalf("round %d: %s of %v is %v, want %v", round, name, values[at], v, want)
			}
		}

		width := 1 + r.IntN(len(times))
		got, err = parsed(t, fmt.Sprintf("(rolling %s %d (metric a mean))", name, width)).Evaluate(t.Context(), in)
		if err != nil || !slices.Equal(got.Series[n-1].Times, times[width-1:]) {
			t.Fatalf("round %d: %v, %v", round, got, err)
		}
		for column := range n {
			for i := range got.Series[column].Times {
				var own []float64
				for _, at := range times[i : i+width] {
					own = append(own, values[at][column])
				}
				if v, want := got.Series[column].Values[i], referenceFunction(name, own); !alike(v, want) {
					t.Fatalf("round %d: rolling %s %d of %v is %v, want %v", round, name, width, own, v, want)
				}
			}
		}
	}
}

func TestResample(t *testing.T) {
	day := func(text string) int64 {
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixNano()
	}
	s := window.Series{
		Times:  []int64{day("2026-01-30"), day("2026-01-31"), day("2026-02-01"), day("2026-04-01"), day("2026-04-02"), day("2027-01-01")},
		Values: []float64{1, 2, 4, 8, 16, 32},
	}
	var r Resampler
	for _, c := range []struct {
		method policy.Method
		period timetext.Period
		times  []string
		values []float64
	}{
		{policy.Sum, timetext.Period{Letter: 'Y'}, []string{"2026-01-01", "2027-01-01"}, []float64{31, 32}},
		{policy.Mean, timetext.Period{Letter: 'M'}, []string{"2026-01-01", "2026-02-01", "2026-04-01", "2027-01-01"}, []float64{1.5, 4, 12, 32}},
		{policy.Last, timetext.Period{Letter: 'Q'}, []string{"2026-01-01", "2026-04-01", "2027-01-01"}, []float64{4, 16, 32}},
		{policy.Std, timetext.Period{Letter: 'M'}, []string{"2026-01-01", "2026-04-01"}, []float64{math.Sqrt(0.5), math.Sqrt(32)}},
		{policy.Max.Rate(), timetext.Period{Letter: 'M'}, []string{"2026-01-01", "2026-02-01", "2026-04-01", "2027-01-01"}, []float64{1, 2, 8, 16}},
		{policy.Count, timetext.Period{Span: 24 * time.Hour}, []string{"2026-01-30", "2026-01-31", "2026-02-01", "2026-04-01", "2026-04-02", "2027-01-01"}, []float64{1, 1, 1, 1, 1, 1}},
	} {
		got := window.Series{Times: []int64{5}, Values: []float64{6}}
		if err := r.Resample(s, Resampling{c.method, c.period}, &got); err != nil {
			t.Fatal(err)
		}
		want := []int64{5}
		for _, text := range c.times {
			want = append(want, day(text))
		}
		if !slices.Equal(got.Times, want) || !slices.Equal(got.Values[1:], c.values) {
			t.Errorf("%v %v: %v", c.method, c.period, got)
		}
	}
	var none window.Series
	if err := r.Resample(window.Series{}, Resampling{policy.Mean, timetext.Period{Letter: 'Y'}}, &none); err != nil || none.Len() != 0 {
		t.Errorf("%v, %v", none, err)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	series := func(gaps bool) []Column {
		r := rand.New(rand.NewPCG(1, 1))
		times := make([]int64, 1440)
		for i := range times {
			times[i] = int64(i) * 60e9
		}
		var columns []Column
		for range 100 {
			s := window.Series{Times: slices.Clone(times), Values: make([]float64, 1440)}
			for i := range s.Values {
				s.Values[i] = math.Round(r.NormFloat64()*100) / 100
			}
			if gaps {
				at := r.IntN(1439)
				s.Times, s.Values = slices.Delete(s.Times, at, at+1), slices.Delete(s.Values, at, at+1)
			}
			columns = append(columns, Column{0, s})
		}
		return columns
	}
	full, gaps := series(false), series(true)
	for _, c := range []struct {
		name, operation string
		columns         []Column
	}{
		{"mean of 100", "(aggregate mean (metric a mean))", full},
		{"mean of 100 with gaps", "(aggregate mean (metric a mean))", gaps},
		{"max of 100", "(aggregate max (metric a mean))", full},
		{"std of 100", "(aggregate std (metric a mean))", full},
		{"median of 100", "(aggregate median (metric a mean))", full},
		{"100 times 8", "(* 8 (metric a mean))", full},
		{"rolling mean of 100", "(rolling mean 10 (metric a mean))", full},
		{"rolling median of 100", "(rolling median 10 (metric a mean))", full},
		{"100 resampled", "(resample mean 3600 (metric a mean))", full},
		{"100 as they are", "(metric a mean)", full},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := parsed(b, c.operation)
			in := Input{Granularity: time.Minute, Columns: c.columns, Fill: FillDrop}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := o.Evaluate(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	in := []byte(`["aggregate", "mean", ["*", 8, ["metric", ["a", "mean"], ["b", "mean"]]]]`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}
