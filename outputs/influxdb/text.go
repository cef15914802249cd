package influxdb

import (
	"math"
	"strconv"
	"strings"
)

// What line protocol gives a meaning to in names and in tags. A measurement may
// hold equals signs as they are.
const (
	measurementSpecial = ", "
	tagSpecial         = ",= "
)

// clean gives the text that is written for a measurement, a key or a tag's value.
// Two things cannot be written: control characters, which become spaces, and a
// backslash before a character that is escaped with one, before another backslash
// or at the end: servers differ in how they read it. That becomes a slash.
func clean(s string) string {
	dirty := func(i int) bool {
		return s[i] < ' ' || s[i] == 0x7f || s[i] == '\\' && (i == len(s)-1 || strings.IndexByte(`,= \`, s[i+1]) >= 0 || s[i+1] < ' ' || s[i+1] == 0x7f)
	}
	for i := range len(s) {
		if !dirty(i) {
			continue
		}
		b := []byte(s)
		for ; i < len(s); i++ {
			switch {
			case !dirty(i):
			case s[i] == '\\':
				b[i] = '/'
			default:
				b[i] = ' '
			}
		}
		return string(b)
	}
	return s
}

// cleanMeasurement is clean for a measurement, which at the beginning of a line
// must not look like a comment.
func cleanMeasurement(s string) string {
	s = clean(s)
	if strings.HasPrefix(s, "#") {
		return "_" + s[1:]
	}
	return s
}

// appendEscaped appends s with a backslash before each character of special.
func appendEscaped(b []byte, s, special string) []byte {
	for {
		i := strings.IndexAny(s, special)
		if i < 0 {
			return append(b, s...)
		}
		b = append(b, s[:i]...)
		b = append(b, '\\', s[i])
		s = s[i+1:]
	}
}

// appendTag appends ",key=value" of two cleaned texts; nothing if the value is
// empty, for there are no empty tags.
func appendTag(b []byte, key, value string) []byte {
	if value == "" || key == "" {
		return b
	}
	b = append(b, ',')
	b = appendEscaped(b, key, tagSpecial)
	b = append(b, '=')
	return appendEscaped(b, value, tagSpecial)
}

// appendQuoted appends a string field's value. Nothing is lost in it.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	b = appendEscaped(b, s, `"\`)
	return append(b, '"')
}

// appendFloat appends a float field's value. Whole numbers, of which most
// counters consist, are written without the costly search for the shortest form.
func appendFloat(b []byte, v float64) []byte {
	if i := int64(v); v > -1e15 && v < 1e15 && float64(i) == v {
		return strconv.AppendInt(b, i, 10)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
