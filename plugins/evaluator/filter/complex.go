package filter

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"
)

// Limits of a query. What databases need to plan it grows with the square of its conditions,
// and what a regular expression costs for a text with the product of both sizes.
const (
	maxQuery    = 1 << 20 // bytes
	maxDepth    = 64
	maxParts    = 1000   // conditions
	maxValues   = 10_000 // of all lists of "in"
	maxPatterns = 20
	maxPattern  = 1000 // bytes, and instructions that it becomes
)

// Complex reads the filter of a complex query: JSON such as
// {"and": [{"=": {"state": "alarm"}}, {"not": {"in": {"severity": ["low"]}}}]}.
// Its error is an [*Error].
func Complex(text string, fields Fields) (Expr, error) {
	if len(text) > maxQuery {
		return nil, wrong("Filter expression not valid: it is longer than %d bytes", maxQuery)
	}
	r := reader{fields: fields}
	e, err := r.read(json.RawMessage(text), 1)
	if err != nil {
		return nil, wrong("Filter expression not valid: %s", err.Message)
	}
	return e, nil
}

type reader struct {
	fields                  Fields
	parts, values, patterns int // so far
}

// simple are operators as they are written, and as [Compare] has them.
var simple = map[string]string{"=": "=", "!=": "!=", "<": "<", ">": ">", "<=": "<=", "=<": "<=", ">=": ">=", "=>": ">=", "=~": "=~"}

func (r *reader) read(data json.RawMessage, depth int) (Expr, *Error) {
	if depth > maxDepth {
		return nil, wrong("it is nested more than %d levels deep", maxDepth)
	}
	if r.parts++; r.parts > maxParts {
		return nil, wrong("it has more than %d parts", maxParts)
	}
	op, operand, err := single(data)
	if err != nil {
		return nil, err
	}
	switch op = strings.ToLower(op); op {
	case "and", "or":
		var list []json.RawMessage
		if json.Unmarshal(operand, &list) != nil || len(list) < 2 {
			return nil, wrong("%q takes a list of two or more conditions", op)
		}
		parts := make([]Expr, len(list))
		for i, part := range list {
			if parts[i], err = r.read(part, depth+1); err != nil {
				return nil, err
			}
		}
		if op == "and" {
			return And(parts), nil
		}
		return Or(parts), nil
	case "not":
		e, err := r.read(operand, depth+1)
		return Not{e}, err
	case "in":
		field, kind, value, err := r.field(operand)
		if err != nil {
			return nil, err
		}
		var list []json.RawMessage
		if json.Unmarshal(value, &list) != nil || len(list) == 0 {
			return nil, wrong("%q takes a list of values", op)
		}
		if r.values += len(list); r.values > maxValues {
			return nil, wrong("its lists have more than %d values", maxValues)
		}
		in := In{Field: field}
		for _, v := range list {
			value, err := read(field, kind, v)
			if err != nil {
				return nil, err
			}
			in.Values = append(in.Values, value)
		}
		return in, nil
	}
	if simple[op] == "" {
		return nil, wrong("%q is none of %s, in, and, or, not", shorten(op), strings.Join(slices.Sorted(maps.Keys(simple)), " "))
	}
	field, kind, raw, err := r.field(operand)
	if err != nil {
		return nil, err
	}
	value, err := read(field, kind, raw)
	if err != nil {
		return nil, err
	}
	if op == "=~" {
		if err := r.pattern(value); err != nil {
			return nil, err
		}
	}
	return Compare{Field: field, Op: simple[op], Value: value}, nil
}

// pattern checks a regular expression.
func (r *reader) pattern(value any) *Error {
	text, ok := value.(string)
	if !ok {
		return wrong("=~ takes a regular expression")
	}
	if r.patterns++; r.patterns > maxPatterns {
		return wrong("it has more than %d regular expressions", maxPatterns)
	}
	if len(text) > maxPattern {
		return wrong("the regular expression %q is longer than %d bytes", shorten(text), maxPattern)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return wrong("%q is no regular expression: %v", shorten(text), err)
	}
	if compiled, err := syntax.Compile(parsed.Simplify()); err != nil || len(compiled.Inst) > maxPattern {
		return wrong("the regular expression %q is too large: repeat less", shorten(text))
	}
	return nil
}

// single reads an object with one member.
func single(data json.RawMessage) (name string, value json.RawMessage, _ *Error) {
	d := json.NewDecoder(bytes.NewReader(data))
	var object map[string]json.RawMessage
	if err := d.Decode(&object); err != nil {
		return "", nil, wrong("%s is no JSON object", shorten(string(data)))
	}
	if _, err := d.Token(); err != io.EOF || len(object) != 1 {
		return "", nil, wrong("%s is no object with one member", shorten(string(data)))
	}
	for name, value = range object {
	}
	return name, value, nil
}

// field reads {"field": value}.
func (r *reader) field(data json.RawMessage) (field string, kind Kind, value json.RawMessage, err *Error) {
	if field, value, err = single(data); err != nil {
		return "", 0, nil, err
	}
	if long := short[field]; long != "" {
		field = long
	}
	kind, ok := r.fields[field]
	if !ok {
		return "", 0, nil, wrong("%q is none of the fields %s", shorten(field), strings.Join(slices.Sorted(maps.Keys(r.fields)), ", "))
	}
	return field, kind, value, nil
}

// read reads a value for a field of a kind.
func read(field string, kind Kind, raw json.RawMessage) (any, *Error) {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil, wrong("%s is no value", shorten(string(raw)))
	}
	if s, ok := value.(string); ok {
		if strings.ContainsRune(s, 0) {
			return nil, wrong("a text can't have a zero character")
		}
		if kind == Time {
			t, err := ParseTime(s)
			if err != nil {
				return nil, err.(*Error)
			}
			return t, nil
		}
	}
	switch v := value.(type) {
	case bool:
		if kind == Bool {
			return v, nil
		}
	case string:
		switch strings.ToLower(v) {
		case "true", "1":
			if kind == Bool {
				return true, nil
			}
		case "false", "0":
			if kind == Bool {
				return false, nil
			}
		}
		if kind == Text {
			return v, nil
		}
	case float64:
		if kind == Bool && (v == 0 || v == 1) {
			return v == 1, nil
		}
		if kind == Text {
			return string(raw), nil // a number as it was written
		}
	}
	return nil, wrong("%s can't be compared with %s", field, shorten(string(raw)))
}

// OrderBy reads the order of a complex query: JSON such as [{"timestamp": "desc"}].
func OrderBy(text string, fields Fields) ([]Order, error) {
	var list []json.RawMessage
	if len(text) > maxQuery || json.Unmarshal([]byte(text), &list) != nil {
		return nil, wrong("Order-by expression not valid: %s is no list", shorten(text))
	}
	if len(list) > len(fields) {
		return nil, wrong("Order-by expression not valid: it has more entries than there are fields")
	}
	var orders []Order
	r := reader{fields: fields}
	for _, item := range list {
		field, _, value, err := r.field(item)
		if err != nil {
			return nil, wrong("Order-by expression not valid: %s", err.Message)
		}
		var direction string
		if json.Unmarshal(value, &direction) != nil || !strings.EqualFold(direction, "asc") && !strings.EqualFold(direction, "desc") {
			return nil, wrong("Order-by expression not valid: the direction of %s is neither asc nor desc", field)
		}
		orders = append(orders, Order{Field: field, Descending: strings.EqualFold(direction, "desc")})
	}
	return orders, nil
}

func shorten(s string) string {
	if len(s) <= 100 {
		return s
	}
	return strings.ToValidUTF8(s[:100], "") + "..."
}
