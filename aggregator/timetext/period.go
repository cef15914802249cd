package timetext

import "time"

// Period is what times are grouped by when they are resampled: a timespan, or a
// unit of the calendar, in UTC.
type Period struct {
	Span time.Duration // above 0, or 0 with a letter
	// Letter is Y for years, H half-years, Q quarters, M months and W weeks, which start on
	// Sunday; or 0.
	Letter byte
}

// ParsePeriod reads a timespan or a letter of the calendar. The error is [ErrSpan]
// or [ErrSign].
func ParsePeriod(text string) (Period, error) {
	switch text {
	case "Y", "H", "Q", "M", "W":
		return Period{Letter: text[0]}, nil
	}
	span, err := ParseSpan(text)
	return Period{Span: span}, err
}

// Start is where the period in which a time is starts.
func (p Period) Start(t int64) int64 {
	start, _ := p.Bounds(t)
	return start
}

// Bounds is where the period in which a time is starts, and where the next one does.
// Timespans are counted from 1970 on.
func (p Period) Bounds(t int64) (start, next int64) {
	if p.Letter == 0 {
		_, rest := floorDiv(t, int64(p.Span))
		return t - rest, t - rest + int64(p.Span)
	}
	days, _ := floorDiv(t, day)
	if p.Letter == 'W' {
		const thursday = 4 // 1970-01-01, counted from Sunday
		_, weekday := floorDiv(days+thursday, 7)
		return (days - weekday) * day, (days - weekday + 7) * day
	}
	year, month, _ := time.Unix(days*(day/second), 0).UTC().Date()
	months := time.Month(1)
	switch p.Letter {
	case 'Y':
		months = 12
	case 'H':
		months = 6
	case 'Q':
		months = 3
	}
	month -= (month - 1) % months
	return firstOf(year, month), firstOf(year, month+months)
}

func firstOf(year int, month time.Month) int64 {
	return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).UnixNano()
}

// String is the letter, or the timespan as [FormatSpan] writes it.
func (p Period) String() string {
	if p.Letter != 0 {
		return string(rune(p.Letter))
	}
	return FormatSpan(p.Span)
}
