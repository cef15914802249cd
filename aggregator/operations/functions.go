package operations

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
)

// function is what is made of several values, without those that are NaN; if rate,
// then the differences between results.
type function struct {
	of   functionKind
	rate bool
}

type functionKind uint8

const (
	mean functionKind = iota
	median
	deviation // of all there are: divided by n
	minimum
	maximum
	sum
	variance // likewise
	count
)

var functionKinds = [...]string{"mean", "median", "std", "min", "max", "sum", "var", "count"}

// functionNames are the names of functions as errors tell them.
const functionNames = "mean, median, std, min, max, sum, var and count, or one of them with rate: before it"

func parseFunction(name string) (f function, ok bool) {
	name, f.rate = strings.CutPrefix(name, "rate:")
	i := slices.Index(functionKinds[:], name)
	f.of = functionKind(max(i, 0))
	return f, i >= 0
}

func (f function) String() string {
	if f.rate {
		return "rate:" + functionKinds[f.of]
	}
	return functionKinds[f.of]
}

// method is the method of storage of the same name, with which resample works. For
// the variance, it is that of the deviation.
func (f function) method() (m policy.Method) {
	switch f.of {
	case mean:
		m = policy.Mean
	case median:
		m = policy.Median
	case deviation, variance:
		m = policy.Std
	case minimum:
		m = policy.Min
	case maximum:
		m = policy.Max
	case sum:
		m = policy.Sum
	case count:
		m = policy.Count
	}
	if f.rate {
		m = m.Rate()
	}
	return m
}

var unaryOperations = map[string]func(float64) float64{
	"abs": math.Abs, "absolute": math.Abs,
	"neg": negative, "negative": negative,
	"cos": math.Cos, "sin": math.Sin, "tan": math.Tan,
	"floor": math.Floor, "ceil": math.Ceil,
}

func negative(v float64) float64 { return -v }

// binaryOperations are of values of which neither is NaN.
var binaryOperations = map[string]func(a, b float64) float64{
	"+": add, "add": add,
	"-": sub, "sub": sub,
	"*": mul, "×": mul, "mul": mul,
	"/": div, "÷": div, "div": div,
	"%": mod, "mod": mod,
	"**": pow, "^": pow, "pow": pow,
	"=": equal, "==": equal, "eq": equal,
	"!=": unequal, "≠": unequal, "ne": unequal,
	"<": less, "lt": less,
	">": greater, "gt": greater,
	"<=": atMost, "≤": atMost, "le": atMost,
	">=": atLeast, "≥": atLeast, "ge": atLeast,
	"clip_min": clipMin, "clip_max": clipMax,
}

func add(a, b float64) float64     { return a + b }
func sub(a, b float64) float64     { return a - b }
func mul(a, b float64) float64     { return a * b }
func div(a, b float64) float64     { return a / b }
func equal(a, b float64) float64   { return truth(a == b, a, b) }
func unequal(a, b float64) float64 { return truth(a != b, a, b) }
func less(a, b float64) float64    { return truth(a < b, a, b) }
func greater(a, b float64) float64 { return truth(a > b, a, b) }
func atMost(a, b float64) float64  { return truth(a <= b, a, b) }
func atLeast(a, b float64) float64 { return truth(a >= b, a, b) }
func clipMin(a, b float64) float64 { return max(a, b) }
func clipMax(a, b float64) float64 { return min(a, b) }

// truth is 1 or 0, or NaN if what was compared is.
func truth(yes bool, a, b float64) float64 {
	switch {
	case math.IsNaN(a) || math.IsNaN(b):
		return math.NaN()
	case yes:
		return 1
	}
	return 0
}

// pow is a to the power of b.
func pow(a, b float64) float64 {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.NaN() // also of NaN⁰ and 1^NaN, which are 1 by IEEE 754
	}
	return math.Pow(a, b)
}

// mod is what is left of a after division by b, with the sign of b, as in Python.
func mod(a, b float64) float64 {
	rest := math.Mod(a, b)
	switch {
	case rest == 0:
		return math.Copysign(0, b)
	case (rest < 0) != (b < 0):
		rest += b
	}
	return rest
}

func sortDescending(granularities []time.Duration) {
	slices.SortFunc(granularities, func(a, b time.Duration) int { return int(min(max(b-a, -1), 1)) })
}
