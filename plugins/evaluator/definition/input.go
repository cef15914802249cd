package definition

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// InputError says what is wrong with a definition, in Aodh's words where it has some.
type InputError struct{ Message string }

func (e *InputError) Error() string { return e.Message }

func wrong(format string, args ...any) *InputError {
	return &InputError{Message: fmt.Sprintf(format, args...)}
}

// invalid is wsme's text of a value that an attribute can't have.
func invalid(field, value, reason string) *InputError {
	return wrong("Invalid input for field/attribute %s. Value: '%s'. %s", field, shorten(value), reason)
}

// shorten cuts what clients sent to what helps them.
func shorten(s string) string {
	if len(s) <= 200 {
		return s
	}
	return strings.ToValidUTF8(s[:200], "") + "..."
}

// input is the members of a JSON object. It keeps the first fault, and gives zero
// values after one. Members that are null count as left out.
type input struct {
	members map[string]json.RawMessage
	err     error
}

// readObject reads an object.
func readObject(data []byte) (*input, error) {
	in := &input{}
	if err := json.Unmarshal(data, &in.members); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return nil, wrong("Request is not in valid JSON format: an object is expected, not %s", kind.Value)
		}
		return nil, wrong("Request is not in valid JSON format")
	}
	if in.members == nil {
		return nil, wrong("Request is not in valid JSON format")
	}
	return in, nil
}

func (in *input) fail(err *InputError) {
	if in.err == nil {
		in.err = err
	}
}

// known refuses members of other names.
func (in *input) known(names ...string) {
	unknown := []string{}
	for name := range in.members {
		if !slices.Contains(names, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		in.fail(wrong("Unknown attribute for argument data: %s", shorten(strings.Join(unknown, ", "))))
	}
}

// raw gives a member's JSON, nil if it is not there or null.
func (in *input) raw(name string) json.RawMessage {
	raw := in.members[name]
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func (in *input) missing(name string) { in.fail(invalid(name, "None", "Mandatory field missing.")) }

func (in *input) text(name, byDefault string) string {
	raw := in.raw(name)
	if raw == nil {
		return byDefault
	}
	var s string
	if raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		s = string(raw[1 : len(raw)-1]) // it is JSON: alarms are read by the million
	} else if json.Unmarshal(raw, &s) != nil {
		in.fail(invalid(name, string(raw), "A text is expected."))
	}
	in.checkText(name, s)
	return s
}

// checkText refuses what can't be stored.
func (in *input) checkText(name, s string) {
	if most := cmp.Or(lengths[name], maxName); len(s) > most && utf8.RuneCountInString(s) > most {
		in.fail(invalid(name, s, fmt.Sprintf("Value should have a maximum length of %d", most)))
	}
	if strings.ContainsRune(s, 0) {
		in.fail(invalid(name, strings.ReplaceAll(s, "\x00", "\\0"), "A text can't have a zero character."))
	}
}

func (in *input) mandatoryText(name string) string {
	if in.raw(name) == nil {
		in.missing(name)
	}
	return in.text(name, "")
}

func (in *input) oneOf(name, byDefault string, texts []string) string {
	s := in.text(name, byDefault)
	if s == "" {
		s = byDefault
	}
	if !slices.Contains(texts, s) {
		in.fail(invalid(name, s, "Value should be one of: "+strings.Join(texts, ", ")))
	}
	return s
}

func (in *input) truth(name string, byDefault bool) bool {
	raw := in.raw(name)
	if raw == nil {
		return byDefault
	}
	switch strings.ToLower(strings.Trim(string(raw), `"`)) {
	case "true":
		return true
	case "false":
		return false
	}
	in.fail(invalid(name, string(raw), "A boolean is expected."))
	return false
}

// number reads a number, also one in a text.
func (in *input) number(name string) float64 {
	raw := in.raw(name)
	if raw == nil {
		in.missing(name)
		return 0
	}
	v, err := strconv.ParseFloat(strings.Trim(string(raw), `" `), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		in.fail(invalid(name, string(raw), "A number is expected."))
		return 0
	}
	return v
}

// integer reads an integer from lowest to highest, also one in a text.
func (in *input) integer(name string, byDefault, lowest, highest int) int {
	raw := in.raw(name)
	if raw == nil {
		return byDefault
	}
	text := strings.Trim(string(raw), `" `)
	v, err := strconv.Atoi(text)
	if err != nil {
		if f, floatErr := strconv.ParseFloat(text, 64); floatErr == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			v, err = int(f), nil // 60.0
		}
	}
	switch {
	case err != nil:
		in.fail(invalid(name, string(raw), "An integer is expected."))
	case v < lowest:
		in.fail(invalid(name, text, fmt.Sprintf("Value should be greater or equal to %d", lowest)))
	case v > highest:
		in.fail(invalid(name, text, fmt.Sprintf("Value should be lower or equal to %d", highest)))
	}
	return v
}

// listOf reads a list of at most so many members.
func listOf[T any](in *input, name string, most int, of string) []T {
	raw := in.raw(name)
	if raw == nil {
		return nil
	}
	var list []T
	if json.Unmarshal(raw, &list) != nil {
		in.fail(invalid(name, string(raw), "A list of "+of+" is expected."))
		return nil
	}
	if len(list) > most {
		in.fail(invalid(name, string(raw), fmt.Sprintf("A list of at most %d is allowed.", most)))
		return nil
	}
	return list
}

// texts reads a list of at most so many texts.
func (in *input) texts(name string, most int) []string {
	list := listOf[string](in, name, most, "texts")
	for _, s := range list {
		in.checkText(name, s)
	}
	return list
}

// objects reads a list of at most so many objects with f.
func (in *input) objects(name string, most int, f func(*input)) {
	for _, item := range listOf[json.RawMessage](in, name, most, "objects") {
		part, err := readObject(item)
		if err != nil {
			in.fail(invalid(name, string(item), "An object is expected."))
			return
		}
		f(part)
		if part.err != nil && in.err == nil {
			in.err = part.err
		}
	}
}
