package search

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Parse reads a search from text, such as
//
//	host = 'node1' and not (flavor in [m1.tiny, 'm 2'] or ended_at != null)
//
// Of "not", "and" ("∧") and "or" ("∨"), the earlier binds tighter. Attributes that
// are no words are quoted. Values are texts in either quotes (a quote within is
// doubled), words, numbers, UUIDs, true, false and null.
//
// Text that begins with { is JSON, which [ParseJSON] reads: forms into which people
// write searches send both as text. Its errors are of type [*Error].
func Parse(text string) (Node, error) {
	if tree := strings.TrimSpace(text); strings.HasPrefix(tree, "{") {
		n, err := ParseJSON([]byte(tree))
		var e *Error
		if errors.As(err, &e) && e.Cause == noJSON {
			return nil, &Error{Reason: "Invalid filter: It begins with '{', and is not JSON"}
		}
		return n, err
	}
	p := parser{text: text, rest: text}
	if len(text) > MaxSize {
		return nil, p.refuse(fmt.Sprintf("at most %d bytes", MaxSize))
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, p.refuse("text in UTF-8")
	}
	n, err := p.any()
	if err != nil {
		return nil, err
	}
	if p.skipSpace(); p.rest != "" {
		return nil, p.refuse("end of text")
	}
	return n, nil
}

// parser reads the text from left to right; rest is what is left of it.
type parser struct {
	text, rest                string
	depth, conditions, values int
}

// refuse makes an error that says what was expected where the rest starts.
func (p *parser) refuse(expected string) *Error {
	p.skipSpace()
	found := "end of text"
	if word, _ := cutWord(p.rest); word != "" {
		found = "'" + word + "'"
	} else if p.rest != "" {
		r, _ := utf8.DecodeRuneInString(p.rest)
		found = "'" + string(r) + "'"
	}
	before := p.text[:len(p.text)-len(p.rest)]
	line, column := 1+strings.Count(before, "\n"), utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])+1
	return &Error{Reason: fmt.Sprintf("Invalid filter: Expected %s, found %s  (at char %d), (line:%d, col:%d)",
		expected, found, utf8.RuneCountInString(before), line, column)}
}

func (p *parser) skipSpace() { p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace) }

// cutWord cuts a word from the start of s: a letter, then letters, digits and _.
func cutWord(s string) (word, rest string) {
	for i, r := range s {
		if !unicode.IsLetter(r) && (i == 0 || r != '_' && !unicode.IsDigit(r)) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// take takes a word, in either case, or a sign, if it comes next.
func (p *parser) take(tokens ...string) bool {
	p.skipSpace()
	word, after := cutWord(p.rest)
	for _, token := range tokens {
		if word != "" && strings.EqualFold(word, token) {
			p.rest = after
			return true
		}
		if after, ok := strings.CutPrefix(p.rest, token); ok && word == "" {
			p.rest = after
			return true
		}
	}
	return false
}

// enter counts a level of nesting, which p.depth-- leaves.
func (p *parser) enter() error {
	if p.depth++; p.depth > MaxDepth {
		return p.refuse(fmt.Sprintf("conditions that nest at most %d deep", MaxDepth))
	}
	if p.conditions++; p.conditions > MaxConditions {
		return p.refuse(fmt.Sprintf("at most %d conditions", MaxConditions))
	}
	return nil
}

// any reads a whole condition.
func (p *parser) any() (Node, error) {
	nodes, err := p.chain((*parser).all, "or", "∨")
	if len(nodes) == 1 {
		return nodes[0], err
	}
	return Or(nodes), err
}

// all reads what "and" holds together.
func (p *parser) all() (Node, error) {
	nodes, err := p.chain((*parser).single, "and", "∧")
	if len(nodes) == 1 {
		return nodes[0], err
	}
	return And(nodes), err
}

func (p *parser) chain(read func(*parser) (Node, error), between ...string) ([]Node, error) {
	var nodes []Node
	for {
		n, err := read(p)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		if !p.take(between...) {
			return nodes, nil
		}
	}
}

// single reads a comparison, a condition in parentheses, or the negation of one.
func (p *parser) single() (Node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if p.take("(") {
		n, err := p.any()
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			return nil, p.refuse("')'")
		}
		return n, nil
	}
	// An attribute may be called "not": then an operator follows.
	p.skipSpace()
	start := p.rest
	if p.take("not") {
		if _, isComparison := p.operator(); !isComparison {
			n, err := p.single()
			return Not{n}, err
		}
		p.rest = start
	}
	return p.comparison()
}

// operator takes a comparison, "in" included.
func (p *parser) operator() (Operator, bool) {
	p.skipSpace()
	if word, after := cutWord(p.rest); word != "" {
		word = strings.ToLower(word)
		if o, ok := operators[word]; ok || word == "in" {
			p.rest = after
			return o, true
		}
		return "", false
	}
	for _, length := range []int{len("≠"), 2, 1} {
		if length <= len(p.rest) {
			if o, ok := operators[p.rest[:length]]; ok {
				p.rest = p.rest[length:]
				return o, true
			}
		}
	}
	return "", false
}

func (p *parser) comparison() (Node, error) {
	p.skipSpace()
	name, ok := p.quoted()
	if !ok {
		if name, p.rest = cutWord(p.rest); name == "" {
			return nil, p.refuse("attribute")
		}
	}
	operator, ok := p.operator()
	if !ok {
		return nil, p.refuse("operator")
	}
	if operator != "" {
		v, err := p.value()
		return Compare{operator, name, v}, err
	}
	if !p.take("[") {
		return nil, p.refuse("list")
	}
	n := In{Attribute: name}
	for {
		if p.values++; p.values > MaxValues {
			return nil, p.refuse(fmt.Sprintf("at most %d values in lists", MaxValues))
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		n.Values = append(n.Values, v)
		if p.take("]") {
			return n, nil
		}
		if !p.take(",") {
			return nil, p.refuse("',' or ']'")
		}
	}
}

// quoted takes a text in quotes, if one comes next that ends.
func (p *parser) quoted() (string, bool) {
	if p.rest == "" || p.rest[0] != '\'' && p.rest[0] != '"' {
		return "", false
	}
	q := p.rest[:1]
	var b strings.Builder
	for s := p.rest[1:]; ; {
		i := strings.Index(s, q)
		if i < 0 {
			return "", false
		}
		b.WriteString(s[:i])
		if s = s[i+1:]; !strings.HasPrefix(s, q) {
			p.rest = s
			return b.String(), true
		}
		b.WriteString(q)
		s = s[1:]
	}
}

// Patterns are compiled when they are needed: every plugin's process has this
// package in it.
var (
	uuids = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}\b`)
	})
	numbers = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?`) })
)

// constants are the words that are no text.
var constants = map[string]any{
	"null": nil, "none": nil, "None": nil,
	"true": true, "True": true, "false": false, "False": false,
}

func (p *parser) value() (any, error) {
	p.skipSpace()
	if s, ok := p.quoted(); ok {
		return s, nil
	}
	if id := uuids().FindString(p.rest); id != "" {
		p.rest = p.rest[len(id):]
		return id, nil
	}
	if word, after := cutWord(p.rest); word != "" {
		p.rest = after
		if v, ok := constants[word]; ok {
			return v, nil
		}
		return word, nil
	}
	if number := numbers().FindString(p.rest); number != "" {
		if v, err := strconv.ParseFloat(number, 64); err == nil {
			p.rest = p.rest[len(number):]
			return v, nil
		}
	}
	return nil, p.refuse("value")
}
