package timetext

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseSpan reads a timespan: seconds ("300", "0.5", "3e2"); numbers with units in
// falling order, of weeks, days, hours, minutes and seconds, each at most once ("1h30m",
// "2 days, 5 min"); or a clock, alone or after weeks and days ("0:05:00", "1:24:59",
// "2:30", ":30", "1:00:00:00", "30 days, 0:00:00"). Case does not matter. These are the forms of Python's pytimeparse.
// Months and years are no units. Digits below nanoseconds are dropped. The error is
// [ErrSpan], or [ErrSign] if the timespan is not above zero.
func ParseSpan(text string) (time.Duration, error) {
	d, err := parseSpan(text)
	if err == nil && d <= 0 {
		err = ErrSign
	}
	if err != nil {
		return 0, err
	}
	return d, nil
}

// parseSpan reads a timespan of any sign.
func parseSpan(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	d, negative, ok := parseDecimal(text)
	var sum int64
	if ok {
		sum, ok = d.times(uint64(second))
	} else {
		text, negative = cutSign(text)
		sum, ok = parseUnits(strings.TrimSpace(text))
	}
	if !ok {
		return 0, ErrSpan
	}
	if negative {
		sum = -sum
	}
	return time.Duration(sum), nil
}

// A unit of timespans, and how it may be written.
type unit struct {
	length time.Duration
	names  []string
}

// units are from long to short, which is the order in which they may come.
var units = [...]unit{
	{7 * 24 * time.Hour, []string{"w", "wk", "wks", "week", "weeks"}},
	{24 * time.Hour, []string{"d", "dy", "dys", "day", "days"}},
	{time.Hour, []string{"h", "hr", "hrs", "hour", "hours"}},
	{time.Minute, []string{"m", "min", "mins", "minute", "minutes"}},
	{time.Second, []string{"s", "sec", "secs", "second", "seconds"}},
}

// unitOf is the place of a unit's name in units, or -1.
func unitOf(name string) int {
	for i, u := range units {
		for _, n := range u.names {
			if strings.EqualFold(name, n) {
				return i
			}
		}
	}
	return -1
}

// parseUnits reads numbers with units, and a clock in place of hours and what is shorter.
func parseUnits(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	sum := int64(0)
	for next := 0; s != ""; {
		d, rest, ok := cutDecimal(s)
		if strings.HasPrefix(rest, ":") {
			// Behind weeks or days only a clock of hours has a meaning.
			span, ok := parseClock(s, next > 0)
			return add(sum, span, ok && next <= 2)
		}
		rest = strings.TrimLeft(rest, " \t")
		letters := 0
		for letters < len(rest) && (rest[letters]|0x20) >= 'a' && (rest[letters]|0x20) <= 'z' {
			letters++
		}
		i := unitOf(rest[:letters])
		if !ok || i < next {
			return 0, false
		}
		next = i + 1
		span, ok := d.times(uint64(units[i].length))
		if sum, ok = add(sum, span, ok); !ok {
			return 0, false
		}
		s = strings.TrimLeft(rest[letters:], " \t")
		if s != "" && (s[0] == ',' || s[0] == '/') {
			s = strings.TrimLeft(s[1:], " \t")
		}
	}
	return sum, true
}

// parseClock reads :ss, m:ss, h:mm:ss or d:hh:mm:ss, where seconds may have a
// fraction and the first number any size. withHours takes h:mm:ss only.
func parseClock(s string, withHours bool) (int64, bool) {
	parts := strings.Count(s, ":") + 1
	if parts > 4 || withHours && parts != 3 {
		return 0, false
	}
	sum := int64(0)
	for i := range parts {
		part, rest, _ := strings.Cut(s, ":")
		s = rest
		whole, _, _ := strings.Cut(part, ".")
		d, rest, ok := cutDecimal(part)
		first, last := i == 0, i == parts-1
		switch {
		case first && parts == 2 && part == "": // :ss
			continue
		case !ok || rest != "" || !last && whole != part || strings.HasSuffix(part, "."):
			return 0, false
		case !first && len(whole) != 2, first && parts == 2 && len(whole) > 2:
			return 0, false
		}
		span, ok := d.times(uint64(units[len(units)-parts+i].length))
		if sum, ok = add(sum, span, ok); !ok {
			return 0, false
		}
	}
	return sum, true
}

// add is a sum, false if it is out of range or ok is.
func add(a, b int64, ok bool) (int64, bool) { return a + b, ok && a <= math.MaxInt64-b }

// FormatSpan writes a timespan as Python writes a timedelta: 0:05:00, 0:00:03.600000,
// 1 day, 0:00:00, 30 days, 0:00:00, with nine digits behind the point if it is no
// whole number of microseconds. Of a negative one only the days are: -1 day, 23:59:00.
func FormatSpan(d time.Duration) string {
	days, rest := floorDiv(int64(d), day)
	b := make([]byte, 0, 40)
	if days != 0 {
		b = strconv.AppendInt(b, days, 10)
		b = append(b, " day"...)
		if days != 1 && days != -1 {
			b = append(b, 's')
		}
		b = append(b, ", "...)
	}
	seconds, nanos := rest/second, rest%second
	b = strconv.AppendInt(b, seconds/3600, 10)
	b = appendTwo(append(b, ':'), seconds/60%60)
	b = appendTwo(append(b, ':'), seconds%60)
	return string(appendFraction(b, nanos))
}
