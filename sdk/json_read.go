package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// UnmarshalJSON reads the form that [Sample.AppendJSON] writes. It is strict, so
// that a mistyped key is told instead of lost: name and volume must be there, and
// no field that the form does not have; an absent type is gauge, and null is the
// same as absent. Errors name the field.
func (s *Sample) UnmarshalJSON(data []byte) error {
	r, err := readFields(data)
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	var read Sample
	r.required("name", &read.Name)
	if r.text("type", &read.Type) == "" {
		read.Type = Gauge
	}
	r.string("unit", &read.Unit)
	if _, ok := r.fields["volume"]; !ok {
		r.fail("volume", errMissing)
	}
	r.float("volume", &read.Volume)
	r.string("resource_id", &read.ResourceID)
	r.string("project_id", &read.ProjectID)
	r.string("user_id", &read.UserID)
	r.string("source", &read.Source)
	r.stamp("timestamp", &read.Timestamp)
	r.object("resource_metadata", &read.Metadata)
	r.string("id", &read.ID)
	if err := r.end(); err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	*s = read
	return nil
}

// UnmarshalJSON reads the form that [Event.AppendJSON] writes, as strictly as
// [Sample.UnmarshalJSON] does. The event type must be there.
func (e *Event) UnmarshalJSON(data []byte) error {
	r, err := readFields(data)
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	var read Event
	r.string("message_id", &read.MessageID)
	r.required("event_type", &read.EventType)
	r.stamp("generated", &read.Generated)
	for i, raw := range r.list("traits") {
		var t Trait
		if err := t.UnmarshalJSON(raw); err != nil {
			r.fail("traits", fmt.Errorf("entry %d: %w", i, err))
			break
		}
		read.Traits = append(read.Traits, t)
	}
	if raw := r.take("raw"); raw != nil {
		read.Raw = bytes.Clone(raw)
	}
	if err := r.end(); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	*e = read
	return nil
}

// MarshalJSON implements [json.Marshaler] with the form that traits have in
// events.
func (t Trait) MarshalJSON() ([]byte, error) { return appendTrait(nil, t), nil }

// UnmarshalJSON reads the form that traits have in events. An absent type is text.
func (t *Trait) UnmarshalJSON(data []byte) error {
	r, err := readFields(data)
	if err != nil {
		return err
	}
	var read Trait
	r.required("name", &read.Name)
	if r.text("type", &read.Type) == "" {
		read.Type = Text
	}
	if _, ok := r.fields["value"]; !ok {
		r.fail("value", errMissing)
	}
	switch read.Type {
	case Integer:
		var v int64
		r.decode("value", &v, "a whole number of 64 bits")
		read.Value = v
	case Float:
		var v float64
		r.float("value", &v)
		read.Value = v
	case Datetime:
		var v time.Time
		r.time("value", &v)
		read.Value = v
	default:
		var v string
		r.string("value", &v)
		read.Value = v
	}
	if err := r.end(); err != nil {
		return err
	}
	*t = read
	return nil
}

var errMissing = errors.New("is missing")

// fieldReader takes the fields of an object one by one and keeps the first error.
type fieldReader struct {
	fields map[string]json.RawMessage
	err    error
}

// readFields opens an object; fields that are null count as absent.
func readFields(data []byte) (*fieldReader, error) {
	r := &fieldReader{}
	if err := json.Unmarshal(data, &r.fields); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return nil, fmt.Errorf("expected an object, not %s", clip(data))
		}
		return nil, err
	}
	if r.fields == nil {
		return nil, errors.New("expected an object, not null")
	}
	maps.DeleteFunc(r.fields, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	return r, nil
}

func (r *fieldReader) fail(name string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("field %q: %w", name, err)
	}
}

// take gives a field's JSON, nil if it is absent.
func (r *fieldReader) take(name string) json.RawMessage {
	raw := r.fields[name]
	delete(r.fields, name)
	return raw
}

