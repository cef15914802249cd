package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Object is a JSON object whose members have an order. It is written as Python's
// json.dumps writes a dict, which is what receivers of Aodh's messages may rely on:
// numbers with a fraction keep it (100.0), and all but ASCII is escaped.
type Object []Member

// Member is a member of an [Object]. Its value is nil, a bool, string, int, int64,
// float64, json.Number (an integer), []string, []any, []Object or Object.
type Member struct {
	Name  string
	Value any
}

// MarshalJSON implements json.Marshaler.
func (o Object) MarshalJSON() ([]byte, error) { return AppendJSON(nil, o), nil }

// Get gives a member's value, nil if there is none.
func (o Object) Get(name string) any {
	for _, m := range o {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// AppendJSON appends a value as json.dumps of Python writes it, NaN and infinities
// included, for which JSON has no words.
func AppendJSON(to []byte, value any) []byte {
	if to == nil {
		to = make([]byte, 0, 1<<10) // most alarms, so that it does not grow from nothing
	}
	switch v := value.(type) {
	case nil:
		return append(to, "null"...)
	case bool:
		return strconv.AppendBool(to, v)
	case string:
		return appendText(to, v)
	case int:
		return strconv.AppendInt(to, int64(v), 10)
	case int64:
		return strconv.AppendInt(to, v, 10)
	case json.Number:
		return append(to, v...)
	case float64:
		return append(to, numberText(v, "NaN", "Infinity")...)
	case []string:
		return appendList(to, v)
	case []any:
		return appendList(to, v)
	case []Object:
		return appendList(to, v)
	case Object:
		to = append(to, '{')
		for i, m := range v {
			if i > 0 {
				to = append(to, ", "...)
			}
			to = append(appendText(to, m.Name), ": "...)
			to = AppendJSON(to, m.Value)
		}
		return append(to, '}')
	default:
		panic(fmt.Sprintf("BUG: no JSON for %T", value))
	}
}

func appendList[T any](to []byte, list []T) []byte {
	to = append(to, '[')
	for i, v := range list {
		if i > 0 {
			to = append(to, ", "...)
		}
		to = AppendJSON(to, v)
	}
	return append(to, ']')
}

func appendText(to []byte, s string) []byte {
	const hex = "0123456789abcdef"
	unit := func(u rune) {
		to = append(to, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
	}
	to = append(to, '"')
	plain := 0 // from where on nothing had to be escaped
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r >= 0x20 && r < utf8.RuneSelf && r != '"' && r != '\\' {
			i++
			continue
		}
		to = append(to, s[plain:i]...)
		i += size
		plain = i
		switch {
		case r == '"' || r == '\\':
			to = append(to, '\\', byte(r))
		case r == '\n':
			to = append(to, `\n`...)
		case r == '\r':
			to = append(to, `\r`...)
		case r == '\t':
			to = append(to, `\t`...)
		case r == '\b':
			to = append(to, `\b`...)
		case r == '\f':
			to = append(to, `\f`...)
		case r < 0x10000:
			unit(r)
		default:
			r -= 0x10000
			unit(0xd800 + r>>10)
			unit(0xdc00 + r&0x3ff)
		}
	}
	return append(append(to, s[plain:]...), '"')
}

// NumberText gives a number as Python's str does: 100.0, 1e-05, 1e+16, nan, inf.
func NumberText(v float64) string { return numberText(v, "nan", "inf") }

func numberText(v float64, nan, inf string) string {
	switch {
	case math.IsNaN(v):
		return nan
	case math.IsInf(v, 1):
		return inf
	case math.IsInf(v, -1):
		return "-" + inf
	}
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// maxNested is how deep values may be in each other that [ReadJSON] reads, as in encoding/json.
const maxNested = 10_000

// ReadJSON reads a text of JSON into the values that [AppendJSON] takes, so that it is written as Python
// would write what it reads: members of objects stay in their order, and integers what they are, however
// large ([json.Number]).
func ReadJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := readValue(d, maxNested)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is something behind the value")
	}
	return v, nil
}

func readValue(d *json.Decoder, nested int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Number:
		return readNumber(t), nil
	case json.Delim:
		if nested == 0 {
			return nil, fmt.Errorf("it is more than %d levels deep", maxNested)
		}
		if t == '{' {
			return readMembers(d, nested-1)
		}
		list := []any{}
		for d.More() {
			v, err := readValue(d, nested-1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	default:
		return t, nil
	}
}

func readMembers(d *json.Decoder, nested int) (Object, error) {
	o := Object{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := readValue(d, nested)
		if err != nil {
			return nil, err
		}
		o = append(o, Member{name.(string), v}) // the decoder refuses other names
	}
	_, err := d.Token()
	return o, err
}

func readNumber(n json.Number) any {
	if strings.ContainsAny(n.String(), ".eE") {
		f, _ := n.Float64() // its error is that of an infinity
		return f
	}
	if i, err := n.Int64(); err == nil {
		return i
	}
	return n
}
