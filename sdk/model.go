package sdk

import (
	"fmt"
	"time"

	"github.com/nephoscope/nepho/sdk/wire"
)

// Type says how a meter's volume is to be read.
type Type uint8

const (
	// Gauge is a value of its own: a temperature, a fill level.
	Gauge = Type(wire.MeterType_GAUGE)
	// Delta is the change since the previous sample of the meter.
	Delta = Type(wire.MeterType_DELTA)
	// Cumulative grows, and starts again at 0 when its counter is reset.
	Cumulative = Type(wire.MeterType_CUMULATIVE)
)

// String gives the name the type has in every text form: gauge, delta or
// cumulative.
func (t Type) String() string {
	switch t {
	case Gauge:
		return "gauge"
	case Delta:
		return "delta"
	case Cumulative:
		return "cumulative"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// ParseType is the inverse of [Type.String].
func ParseType(s string) (Type, error) {
	switch s {
	case "gauge":
		return Gauge, nil
	case "delta":
		return Delta, nil
	case "cumulative":
		return Cumulative, nil
	}
	return 0, fmt.Errorf("meter type %q is none of gauge, delta, cumulative", s)
}

// MarshalText implements encoding.TextMarshaler.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Type) UnmarshalText(b []byte) error {
	p, err := ParseType(string(b))
	if err == nil {
		*t = p
	}
	return err
}

// Meter names what is measured and in which unit ("B", "ns", "%", ...).
type Meter struct {
	Name string
	Type Type
	Unit string
}

// Metadata describes a resource: a JSON object. Values are strings, float64 or
// integer numbers, bools, nil, []any and map[string]any. Metadata read from a
// batch is shared between its samples and must not be changed.
type Metadata map[string]any

// Resource is what a sample was measured on.
type Resource struct {
	ID string
	// ProjectID and UserID own the resource; empty where nobody does.
	ProjectID, UserID string
	// Source is the naming authority of the ids; empty means the deployment's own.
	Source   string
	Metadata Metadata
}

// Sample is one measurement, as a row of a [Batch].
type Sample struct {
	// ID is unique. Empty in a sample to be added: it is then given one.
	ID     string
	Name   string
	Type   Type
	Unit   string
	Volume float64

	ResourceID, ProjectID, UserID, Source string
	Metadata                              Metadata

	// Timestamp is when it was measured.
	Timestamp time.Time
	// Monotonic is the same moment on the boot-time clock of the machine that
	// measured: differences between samples of one resource are right even when
	// the machine's wall clock was stepped in between. 0 is unknown.
	Monotonic time.Duration
}

// TraitType is the type of a trait's value.
type TraitType uint8

// The types of traits, and what [Trait.Value] holds for each.
const (
	Text     = TraitType(wire.TraitType_TEXT)     // string
	Integer  = TraitType(wire.TraitType_INTEGER)  // int64
	Float    = TraitType(wire.TraitType_FLOAT)    // float64
	Datetime = TraitType(wire.TraitType_DATETIME) // time.Time, UTC
)

// Trait is a typed property of an event.
type Trait struct {
	Name string
	Type TraitType
	// Value is a string, int64, float64 or time.Time, as Type says.
	Value any
}

// Event is something that happened.
type Event struct {
	// MessageID is unique.
	MessageID string
	EventType string
	Generated time.Time
	Traits    []Trait
	// Raw is the original notification as JSON, or nil.
	Raw []byte
}
