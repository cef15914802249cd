package message

import (
	"fmt"
	"time"
)

// appendISO appends a time as Python's isoformat writes one in UTC without a
// zone: with six digits of a second or none; what has nanoseconds gets nine.
func appendISO(to []byte, t time.Time) []byte {
	t = t.UTC()
	layout := "2006-01-02T15:04:05.000000000"
	switch ns := t.Nanosecond(); {
	case ns == 0:
		layout = "2006-01-02T15:04:05"
	case ns%1000 == 0:
		layout = "2006-01-02T15:04:05.000000"
	}
	return t.AppendFormat(to, layout)
}

// parseISO reads the forms of ISO 8601 that services write: T or a blank in the
// middle, any number of digits of a second, and a zone or none, which is UTC.
func parseISO(s string) (time.Time, error) {
	const date = len("2006-01-02")
	text := s
	if len(text) > date && text[date] == ' ' {
		text = text[:date] + "T" + text[date+1:]
	}
	// Go reads a fraction of a second also where the layout has none.
	for _, layout := range []string{"2006-01-02T15:04:05", time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.60q is no time in ISO 8601", s)
}
