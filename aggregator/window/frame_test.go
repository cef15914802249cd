package window

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/nephoscope/nepho/aggregator/policy"
)

// The numbers are in files: they must not change.
func TestColumnNumbers(t *testing.T) {
	for number, name := range map[Column]string{
		0: "count", 1: "sum", 2: "min", 3: "max", 4: "first", 5: "last", 6: "deviation", 7: "1pct", 56: "50pct", 105: "99pct",
		106: "column 106", 127: "column 127", 128: "rate:count", 134: "rate:deviation", 135: "rate:1pct", 233: "rate:99pct",
	} {
		if got := number.String(); got != name {
			t.Errorf("column %d is %q, was %q", uint8(number), got, name)
		}
	}
	for p := 1; p <= 99; p++ {
		if c := Percentile(p); int(c) != 6+p || c.Percentile() != p || c.Rate().Percentile() != p {
			t.Errorf("percentile %d is column %d of percentile %d", p, c, c.Percentile())
		}
	}
	for _, c := range []Column{Count, Deviation, 106, 127} {
		if c.Percentile() != 0 || c.IsRate() || !c.Rate().IsRate() || c.Rate().Plain() != c || c.Rate().Rate() != c.Rate() {
			t.Errorf("column %d: percentile %d, rate %d", c, c.Percentile(), c.Rate())
		}
	}
}

func TestColumns(t *testing.T) {
	list := []Column{Count, Deviation, Percentile(57), Percentile(58), Percentile(99), Count.Rate(), Percentile(99).Rate()}
	s := ColumnsOf(list...)
	if got := slices.Collect(s.All()); !slices.Equal(got, list) {
		t.Errorf("%v, want %v", got, list)
	}
	if s.Len() != len(list) || !s.Known() || !s.HasRates() || ColumnsOf(Percentile(99)).HasRates() {
		t.Errorf("%d, %v, %v", s.Len(), s.Known(), s.HasRates())
	}
	for i, c := range list {
		if s.Index(c) != i || !s.Has(c) || s.Has(c+1) != slices.Contains(list, c+1) {
			t.Errorf("%v has the place %d", c, s.Index(c))
		}
	}
	for _, c := range []Column{106, 127, Column(106).Rate(), 255} {
		if ColumnsOf(Sum, c).Known() {
			t.Errorf("column %d is known", c)
		}
	}
	other := ColumnsOf(Sum, Count)
	union := s.Union(other)
	if s.Contains(other) || !union.Contains(other) || !union.Contains(s) || union.Len() != len(list)+1 || s.Has(Sum) {
		t.Errorf("union of %v and %v is %v", s, other, union)
	}
}

func TestNeeds(t *testing.T) {
	for m, want := range map[policy.Method]Columns{
		policy.Mean:                  ColumnsOf(Count, Sum),
		policy.Std:                   ColumnsOf(Count, Deviation),
		policy.Sum:                   ColumnsOf(Sum),
		policy.Median:                ColumnsOf(Percentile(50)),
		policy.Percentile(50):        ColumnsOf(Percentile(50)),
		policy.Count:                 ColumnsOf(Count),
		policy.Mean.Rate():           ColumnsOf(Count.Rate(), Sum.Rate()),
		policy.Last.Rate():           ColumnsOf(Count.Rate(), Last.Rate()),
		policy.Percentile(99).Rate(): ColumnsOf(Count.Rate(), Percentile(99).Rate()),
	} {
		if got := Needs(policy.SetOf(m)); got != want {
			t.Errorf("%v needs %v, want %v", m, slices.Collect(got.All()), slices.Collect(want.All()))
		}
	}
	if got, want := Needs(policy.SetOf(policy.Mean, policy.Std, policy.Mean.Rate())), ColumnsOf(Count, Sum, Deviation, Count.Rate(), Sum.Rate()); got != want {
		t.Error(got)
	}
}

