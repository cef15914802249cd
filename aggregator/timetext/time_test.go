package timetext

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)

func TestParseTime(t *testing.T) {
	at := func(year, month, day, hour, minute, second, nano int) int64 {
		return time.Date(year, time.Month(month), day, hour, minute, second, nano, time.UTC).UnixNano()
	}
	for text, want := range map[string]int64{
		"0":                                   0,
		"-0":                                  0,
		"1414767600":                          1414767600e9,
		" 1414767600.5 ":                      1414767600_500000000,
		"1414767600.123456789":                1414767600_123456789,
		"1414767600.1234567899":               1414767600_123456789,
		"+1.4e9":                              1400000000e9,
		"1.4E+9":                              1400000000e9,
		"14000000000000e-4":                   1400000000e9,
		".5":                                  5e8,
		"5.":                                  5e9,
		"1e-400":                              0,
		"0e999999999999999999999":             0,
		"000000000000000000000000000000001.5": 15e8,
		"9223372036.854775807":                math.MaxInt64,
		"2014-01-01":                          at(2014, 1, 1, 0, 0, 0, 0),
		"2014-01-01T05":                       at(2014, 1, 1, 5, 0, 0, 0),
		"2014-01-01 12:12":                    at(2014, 1, 1, 12, 12, 0, 0),
		"2014-01-01 12:12:34":                 at(2014, 1, 1, 12, 12, 34, 0),
		"2014-10-06T10:00:45.856219":          at(2014, 10, 6, 10, 0, 45, 856219000),
		"2014-10-06T10:00:45.123456789":       at(2014, 10, 6, 10, 0, 45, 123456789),
		"2014-10-06T10:00:45.1234567891234":   at(2014, 10, 6, 10, 0, 45, 123456789),
		"2014-10-06T10:00:45Z":                at(2014, 10, 6, 10, 0, 45, 0),
		"2014-10-06t10:00:45.5z":              at(2014, 10, 6, 10, 0, 45, 5e8),
		"2014-10-06T10:00:45+02:00":           at(2014, 10, 6, 8, 0, 45, 0),
		"2014-10-06T10:00:45.5-0230":          at(2014, 10, 6, 12, 30, 45, 5e8),
		"2014-10-06T10:00+02":                 at(2014, 10, 6, 8, 0, 0, 0),
		"2016-02-29":                          at(2016, 2, 29, 0, 0, 0, 0),
		"2000-02-29T23:59:59":                 at(2000, 2, 29, 23, 59, 59, 0),
		"1969-12-31T23:30:00-01:00":           at(1970, 1, 1, 0, 30, 0, 0),
		"10 minutes":                          now.Add(10 * time.Minute).UnixNano(),
		"-2 days":                             now.Add(-48 * time.Hour).UnixNano(),
		"now":                                 now.UnixNano(),
		"- 1h30m":                             now.Add(-90 * time.Minute).UnixNano(),
		"+0:05:00":                            now.Add(5 * time.Minute).UnixNano(),
	} {
		got, err := ParseTime(text, now)
		if err != nil || got != want {
			t.Errorf("ParseTime(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseTimeRefuses(t *testing.T) {
	for text, want := range map[string]error{
		"":                           ErrTime,
		"cowsay":                     ErrTime,
		"nan":                        ErrTime,
		"inf":                        ErrTime,
		"1e":                         ErrTime,
		"1e+":                        ErrTime,
		"0x10":                       ErrTime,
		"1_000":                      ErrTime,
		"1.2.3":                      ErrTime,
		"--5":                        ErrTime,
		"2014-13-01":                 ErrTime,
		"2014-00-01":                 ErrTime,
		"2014-02-30":                 ErrTime,
		"2014-02-00":                 ErrTime,
		"2015-02-29":                 ErrTime,
		"2100-02-29":                 ErrTime,
		"2014-1-1":                   ErrTime,
		"2014-01-01T":                ErrTime,
		"2014-01-01T24:00":           ErrTime,
		"2014-01-01T10:60":           ErrTime,
		"2014-01-01T10:00:60":        ErrTime,
		"2014-01-01T10:00:0":         ErrTime,
		"2014-01-01T10:00:00.":       ErrTime,
		"2014-01-01T10:00:00.5x":     ErrTime,
		"2014-01-01T10:00:00+2":      ErrTime,
		"2014-01-01T10:00:00+24:00":  ErrTime,
		"2014-01-01T10:00:00+02:60":  ErrTime,
		"2014-01-01T10:00:00+02:00:": ErrTime,
		"2014-01-01Z":                ErrTime,
		"2014/01/01":                 ErrTime,
		"3 months":                   ErrTime,
		"-1":                         ErrEpoch,
		"-1e300":                     ErrEpoch,
		"1969-12-31":                 ErrEpoch,
		"1970-01-01T00:30+01:00":     ErrEpoch,
		"-3000 weeks 1 day":          ErrEpoch,
		"9223372036.854775808":       ErrLate,
		"1e300":                      ErrLate,
		"9999-12-31":                 ErrLate,
		"2262-04-11T23:47:16":        ErrLate,
		"100000 days":                ErrLate,
	} {
		if got, err := ParseTime(text, now); err != want {
			t.Errorf("ParseTime(%q) = %d, %v, want the error %q", text, got, err, want)
		}
	}
	if got, err := ParseTime("1000 weeks", time.Unix(0, math.MaxInt64-5)); err != ErrLate {
		t.Errorf("%d, %v", got, err)
	}
	var reason Error
	if _, err := ParseTime("cowsay", now); !errors.As(err, &reason) || string(reason) != "Must be a datetime or a timestamp" {
		t.Errorf("%v", reason)
	}
}

// Every day that can be told, and the days around them.
func TestCalendar(t *testing.T) {
	var f Formatter
	for at := time.Unix(0, 0).UTC(); at.Year() < 2262; at = at.AddDate(0, 0, 1) {
		text := at.Format("2006-01-02T15:04:05+00:00")
		if got, err := ParseTime(text, now); err != nil || got != at.UnixNano() {
			t.Fatalf("ParseTime(%q) = %d, %v", text, got, err)
		}
		if got := string(f.Append(nil, at.UnixNano())); got != text {
			t.Fatalf("Append of %v = %q", at, got)
		}
	}
	for year := 1970; year < 2262; year++ {
		for month := 1; month <= 12; month++ {
			last := time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
			if _, err := ParseTime(fmt.Sprintf("%04d-%02d-%02d", year, month, last+1), now); err != ErrTime {
				t.Fatalf("%d-%d has no day %d: %v", year, month, last+1, err)
			}
		}
	}
}

func TestNumberTimesAreExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	limit := new(big.Int).SetInt64(math.MaxInt64)
	for range 20_000 {
		digits := func(n int) string {
			var b strings.Builder
			for range n {
				b.WriteByte(byte('0' + random.IntN(10)))
			}
			return b.String()
		}
		text := digits(1+random.IntN(9)) + "." + digits(random.IntN(10))
		if random.IntN(2) == 0 {
			text += fmt.Sprintf("e%d", random.IntN(30)-20)
		}
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatal(text)
		}
		exact.Mul(exact, big.NewRat(1e9, 1))
		want := new(big.Int).Quo(exact.Num(), exact.Denom())
		got, err := ParseNumberTime(text)
		if want.Cmp(limit) > 0 {
			if err != ErrLate {
				t.Fatalf("%s: %d, %v", text, got, err)
			}
		} else if err != nil || got != want.Int64() {
			t.Fatalf("%s: %d, %v, want %v", text, got, err, want)
		}
	}
}

func TestFormatTime(t *testing.T) {
	for at, want := range map[int64]string{
		0:                    "1970-01-01T00:00:00+00:00",
		1414767600e9:         "2014-10-31T15:00:00+00:00",
		1414767600_5e8:       "2014-10-31T15:00:00.500000+00:00",
		1414767600_000001000: "2014-10-31T15:00:00.000001+00:00",
		1414767600_000000001: "2014-10-31T15:00:00.000000001+00:00",
		-1:                   "1969-12-31T23:59:59.999999999+00:00",
		-1e9:                 "1969-12-31T23:59:59+00:00",
		math.MaxInt64:        "2262-04-11T23:47:16.854775807+00:00",
		math.MinInt64:        "1677-09-21T00:12:43.145224192+00:00",
	} {
		if got := FormatTime(at); got != want {
			t.Errorf("FormatTime(%d) = %q, want %q", at, got, want)
		}
	}
}

func TestFormatterJumps(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var f Formatter
	for range 10_000 {
		at := random.Int64() - random.Int64()
		if random.IntN(2) == 0 {
			at = at / 1e9 * 1e9
		}
		if got, want := string(f.Append(nil, at)), FormatTime(at); got != want {
			t.Fatalf("%d: %q, %q", at, got, want)
		}
		if at >= 0 {
			if got, err := ParseTime(FormatTime(at), now); err != nil && err != ErrLate || err == nil && got != at {
				t.Fatalf("%d came back as %d, %v", at, got, err)
			}
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{"", "1414767600.5", "-1e-5", "2014-01-01", "2014-10-06T10:00:45.856219+02:00", "-2 days", "1h30m", "9999-99-99T99", "0:01:00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := ParseTime(text, now)
		if err != nil {
			return
		}
		if at < 0 {
			t.Fatalf("%q is before 1970: %d", text, at)
		}
		if back, err := ParseTime(FormatTime(at), now); at < lastSecond*second && (err != nil || back != at) {
			t.Fatalf("%q is %d, comes back as %d, %v", text, at, back, err)
		}
		// What Go's parser takes as well must be the same time.
		if std, err := time.Parse(time.RFC3339Nano, text); err == nil && std.UnixNano() != at {
			t.Fatalf("%q is %d, not %d", text, std.UnixNano(), at)
		}
	})
}

func BenchmarkParseISO(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseTime("2014-10-06T10:00:45.856219", now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseNumber(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseNumberTime("1414767600.25"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	var f Formatter
	buffer := make([]byte, 0, 64)
	at := int64(1414767600e9)
	b.ReportAllocs()
	for b.Loop() {
		buffer = f.Append(buffer[:0], at)
		at += 60e9
	}
}
