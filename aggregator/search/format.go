package search

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// How tightly the forms of text bind.
const (
	loosest = iota // or
	middle         // and
	tight          // not
	tightest
)

func (Compare) level() int { return tightest }
func (In) level() int      { return tightest }
func (And) level() int     { return middle }
func (Or) level() int      { return loosest }
func (Not) level() int     { return tight }

func (c Compare) String() string {
	return formatName(c.Attribute) + " " + string(c.Operator) + " " + formatValue(c.Value)
}

func (n In) String() string {
	values := make([]string, len(n.Values))
	for i, v := range n.Values {
		values[i] = formatValue(v)
	}
	return formatName(n.Attribute) + " in [" + strings.Join(values, ", ") + "]"
}

func (n And) String() string { return join(n, " and ", tight) }
func (n Or) String() string  { return join(n, " or ", middle) }
func (n Not) String() string { return "not " + formatWithin(n.Node, tight) }

func join(nodes []Node, between string, level int) string {
	parts := make([]string, len(nodes))
	for i, n := range nodes {
		parts[i] = formatWithin(n, level)
	}
	return strings.Join(parts, between)
}

// formatWithin puts a node in parentheses if it binds less tightly than what is
// around it needs.
func formatWithin(n Node, level int) string {
	if n.level() < level {
		return "(" + n.String() + ")"
	}
	return n.String()
}

// formatName leaves a name bare if that reads back as the same.
func formatName(name string) string {
	if word, rest := cutWord(name); word == "" || rest != "" || isReserved(name) {
		return quote(name)
	}
	return name
}

// isReserved reports whether a word means something by itself.
func isReserved(word string) bool {
	if _, ok := constants[word]; ok {
		return true
	}
	_, isOperator := operators[strings.ToLower(word)]
	return isOperator || slices.Contains([]string{"and", "or", "not", "in"}, strings.ToLower(word))
}

func formatValue(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return quote(v)
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	panic(fmt.Sprintf("BUG: a search holds a %T", v))
}

// quote is a text in quotes. Quotes within are doubled, which Gnocchi does not
// know; so those are taken that need no doubling, if there are.
func quote(s string) string {
	q := "'"
	if strings.Contains(s, q) && !strings.Contains(s, `"`) {
		q = `"`
	}
	return q + strings.ReplaceAll(s, q, q+q) + q
}
