package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// readable prepares JSON that Python wrote for a strict reader. Python writes
// NaN and Infinity for what JSON has no numbers for: infinities become numbers
// beyond the range, which every reader takes for infinities, and NaN becomes
// null. It refuses what is nested too deep.
func readable(data []byte) ([]byte, error) {
	depth := 0
	var out []byte // nil as long as nothing was replaced
	from := 0      // start of what was not copied to out yet
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth++; depth > MaxDepth {
				return nil, fmt.Errorf("%w: nested deeper than %d levels", ErrForm, MaxDepth)
			}
		case '}', ']':
			depth--
		case 'N', 'I':
			word, number := "NaN", "null"
			if data[i] == 'I' {
				word, number = "Infinity", "1e999"
			}
			if bytes.HasPrefix(data[i:], []byte(word)) {
				out = append(append(out, data[from:i]...), number...)
				i += len(word) - 1
				from = i + 1
			}
		}
	}
	if from == 0 {
		return data, nil
	}
	return append(out, data[from:]...), nil
}

// decodeJSON reads all of data, numbers as json.Number.
func decodeJSON(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.InputOffset() < int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return fmt.Errorf("more after the end of the JSON value")
	}
	return nil
}

// marshal shows a value as JSON, for people.
func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		data, _ = json.Marshal(fmt.Sprint(v))
	}
	return data
}

// appendJSON appends a value that metadata can hold.
func appendJSON(to []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(to, "null"...)
	case bool:
		return strconv.AppendBool(to, v)
	case string:
		return appendString(to, v)
	case json.Number:
		return append(to, v...)
	case float64:
		return appendFloat(to, v)
	case int:
		return strconv.AppendInt(to, int64(v), 10)
	case int64:
		return strconv.AppendInt(to, v, 10)
	case []any:
		to = append(to, '[')
		for i, e := range v {
			if i > 0 {
				to = append(to, ',')
			}
			to = appendJSON(to, e)
		}
		return append(to, ']')
	}
	m, _ := object(v)
	to = append(to, '{')
	for i, k := range sortedKeys(m) {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(appendString(to, k), ':')
		to = appendJSON(to, m[k])
	}
	return append(to, '}')
}

// appendFloat appends a number in the form that appendFloatRepr signs.
func appendFloat(to []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(to, "NaN"...)
	case math.IsInf(f, 1):
		return append(to, "1e999"...)
	case math.IsInf(f, -1):
		return append(to, "-1e999"...)
	}
	return appendFloatRepr(to, f)
}

// appendString appends s quoted, in UTF-8.
func appendString[T string | []byte](to []byte, s T) []byte {
	const hex = "0123456789abcdef"
	to = append(slices.Grow(to, len(s)+2), '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && size == 1 {
				to = append(append(to, s[from:i]...), "\uFFFD"...)
				from = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		to = append(to, s[from:i]...)
		switch c {
		case '"', '\\':
			to = append(to, '\\', c)
		case '\n':
			to = append(to, `\n`...)
		default:
			to = append(to, `\u00`...)
			to = append(to, hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(to, s[from:]...), '"')
}