// end tells the first error, or a field that nobody took.
func (r *fieldReader) end() error {
	if r.err == nil && len(r.fields) > 0 {
		r.err = fmt.Errorf("field %q: is unknown", slices.Min(slices.Collect(maps.Keys(r.fields))))
	}
	return r.err
}

func (r *fieldReader) decode(name string, into any, expected string) {
	raw := r.take(name)
	if raw == nil {
		return
	}
	if json.Unmarshal(raw, into) != nil {
		r.fail(name, fmt.Errorf("expected %s, not %s", expected, clip(raw)))
	}
}

func (r *fieldReader) string(name string, into *string) {
	// The library checks each value once more; nearly all strings are as they look.
	if raw := r.fields[name]; len(raw) > 1 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		*into = string(raw[1 : len(raw)-1])
		delete(r.fields, name)
		return
	}
	r.decode(name, into, "a string")
}

func (r *fieldReader) required(name string, into *string) {
	if _, ok := r.fields[name]; !ok {
		r.fail(name, errMissing)
		return
	}
	r.string(name, into)
	if *into == "" {
		r.fail(name, errors.New("is empty"))
	}
}

// text reads what has a name of its own; it gives the name, "" if it is absent.
func (r *fieldReader) text(name string, into interface{ UnmarshalText([]byte) error }) string {
	var s string
	if _, ok := r.fields[name]; !ok {
		return ""
	}
	r.string(name, &s)
	if r.err == nil {
		if err := into.UnmarshalText([]byte(s)); err != nil {
			r.fail(name, err)
		}
	}
	return s
}

func (r *fieldReader) float(name string, into *float64) {
	switch raw := r.take(name); string(raw) {
	case "":
	case `"NaN"`:
		*into = math.NaN()
	case `"+Inf"`:
		*into = math.Inf(1)
	case `"-Inf"`:
		*into = math.Inf(-1)
	default:
		v, err := strconv.ParseFloat(string(raw), 64) // JSON's numbers are all Go numbers
		if errors.Is(err, strconv.ErrRange) {
			r.fail(name, fmt.Errorf("%s is out of range", clip(raw)))
		} else if err != nil {
			r.fail(name, fmt.Errorf(`expected a number, "NaN", "+Inf" or "-Inf", not %s`, clip(raw)))
		}
		*into = v
	}
}

func (r *fieldReader) time(name string, into *time.Time) {
	if _, ok := r.fields[name]; !ok {
		return
	}
	var s string
	r.string(name, &s)
	t, err := time.Parse(time.RFC3339Nano, s)
	t = t.UTC()
	if err != nil || t.Year() < 0 || t.Year() > 9999 {
		r.fail(name, fmt.Errorf("expected an RFC 3339 time such as %q, not %q", "2026-01-02T03:04:05.678Z", s))
	}
	*into = t
}

// stamp reads the time of a sample or an event, which a batch must be able to hold.
func (r *fieldReader) stamp(name string, into *time.Time) {
	r.time(name, into)
	if r.err == nil && *into != (time.Time{}) && !inBatchRange(*into) {
		r.fail(name, fmt.Errorf("%v is not within the years 1678 to 2261", into.Format(time.RFC3339Nano)))
	}
}

func (r *fieldReader) list(name string) (entries []json.RawMessage) {
	r.decode(name, &entries, "a list")
	return entries
}

func (r *fieldReader) object(name string, into *Metadata) {
	raw := r.take(name)
	if raw == nil {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var m map[string]any
	if decoder.Decode(&m) != nil {
		r.fail(name, fmt.Errorf("expected an object, not %s", clip(raw)))
		return
	}
	if len(m) > 0 {
		*into = plainNumbers(m).(map[string]any)
	}
}

// plainNumbers puts int64 and float64 in the place of number texts.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case map[string]any:
		for k, e := range v {
			v[k] = plainNumbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plainNumbers(e)
		}
	}
	return v
}

// clip gives the beginning of what was found instead of what was expected.
func clip(raw []byte) string {
	const most = 60
	if raw = bytes.TrimSpace(raw); len(raw) > most {
		return string(bytes.ToValidUTF8(raw[:most], nil)) + "..."
	}
	return string(raw)
}
