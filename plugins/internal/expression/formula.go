package expression

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"github.com/nephoscope/nepho/sdk"
)

// inputsName gives a formula the samples behind its variables.
const inputsName = "inputs"

// Formula computes a number of several samples of one resource. It belongs to
// one goroutine at a time.
type Formula struct {
	program *vm.Program
	vm      vm.VM
	env     map[string]any
	inputs  map[string]any
	used    []string
}

// NewFormula compiles an expression in which each variable is the volume of a
// sample, and inputs.VARIABLE the sample itself with its fields. Of the resource
// there are resource_id, project_id, user_id, source and resource_metadata.
func NewFormula(text string, variables []string) (*Formula, error) {
	f := &Formula{inputs: map[string]any{}}
	f.env = map[string]any{inputsName: f.inputs}
	for _, v := range variables {
		f.env[v], f.inputs[v] = 0.0, (*fields)(nil)
	}
	f.setResource(&sdk.Sample{})
	program, err := compileFor(text, f.env)
	if err != nil {
		return nil, err
	}
	if err := checkResult(program, isNumber, "a number"); err != nil {
		return nil, err
	}
	f.program = program
	names := &inputNames{variables: variables}
	root := program.Node()
	ast.Walk(&root, names)
	f.used = names.used
	return f, nil
}

// Used lists the variables that the formula uses, in the order in which it does.
func (f *Formula) Used() []string { return f.used }

// Evaluate computes the formula; samples are by variable, and the resource is
// that of the first variable used.
func (f *Formula) Evaluate(samples map[string]sdk.Sample) (float64, error) {
	for v, s := range samples {
		f.env[v] = s.Volume
		f.inputs[v] = &fields{
			Volume: s.Volume, Timestamp: s.Timestamp, Name: s.Name, Unit: s.Unit, Type: s.Type.String(), ResourceID: s.ResourceID,
			ProjectID: s.ProjectID, UserID: s.UserID, Source: s.Source, Metadata: s.Metadata,
		}
	}
	on := samples[f.used[0]]
	f.setResource(&on)
	v, err := f.vm.Run(f.program, f.env)
	if err != nil {
		return 0, errors.New(firstLine(err))
	}
	return toFinite(v)
}

func (f *Formula) setResource(s *sdk.Sample) {
	f.env["resource_id"], f.env["project_id"], f.env["user_id"] = s.ResourceID, s.ProjectID, s.UserID
	f.env["source"], f.env["resource_metadata"] = s.Source, map[string]any(s.Metadata)
}

// inputNames collects the variables that an expression uses.
type inputNames struct{ variables, used []string }

// Visit implements [ast.Visitor].
func (n *inputNames) Visit(node *ast.Node) {
	name := ""
	switch node := (*node).(type) {
	case *ast.IdentifierNode:
		name = node.Value
	case *ast.MemberNode: // inputs.VARIABLE
		of, isName := node.Node.(*ast.IdentifierNode)
		property, isText := node.Property.(*ast.StringNode)
		if isName && isText && of.Value == inputsName {
			name = property.Value
		}
	}
	if slices.Contains(n.variables, name) && !slices.Contains(n.used, name) {
		n.used = append(n.used, name)
	}
}

// CheckVariable tells what is wrong with the name of a variable.
func CheckVariable(name string) error {
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) {
		return fmt.Errorf("%q cannot be a variable: a name has letters, digits and _ and does not begin with a digit", name)
	}
	reserved := []string{inputsName, numberName, "resource_id", "project_id", "user_id", "source", "resource_metadata"}
	program, err := compileFor(name, map[string]any{name: 0.0})
	if err == nil {
		if node, ok := program.Node().(*ast.IdentifierNode); ok && node.Value == name && !slices.Contains(reserved, name) {
			return nil
		}
	}
	return fmt.Errorf("%q cannot be a variable: it has a meaning of its own", name)
}
