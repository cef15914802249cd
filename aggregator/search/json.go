package search

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ParseJSON reads a search from JSON, such as {"and": [{"=": {"a": 1}}, {"like":
// {"b": "x%"}}]}. An empty object is nil: no condition. Its errors are of type
// [*Error].
func ParseJSON(data []byte) (Node, error) {
	if len(data) > MaxSize {
		return nil, &Error{Cause: invalidInput, Reason: fmt.Sprintf("a search has at most %d bytes", MaxSize), Detail: []string{}}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	v, err := decode(d, 0)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = errNoJSON()
		}
	}
	if err != nil {
		return nil, err
	}
	if o, ok := v.(object); ok && len(o) == 0 {
		return nil, nil
	}
	t := tree{}
	return t.node(v, nil)
}

// Causes of errors.
const (
	invalidInput = "Invalid input"
	noJSON       = "Unable to decode body"
)

func errNoJSON() *Error {
	return &Error{Cause: noJSON, Reason: "Expected object or value", Detail: []string{}}
}

// object is a JSON object with its members in their order, since one that names a
// member twice is to be refused.
type object []member

type member struct {
	name  string
	value any
}

// decode reads a value: nil, bool, float64, string, []any or object.
func decode(d *json.Decoder, depth int) (any, error) {
	// A condition takes two levels, and a comparison three.
	if depth > 2*MaxDepth+1 {
		return nil, errDepth(nil)
	}
	token, err := d.Token()
	if err != nil {
		return nil, errNoJSON()
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, end(d)
	case json.Delim('{'):
		o := object{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, errNoJSON()
			}
			v, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			o = append(o, member{name.(string), v})
		}
		return o, end(d)
	}
	return token, nil
}

// end reads the end of a list or an object.
func end(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return errNoJSON()
	}
	return nil
}

// path is where in the JSON something is.
type path []step

type step struct {
	name    string
	element bool // of a list: the name is a number
}

// in is the path of a member, at that of an element. They share no memory with p's other children.
func (p path) in(name string) path { return append(p[:len(p):len(p)], step{name, false}) }
func (p path) at(i int) path       { return append(p[:len(p):len(p)], step{strconv.Itoa(i), true}) }

// refuse makes an error of a name that does not belong where it is.
func (p path) refuse(reason string) *Error {
	detail := make([]string, len(p))
	var at strings.Builder
	for i, s := range p {
		detail[i] = s.name
		if s.element {
			at.WriteString("[" + s.name + "]")
		} else {
			at.WriteString("['" + s.name + "']")
		}
	}
	if len(p) > 0 {
		reason += " @ data" + at.String()
	}
	return &Error{Cause: invalidInput, Reason: reason, Detail: detail}
}

// refuseValue makes an error of a value: a member's, an element, or all.
func (p path) refuseValue(reason string) *Error {
	if len(p) > 0 && !p[len(p)-1].element {
		reason += " for dictionary value"
	}
	return p.refuse(reason)
}

func errDepth(p path) *Error {
	return p.refuseValue(fmt.Sprintf("conditions nest at most %d deep", MaxDepth))
}

// tree makes nodes of decoded JSON.
type tree struct{ conditions, values, depth int }

func (t *tree) node(v any, p path) (Node, error) {
	if t.depth++; t.depth > MaxDepth {
		return nil, errDepth(p)
	}
	defer func() { t.depth-- }()
	if t.conditions++; t.conditions > MaxConditions {
		return nil, p.refuseValue(fmt.Sprintf("a search has at most %d conditions", MaxConditions))
	}
	m, err := only(v, p)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, &Error{Reason: "Unable to parse this query"} // {} within others
	}
	p = p.in(m.name)
	switch m.name {
	case "and", "∧":
		nodes, err := t.nodes(m.value, p)
		if len(nodes) == 1 {
			return nodes[0], err
		}
		return And(nodes), err
	case "or", "∨":
		nodes, err := t.nodes(m.value, p)
		if len(nodes) == 1 {
			return nodes[0], err
		}
		return Or(nodes), err
	case "not":
		n, err := t.node(m.value, p)
		return Not{n}, err
	case "in":
		return t.in(m.value, p)
	}
	if operator, ok := operators[m.name]; ok {
		return comparison(operator, m.value, p)
	}
	return nil, p.refuse("extra keys not allowed")
}

// only is the only member of an object; nil if it is empty.
func only(v any, p path) (*member, error) {
	length := 0
	o, isObject := v.(object)
	switch v := v.(type) {
	case object:
		length = len(v)
	case []any:
		length = len(v)
	case string:
		length = len([]rune(v))
	default:
		return nil, p.refuseValue("invalid value or type")
	}
	switch {
	case length > 1:
		return nil, p.refuseValue("length of value must be at most 1")
	case !isObject:
		return nil, p.refuseValue("expected a dictionary")
	case length == 0:
		return nil, nil
	}
	return &o[0], nil
}

// one is the only member of an object that must have one.
func one(v any, p path) (*member, error) {
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			return nil, p.refuseValue("length of value must be at least 1")
		}
	case string:
		if v == "" {
			return nil, p.refuseValue("length of value must be at least 1")
		}
	}
	m, err := only(v, p)
	if err == nil && m == nil {
		err = p.refuseValue("length of value must be at least 1")
	}
	return m, err
}

func (t *tree) nodes(v any, p path) ([]Node, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, p.refuseValue("expected a list")
	}
	if len(list) == 0 {
		return nil, p.refuseValue("length of value must be at least 1")
	}
	nodes := make([]Node, len(list))
	for i, v := range list {
		n, err := t.node(v, p.at(i))
		if err != nil {
			return nil, err
		}
		nodes[i] = n
	}
	return nodes, nil
}

func comparison(operator Operator, v any, p path) (Node, error) {
	m, err := one(v, p)
	if err != nil {
		return nil, err
	}
	p = p.in(m.name)
	if operator == Like && m.name == "id" {
		return nil, p.refuse("extra keys not allowed")
	}
	if err := check(m.name, m.value, p); err != nil {
		return nil, err
	}
	return Compare{operator, m.name, m.value}, nil
}

func (t *tree) in(v any, p path) (Node, error) {
	m, err := one(v, p)
	if err != nil {
		return nil, err
	}
	p = p.in(m.name)
	list, ok := m.value.([]any)
	if !ok {
		return nil, p.refuseValue("expected a list")
	}
	if len(list) == 0 {
		return nil, p.refuseValue("length of value must be at least 1")
	}
	if t.values += len(list); t.values > MaxValues {
		return nil, p.refuseValue(fmt.Sprintf("a search has at most %d values in lists", MaxValues))
	}
	for i, v := range list {
		p := p.at(i)
		if err := check(m.name, v, p); err != nil {
			return nil, err
		}
	}
	return In{m.name, list}, nil
}

// check refuses what is no value of an attribute.
func check(name string, v any, p path) error {
	text, _ := v.(string)
	if strings.ContainsRune(name+text, 0) {
		return p.refuseValue("characters of code 0 are not supported")
	}
	switch v := v.(type) {
	case []any, object:
		return p.refuseValue("expected str")
	case string:
		if name == "id" && strings.Contains(v, "/") {
			return p.refuseValue("'/' is not supported in resource id")
		}
		return nil
	}
	if name == "id" {
		return p.refuseValue("expected str")
	}
	return nil
}
