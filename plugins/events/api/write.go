package api

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// appendEvent appends an event as Panko writes it.
func appendEvent(to []byte, e *sdk.Event) []byte {
	to = append(to, `{"message_id": `...)
	to = appendText(to, e.MessageID)
	to = append(to, `, "event_type": `...)
	to = appendText(to, e.EventType)
	to = append(to, `, "generated": "`...)
	to = appendTime(to, e.Generated)
	to = append(to, `", "traits": [`...)
	for i := range e.Traits {
		if i > 0 {
			to = append(to, ", "...)
		}
		to = appendTrait(to, &e.Traits[i])
	}
	to = append(to, `], "raw": `...)
	return append(appendRaw(to, e.Raw), '}')
}

// appendTrait appends a trait, whose value is a text whatever its type.
func appendTrait(to []byte, t *sdk.Trait) []byte {
	to = append(to, `{"name": `...)
	to = appendText(to, t.Name)
	to = append(to, `, "type": "`...)
	to = append(to, typeName(t.Type)...)
	to = append(to, `", "value": `...)
	switch v := t.Value.(type) {
	case string:
		return append(appendText(to, v), '}')
	case int64:
		to = strconv.AppendInt(append(to, '"'), v, 10)
	case float64:
		to = appendReal(append(to, '"'), v)
	case time.Time:
		to = appendTime(append(to, '"'), v)
	default:
		to = append(to, '"')
	}
	return append(to, `"}`...)
}

// typeName is the name that Panko has for a type.
func typeName(t sdk.TraitType) string {
	if t == sdk.Text {
		return "string"
	}
	return t.String()
}

func appendText(to []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // of any text
	return append(to, quoted...)
}

// appendTime appends a time as Python's isoformat does: without a zone, with
// microseconds if there are any.
func appendTime(to []byte, t time.Time) []byte {
	t = t.UTC()
	layout := "2006-01-02T15:04:05"
	if t.Nanosecond()/1000 != 0 {
		layout += ".000000"
	}
	return t.AppendFormat(to, layout)
}

// appendReal appends a number as Python's str does.
func appendReal(to []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(to, "nan"...)
	case math.IsInf(v, 0):
		return append(to, strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(v, 'g', -1, 64), "+"))...)
	}
	if abs := math.Abs(v); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.AppendFloat(to, v, 'e', -1, 64)
	}
	start := len(to)
	to = strconv.AppendFloat(to, v, 'f', -1, 64)
	if bytes.IndexByte(to[start:], '.') < 0 {
		to = append(to, ".0"...)
	}
	return to
}

// appendRaw appends a raw form; what is no JSON becomes a text.
func appendRaw(to, raw []byte) []byte {
	if len(raw) == 0 {
		return append(to, "{}"...)
	}
	buffer := bytes.NewBuffer(to)
	if json.Compact(buffer, raw) != nil {
		return appendText(to, string(raw))
	}
	return buffer.Bytes()
}
