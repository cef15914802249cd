// Package search is Gnocchi's language to search resources, from JSON or text.
package search

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
