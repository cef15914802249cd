package index

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/timetext"
)

// maxLength is the most characters that an attribute's text may have.
const maxLength = 255

// reserved are names that no attribute may have, since each resource has such a
// member anyway.
var reserved = []string{"id", "type", "metrics", "revision", "revision_start", "revision_end", "started_at", "ended_at",
	"user_id", "project_id", "created_by_user_id", "created_by_project_id", "get_metric", "creator",
	// These two Gnocchi allows; a search could not find them.
	"original_resource_id", "lifespan"}

var attributeName = regexp.MustCompile(`^[a-zA-Z0-9]`)

// normal checks an attribute of a type, and gives it its defaults.
func (a Attribute) normal(name string) (Attribute, error) {
	if utf8.RuneCountInString(name) > 63 || !attributeName.MatchString(name) || slices.Contains(reserved, name) || checkText(name, name) != nil {
		return a, &InvalidError{fmt.Sprintf("Resource attribute name %s is invalid", name)}
	}
	invalid := func(why string) (Attribute, error) {
		return a, &InvalidError{fmt.Sprintf("Resource attribute %s is invalid: %s", name, why)}
	}
	if a.Type != String {
		a.MinLength, a.MaxLength = 0, 0
	} else if a.MaxLength == 0 {
		a.MaxLength = maxLength
	}
	if a.Type != Number {
		a.Min, a.Max = nil, nil
	}
	switch {
	case !slices.Contains([]AttributeType{String, UUID, Bool, Datetime, Number}, a.Type):
		return invalid(fmt.Sprintf("there is no type %q", a.Type))
	case a.MinLength < 0 || a.MaxLength > maxLength || a.MinLength > a.MaxLength:
		return invalid(fmt.Sprintf("lengths from %d to %d", a.MinLength, a.MaxLength))
	case a.Min != nil && a.Max != nil && !(*a.Min <= *a.Max):
		return invalid(fmt.Sprintf("values from %v to %v", *a.Min, *a.Max))
	}
	return a, nil
}

// Parse reads a value of the attribute from JSON, strictly as Gnocchi does. The
// error is an [*InvalidError] with Gnocchi's reason, without the place: "expected
// str", "length of value must be at most 5". null is a value if the attribute is
// not required.
func (a Attribute) Parse(v json.RawMessage) (any, error) {
	var value any
	if err := json.Unmarshal(v, &value); err != nil {
		return nil, &InvalidError{"Expected object or value"}
	}
	if value == nil && !a.Required {
		return nil, nil
	}
	text, isText := value.(string)
	number, isNumber := value.(float64)
	switch a.Type {
	case String:
		if !isText {
			return nil, &InvalidError{"expected str"}
		}
	case Number:
		if !isNumber {
			return nil, &InvalidError{"expected Real"}
		}
	case Bool:
		if _, ok := value.(bool); !ok {
			return nil, &InvalidError{"expected bool"}
		}
	case Datetime:
		if isNumber {
			text = string(v) // with all of its digits
		} else if !isText {
			return nil, &InvalidError{"Unable to convert timestamps"}
		}
		return parseTime(text)
	}
	if isNumber {
		value = number
	}
	return a.Value(value)
}

// Value makes a value of the attribute of anything that JSON or a sample's metadata
// gives, if it can be understood as one: numbers as texts, texts as numbers, booleans,
// times and UUIDs. Its reasons are those of [Attribute.Parse].
func (a Attribute) Value(v any) (any, error) {
	if v == nil {
		if a.Required {
			return nil, &InvalidError{"a value is required"}
		}
		return nil, nil
	}
	switch a.Type {
	case String:
		return a.text(v)
	case Number:
		return a.number(v)
	case Bool:
		return boolOf(v)
	case Datetime:
		return timeOf(v)
	case UUID:
		return uuidOf(v)
	}
	return nil, &InvalidError{fmt.Sprintf("there is no type %q", a.Type)}
}

func (a Attribute) text(v any) (any, error) {
	s, ok := plainText(v)
	if !ok {
		return nil, &InvalidError{"expected str"}
	}
	if err := checkText("value", s); err != nil {
		return nil, err
	}
	switch length := utf8.RuneCountInString(s); {
	case length < a.MinLength:
		return nil, &InvalidError{fmt.Sprintf("length of value must be at least %d", a.MinLength)}
	case length > a.MaxLength:
		return nil, &InvalidError{fmt.Sprintf("length of value must be at most %d", a.MaxLength)}
	}
	return s, nil
}

// plainText is a value as text.
func plainText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		if v {
			return "True", true // as Python has it, and so Gnocchi
		}
		return "False", true
	case int, int64, int32, uint64, uint32:
		return fmt.Sprint(v), true
	case uuid.UUID:
		return v.String(), true
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), true
	}
	return "", false
}

func (a Attribute) number(v any) (any, error) {
	f, ok := v.(float64)
	if !ok {
		s, isPlain := plainText(v)
		var err error
		if f, err = strconv.ParseFloat(strings.TrimSpace(s), 64); err != nil || !isPlain {
			return nil, &InvalidError{"expected Real"}
		}
	}
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, &InvalidError{"expected Real"}
	case a.Min != nil && f < *a.Min:
		return nil, &InvalidError{fmt.Sprintf("value must be at least %v", *a.Min)}
	case a.Max != nil && f > *a.Max:
		return nil, &InvalidError{fmt.Sprintf("value must be at most %v", *a.Max)}
	}
	return f + 0, nil // no -0, which SQLite does not keep
}

func boolOf(v any) (any, error) {
	if b, ok := v.(bool); ok {
		return b, nil
	}
	s, _ := plainText(v)
	switch strings.ToLower(s) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return nil, &InvalidError{"expected bool"}
}

func timeOf(v any) (any, error) {
	if t, ok := v.(time.Time); ok {
		return micros(t), nil
	}
	s, _ := plainText(v)
	return parseTime(s)
}

func parseTime(text string) (any, error) {
	ns, err := timetext.ParseTime(text, time.Now())
	if err == timetext.ErrTime {
		return nil, &InvalidError{"Unable to convert timestamps"}
	}
	if err != nil {
		return nil, &InvalidError{err.Error()}
	}
	return micros(time.Unix(0, ns)), nil
}

func uuidOf(v any) (any, error) {
	if id, ok := v.(uuid.UUID); ok {
		return id.String(), nil
	}
	s, ok := v.(string)
	id, err := uuid.Parse(s)
	if !ok || err != nil {
		return nil, &InvalidError{"badly formed hexadecimal UUID string"}
	}
	return id.String(), nil
}
