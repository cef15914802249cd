package operations

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

	"github.com/nephoscope/nepho/aggregator/timetext"
)

// Bounds of what is parsed.
const (
	MaxDepth = 100     // of operations in operations
	MaxItems = 1 << 19 // words, numbers and lists
)

// Parse reads an operation from JSON: nested lists, or a string with the text of
// them (see [ParseText]). The error is an *[Error].
func Parse(data []byte) (*Operation, error) {
	if data = bytes.TrimSpace(data); len(data) > 0 && data[0] == '"' {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return nil, notJSON(err)
		}
		return ParseText(text)
	}
	r := jsonReader{decoder: json.NewDecoder(bytes.NewReader(data))}
	r.decoder.UseNumber()
	it, err := r.item(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.decoder.Token(); err != io.EOF {
		return nil, notJSON(errors.New("there is more behind the list"))
	}
	return build(it)
}

// ParseText reads an operation from text with parentheses, of which there may be too
// many at the end. Words that contain spaces or parentheses are put in ' or ". The error is an *[Error].
func ParseText(text string) (*Operation, error) {
	it, err := readText(text)
	if err != nil {
		return nil, err
	}
	return build(it)
}

// item is a list or a word, before it has a meaning.
type item struct {
	list   []item
	word   string // or a number
	isList bool
	isText bool // not a number of JSON
}

// String is an item as errors tell it.
func (it item) String() string {
	if it.isList {
		return "a list"
	}
	return strconv.Quote(it.word)
}

func invalid(name, format string, args ...any) *Error {
	reason := fmt.Sprintf("'%s' operation invalid for dictionary value @ data['operations']: ", name) + fmt.Sprintf(format, args...)
	return &Error{"Invalid input", reason, []string{"operations"}}
}

// unnamed is invalid for what has no name.
func unnamed(what string) *Error {
	return &Error{"Invalid input", what + " for dictionary value @ data['operations']", []string{"operations"}}
}

func notJSON(err error) *Error { return &Error{"Unable to decode body", err.Error(), []string{}} }

func tooLarge() *Error {
	e := unnamed(fmt.Sprintf("Operations have more than %d levels or %d words", MaxDepth, MaxItems))
	e.Reason += ": ask for less at once, or use a search"
	return e
}

type jsonReader struct {
	decoder *json.Decoder
	items   int
}

func (r *jsonReader) item(depth int) (item, error) {
	token, err := r.decoder.Token()
	if err != nil {
		return item{}, notJSON(err)
	}
	if r.items++; r.items > MaxItems || depth > MaxDepth {
		return item{}, tooLarge()
	}
	switch v := token.(type) {
	case json.Delim:
		if v != '[' {
			return item{}, unnamed("Expected a list, got an object")
		}
		it := item{isList: true}
		for r.decoder.More() {
			member, err := r.item(depth + 1)
			if err != nil {
				return item{}, err
			}
			it.list = append(it.list, member)
		}
		if _, err := r.decoder.Token(); err != nil {
			return item{}, notJSON(err)
		}
		return it, nil
	case string:
		return item{word: v, isText: true}, nil
	case json.Number:
		return item{word: v.String()}, nil
	}
	return item{}, unnamed(fmt.Sprintf("Expected a list, a string or a number, got %v", token))
}

