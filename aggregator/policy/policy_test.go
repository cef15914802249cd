package policy

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// medium is Gnocchi's policy of that name, with a back window.
func medium() *Policy {
	return &Policy{
		Name:        "medium",
		BackWindow:  2,
		Definitions: []Definition{{time.Minute, 10080}, {time.Hour, 8760}},
		Methods:     SetOf(Mean, Min, Max, Sum, Std, Count),
	}
}

func TestPolicy(t *testing.T) {
	p := medium()
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if got := p.Coarsest(); got != time.Hour {
		t.Errorf("coarsest is %v", got)
	}
	if d, ok := p.Definition(time.Hour); !ok || d.Timespan() != 365*day {
		t.Errorf("%v, %v", d, ok)
	}
	if d, ok := p.Definition(time.Second); ok {
		t.Errorf("there is a granularity of %v", d)
	}
	if got := (Definition{Granularity: time.Hour}).Timespan(); got != 0 {
		t.Errorf("timespan without end is %v", got)
	}
}

func TestWritableFrom(t *testing.T) {
	at := func(text string) int64 {
		t.Helper()
		when, err := time.Parse("2006-01-02 15:04:05", text)
		if err != nil {
			t.Fatal(err)
		}
		return when.UnixNano()
	}
	p := medium()
	for last, want := range map[string]string{
		"2026-11-21 22:51:16": "2026-11-21 20:00:00",
		"2026-11-21 22:00:00": "2026-11-21 20:00:00",
		"2026-11-21 21:59:59": "2026-11-21 19:00:00",
		"1970-01-01 00:30:00": "1969-12-31 22:00:00",
		"1969-12-31 23:30:00": "1969-12-31 21:00:00",
	} {
		if got := p.WritableFrom(at(last)); got != at(want) {
			t.Errorf("after %s from %v on, want %s", last, time.Unix(0, got).UTC(), want)
		}
	}
	p.BackWindow = 0
	if got := p.WritableFrom(at("2026-11-21 22:51:16")); got != at("2026-11-21 22:00:00") {
		t.Errorf("without a back window from %v on", time.Unix(0, got).UTC())
	}
	p.Methods.Add(Max.Rate())
	if got := p.WritableFrom(at("2026-11-21 22:51:16")); got != at("2026-11-21 21:00:00") {
		t.Errorf("with differences from %v on", time.Unix(0, got).UTC())
	}
}

func TestHasRates(t *testing.T) {
	for m := range Method(Methods) {
		if s := SetOf(m); s.HasRates() != m.IsRate() {
			t.Errorf("%v: %v", m, s.HasRates())
		}
	}
	if (Set{}).HasRates() {
		t.Error("an empty set has some")
	}
}

