package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the sample's JSON form, which is the same wherever samples
// are JSON: one object without a line break,
//
//	{"name":"cpu","type":"cumulative","unit":"ns","volume":1e9,"resource_id":"vm-1",
//	 "project_id":"p","user_id":"u","source":"s","timestamp":"2026-01-02T03:04:05.000000006Z",
//	 "resource_metadata":{"vcpus":2},"id":"..."}
//
// Optional fields that are empty are left out. A volume that JSON has no number
// for is one of the strings "NaN", "+Inf" and "-Inf". Keys of metadata are
// sorted, so equal samples have equal forms; the monotonic time, which means
// something on one machine only, is no part of it.
func (s Sample) AppendJSON(to []byte) []byte {
	to = appendString(append(to, `{"name":`...), s.Name)
	to = append(to, `,"type":"`...)
	to = append(to, s.Type.String()...)
	to = append(to, '"')
	to = appendField(to, `,"unit":`, s.Unit)
	to = appendFloat(append(to, `,"volume":`...), s.Volume)
	to = appendField(to, `,"resource_id":`, s.ResourceID)
	to = appendField(to, `,"project_id":`, s.ProjectID)
	to = appendField(to, `,"user_id":`, s.UserID)
	to = appendField(to, `,"source":`, s.Source)
	to = appendTime(to, `,"timestamp":`, s.Timestamp)
	if len(s.Metadata) > 0 {
		to = appendObject(append(to, `,"resource_metadata":`...), s.Metadata)
	}
	to = appendField(to, `,"id":`, s.ID)
	return append(to, '}')
}

// MarshalJSON implements [json.Marshaler] with the form of [Sample.AppendJSON].
func (s Sample) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }

// AppendJSON appends the event's JSON form: one object without a line break,
//
//	{"message_id":"...","event_type":"compute.instance.create.end","generated":"2026-01-02T03:04:05Z",
//	 "traits":[{"name":"vcpus","type":"integer","value":2}],"raw":{...}}
//
// Optional fields that are empty are left out. A trait's value is a number if
// the trait is an integer or a float, and a string otherwise; one whose value
// does not fit its type is written as text. Raw is written as the JSON that it
// is; if it is none, as a string.
func (e Event) AppendJSON(to []byte) []byte {
	to = append(to, '{')
	if e.MessageID != "" {
		to = appendString(append(to, `"message_id":`...), e.MessageID)
		to = append(to, ',')
	}
	to = appendString(append(to, `"event_type":`...), e.EventType)
	to = appendTime(to, `,"generated":`, e.Generated)
	if len(e.Traits) > 0 {
		to = append(to, `,"traits":[`...)
		for i, t := range e.Traits {
			if i > 0 {
				to = append(to, ',')
			}
			to = appendTrait(to, t)
		}
		to = append(to, ']')
	}
	if len(e.Raw) > 0 {
		to = appendRaw(append(to, `,"raw":`...), e.Raw)
	}
	return append(to, '}')
}

// MarshalJSON implements [json.Marshaler] with the form of [Event.AppendJSON].
func (e Event) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil), nil }

func appendTrait(to []byte, t Trait) []byte {
	text, err := traitText(t)
	if err != nil {
		t.Type, text = Text, fmt.Sprint(t.Value)
	}
	to = appendString(append(to, `{"name":`...), t.Name)
	to = append(to, `,"type":"`...)
	to = append(to, t.Type.String()...)
	to = append(to, `","value":`...)
	switch t.Type {
	case Integer:
		to = append(to, text...)
	case Float:
		to = appendFloat(to, t.Value.(float64))
	default:
		to = appendString(to, text)
	}
	return append(to, '}')
}

func appendRaw(to, raw []byte) []byte {
	buf := bytes.NewBuffer(to)
	if json.Compact(buf, raw) != nil {
		return appendString(to, string(raw))
	}
	return buf.Bytes()
}

// appendField appends a string with its key, unless it is empty.
func appendField(to []byte, key, s string) []byte {
	if s == "" {
		return to
	}
	return appendString(append(to, key...), s)
}

// appendTime appends a time with its key, unless it is one that a batch cannot
// hold, as the zero time is.
func appendTime(to []byte, key string, t time.Time) []byte {
	if !inBatchRange(t) {
		return to
	}
	to = append(append(to, key...), '"')
	return append(t.UTC().AppendFormat(to, time.RFC3339Nano), '"')
}

// inBatchRange reports whether a batch can hold t: as nanoseconds in 64 bits,
// which are the years 1678 to 2261 and some months at both ends.
func inBatchRange(t time.Time) bool {
	return time.Unix(0, t.UnixNano()).Equal(t)
}

// appendFloat writes as encoding/json does, and as a string what JSON has no
// number for.
func appendFloat(to []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(to, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(to, `"+Inf"`...)
	case math.IsInf(f, -1):
		return append(to, `"-Inf"`...)
	case f == math.Trunc(f) && math.Abs(f) < 1<<53 && (f != 0 || !math.Signbit(f)):
		return strconv.AppendInt(to, int64(f), 10)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(to, f, format, -1, 64)
}

func appendObject(to []byte, m map[string]any) []byte {
	var room [24]string // keeps the keys of most objects off the heap
	keys := room[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	to = append(to, '{')
	for i, k := range keys {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(appendString(to, k), ':')
		to = appendValueJSON(to, m[k])
	}
	return append(to, '}')
}

// appendValueJSON writes a value of metadata. One of a type that JSON does not
// know becomes a string: a stranger's mistake in one value must cost no sample.
func appendValueJSON(to []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(to, "null"...)
	case string:
		return appendString(to, v)
	case bool:
		return strconv.AppendBool(to, v)
	case int:
		return strconv.AppendInt(to, int64(v), 10)
	case int64:
		return strconv.AppendInt(to, v, 10)
	case float64:
		return appendFloat(to, v)
	case map[string]any:
		return appendObject(to, v)
	case Metadata:
		return appendObject(to, v)
	case []any:
		to = append(to, '[')
		for i, e := range v {
			if i > 0 {
				to = append(to, ',')
			}
			to = appendValueJSON(to, e)
		}
		return append(to, ']')
	}
	buf := bytes.NewBuffer(nil)
	encoder := json.NewEncoder(buf)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(v) != nil {
		return appendString(to, fmt.Sprint(v))
	}
	return append(to, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// appendString writes a JSON string. Besides what must be escaped these are the
// two line separators of Unicode, at which some readers split lines; bytes that
// are not UTF-8 become the replacement character.
func appendString(to []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	to = append(to, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, width := utf8.DecodeRuneInString(s[i:])
			if r == '\u2028' || r == '\u2029' || r == utf8.RuneError && width == 1 {
				to = append(append(to, s[done:i]...), `\u`...)
				for shift := 12; shift >= 0; shift -= 4 {
					to = append(to, hexDigits[r>>shift&0xf])
				}
				done = i + width
			}
			i += width
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		to = append(to, s[done:i]...)
		switch c {
		case '"', '\\':
			to = append(to, '\\', c)
		case '\n':
			to = append(to, `\n`...)
		case '\r':
			to = append(to, `\r`...)
		case '\t':
			to = append(to, `\t`...)
		default:
			to = append(to, `\u00`...)
			to = append(to, hexDigits[c>>4], hexDigits[c&0xf])
		}
		i++
		done = i
	}
	to = append(to, s[done:]...)
	return append(to, '"')
}
