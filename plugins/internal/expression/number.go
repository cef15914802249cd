package expression

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
)

// Operators' expressions may call number too; the other one is for comparisons,
// where text that is no number is simply not equal to one.
const (
	numberName   = "number"
	ifNumberName = "__number_if_it_is"
)

func functions() []expr.Option {
	return []expr.Option{
		expr.Function(numberName, func(params ...any) (any, error) { return toNumber(params[0]) }, new(func(any) float64)),
		expr.Function(ifNumberName, func(params ...any) (any, error) {
			if n, err := toNumber(params[0]); err == nil {
				return n, nil
			}
			return params[0], nil
		}, new(func(any) any)),
	}
}

func toNumber(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case int:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case string:
		if n, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
			return n, nil
		}
		return 0, fmt.Errorf("%.100q is not a number", v)
	case json.Number:
		return v.Float64()
	case nil:
		return 0, fmt.Errorf("a value is missing, ?? gives a default: (x ?? 1)")
	}
	if r := reflect.ValueOf(v); isNumber(r.Type()) {
		return r.Convert(reflect.TypeFor[float64]()).Float(), nil
	}
	return 0, fmt.Errorf("%.100v is not a number", v)
}

// asNumbers puts the function number around operands of unknown type where only
// numbers make sense.
type asNumbers struct{}

// Visit implements [ast.Visitor]; it is called for the innermost nodes first.
func (asNumbers) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.UnaryNode:
		if n.Operator == "-" {
			wrap(&n.Node, numberName)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "*", "/", "-", "**", "^":
			wrap(&n.Left, numberName)
			wrap(&n.Right, numberName)
		case "+", "<", "<=", ">", ">=":
			wrapBeside(n, numberName)
		case "==", "!=":
			wrapBeside(n, ifNumberName)
		}
	}
}

// wrapBeside is for operators that mean something for text as well: the other
// side decides.
func wrapBeside(n *ast.BinaryNode, function string) {
	if givesNumber(n.Left) {
		wrap(&n.Right, function)
	} else if givesNumber(n.Right) {
		wrap(&n.Left, function)
	}
}

func wrap(operand *ast.Node, function string) {
	if (*operand).Type().Kind() == reflect.Interface && !givesNumber(*operand) {
		*operand = &ast.CallNode{Callee: &ast.IdentifierNode{Value: function}, Arguments: []ast.Node{*operand}}
	}
}

// givesNumber tells whether a node is known to be a number: by its type, or as
// the result of an operator whose operands were wrapped.
func givesNumber(n ast.Node) bool {
	if isNumber(n.Type()) {
		return true
	}
	switch n := n.(type) {
	case *ast.BinaryNode:
		switch n.Operator {
		case "*", "/", "**", "^":
			return true
		case "-", "+":
			return givesNumber(n.Left) || givesNumber(n.Right)
		}
	case *ast.CallNode:
		callee, ok := n.Callee.(*ast.IdentifierNode)
		return ok && callee.Value == numberName
	case *ast.UnaryNode:
		return n.Operator == "-" && givesNumber(n.Node)
	}
	return false
}
