package expression

import "github.com/expr-lang/expr/ast"

// needs says what an expression's value depends on.
type needs uint8

const (
	ofMeter needs = 1 << iota
	ofResource
	ofRow
)

// Visit implements [ast.Visitor].
func (n *needs) Visit(node *ast.Node) {
	identifier, ok := (*node).(*ast.IdentifierNode)
	if !ok {
		return
	}
	switch identifier.Value {
	case "name", "unit", "type":
		*n |= ofMeter
	case "resource_id", "project_id", "user_id", "source", "resource_metadata":
		*n |= ofResource
	case "volume", "timestamp":
		*n |= ofRow
	case "$env":
		*n |= ofMeter | ofResource | ofRow
	}
}

func needsOf(root ast.Node) needs {
	var n needs
	ast.Walk(&root, &n)
	return n
}
