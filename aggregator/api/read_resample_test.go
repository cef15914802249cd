package api

import (
	"slices"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// The measures of Gnocchi's own tests of the calendar.
func TestResample(t *testing.T) {
	day := func(text string) int64 {
		at, err := time.Parse("2006-01-02", text)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixNano()
	}
	type row struct {
		day   string
		value float64
	}
	stored := []row{{"2015-03-01", 10}, {"2015-03-06", 12}, {"2015-04-01", 2}, {"2015-04-06", 4}, {"2015-10-06", 7}, {"2016-01-06", 12}, {"2016-02-06", 4}}
	for _, c := range []struct {
		period, method string
		want           []row
	}{
		{"Y", "mean", []row{{"2015-01-01", 7}, {"2016-01-01", 8}}},
		{"H", "mean", []row{{"2015-01-01", 7}, {"2015-07-01", 7}, {"2016-01-01", 8}}},
		{"Q", "mean", []row{{"2015-01-01", 11}, {"2015-04-01", 3}, {"2015-10-01", 7}, {"2016-01-01", 8}}},
		{"M", "mean", []row{{"2015-03-01", 11}, {"2015-04-01", 3}, {"2015-10-01", 7}, {"2016-01-01", 12}, {"2016-02-01", 4}}},
		{"W", "mean", []row{{"2015-03-01", 11}, {"2015-03-29", 2}, {"2015-04-05", 4}, {"2015-10-04", 7}, {"2016-01-03", 12}, {"2016-01-31", 4}}},
		{"Y", "count", []row{{"2015-01-01", 5}, {"2016-01-01", 2}}},
		{"Y", "sum", []row{{"2015-01-01", 35}, {"2016-01-01", 16}}},
		{"Q", "rate:sum", []row{{"2015-01-01", 2}, {"2015-04-01", -8}, {"2015-10-01", 3}, {"2016-01-01", -3}}},
		{"10 days", "last", []row{{"2015-02-24", 10}, {"2015-03-06", 12}, {"2015-03-26", 2}, {"2015-04-05", 4}, {"2015-10-02", 7}, {"2015-12-31", 12}, {"2016-01-30", 4}}},
	} {
		var s window.Series
		for _, r := range stored {
			s.Times, s.Values = append(s.Times, day(r.day)), append(s.Values, r.value)
		}
		period, err := timetext.ParsePeriod(c.period)
		if err != nil {
			t.Fatal(err)
		}
		method, err := policy.ParseMethod(c.method)
		if err != nil {
			t.Fatal(err)
		}
		var g regroup
		if err := g.resample(&s, period, method); err != nil {
			t.Fatal(err)
		}
		var got []row
		for i, at := range s.Times {
			got = append(got, row{time.Unix(0, at).UTC().Format("2006-01-02"), s.Values[i]})
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s: %v, want %v", c.period, c.method, got, c.want)
		}
	}
}
