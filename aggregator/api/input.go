package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nephoscope/nepho/aggregator/timetext"
)

// input is a value in a body with its place there. The methods that read it keep
// the first fault of the whole body, and give zero values then, so that a handler
// asks for the fault once. The texts of faults are those that Gnocchi's clients
// know.
type input struct {
	raw    json.RawMessage // nil if it is not there
	path   []string
	place  string // data['definition'][0]
	member bool   // it is the value of an object's key
	// The first of each kind of fault: what is wrong is told before what is missing.
	first, missing *error
}

// input reads a body that is JSON.
func (s *Server) input(w http.ResponseWriter, r *http.Request) (input, error) {
	data, err := s.body(w, r, nil, mediaJSON)
	if err != nil {
		return input{}, err
	}
	if err := checkValues(data); err != nil {
		return input{}, err
	}
	if err := hold(w, 4*int64(len(data))); err != nil { // it is copied at each level
		return input{}, err
	}
	return newInput(data)
}

func newInput(data []byte) (input, error) {
	if err := checkJSON(data); err != nil {
		return input{}, err
	}
	return input{raw: data, place: "data", first: new(error), missing: new(error)}, nil
}

// checkJSON refuses what is not one JSON value.
func checkJSON(data []byte) error {
	if json.Valid(data) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	var v json.RawMessage
	reason := "Expected object or value"
	if d.Decode(&v) == nil {
		reason = "Trailing data"
	}
	return badRequest(Cause{Cause: "Unable to decode body", Reason: reason, Detail: []string{}})
}

// err is the first fault that was found.
func (in input) err() error { return firstOf(*in.first, *in.missing) }

// skip reports whether the value is not to be read: it is not there, or something
// was wrong before.
func (in input) skip() bool { return *in.first != nil || in.raw == nil }

// fault records what is wrong with the value.
func (in input) fault(reason string) { in.explain(reason, "") }

// invalid records that the value is none of those that may be there, and which may.
func (in input) invalid(sentence string) { in.explain("not a valid value", sentence) }

// explain is fault with a sentence of our own behind Gnocchi's text.
func (in input) explain(reason, sentence string) {
	if in.member {
		reason += " for dictionary value"
	}
	in.abort(in.describe(reason, sentence))
}

// refuse records a fault whose text does not say that it is a dictionary's value.
func (in input) refuse(reason string) { in.abort(in.describe(reason, "")) }

// abort records that something is wrong with the body.
func (in input) abort(err error) {
	if *in.first == nil {
		*in.first = err
	}
}

// describe is the answer to a fault of the value, with a sentence unless that is "".
func (in input) describe(reason, sentence string) *Error {
	if len(in.path) > 0 {
		reason += " @ " + in.place
	}
	if sentence != "" {
		reason += ": " + sentence
	}
	detail := in.path
	if detail == nil {
		detail = []string{}
	}
	return badRequest(Cause{Cause: "Invalid input", Reason: reason, Detail: detail})
}

// given reports whether the value is there.
func (in input) given() bool { return in.raw != nil }

// null reports whether the value is there, and null.
func (in input) null() bool { return string(bytes.TrimSpace(in.raw)) == "null" }

// kind is the first character of the value: { [ " or that of a number, true, false or null.
func (in input) kind() byte {
	if raw := bytes.TrimLeft(in.raw, " \t\r\n"); len(raw) > 0 {
		return raw[0]
	}
	return 0
}

// object is the members of an object. No keys allow any; others than those are a fault.
func (in input) object(keys ...string) members {
	m := members{in: in}
	if in.skip() {
		return m
	}
	if in.kind() != '{' {
		in.fault("expected a dictionary")
		return m
	}
	if err := json.Unmarshal(in.raw, &m.values); err != nil {
		in.fault(err.Error())
		return m
	}
	if len(keys) > 0 {
		m.only(keys)
	}
	return m
}

// only makes other keys a fault.
func (m members) only(keys []string) {
	for _, name := range m.names() {
		if !slices.Contains(keys, name) {
			m.get(name).refuse("extra keys not allowed")
		}
	}
}

// members is an object.
type members struct {
	in     input
	values map[string]json.RawMessage
}

