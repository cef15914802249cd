// Package search is Gnocchi's language to search resources, from JSON or text.
package search

import "errors"

// Node is a condition of a search: [Compare], [In], [And], [Or] or [Not].
type Node interface{ node() }

// Operator is a comparison.
type Operator string

// The comparisons. Like is SQL's: % is any text, _ any character.
const (
	Equal          Operator = "="
	NotEqual       Operator = "!="
	Less           Operator = "<"
	LessOrEqual    Operator = "<="
	Greater        Operator = ">"
	GreaterOrEqual Operator = ">="
	Like           Operator = "like"
)

// Compare compares an attribute. Value is nil, string, bool or float64.
type Compare struct {
	Operator  Operator
	Attribute string
	Value     any
}

// In says that an attribute has one of some values.
type In struct {
	Attribute string
	Values    []any
}

// And says that all of its nodes hold.
type And []Node

// Or says that one of its nodes holds.
type Or []Node

// Not says that its node does not hold.
type Not struct{ Node Node }

func (Compare) node() {}
func (In) node()      {}
func (And) node()     {}
func (Or) node()      {}
func (Not) node()     {}

// Error says what is wrong with a search. For JSON, Reason is worded as Gnocchi
// does and Detail is the path to the place; for text, Reason starts with "Invalid
// filter: " and Detail is nil.
type Error struct {
	Reason string
	Detail []string
}

func (e *Error) Error() string { return e.Reason }

// ParseJSON reads a search from JSON. Its errors are of type [*Error]. An empty
// object is nil: everything.
func ParseJSON(data []byte) (Node, error) { return nil, errNotYet }

// Parse reads a search from text, such as "a = 1 and b like 'x%'". Its errors are
// of type [*Error].
func Parse(text string) (Node, error) { return nil, errNotYet }

var errNotYet = errors.New("not written yet")
