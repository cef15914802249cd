package timetext

import (
	"math"
	"strings"
	"time"
)

const (
	second = int64(time.Second)
	day    = 24 * int64(time.Hour)
	// lastSecond is the last whole second that nanoseconds in an int64 reach.
	lastSecond = math.MaxInt64 / second
)

// ParseTime reads a time: a number (see [ParseNumberTime]), a date or date and time
// such as 2014-01-01, 2014-01-01 12:12 or 2014-01-01T12:12:34.5+02:00 (UTC without an
// offset), a timespan from now: "10 minutes" is in the future, "-2 days" in the past, or
// "now" itself.
// The error is [ErrTime], [ErrEpoch] or [ErrLate].
func ParseTime(text string, now time.Time) (int64, error) {
	text = strings.TrimSpace(text)
	if len(text) > 4 && text[4] == '-' {
		if t, err := parseISO(text); err != ErrTime {
			return t, err
		}
	}
	if t, err := ParseNumberTime(text); err != ErrTime {
		return t, err
	}
	if strings.EqualFold(text, "now") {
		return now.UnixNano(), nil
	}
	span, err := parseSpan(text)
	if err != nil {
		return 0, ErrTime
	}
	t := now.UnixNano()
	switch {
	case span > 0 && t > math.MaxInt64-int64(span):
		return 0, ErrLate
	case t+int64(span) < 0:
		return 0, ErrEpoch
	}
	return t + int64(span), nil
}

// ParseNumberTime reads seconds since 1970 such as 1414767600, 1414767600.5 or
// 1.4e9. Digits below nanoseconds are dropped. The error is [ErrTime], [ErrEpoch]
// or [ErrLate].
func ParseNumberTime(text string) (int64, error) {
	d, negative, ok := parseDecimal(text)
	if !ok {
		return 0, ErrTime
	}
	t, inRange := d.times(uint64(second))
	switch {
	case negative && (t != 0 || !inRange):
		return 0, ErrEpoch
	case !inRange:
		return 0, ErrLate
	}
	return t, nil
}

// parseISO reads YYYY-MM-DD[Thh[:mm[:ss[.fraction]]][Z|±hh[[:]mm]]], where T may be
// a space.
func parseISO(s string) (int64, error) {
	if len(s) < 10 || s[7] != '-' {
		return 0, ErrTime
	}
	century, ok1 := twoDigits(s)
	year, ok2 := twoDigits(s[2:])
	month, ok3 := twoDigits(s[5:])
	dayOfMonth, ok4 := twoDigits(s[8:])
	year += century * 100
	if !ok1 || !ok2 || !ok3 || !ok4 || month < 1 || month > 12 || dayOfMonth < 1 || dayOfMonth > daysIn(year, month) {
		return 0, ErrTime
	}
	seconds := daysSince1970(year, month, dayOfMonth) * (day / second)
	fraction := int64(0)
	if s = s[10:]; s != "" {
		if s[0] != 'T' && s[0] != ' ' && s[0] != 't' {
			return 0, ErrTime
		}
		clock, nanos, rest, ok := cutClock(s[1:])
		if !ok {
			return 0, ErrTime
		}
		offset, ok := parseOffset(rest)
		if !ok {
			return 0, ErrTime
		}
		seconds += clock - offset
		fraction = nanos
	}
	switch {
	case seconds < 0:
		return 0, ErrEpoch
	case seconds >= lastSecond:
		return 0, ErrLate
	}
	return seconds*second + fraction, nil
}

// cutClock reads hh[:mm[:ss[.fraction]]].
func cutClock(s string) (seconds, nanos int64, rest string, ok bool) {
	hours, ok := twoDigits(s)
	if !ok || hours > 23 {
		return 0, 0, s, false
	}
	seconds, s = int64(hours)*3600, s[2:]
	for _, unit := range [...]int64{60, 1} {
		if s == "" || s[0] != ':' {
			return seconds, 0, s, true
		}
		v, ok := twoDigits(s[1:])
		if !ok || v > 59 {
			return 0, 0, s, false
		}
		seconds, s = seconds+int64(v)*unit, s[3:]
	}
	if s == "" || s[0] != '.' {
		return seconds, 0, s, true
	}
	s = s[1:]
	digits := 0
	for unit := second / 10; digits < len(s) && s[digits] >= '0' && s[digits] <= '9'; digits++ {
		nanos += int64(s[digits]-'0') * unit
		unit /= 10 // 0 after nanoseconds
	}
	return seconds, nanos, s[digits:], digits > 0
}

// parseOffset reads "", Z, ±hh, ±hhmm or ±hh:mm, in seconds east of UTC.
func parseOffset(s string) (seconds int64, ok bool) {
	if s == "" || s == "Z" || s == "z" {
		return 0, true
	}
	if s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	rest, west := cutSign(s)
	hours, ok := twoDigits(rest)
	if !ok || hours > 23 {
		return 0, false
	}
	minutes := 0
	if rest = rest[2:]; rest != "" {
		if rest[0] == ':' {
			rest = rest[1:]
		}
		if minutes, ok = twoDigits(rest); !ok || minutes > 59 || len(rest) != 2 {
			return 0, false
		}
	}
	seconds = int64(hours)*3600 + int64(minutes)*60
	if west {
		seconds = -seconds
	}
	return seconds, true
}

// twoDigits is the number of the first two bytes of s.
func twoDigits(s string) (int, bool) {
	if len(s) < 2 {
		return 0, false
	}
	tens, ones := s[0]-'0', s[1]-'0'
	return int(tens)*10 + int(ones), tens <= 9 && ones <= 9
}

// daysIn is the number of days in a month of the Gregorian calendar.
func daysIn(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	}
	return 30 + (month+month>>3)&1
}

// daysSince1970 counts days in years from March on, so that a leap day is the last.
func daysSince1970(year, month, dayOfMonth int) int64 {
	if month -= 3; month < 0 {
		month, year = month+12, year-1
	}
	const yearsTo1970 = 719468 // days from 0000-03-01 to 1970-01-01
	return int64(365*year+year/4-year/100+year/400+(153*month+2)/5+dayOfMonth-1) - yearsTo1970
}