// names are the keys, in alphabetical order.
func (m members) names() []string { return slices.Sorted(maps.Keys(m.values)) }

// get is the value of a key; it may not be there.
func (m members) get(name string) input {
	in := m.in
	in.raw = m.values[name]
	in.path = append(slices.Clip(in.path), name)
	in.place += "['" + name + "']"
	in.member = true
	return in
}

// need is the value of a key that has to be there.
func (m members) need(name string) input {
	in := m.get(name)
	if in.raw == nil && *in.missing == nil {
		*in.missing = in.describe("required key not provided", "")
	}
	return in
}

// list is the values of a list that has to have at least so many.
func (in input) list(least int) []input {
	if in.skip() {
		return nil
	}
	var raw []json.RawMessage
	if in.kind() != '[' || json.Unmarshal(in.raw, &raw) != nil {
		in.fault("expected a list")
		return nil
	}
	if len(raw) < least {
		in.fault(fmt.Sprintf("length of value must be at least %d", least))
		return nil
	}
	list := make([]input, len(raw))
	for i := range raw {
		item := in
		item.raw = raw[i]
		item.path = append(slices.Clip(in.path), strconv.Itoa(i))
		item.place = fmt.Sprintf("%s[%d]", in.place, i)
		item.member = false
		list[i] = item
	}
	return list
}

// text is a string of least to most characters.
func (in input) text(least, most int) string {
	if in.skip() {
		return ""
	}
	var text string
	if in.kind() != '"' || json.Unmarshal(in.raw, &text) != nil {
		in.fault("expected str")
		return ""
	}
	switch n := utf8.RuneCountInString(text); {
	case n < least:
		in.fault(fmt.Sprintf("length of value must be at least %d", least))
		return ""
	case n > most:
		in.fault(fmt.Sprintf("length of value must be at most %d", most))
		return ""
	case strings.ContainsRune(text, 0):
		in.fault("a string must not contain the character U+0000")
		return ""
	}
	return text
}

// scalar is a string or a number as text, false for all else.
func (in input) scalar() (string, bool) {
	switch c := in.kind(); {
	case c == '"':
		var text string
		err := json.Unmarshal(in.raw, &text)
		return text, err == nil
	case c == '-' || c >= '0' && c <= '9':
		return string(bytes.TrimSpace(in.raw)), true
	}
	return "", false
}

// integer is a whole number of at least least, as a number or as text.
func (in input) integer(least int64) int64 {
	if in.skip() {
		return 0
	}
	text, ok := in.scalar()
	v, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil && ok {
		// 20.0 and 2e1 are whole, too.
		var f float64
		f, err = strconv.ParseFloat(text, 64)
		if v = int64(f); f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
			ok = false
		}
	}
	switch {
	case !ok || err != nil:
		in.fault("expected int")
		return 0
	case v < least:
		in.fault(fmt.Sprintf("value must be at least %d", least))
		return 0
	}
	return v
}

// boolean is true or false.
func (in input) boolean() bool {
	if in.skip() {
		return false
	}
	var v bool
	if in.null() || json.Unmarshal(in.raw, &v) != nil {
		in.fault("expected bool")
	}
	return v
}

// number is a number, or nil for null.
func (in input) number() *float64 {
	if in.skip() || in.null() {
		return nil
	}
	var v float64
	if json.Unmarshal(in.raw, &v) != nil {
		in.fault("expected Real")
	}
	return &v
}

// span is a timespan above zero.
func (in input) span() time.Duration {
	if in.skip() {
		return 0
	}
	text, ok := in.scalar()
	if !ok {
		in.explain("Invalid timespan", "must be a number of seconds, or text such as 5 min")
		return 0
	}
	span, err := timetext.ParseSpan(text)
	if err != nil {
		in.fault(err.Error())
	}
	return span
}

// time is a time.
func (in input) time(now time.Time) time.Time {
	if in.skip() {
		return time.Time{}
	}
	text, ok := in.scalar()
	t, err := timetext.ParseTime(text, now)
	switch {
	case !ok:
		in.invalid("must be a time: a number or a string")
	case err != nil:
		in.invalid(err.Error())
	}
	return time.Unix(0, t).UTC()
}
