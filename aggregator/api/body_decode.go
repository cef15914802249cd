package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// decodeMeasures reads a body with measures as Gnocchi does, whatever it looks like,
// and with the texts of its errors. It is slow: [scanner] reads what clients usually
// send. Times that are relative count from now.
func decodeMeasures(data []byte, shape bodyShape, now time.Time, p *posted) error {
	in, err := newInput(data)
	if err != nil {
		// Python's encoder writes such tokens, and Gnocchi takes them.
		quoted := quoteNotFinite(data)
		if quoted == nil {
			return err
		}
		if in, err = newInput(quoted); err != nil {
			return err
		}
	}
	switch shape {
	case measureList:
		in.measures(now, p)
	case measuresByID:
		in.each(func(key string, value input) {
			id, err := uuid.Parse(key)
			if err != nil {
				value.refuse("extra keys not allowed")
				return
			}
			p.ids = append(p.ids, id)
			value.measures(now, p)
		})
	case measuresByName:
		in.each(func(key string, value input) {
			if p.resources = append(p.resources, key); !p.room() {
				value.abort(p.full)
				return
			}
			value.each(func(name string, value input) {
				p.named = append(p.named, namedMetric{resource: len(p.resources) - 1, name: name})
				value.namedMeasures(now, p, &p.named[len(p.named)-1])
			})
		})
	}
	return in.err()
}

// each calls f for the members of an object in the order of the text, also for keys
// that come again. [input.object] keeps the last of those; but measures are not
// thrown away because of what is written beside them.
func (in input) each(f func(key string, value input)) {
	if in.skip() {
		return
	}
	if in.kind() != '{' {
		in.fault("expected a dictionary")
		return
	}
	d := json.NewDecoder(bytes.NewReader(in.raw))
	// The text was found valid before.
	_, _ = d.Token()
	for !in.skip() {
		token, _ := d.Token()
		if token == json.Delim('}') {
			return
		}
		key, _ := token.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			in.refuse(err.Error())
			return
		}
		value := in
		value.raw = raw
		value.path = append(slices.Clip(in.path), key)
		value.place += "['" + key + "']"
		value.member = true
		f(key, value)
	}
}

// namedMeasures reads a list of measures, or an object with one.
func (in input) namedMeasures(now time.Time, p *posted, m *namedMetric) {
	if in.kind() != '{' {
		in.measures(now, p)
		return
	}
	o := in.object("archive_policy_name", "unit", "measures")
	for key, into := range map[string]*string{"archive_policy_name": &m.policy, "unit": &m.unit} {
		if v := o.get(key); v.given() {
			*into = v.text(0, 1<<20)
		}
	}
	o.need("measures").measures(now, p)
}

// measures reads a list of measures, and ends the metric.
func (in input) measures(now time.Time, p *posted) {
	if in.skip() {
		return
	}
	d := json.NewDecoder(bytes.NewReader(in.raw))
	if in.kind() != '[' {
		in.fault("unexpected measures format")
		return
	}
	_, _ = d.Token() // the text was found valid before
	var kind timeKind
	var m rawMeasure
	valued := true // all of them
	for d.More() {
		if !m.read(d) {
			in.fault("unexpected measures format")
			return
		}
		t, k, err := parseMeasureTime(scalar(m.timestamp), now)
		if err == nil && kind != kindUnknown && k != kind {
			err = errMixedTimes
		}
		switch err {
		case nil:
		case errFormat:
			in.fault("unexpected measures format")
			return
		case timetext.ErrEpoch:
			in.fault("unexpected timestamp 'Timestamp must be after Epoch'")
			return
		default:
			in.fault("unexpected timestamp 'Unable to convert timestamps'")
			return
		}
		kind = k
		v, ok := parseMeasureValue(scalar(m.value))
		valued = valued && ok
		p.points = append(p.points, window.Point{Time: t, Value: v})
	}
	switch {
	case !valued: // times that are wrong are told first
		in.fault("unexpected measures value")
	case !p.end():
		in.abort(p.full)
	}
}

// rawMeasure is a measure in a list. It is used again for the next one, so that a list is
// never in memory twice.
type rawMeasure struct{ timestamp, value, other json.RawMessage }

// read reads the next measure of a list. It reports whether that is an object, or null,
// which stands for an empty one.
func (m *rawMeasure) read(d *json.Decoder) bool {
	m.timestamp, m.value = m.timestamp[:0], m.value[:0]
	switch token, _ := d.Token(); token {
	case nil:
		return true
	case json.Delim('{'):
	default:
		return false
	}
	for d.More() {
		token, _ := d.Token()
		into := &m.other
		switch token {
		case "timestamp":
			into = &m.timestamp
		case "value":
			into = &m.value
		}
		if d.Decode(into) != nil {
			return false
		}
	}
	_, _ = d.Token()
	return true
}

// scalar is a number, a string or a boolean in JSON; nil for all else.
func scalar(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	switch c := raw[0]; {
	case c == '"':
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return nil
		}
		return text
	case c == 't' || c == 'f':
		return c == 't'
	case c == '-' || c >= '0' && c <= '9':
		return json.Number(raw)
	}
	return nil
}

var (
	errFormat     = errors.New("neither a string nor a number")
	errMixedTimes = errors.New("times of several kinds in one list")
)

// parseMeasureTime reads a time, and says how it is written.
func parseMeasureTime(v any, now time.Time) (int64, timeKind, error) {
	var text string
	switch v := v.(type) {
	case json.Number:
		t, err := timetext.ParseNumberTime(v.String())
		return t, kindNumber, err
	case string:
		text = strings.TrimSpace(v)
	default:
		return 0, kindUnknown, errFormat
	}
	t, err := timetext.ParseNumberTime(text)
	if err != timetext.ErrTime {
		return t, kindNumber, err
	}
	kind := kindRelative
	if len(text) > 4 && text[4] == '-' {
		kind = kindDate
	}
	t, err = timetext.ParseTime(text, now)
	return t, kind, err
}

// parseMeasureValue reads what Python takes for a float.
func parseMeasureValue(v any) (float64, bool) {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		if text = strings.TrimSpace(v); strings.ContainsAny(text, "xXpP_") {
			return 0, false // Go's numbers, not Python's
		}
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	default:
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil || errors.Is(err, strconv.ErrRange) // too large: infinite, as in Python
}

// quoteNotFinite puts quotes around NaN, Infinity and -Infinity where they stand
// outside of strings. It is nil if there are none.
func quoteNotFinite(data []byte) []byte {
	var out []byte
	copied := 0
	for i := 0; i < len(data); i++ {
		if data[i] == '"' {
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			continue
		}
		for _, token := range [...]string{"NaN", "-Infinity", "Infinity"} {
			if bytes.HasPrefix(data[i:], []byte(token)) {
				out = append(append(append(append(out, data[copied:i]...), '"'), token...), '"')
				i += len(token) - 1
				copied = i + 1
				break
			}
		}
	}
	if out == nil {
		return nil
	}
	return append(out, data[copied:]...)
}
