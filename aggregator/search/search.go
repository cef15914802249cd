// Package search is Gnocchi's language to search resources: trees of conditions,
// read from JSON or from text. What attributes there are, and what their types
// are, is for those who evaluate a tree.
package search

import "fmt"

// Limits of what is read. They keep the SQL that is made of a search within what
// databases take, and any reader's stack small.
const (
	// MaxSize is the most bytes of a search.
	MaxSize = 2 << 20
	// MaxDepth is how deep conditions nest at most; a comparison alone has depth 1.
	MaxDepth = 50
	// MaxConditions is the most conditions.
	MaxConditions = 1000
	// MaxValues is the most values in lists, of all lists together.
	MaxValues = 10_000
)

// Node is a condition of a search: [Compare], [In], [And], [Or] or [Not]. A nil
// Node is no condition. What it says of an attribute that is null is neither true
// nor false, as in SQL, save where the types say otherwise.
type Node interface {
	// String is the condition as text, which [Parse] reads back.
	fmt.Stringer
	// level is how tightly the text binds: one of the constants loosest to tightest.
	level() int
}

// Operator is a comparison.
type Operator string

// The comparisons. Like is SQL's: % is any text, _ any character, and a backslash
// takes the next character as it is. It tells upper from lower case.
const (
	Equal          Operator = "="
	NotEqual       Operator = "!="
	Less           Operator = "<"
	LessOrEqual    Operator = "<="
	Greater        Operator = ">"
	GreaterOrEqual Operator = ">="
	Like           Operator = "like"
)

// operators are the comparisons by each of their names.
var operators = map[string]Operator{
	"=": Equal, "==": Equal, "eq": Equal,
	"!=": NotEqual, "≠": NotEqual, "ne": NotEqual,
	"<": Less, "lt": Less,
	"<=": LessOrEqual, "≤": LessOrEqual, "le": LessOrEqual,
	">": Greater, "gt": Greater,
	">=": GreaterOrEqual, "≥": GreaterOrEqual, "ge": GreaterOrEqual,
	"like": Like,
}

// Compare compares an attribute with a value: nil, string, bool or float64. An
// attribute is Equal to nil when it is null; NotEqual of a value holds for null as
// well.
type Compare struct {
	Operator  Operator
	Attribute string
	Value     any
}

// In says that an attribute has one of some values, which are as in [Compare].
type In struct {
	Attribute string
	Values    []any
}

// And says that all of its nodes hold; there are at least two in what was read.
type And []Node

// Or says that one of its nodes holds; there are at least two in what was read.
type Or []Node

// Not says that its node does not hold.
type Not struct{ Node Node }

// Error says what is wrong with a search, worded as Gnocchi does where Gnocchi
// finds it wrong too.
type Error struct {
	// Cause is "Invalid input" or "Unable to decode body", or "" where Gnocchi
	// answers with the reason alone.
	Cause  string
	Reason string
	// Detail is the path to the place in JSON: keys, and numbers in lists. It is nil
	// without a cause.
	Detail []string
}

func (e *Error) Error() string { return e.Reason }