// Every method, of windows that have one point, several, and none that a rate is of.
func TestSeries(t *testing.T) {
	var all policy.Set
	for m := range policy.Method(policy.Methods) {
		all.Add(m)
	}
	var f Frame
	f.Reset(10, Needs(all))
	new(Folder).Fold(&f, nil, []int64{5, 10, 12, 19, 31}, []float64{4, 1, 2, 6, 7})
	for m, want := range map[policy.Method]Series{
		policy.Mean:                  {[]int64{0, 10, 30}, []float64{4, 3, 7}},
		policy.Sum:                   {[]int64{0, 10, 30}, []float64{4, 9, 7}},
		policy.Last:                  {[]int64{0, 10, 30}, []float64{4, 6, 7}},
		policy.Max:                   {[]int64{0, 10, 30}, []float64{4, 6, 7}},
		policy.Min:                   {[]int64{0, 10, 30}, []float64{4, 1, 7}},
		policy.Std:                   {[]int64{10}, []float64{math.Sqrt(7)}},
		policy.Median:                {[]int64{0, 10, 30}, []float64{4, 2, 7}},
		policy.First:                 {[]int64{0, 10, 30}, []float64{4, 1, 7}},
		policy.Count:                 {[]int64{0, 10, 30}, []float64{1, 3, 1}},
		policy.Percentile(75):        {[]int64{0, 10, 30}, []float64{4, 4, 7}},
		policy.Mean.Rate():           {[]int64{10, 30}, []float64{2.0 / 3, 1}},
		policy.Sum.Rate():            {[]int64{10, 30}, []float64{2, 1}},
		policy.Last.Rate():           {[]int64{10, 30}, []float64{4, 1}},
		policy.Max.Rate():            {[]int64{10, 30}, []float64{4, 1}},
		policy.Min.Rate():            {[]int64{10, 30}, []float64{-3, 1}},
		policy.Std.Rate():            {[]int64{10}, []float64{math.Sqrt(37.0 / 3)}},
		policy.Median.Rate():         {[]int64{10, 30}, []float64{1, 1}},
		policy.First.Rate():          {[]int64{10, 30}, []float64{-3, 1}},
		policy.Count.Rate():          {[]int64{10, 30}, []float64{3, 1}},
		policy.Percentile(25).Rate(): {[]int64{10, 30}, []float64{-1, 1}},
	} {
		got := Series{Times: []int64{-1}, Values: []float64{-2}} // it appends
		if err := f.Series(m, &got); err != nil {
			t.Errorf("%v: %v", m, err)
		}
		want.Times, want.Values = append([]int64{-1}, want.Times...), append([]float64{-2}, want.Values...)
		if !slices.Equal(got.Times, want.Times) || !slices.Equal(got.Values, want.Values) {
			t.Errorf("%v: %v, want %v", m, got, want)
		}
		whole, taken := Frame{}, Series{Times: []int64{-1}, Values: []float64{-2}} // it begins anew
		whole.Reset(10, f.Columns)
		whole.Append(&f)
		if err := whole.Take(m, &taken); err != nil {
			t.Errorf("%v: %v", m, err)
		}
		if !slices.Equal(taken.Times, want.Times[1:]) || !slices.Equal(taken.Values, want.Values[1:]) || whole.Len() != 0 {
			t.Errorf("%v: %v is taken, want %v", m, taken, want)
		}
		whole.Append(&f) // what it got instead is memory of its own
		if !slices.Equal(taken.Times, want.Times[1:]) || !slices.Equal(taken.Values, want.Values[1:]) {
			t.Errorf("%v: %v after the frame was used again, want %v", m, taken, want)
		}
	}
}

func TestSeriesMissing(t *testing.T) {
	var f Frame
	f.Reset(10, ColumnsOf(Sum, Sum.Rate()))
	for _, m := range []policy.Method{policy.Mean, policy.Count, policy.Median, policy.Sum.Rate()} {
		var s Series
		var missing *MissingError
		if err := f.Series(m, &s); !errors.As(err, &missing) || missing.Method != m {
			t.Errorf("%v: %v", m, err)
		}
		if err := f.Take(m, &s); !errors.As(err, &missing) || missing.Method != m {
			t.Errorf("%v: %v", m, err)
		}
	}
	if f.Values(Count) != nil || f.Values(Sum) == nil && f.Len() != 0 {
		t.Errorf("%v", f)
	}
}

