package message

import (
	"math"
	"strconv"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// The types of traits by Ceilometer's numbers.
const (
	traitNone = iota
	traitText
	traitInteger
	traitFloat
	traitDatetime
)

// eventOf reads Ceilometer's dictionary of an event.
func eventOf(dict map[string]any) (sdk.Event, error) {
	e := sdk.Event{MessageID: text(dict["message_id"]), EventType: text(dict["event_type"])}
	var err error
	if e.Generated, err = parseISO(text(dict["generated"])); err != nil {
		return e, invalid("time of event %.100q: %w", e.EventType, err)
	}
	traits, ok := dict["traits"].([]any)
	if !ok && dict["traits"] != nil {
		return e, invalid("traits of event %.100q are no list", e.EventType)
	}
	for _, t := range traits {
		parts, _ := t.([]any)
		if len(parts) != 3 {
			return e, invalid("a trait of event %.100q is no list of name, type and value", e.EventType)
		}
		if parts[2] != nil {
			e.Traits = append(e.Traits, traitOf(text(parts[0]), text(parts[1]), parts[2]))
		}
	}
	if raw, ok := object(dict["raw"]); dict["raw"] != nil && (!ok || len(raw) > 0) {
		e.Raw = appendJSON(nil, dict["raw"])
	}
	return e, nil
}

// traitOf reads a trait. A value that is not of its type becomes text, for that
// is no reason to lose the event.
func traitOf(name, dtype string, value any) sdk.Trait {
	n, _ := strconv.Atoi(dtype)
	str := string(appendStr(nil, value))
	switch n {
	case traitInteger:
		if i, err := strconv.ParseInt(str, 10, 64); err == nil {
			return sdk.Trait{Name: name, Type: sdk.Integer, Value: i}
		}
		if f, ok := volume(value); ok && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return sdk.Trait{Name: name, Type: sdk.Integer, Value: int64(f)}
		}
	case traitFloat:
		if f, ok := volume(value); ok {
			return sdk.Trait{Name: name, Type: sdk.Float, Value: f}
		}
	case traitDatetime:
		if t, err := parseISO(str); err == nil && holds(t) {
			return sdk.Trait{Name: name, Type: sdk.Datetime, Value: t}
		}
	}
	return sdk.Trait{Name: name, Type: sdk.Text, Value: str}
}

// writeEvent writes an event as Ceilometer's dictionary.
func (w *dictWriter) writeEvent(e sdk.Event) error {
	var raw any = map[string]any{}
	if len(e.Raw) > 0 {
		var err error
		if raw, err = parseJSON(e.Raw); err != nil {
			return invalid("raw notification of event %.100q is not JSON: %w", e.EventType, err)
		}
	}
	traits := make([]any, len(e.Traits))
	for i, t := range e.Traits {
		traits[i] = []any{t.Name, traitNumber(t), traitValue(t)}
	}
	w.begin()
	w.text("event_type", e.EventType)
	w.time("generated", e.Generated)
	w.text("message_id", e.MessageID)
	w.value("raw", raw)
	w.value("traits", traits)
	w.end()
	return nil
}

func traitNumber(t sdk.Trait) int64 {
	switch t.Type {
	case sdk.Text:
		return traitText
	case sdk.Integer:
		return traitInteger
	case sdk.Float:
		return traitFloat
	case sdk.Datetime:
		return traitDatetime
	}
	return traitNone
}

func traitValue(t sdk.Trait) any {
	if at, ok := t.Value.(time.Time); ok {
		return string(appendISO(nil, at))
	}
	return t.Value
}