// readText reads one list.
func readText(text string) (item, error) {
	fail := func(expected string, at int) (item, error) {
		found := "end of text"
		if at < len(text) {
			found = "'" + cutWord(text[at:]) + "'"
		}
		return item{}, &Error{"Invalid operations", "Fail to parse the operations string",
			fmt.Sprintf("Expected %s, found %s  (at char %d)", expected, found, utf8.RuneCountInString(text[:at]))}
	}
	var open []item // the lists around where we are
	items := 0
	for at := 0; ; {
		at += len(text[at:]) - len(strings.TrimLeft(text[at:], " \t\r\n"))
		if at == len(text) {
			if len(open) > 0 {
				return fail("')'", at)
			}
			return fail("'('", at)
		}
		if items++; items > MaxItems || len(open) > MaxDepth {
			return item{}, tooLarge()
		}
		c := text[at]
		if len(open) == 0 && c != '(' {
			return fail("'('", at)
		}
		var done item
		switch c {
		case '(':
			open = append(open, item{isList: true})
			at++
			continue
		case ')':
			done = open[len(open)-1]
			open = open[:len(open)-1]
			at++
		case '"', '\'':
			end := strings.IndexByte(text[at+1:], c)
			if end < 0 {
				return fail("closing "+string(c), len(text))
			}
			done = item{word: text[at+1:][:end], isText: true}
			at += end + 2
		default:
			word := cutWord(text[at:])
			done = item{word: word, isText: true}
			at += len(word)
		}
		if len(open) == 0 {
			// Gnocchi takes no notice of what comes next; of brackets too many neither do we.
			if rest := strings.TrimLeft(text[at:], " \t\r\n)"); rest != "" {
				return fail("end of text, since all '(' are closed", len(text)-len(rest))
			}
			return done, nil
		}
		around := &open[len(open)-1]
		around.list = append(around.list, done)
	}
}

// cutWord is the text up to a space or parenthesis, at least one byte.
func cutWord(text string) string {
	if end := strings.IndexAny(text, " \t\r\n()"); end > 0 {
		return text[:end]
	} else if end == 0 {
		return text[:1]
	}
	return text
}

// quote is a word as readText reads it.
func quote(word string) string {
	mark := `"`
	if strings.Contains(word, mark) {
		mark = "'"
	}
	if word == "" || strings.ContainsAny(word, " \t\r\n()") || word[0] == '"' || word[0] == '\'' {
		return mark + word + mark
	}
	return word
}

// builder gives lists a meaning.
type builder struct {
	references []Reference
	places     map[Reference]int
}

func build(it item) (*Operation, error) {
	if !it.isList {
		return nil, unnamed(fmt.Sprintf("Expected a list, got %q", it.word))
	}
	b := builder{places: map[Reference]int{}}
	root, err := b.node(it)
	if err != nil {
		return nil, err
	}
	o := &Operation{b.references, root}
	if len(o.References) == 0 {
		return nil, &Error{"Operations is invalid", "At least one 'metric' is required", o.String()}
	}
	return o, nil
}

// place is where a reference is among those of the operation.
func (b *builder) place(r Reference) int {
	i, known := b.places[r]
	if !known {
		i = len(b.references)
		b.references, b.places[r] = append(b.references, r), i
	}
	return i
}

// operand is a list, or a number.
func (b *builder) operand(name string, it item) (node, error) {
	if it.isList {
		return b.node(it)
	}
	v, ok := parseNumber(it.word)
	if !ok {
		return node{}, invalid(name, "%q is no number", it.word)
	}
	return node{kind: number, number: v}, nil
}

// parseNumber reads what Python's float does.
func parseNumber(word string) (float64, bool) {
	word = strings.TrimSpace(word)
	if strings.ContainsAny(word, "xXpP_") { // Go's hexadecimal numbers
		return 0, false
	}
	v, err := strconv.ParseFloat(word, 64)
	return v, err == nil
}

// node is an operation of a list.
func (b *builder) node(it item) (node, error) {
	switch {
	case len(it.list) == 0:
		return node{}, unnamed("Operation must not be empty")
	case it.list[0].isList || !it.list[0].isText:
		return node{}, unnamed("Expected the name of an operation first in a list")
	case len(it.list) == 1:
		return node{}, unnamed("Operation need at least one argument")
	}
	n := node{name: it.list[0].word}
	args := it.list[1:]
	least, most := 1, 1 // operands, which are last
	switch n.name {
	case "metric":
		return b.metric(args)
	case "aggregate", "rolling", "resample":
		rest, err := n.setFunction(args)
		if err != nil {
			return n, err
		}
		args, most = rest, len(rest)
	case "rateofchange":
		n.kind = rateOfChange
	case "clip":
		n.kind = clip
		least, most = 2, 3
	default:
		if f, ok := unaryOperations[n.name]; ok {
			n.kind, n.unary = unary, f
		} else if f, ok := binaryOperations[n.name]; ok {
			n.kind, n.binary = binary, f
			least, most = 2, 2
		} else {
			return n, invalid(n.name, "there is no such operation")
		}
	}
	if len(args) < least || len(args) > most {
		return n, invalid(n.name, "it takes %s, not %d", numberOf(least, most, "operand"), len(args))
	}
	numbers := 0
	for _, arg := range args {
		operand, err := b.operand(n.name, arg)
		if err != nil {
			return n, err
		}
		if operand.kind == number {
			numbers++
		}
		n.operands = append(n.operands, operand)
	}
	if numbers == 0 || numbers < len(args) && n.kind != aggregate {
		return n, nil
	}
	return n.folded()
}

