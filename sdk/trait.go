package sdk

import (
	"fmt"
	"strconv"
	"time"
)

var traitTypes = [...]string{Text: "text", Integer: "integer", Float: "float", Datetime: "datetime"}

// String gives the name the type has in every text form.
func (t TraitType) String() string {
	if int(t) < len(traitTypes) {
		return traitTypes[t]
	}
	return fmt.Sprintf("trait(%d)", uint8(t))
}

// MarshalText implements encoding.TextMarshaler.
func (t TraitType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *TraitType) UnmarshalText(b []byte) error {
	for i, name := range traitTypes {
		if name == string(b) {
			*t = TraitType(i)
			return nil
		}
	}
	return fmt.Errorf("trait type %q is none of text, integer, float, datetime", b)
}

// traitTexts encodes the values of an event's traits.
func traitTexts(traits []Trait) ([]string, error) {
	texts := make([]string, len(traits))
	size := 0
	for i, t := range traits {
		text, err := traitText(t)
		if err != nil {
			return nil, err
		}
		if tooLong(t.Name) || tooLong(text) {
			return nil, fmt.Errorf("trait %.100q has over %d bytes", t.Name, MaxStringBytes)
		}
		texts[i] = text
		size += len(t.Name) + len(text) + 12
	}
	if size > maxParts {
		return nil, fmt.Errorf("its traits have over %d bytes", maxParts)
	}
	return texts, nil
}

// traitText encodes a trait's value for the wire.
func traitText(t Trait) (string, error) {
	switch v := t.Value.(type) {
	case string:
		if t.Type == Text {
			return v, nil
		}
	case int64:
		if t.Type == Integer {
			return strconv.FormatInt(v, 10), nil
		}
	case float64:
		if t.Type == Float {
			return strconv.FormatFloat(v, 'g', -1, 64), nil
		}
	case time.Time:
		if t.Type == Datetime {
			return v.UTC().Format(time.RFC3339Nano), nil
		}
	}
	return "", fmt.Errorf("trait %q has type %v but a value of type %T", t.Name, t.Type, t.Value)
}

// decodeTrait is the inverse of traitText. A text that does not fit its type
// becomes a text trait, for a stranger's mistake in one trait must cost no batch.
func decodeTrait(name string, typ TraitType, text string) Trait {
	switch typ {
	case Integer:
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			return Trait{name, typ, v}
		}
	case Float:
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			return Trait{name, typ, v}
		}
	case Datetime:
		if v, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return Trait{name, typ, v.UTC()}
		}
	}
	return Trait{name, Text, text}
}
