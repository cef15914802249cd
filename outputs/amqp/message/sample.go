package message

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// sampleOf reads Ceilometer's dictionary of a sample, and may use it up.
func sampleOf(dict map[string]any) (sdk.Sample, error) {
	s := sdk.Sample{
		ID: text(dict["message_id"]), Name: text(dict["counter_name"]), Unit: text(dict["counter_unit"]),
		ResourceID: text(dict["resource_id"]), ProjectID: text(dict["project_id"]), UserID: text(dict["user_id"]),
		Source: text(dict["source"]), Monotonic: monotonic(dict["monotonic_time"]),
	}
	var err error
	if s.Type, err = sdk.ParseType(text(dict["counter_type"])); err != nil {
		return s, invalid("sample %.100q: %w", s.Name, err)
	}
	var ok bool
	if s.Volume, ok = volume(dict["counter_volume"]); !ok {
		return s, invalid("volume of sample %.100q is not a number", s.Name)
	}
	if s.Timestamp, err = parseISO(text(dict["timestamp"])); err != nil {
		return s, invalid("timestamp of sample %.100q: %w", s.Name, err)
	}
	switch m := dict["resource_metadata"].(type) {
	case nil:
	case map[string]any:
		if len(m) > 0 {
			s.Metadata = m
			plainNumbers(m)
		}
	default:
		return s, invalid("metadata of sample %.100q are no object", s.Name)
	}
	// Newer agents may send names beside the ids; a sample has no fields for them.
	for _, key := range []string{"project_name", "user_name"} {
		if name, ok := dict[key].(string); ok && name != "" && !has(s.Metadata, key) {
			if s.Metadata == nil {
				s.Metadata = sdk.Metadata{}
			}
			s.Metadata[key] = name
		}
	}
	return s, nil
}

// text reads what should be a string; null is empty.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return string(appendRepr(nil, v))
}

// volume reads a number, or the text of one as Ceilometer does.
func volume(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(string(v), 64)
		return f, err == nil || math.IsInf(f, 0)
	case string:
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return f, err == nil && !math.IsNaN(f)
	}
	return 0, false
}

func monotonic(v any) time.Duration {
	n, _ := v.(json.Number)
	s, err := strconv.ParseFloat(string(n), 64)
	if ns := math.Round(s * 1e9); err == nil && ns > 0 && ns < math.MaxInt64 {
		return time.Duration(ns)
	}
	return 0
}

// plainNumbers turns the numbers in v into int64 and float64, in place.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n
		}
		f, _ := strconv.ParseFloat(string(v), 64)
		return f
	case []any:
		for i, e := range v {
			v[i] = plainNumbers(e)
		}
	case map[string]any:
		for k, e := range v {
			switch e.(type) {
			case json.Number, []any, map[string]any:
				v[k] = plainNumbers(e)
			}
		}
	}
	return v
}

// writeSample writes row i of the batch as Ceilometer's dictionary.
func (w *dictWriter) writeSample(b *sdk.Batch, i int) {
	m := b.Meter(b.MeterOf(i))
	r := w.resource(b, b.ResourceOf(i))
	w.begin()
	w.text("counter_name", m.Name)
	w.text("counter_type", m.Type.String())
	w.text("counter_unit", m.Unit)
	w.number("counter_volume", b.Volume(i))
	w.text("message_id", b.SampleID(i))
	if mono := b.Monotonic(i); mono != 0 {
		w.number("monotonic_time", float64(mono)/1e9)
	} else {
		w.optional("monotonic_time", "")
	}
	w.optional("project_id", r.ProjectID)
	w.text("resource_id", r.ID)
	w.key("resource_metadata")
	w.json = append(w.json, r.metadata...)
	w.signed = append(w.signed, r.signed...)
	w.optional("source", r.Source)
	w.time("timestamp", b.Time(i))
	w.optional("user_id", r.UserID)
	w.end()
}
