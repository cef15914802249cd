package expression

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/nephoscope/nepho/sdk"
)

// fields are what an expression sees of a sample.
type fields struct {
	Volume     float64        `expr:"volume"`
	Timestamp  time.Time      `expr:"timestamp"`
	Name       string         `expr:"name"`
	Unit       string         `expr:"unit"`
	Type       string         `expr:"type"`
	ResourceID string         `expr:"resource_id"`
	ProjectID  string         `expr:"project_id"`
	UserID     string         `expr:"user_id"`
	Source     string         `expr:"source"`
	Metadata   map[string]any `expr:"resource_metadata"`
}

// Expression gives a T for each row of a batch. It evaluates once per meter or
// once per resource where it depends on nothing else. It belongs to one
// goroutine at a time.
type Expression[T any] struct {
	program *vm.Program
	vm      vm.VM
	needs   needs
	convert func(any) (T, error)

	batch  *sdk.Batch
	env    fields
	meter  int // the table entries that env holds; -1: none
	on     int
	cached []result[T]
}

type result[T any] struct {
	value T
	err   error
	known bool
}

// Number compiles an expression that gives a finite number.
func Number(text string) (*Expression[float64], error) {
	return compile(text, toFinite, isNumber, "a number")
}

// Condition compiles an expression that gives true or false.
func Condition(text string) (*Expression[bool], error) {
	return compile(text, toBool, func(t reflect.Type) bool { return t.Kind() == reflect.Bool }, "true or false")
}

// Value compiles an expression that gives anything that metadata may hold; nil
// says that there is nothing.
func Value(text string) (*Expression[any], error) {
	any1 := func(v any) (any, error) { return v, nil }
	return compile(text, any1, func(reflect.Type) bool { return true }, "")
}

func compile[T any](text string, convert func(any) (T, error), fits func(reflect.Type) bool, what string) (*Expression[T], error) {
	program, err := compileFor(text, fields{})
	if err != nil {
		return nil, err
	}
	if err := checkResult(program, fits, what); err != nil {
		return nil, err
	}
	e := &Expression[T]{program: program, convert: convert, needs: needsOf(program.Node()), meter: -1, on: -1}
	if e.IsConstant() { // what it gives for every sample is known already
		if _, err := e.evaluate(); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func compileFor(text string, env any) (*vm.Program, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("is empty")
	}
	// It is compiled twice, for the library does not check the arguments of calls
	// in what was patched.
	options := append(functions(), expr.Env(env), expr.DisableBuiltin("now"))
	_, err := expr.Compile(text, options...)
	if err != nil {
		if line := firstLine(err); strings.HasPrefix(line, "unknown name now ") {
			return nil, errors.New(line + ": expressions have no clock")
		}
		return nil, errors.New(firstLine(err))
	}
	program, err := expr.Compile(text, append(options, expr.Patch(asNumbers{}))...)
	if err != nil {
		return nil, errors.New(firstLine(err))
	}
	return program, nil
}

// checkResult finds expressions that cannot give what is wanted. What they give
// is often known only when they run, for the types of metadata are.
func checkResult(program *vm.Program, fits func(reflect.Type) bool, what string) error {
	if t := program.Node().Type(); t.Kind() != reflect.Interface && !fits(t) {
		return fmt.Errorf("gives %s, must give %s", typeName(t), what)
	}
	return nil
}

func isNumber(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return t != reflect.TypeFor[time.Duration]()
	}
	return false
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Map:
		return "an object"
	case reflect.Slice:
		return "a list"
	}
	if isNumber(t) {
		return "a number"
	}
	return t.String()
}

// firstLine leaves out the drawing of the expression that the library appends.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func toFinite(v any) (float64, error) {
	n, err := toNumber(v)
	if err == nil && (math.IsNaN(n) || math.IsInf(n, 0)) {
		return 0, fmt.Errorf("the result is %v, not a number", n)
	}
	return n, err
}

func toBool(v any) (bool, error) {
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("the result is %v, not true or false", v)
	}
	return b, nil
}

// IsConstant tells whether the expression uses no field at all.
func (e *Expression[T]) IsConstant() bool { return e.needs == 0 }

// Begin sets the batch whose rows are asked for next.
func (e *Expression[T]) Begin(b *sdk.Batch) {
	e.batch, e.meter, e.on = b, -1, -1
	n := 0
	switch {
	case e.needs == 0:
		n = 1
	case e.needs == ofMeter:
		n = b.Meters()
	case e.needs == ofResource:
		n = b.Resources()
	}
	clear(e.cached)
	if cap(e.cached) < n {
		e.cached = make([]result[T], n)
	}
	e.cached = e.cached[:n]
}

// At gives the expression's value for row i of the batch.
func (e *Expression[T]) At(i int) (T, error) {
	var at int
	switch e.needs {
	case 0:
	case ofMeter:
		at = e.batch.MeterOf(i)
	case ofResource:
		at = e.batch.ResourceOf(i)
	default:
		return e.run(i)
	}
	c := &e.cached[at]
	if !c.known {
		c.value, c.err = e.run(i)
		c.known = true
	}
	return c.value, c.err
}

// IsOfResource tells whether the expression uses fields of the resource at most.
func (e *Expression[T]) IsOfResource() bool { return e.needs&^ofResource == 0 }

// AtResource gives the value for entry r of the resource table, for expressions
// that use nothing else.
func (e *Expression[T]) AtResource(r int) (T, error) {
	e.setResource(r)
	return e.evaluate()
}

func (e *Expression[T]) run(i int) (T, error) {
	b := e.batch
	if m := b.MeterOf(i); e.needs&ofMeter != 0 && m != e.meter {
		meter := b.Meter(m)
		e.meter = m
		e.env.Name, e.env.Unit, e.env.Type = meter.Name, meter.Unit, meter.Type.String()
	}
	if e.needs&ofResource != 0 {
		e.setResource(b.ResourceOf(i))
	}
	if e.needs&ofRow != 0 {
		e.env.Volume, e.env.Timestamp = b.Volume(i), b.Time(i)
	}
	return e.evaluate()
}

func (e *Expression[T]) setResource(r int) {
	if r == e.on {
		return
	}
	resource := e.batch.Resource(r)
	e.on = r
	e.env.ResourceID, e.env.ProjectID, e.env.UserID = resource.ID, resource.ProjectID, resource.UserID
	e.env.Source, e.env.Metadata = resource.Source, resource.Metadata
}

func (e *Expression[T]) evaluate() (T, error) {
	v, err := e.vm.Run(e.program, &e.env)
	if err != nil {
		var none T
		return none, errors.New(firstLine(err))
	}
	return e.convert(v)
}