func TestFloor(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		at, granularity := r.Int64()-r.Int64(), 1+r.Int64()>>r.IntN(63)
		if at < math.MinInt64+granularity {
			continue // there is no such multiple in range
		}
		n := big.NewInt(granularity)
		q := new(big.Int).Div(big.NewInt(at), n) // rounds down
		if got, want := Floor(at, granularity), q.Mul(q, n).Int64(); got != want {
			t.Fatalf("Floor(%d, %d) = %d, want %d", at, granularity, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(p *Policy){
		"needs at least one granularity":        func(p *Policy) { p.Definitions = nil },
		"needs at least one aggregation method": func(p *Policy) { p.Methods = Set{} },
		"back window -1 is negative":            func(p *Policy) { p.BackWindow = -1 },
		"granularity 0s is not above 0":         func(p *Policy) { p.Definitions[0].Granularity = 0 },
		"granularity -1s is not above 0":        func(p *Policy) { p.Definitions[0].Granularity = -time.Second },
		"-5 points of the granularity 1m0s":     func(p *Policy) { p.Definitions[0].Points = -5 },
		"has the granularity 1h0m0s":            func(p *Policy) { p.Definitions[0].Granularity = time.Hour },
		"more than 292 years":                   func(p *Policy) { p.Definitions[1].Points = 2562048 },
		"more than 146 years":                   func(p *Policy) { p.BackWindow = 1281024 },
	} {
		p := medium()
		change(p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	p := medium()
	p.Definitions[1].Points, p.BackWindow = 2562047, 1281023
	if err := p.Validate(); err != nil {
		t.Errorf("the longest: %v", err)
	}
	if p.Definitions[1].Timespan() < 0 || p.WritableFrom(0) > 0 {
		t.Errorf("%v, %d", p.Definitions[1].Timespan(), p.WritableFrom(0))
	}
	p = &Policy{BackWindow: -1}
	if err := p.Validate(); strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not all three faults are told: %v", err)
	}
}

func TestMethods(t *testing.T) {
	if Methods != 216 {
		t.Errorf("%d methods, Gnocchi has 216", Methods)
	}
	names := map[string]bool{}
	var all Set
	for m := range Method(Methods) {
		name := m.String()
		if names[name] {
			t.Errorf("two methods are %q", name)
		}
		names[name] = true
		if back, err := ParseMethod(name); err != nil || back != m {
			t.Errorf("%q is %v, %v, not %d", name, back, err, m)
		}
		if m.IsRate() != strings.HasPrefix(name, "rate:") {
			t.Errorf("%q is of differences: %v", name, m.IsRate())
		}
		if m.Plain().IsRate() || !m.Rate().IsRate() || m.Plain().Rate() != m.Rate() || m.Rate().Rate() != m.Rate() {
			t.Errorf("%q: plain %v, rate %v", name, m.Plain(), m.Rate())
		}
		all.Add(m)
	}
	for i, m := range all.List() {
		if int(m) != i {
			t.Fatalf("method %d of all is %v", i, m)
		}
	}
	for name, want := range map[string]Method{
		"mean": Mean, "sum": Sum, "last": Last, "max": Max, "min": Min, "std": Std, "median": Median, "first": First, "count": Count,
		"1pct": Percentile(1), "99pct": Percentile(99), "rate:mean": Mean.Rate(), "rate:95pct": Percentile(95).Rate(),
	} {
		if got, err := ParseMethod(name); err != nil || got != want {
			t.Errorf("%q is %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "Mean", "mean ", "0pct", "100pct", "05pct", "+5pct", "pct", "5.5pct", "rate:", "rate:rate:mean", "rate:cowsay", "99999999999999999999pct"} {
		if got, err := ParseMethod(name); err == nil || !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("%q is %v, %v", name, got, err)
		}
	}
}

func TestMethodPercentile(t *testing.T) {
	for m, want := range map[Method]int{
		Mean: 0, Count: 0, Median: 50, Median.Rate(): 50, Percentile(1): 1, Percentile(99): 99, Percentile(7).Rate(): 7, Count.Rate(): 0,
	} {
		if got := m.Percentile(); got != want {
			t.Errorf("percentile of %v is %d, want %d", m, got, want)
		}
	}
}

func TestSet(t *testing.T) {
	s := SetOf(Count.Rate(), Mean, Percentile(99).Rate())
	if !s.Has(Mean) || !s.Has(Count.Rate()) || s.Has(Count) || s.Has(Mean.Rate()) {
		t.Errorf("%v", s.List())
	}
	s.Remove(Mean)
	s.Remove(Sum)
	s.Add(Last)
	s.Add(Last)
	list := s.List()
	if len(list) != 3 || list[0] != Last || list[1] != Count.Rate() || list[2] != Percentile(99).Rate() {
		t.Errorf("%v", list)
	}
	for m := range s.All() {
		if m != Last {
			t.Errorf("first is %v", m)
		}
		break
	}
	if list := (Set{}).List(); len(list) != 0 {
		t.Errorf("%v", list)
	}
}
