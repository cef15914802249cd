package timetext

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestParseSpan(t *testing.T) {
	const day, week = 24 * time.Hour, 7 * 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"300":                      5 * time.Minute,
		"0.5":                      500 * time.Millisecond,
		"3e2":                      5 * time.Minute,
		" +60 ":                    time.Minute,
		"3.6":                      3600 * time.Millisecond,
		"1s":                       time.Second,
		"1 second":                 time.Second,
		"5 min":                    5 * time.Minute,
		"5 mins":                   5 * time.Minute,
		"1h30m":                    90 * time.Minute,
		"1H 30M":                   90 * time.Minute,
		"2 days":                   2 * day,
		"1 week":                   week,
		"1w2d3h4m5s":               week + 2*day + 3*time.Hour + 4*time.Minute + 5*time.Second,
		"1 wk, 2 dys / 3 hrs":      week + 2*day + 3*time.Hour,
		"1 hour,5 secs":            time.Hour + 5*time.Second,
		"1.5h":                     90 * time.Minute,
		"1.2 minutes":              72 * time.Second,
		".5 s":                     500 * time.Millisecond,
		"0:01:00":                  time.Minute,
		"1:24:59":                  time.Hour + 24*time.Minute + 59*time.Second,
		"100:00:00":                100 * time.Hour,
		"2:30":                     150 * time.Second,
		"2:30.5":                   150500 * time.Millisecond,
		":30":                      30 * time.Second,
		"1:00:00:00":               day,
		"30 days, 0:00:00":         30 * day,
		"1 week 1 day 1:00:01":     week + day + time.Hour + time.Second,
		"0:00:03.600000":           3600 * time.Millisecond,
		"0:00:00.000000001":        time.Nanosecond,
		"2.9999999999999999999999": 2999999999,
		"9223372036.854775807":     math.MaxInt64,
	} {
		if got, err := ParseSpan(text); err != nil || got != want {
			t.Errorf("ParseSpan(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseSpanRefuses(t *testing.T) {
	for text, want := range map[string]error{
		"":                     ErrSpan,
		" ":                    ErrSpan,
		"-":                    ErrSpan,
		"cowsay":               ErrSpan,
		"nan":                  ErrSpan,
		"1 month":              ErrSpan,
		"1 year":               ErrSpan,
		"30m1h":                ErrSpan,
		"1h1h":                 ErrSpan,
		"1h30":                 ErrSpan,
		"h":                    ErrSpan,
		"1..5h":                ErrSpan,
		"1:2:3":                ErrSpan,
		"100:30":               ErrSpan,
		"1:00:00:00:00":        ErrSpan,
		"::30":                 ErrSpan,
		"1:30.":                ErrSpan,
		"1.5:30":               ErrSpan,
		"1.5:30:00":            ErrSpan,
		"1h 0:05:00":           ErrSpan,
		"1 day 5:00":           ErrSpan,
		"1 day 1:00:00:00":     ErrSpan,
		"1 day 0:05:00 1 s":    ErrSpan,
		"9223372036.854775808": ErrSpan,
		"100000 weeks":         ErrSpan,
		"15250 weeks 100 days": ErrSpan,
		"2562047:47:17":        ErrSpan,
		"0":                    ErrSign,
		"0 s":                  ErrSign,
		"0:00:00":              ErrSign,
		"-1":                   ErrSign,
		"-5 min":               ErrSign,
		"- 1h":                 ErrSign,
		"1e-10":                ErrSign,
	} {
		if got, err := ParseSpan(text); err != want {
			t.Errorf("ParseSpan(%q) = %v, %v, want the error %q", text, got, err, want)
		}
	}
}

func TestFormatSpan(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0:00:00":                         0,
		"0:05:00":                         5 * time.Minute,
		"0:00:03.600000":                  3600 * time.Millisecond,
		"0:00:00.000000001":               1,
		"23:59:59":                        24*time.Hour - time.Second,
		"1 day, 0:00:00":                  24 * time.Hour,
		"30 days, 0:00:00":                30 * 24 * time.Hour,
		"365 days, 10:01:00":              365*24*time.Hour + 10*time.Hour + time.Minute,
		"-1 day, 23:59:00":                -time.Minute,
		"-2 days, 0:00:00":                -48 * time.Hour,
		"106751 days, 23:47:16.854775807": math.MaxInt64,
	} {
		if got := FormatSpan(d); got != want {
			t.Errorf("FormatSpan(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestSpansComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 10_000 {
		d := time.Duration(random.Int64() >> random.IntN(60) / 2 * 2)
		if d == 0 {
			continue
		}
		if got, err := ParseSpan(FormatSpan(d)); err != nil || got != d {
			t.Fatalf("%q: %v, %v", FormatSpan(d), got, err)
		}
	}
}

func TestPeriod(t *testing.T) {
	date := func(text string) int64 {
		at, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixNano()
	}
	for _, c := range []struct{ period, at, want string }{
		{"Y", "2014-10-06 10:00", "2014-01-01 00:00"},
		{"Y", "1969-12-31 23:59", "1969-01-01 00:00"},
		{"H", "2014-06-30 23:59", "2014-01-01 00:00"},
		{"H", "2014-07-01 00:00", "2014-07-01 00:00"},
		{"H", "2014-12-31 00:00", "2014-07-01 00:00"},
		{"Q", "2014-03-31 23:59", "2014-01-01 00:00"},
		{"Q", "2014-04-01 00:00", "2014-04-01 00:00"},
		{"Q", "2014-12-01 00:00", "2014-10-01 00:00"},
		{"M", "2016-02-29 12:00", "2016-02-01 00:00"},
		{"W", "2026-11-21 12:00", "2026-11-15 00:00"}, // a Saturday
		{"W", "2026-11-22 00:00", "2026-11-22 00:00"}, // a Sunday
		{"W", "1970-01-01 00:00", "1969-12-28 00:00"},
		{"W", "1969-12-27 00:00", "1969-12-21 00:00"},
		{"0:10:00", "2014-10-06 10:19", "2014-10-06 10:10"},
		{"600", "1969-12-31 23:59", "1969-12-31 23:50"},
	} {
		p, err := ParsePeriod(c.period)
		if err != nil {
			t.Errorf("%s: %v", c.period, err)
		}
		start, next := p.Bounds(date(c.at))
		if start != date(c.want) {
			t.Errorf("%s of %s starts %s, want %s", p, c.at, FormatTime(start), c.want)
		}
		if last, _ := p.Bounds(next - 1); last != start {
			t.Errorf("%s of %s ends before %s", p, c.at, FormatTime(next))
		}
		if second, _ := p.Bounds(next); second != next {
			t.Errorf("%s after that of %s starts %s, not %s", p, c.at, FormatTime(second), FormatTime(next))
		}
	}
	for text, want := range map[string]error{"X": ErrSpan, "y": ErrSpan, "": ErrSpan, "0": ErrSign} {
		if p, err := ParsePeriod(text); err != want {
			t.Errorf("ParsePeriod(%q) = %v, %v, want the error %q", text, p, err, want)
		}
	}
	if p, err := ParsePeriod("Q"); err != nil || p.String() != "Q" {
		t.Error(p, err)
	}
	if p, err := ParsePeriod("1h"); err != nil || p.String() != "1:00:00" {
		t.Error(p, err)
	}
}

func FuzzParseSpan(f *testing.F) {
	for _, seed := range []string{"", "300", "1h30m", "0:01:00", "2 days, 0:00:00", "1 wk / 3 hrs", "-5 min", "1:00:00:00", "9e18"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseSpan(text)
		if err != nil {
			return
		}
		if back, err := ParseSpan(FormatSpan(d)); d <= 0 || err != nil || back != d {
			t.Fatalf("%q is %d, comes back as %d, %v", text, d, back, err)
		}
	})
}