// numberOf is so many things as text: "1 operand", "2 or 3 operands".
func numberOf(least, most int, thing string) string {
	text := strconv.Itoa(least)
	if most > least {
		text += " or " + strconv.Itoa(most)
	}
	if most > 1 {
		thing += "s"
	}
	return text + " " + thing
}

// folded is the value of a node that has numbers for operands.
func (n node) folded() (node, error) {
	value := n.operands[0].number
	switch n.kind {
	case unary:
		value = n.unary(value)
	case binary:
		value = n.binary(value, n.operands[1].number)
	case clip:
		value = clipMin(value, n.operands[1].number)
		if len(n.operands) == 3 {
			value = clipMax(value, n.operands[2].number)
		}
	default:
		return n, invalid(n.name, "it needs series, not a number")
	}
	return node{kind: number, number: value}, nil
}

// setFunction reads what aggregate, rolling and resample have before their operand.
func (n *node) setFunction(args []item) (rest []item, err error) {
	own, form := 2, "FUNCTION POINTS OPERATION"
	switch n.name {
	case "aggregate":
		own, form = 1, "FUNCTION OPERATION ..."
	case "resample":
		form = "FUNCTION TIMESPAN OPERATION"
	}
	if len(args) <= own || len(args) > own+1 && n.name != "aggregate" {
		return nil, invalid(n.name, "write (%s %s)", n.name, form)
	}
	var ok bool
	if n.function, ok = parseFunction(args[0].word); !ok || args[0].isList {
		return nil, invalid(n.name, "the function must be one of %s, not %s", functionNames, args[0])
	}
	switch n.name {
	case "aggregate":
		n.kind = aggregate
	case "rolling":
		n.kind = rolling
		points, ok := parseNumber(args[1].word)
		if !ok || args[1].isList || points < 1 || points > math.MaxInt32 || points != math.Trunc(points) {
			return nil, invalid(n.name, "the number of points must be a whole number of 1 or more, not %s", args[1])
		}
		n.points = int(points)
	case "resample":
		n.kind = resample
		if args[1].isList {
			return nil, invalid(n.name, "write (%s %s)", n.name, form)
		}
		span, err := timetext.ParseSpan(args[1].word)
		if err != nil {
			return nil, invalid(n.name, "%v: %s", err, args[1])
		}
		n.period = timetext.Period{Span: span}
		n.method, n.variance = n.function.method(), n.function.of == variance
	}
	return args[own:], nil
}

// metric is a reference, or a list of lists of them.
func (b *builder) metric(args []item) (node, error) {
	n := node{kind: metric, name: "metric"}
	pairs := args
	if !args[0].isList {
		pairs = []item{{list: args, isList: true}}
	}
	seen := map[int]bool{}
	for _, p := range pairs {
		if !p.isList || len(p.list) != 2 || !p.list[0].isText || !p.list[1].isText {
			return n, invalid("metric", "write (metric METRIC METHOD) or (metric (METRIC METHOD) ...)")
		}
		if i := b.place(Reference{p.list[0].word, p.list[1].word}); !seen[i] {
			seen[i] = true
			n.metrics = append(n.metrics, i)
		}
	}
	return n, nil
}
