package message

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nephoscope/nepho/sdk"
)

// Ceilometer signs the texts that Python's str and repr make of values, so both
// are written here as Python 3 has them. A value is what encoding/json makes of
// JSON, with json.Number, or one that metadata hold.

// appendStr appends str(v). A list is written as Ceilometer rebuilds it before:
// with the texts in it turned into bytes and objects sorted by key.
func appendStr(to []byte, v any) []byte {
	if s, ok := v.(string); ok {
		return append(to, s...)
	}
	return appendRepr(to, v)
}

func appendRepr(to []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(to, "None"...)
	case bool:
		if v {
			return append(to, "True"...)
		}
		return append(to, "False"...)
	case string:
		return appendBytesRepr(to, v)
	case json.Number:
		return appendNumberRepr(to, string(v))
	case float64:
		return appendFloatRepr(to, v)
	case int:
		return strconv.AppendInt(to, int64(v), 10)
	case int64:
		return strconv.AppendInt(to, v, 10)
	case []any:
		to = append(to, '[')
		for i, e := range v {
			if i > 0 {
				to = append(to, ", "...)
			}
			to = appendRepr(to, e)
		}
		return append(to, ']')
	}
	m, _ := object(v)
	to = append(to, '{')
	for i, k := range sortedKeys(m) {
		if i > 0 {
			to = append(to, ", "...)
		}
		to = append(appendBytesRepr(to, k), ": "...)
		to = appendRepr(to, m[k])
	}
	return append(to, '}')
}

// appendBytesRepr appends repr(s.encode("utf-8")).
func appendBytesRepr(to []byte, s string) []byte {
	const hex = "0123456789abcdef"
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	to = append(to, 'b', quote)
	for i := range len(s) {
		switch c := s[i]; {
		case c == quote || c == '\\':
			to = append(to, '\\', c)
		case c == '\t':
			to = append(to, `\t`...)
		case c == '\n':
			to = append(to, `\n`...)
		case c == '\r':
			to = append(to, `\r`...)
		case c < ' ' || c >= 0x7f:
			to = append(to, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			to = append(to, c)
		}
	}
	return append(to, quote)
}

// appendNumberRepr appends the repr of what Python reads from a JSON number: an
// int of any size, or a float if there is a fraction or an exponent.
func appendNumberRepr(to []byte, text string) []byte {
	if text == "-0" {
		return append(to, '0')
	}
	if !strings.ContainsAny(text, ".eE") {
		return append(to, text...)
	}
	// Beyond its range ParseFloat gives an infinity, as Python does.
	f, _ := strconv.ParseFloat(text, 64)
	return appendPlainFloat(to, f)
}

// appendFloatRepr appends the repr of what appendNumber's text is in Python.
func appendFloatRepr(to []byte, f float64) []byte {
	if isWhole(f) {
		return strconv.AppendInt(to, int64(f), 10)
	}
	return appendPlainFloat(to, f)
}

// isWhole tells which numbers are written as integers, as most of Ceilometer's
// are: those whose float holds the integer exactly.
func isWhole(f float64) bool {
	return f == math.Trunc(f) && math.Abs(f) < 1<<53 && (f != 0 || !math.Signbit(f))
}

// appendPlainFloat appends repr(f): the shortest digits that give f back, with an
// exponent below 1e-4 and from 1e16.
func appendPlainFloat(to []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(to, "nan"...)
	case math.IsInf(f, 1):
		return append(to, "inf"...)
	case math.IsInf(f, -1):
		return append(to, "-inf"...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(to, f, 'e', -1, 64)
	}
	from := len(to)
	to = strconv.AppendFloat(to, f, 'f', -1, 64)
	if !slices.Contains(to[from:], '.') {
		to = append(to, ".0"...)
	}
	return to
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys) // UTF-8 sorts like the code points that Python compares
	return keys
}

// object tells objects, whose kind of map depends on where they come from, from
// other values.
func object(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case sdk.Metadata:
		return v, true
	}
	return nil, false
}