func frameOf(starts ...int64) *Frame {
	f := &Frame{}
	f.Reset(10, ColumnsOf(Count, Max))
	f.Grow(len(starts))
	copy(f.Starts, starts)
	for i, start := range starts {
		f.Values(Count)[i], f.Values(Max)[i] = 1, float64(start)
	}
	return f
}

func (f *Frame) is(t *testing.T, starts ...int64) {
	t.Helper()
	if !slices.Equal(f.Starts, starts) || f.Len() != len(starts) {
		t.Errorf("starts %v, want %v", f.Starts, starts)
	}
	if len(f.Values(Count)) != len(starts) || len(f.Values(Max)) != len(starts) {
		t.Fatalf("%d starts, %d and %d values", len(starts), len(f.Values(Count)), len(f.Values(Max)))
	}
	for i, start := range starts {
		if f.Values(Count)[i] != 1 || f.Values(Max)[i] != float64(start) {
			t.Errorf("window %d: %v, %v", start, f.Values(Count)[i], f.Values(Max)[i])
		}
	}
}

func TestAppend(t *testing.T) {
	f := frameOf(10, 30)
	f.Append(frameOf(40, 50))
	f.Append(frameOf())
	f.is(t, 10, 30, 40, 50)

	more := &Frame{}
	more.Reset(10, ColumnsOf(Count, Sum, Max))
	new(Folder).Fold(more, nil, []int64{60}, []float64{60})
	f.Append(more)
	f.is(t, 10, 30, 40, 50, 60)

	for _, wrong := range []func(f *Frame){
		func(f *Frame) { f.Reset(20, f.Columns) },
		func(f *Frame) { f.Reset(10, ColumnsOf(Count, Min)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("appended")
				}
			}()
			other := frameOf()
			wrong(other)
			f.Append(other)
		}()
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		from, to int64
		want     []int64
	}{
		{0, 100, []int64{10, 30, 40, 50}},
		{10, 50, []int64{10, 30, 40}},
		{11, 51, []int64{30, 40, 50}},
		{20, 30, nil},
		{60, 100, nil},
		{40, 30, nil},
		{math.MinInt64, math.MaxInt64, []int64{10, 30, 40, 50}},
	} {
		f := frameOf(10, 30, 40, 50)
		f.Cut(c.from, c.to)
		f.is(t, c.want...)

		s := Series{Times: []int64{10, 30, 40, 50}, Values: []float64{1, 3, 4, 5}}
		s.Cut(c.from, c.to)
		if !slices.Equal(s.Times, c.want) || s.Len() != len(c.want) || s.Len() > 0 && s.Values[0] != float64(s.Times[0]/10) {
			t.Errorf("[%d, %d): %v", c.from, c.to, s)
		}
	}
}

// A frame that is used again has nothing of what it held before, and allocates
// nothing, nor do folding and series.
func TestReuse(t *testing.T) {
	columns := everything()
	var f Frame
	var d Folder
	var s Series
	times, values := make([]int64, 1000), make([]float64, 1000)
	for i := range times {
		times[i], values[i] = int64(i)*10e9, float64(i%17)/10
	}
	values[500] = math.NaN() // both ways of summing up
	methods := []policy.Method{policy.Mean, policy.Std, policy.Median, policy.Mean.Rate()}
	round := func() {
		f.Reset(60e9, columns)
		d.Fold(&f, &Point{-1, 5}, times, values)
		f.Cut(120e9, 9000e9)
		for _, m := range methods {
			s.Reset()
			if err := f.Series(m, &s); err != nil {
				t.Fatal(err)
			}
		}
	}
	round()
	if n := testing.AllocsPerRun(20, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
	f.Reset(10, ColumnsOf(Count, Max))
	f.is(t)
	f.Append(frameOf(10, 20))
	f.is(t, 10, 20)
}
