package message

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxValues bounds the values of a JSON text, of which small ones take many
// times as much memory as text.
const maxValues = 2 << 20

// parseJSON reads JSON as Python reads it, which encoding/json can't do: Python
// writes and reads NaN, Infinity and -Infinity as numbers, and tells integers of
// any size from floats, also in what is signed. It goes over the text once.
//
// Values are nil, bool, string, json.Number, []any and map[string]any. NaN, which
// a json.Number can't be, is nil; infinities are numbers beyond the range.
func parseJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrForm)
	}
	p := parser{data: data, keys: map[string]string{}, left: maxValues}
	v, err := p.value(0)
	if err == nil {
		if p.space(); p.at < len(data) {
			err = p.fail("more after the end of the value")
		}
	}
	return v, err
}

type parser struct {
	data []byte
	at   int
	keys map[string]string // so that each key is kept once
	left int               // how many more values are allowed
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrForm, what, p.at)
}

func (p *parser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

// next skips space and gives the byte that follows, 0 at the end.
func (p *parser) next() byte {
	p.space()
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return 0
}

func (p *parser) value(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, p.fail(fmt.Sprintf("nested deeper than %d levels", MaxDepth))
	}
	if p.left--; p.left < 0 {
		return nil, p.fail(fmt.Sprintf("more than %d values", maxValues))
	}
	switch c := p.next(); c {
	case '{':
		return p.object(depth)
	case '[':
		return p.list(depth)
	case '"':
		return p.text(nil)
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	case 'n':
		return nil, p.word("null")
	case 'N':
		return nil, p.word("NaN")
	case 'I':
		return json.Number("1e999"), p.word("Infinity")
	default:
		if c == '-' && p.at+1 < len(p.data) && p.data[p.at+1] == 'I' {
			return json.Number("-1e999"), p.word("-Infinity")
		}
		return p.number()
	}
}

func (p *parser) word(w string) error {
	if end := p.at + len(w); end <= len(p.data) && string(p.data[p.at:end]) == w {
		p.at = end
		return nil
	}
	return p.fail("no value")
}

func (p *parser) object(depth int) (any, error) {
	p.at++
	m := map[string]any{}
	if p.next() == '}' {
		p.at++
		return m, nil
	}
	for {
		if p.next() != '"' {
			return nil, p.fail("no key")
		}
		key, err := p.text(p.keys)
		if err != nil {
			return nil, err
		}
		if p.next() != ':' {
			return nil, p.fail("no colon")
		}
		p.at++
		if m[key], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		switch p.next() {
		case ',':
			p.at++
		case '}':
			p.at++
			return m, nil
		default:
			return nil, p.fail("no end of an object")
		}
	}
}

func (p *parser) list(depth int) (any, error) {
	p.at++
	list := []any{}
	if p.next() == ']' {
		p.at++
		return list, nil
	}
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		switch p.next() {
		case ',':
			p.at++
		case ']':
			p.at++
			return list, nil
		default:
			return nil, p.fail("no end of a list")
		}
	}
}

// number reads a number by the grammar of JSON, where 01 and 1. are none.
func (p *parser) number() (any, error) {
	from := p.at
	digits := func() bool {
		start := p.at
		for p.at < len(p.data) && p.data[p.at] >= '0' && p.data[p.at] <= '9' {
			p.at++
		}
		return p.at > start
	}
	is := func(chars string) bool {
		if p.at < len(p.data) && strings.IndexByte(chars, p.data[p.at]) >= 0 {
			p.at++
			return true
		}
		return false
	}
	is("-")
	good := is("0") || digits()
	if good && is(".") {
		good = digits()
	}
	if good && is("eE") {
		is("+-")
		good = digits()
	}
	if !good {
		return nil, p.fail("no value")
	}
	return json.Number(p.data[from:p.at]), nil
}

// text reads a string. One without escapes that is among known is not copied,
// and becomes known.
func (p *parser) text(known map[string]string) (string, error) {
	p.at++
	from, plain := p.at, true
	for {
		if p.at >= len(p.data) {
			return "", p.fail("no end of a string")
		}
		switch c := p.data[p.at]; {
		case c == '"':
			raw := p.data[from:p.at]
			p.at++
			if !plain {
				return p.unescape(raw)
			}
			if s, ok := known[string(raw)]; ok {
				return s, nil
			}
			s := string(raw)
			if known != nil {
				known[s] = s
			}
			return s, nil
		case c == '\\':
			plain = false
			p.at++ // whatever follows doesn't end the string
		case c < ' ':
			return "", p.fail("a control character in a string")
		}
		p.at++
	}
}

// unescape resolves the escapes of a string.
func (p *parser) unescape(raw []byte) (string, error) {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++
		switch raw[i] { // a string doesn't end with a backslash, see text
		case '"', '\\', '/':
			out = append(out, raw[i])
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := hex4(raw[i+1:])
			if !ok {
				return "", p.fail("a wrong escape in the string")
			}
			i += 4
			if utf16.IsSurrogate(r) && i+2 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
				second, _ := hex4(raw[i+3:])
				if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			out = utf8.AppendRune(out, r) // half a pair becomes U+FFFD
		default:
			return "", p.fail("a wrong escape in the string")
		}
	}
	return string(out), nil
}

func hex4(raw []byte) (rune, bool) {
	if len(raw) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range raw[:4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
