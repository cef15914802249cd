// Package operations is the language of dynamic aggregates: what clients ask to be
// made of the stored aggregates of many metrics, such as
//
//	(aggregate mean (* 8 (metric "network.*" rate:mean)))
//
// as text, or as nested JSON lists of the same. [Parse] makes an [Operation] of it;
// its References say which series it needs; [Operation.Evaluate] computes it for the
// series of one granularity. [Reaggregate] makes what older endpoints of
// Gnocchi's API ask for.
//
// Forms, where OP is a form or a number, and FUNC one of mean, median, std, min, max,
// sum, var and count, or one of them with rate: before it, which is the
// difference of each result and the one before, and one result less:
//
//	(metric REF AGG)                     a stored series; REF is a metric's id, or a name with wildcards
//	(metric (REF AGG) (REF AGG) ...)     several
//	(aggregate FUNC OP OP ...)           across all series of all OP: one series
//	(rolling FUNC N OP)                  of N points, each series by itself; N-1 points less
//	(resample FUNC TIMESPAN OP)          of the points in each timespan
//	(rateofchange OP)                    difference to the point before; one point less
//	(abs OP)  absolute neg negative cos sin tan floor ceil
//	(+ OP OP) add, - sub, * × mul, / ÷ div, % mod, ** ^ pow
//	(= OP OP) == eq, != ≠ ne, < lt, > gt, <= ≤ le, >= ≥ ge: 1 or 0
//	(clip_min OP OP) clip_max, (clip OP LOW) (clip OP LOW HIGH)
//
// Operations are Gnocchi's, except for its faults: comparisons and counts are
// numbers like others; aggregate takes several operands, as Aodh asks for; where either side has no value, there is none (in Gnocchi, no value is unequal to all);
// resample leaves out what is not there, where Gnocchi lets one gap undo a whole timespan, and knows var.
package operations

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
)

// Reference names stored series: aggregates by a method of a metric, or of those
// metrics whose names match.
type Reference struct {
	Metric      string // id, or name with wildcards, as it was written
	Aggregation string // name of a method, as it was written
}

// Operation is what is to be computed. It is not changed by evaluation, which may
// happen several times at once.
type Operation struct {
	// References are the series that it is about, each once, in the order in which they
	// are first named. There is at least one.
	References []Reference
	root       node
}

// String is the operation as text.
func (o *Operation) String() string {
	var b strings.Builder
	o.write(&b, &o.root)
	return b.String()
}

// Error is a fault of a request, in three parts that are the body of Gnocchi's
// answer, which has the status 400.
type Error struct {
	Cause  string `json:"cause"`
	Reason string `json:"reason,omitempty"`
	Detail any    `json:"detail"`
}

func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%s: %v", e.Cause, e.Detail)
	}
	return e.Cause + ": " + e.Reason
}

// Unaggregable is the error for series that do not go together. The detail is the
// references that are concerned.
func Unaggregable(reason string, detail any) *Error {
	return &Error{"Metrics can't being aggregated", reason, detail}
}

// A node of the tree that an operation is.
type node struct {
	kind     kind
	name     string   // of the operation, as it was written
	number   float64  // of a number
	metrics  []int    // of metric: places in Operation.References
	function function // of aggregate and rolling
	points   int      // of rolling
	method   policy.Method
	variance bool            // of resample: the square of the method
	period   timetext.Period // of resample
	unary    func(float64) float64
	binary   func(a, b float64) float64
	operands []node
}

type kind uint8

const (
	number kind = iota
	metric
	aggregate
	rolling
	resample
	rateOfChange
	unary
	binary
	clip
)

// Resampling is how series are made coarser: by a method, for each period.
type Resampling struct {
	Method policy.Method
	Period timetext.Period
}

// Reaggregate is the operation of Gnocchi's older endpoints: a function (FUNC of the
// language) across all series, each of which is resampled before, if resampling is
// given. The error is an *[Error].
func Reaggregate(name string, references []Reference, resampling *Resampling) (*Operation, error) {
	f, ok := parseFunction(name)
	if !ok {
		return nil, &Error{"Argument value error", fmt.Sprintf("%q cannot be done across metrics: use one of %s", name, functionNames), "reaggregation"}
	}
	b := builder{places: map[Reference]int{}}
	inner := node{kind: metric, name: "metric"}
	for _, r := range references {
		b.place(r)
	}
	for i := range b.references {
		inner.metrics = append(inner.metrics, i)
	}
	if resampling != nil {
		inner = node{kind: resample, name: "resample", method: resampling.Method, period: resampling.Period, operands: []node{inner}}
	}
	root := node{kind: aggregate, name: "aggregate", function: f, operands: []node{inner}}
	return &Operation{b.references, root}, nil
}

// CommonGranularities is the granularities that all of the policies have, longest
// first.
func CommonGranularities(policies []*policy.Policy) []time.Duration {
	var common []time.Duration
	if len(policies) == 0 {
		return nil
	}
	for _, d := range policies[0].Definitions {
		everywhere := true
		for _, p := range policies[1:] {
			if p == policies[0] {
				continue
			}
			if _, ok := p.Definition(d.Granularity); !ok {
				everywhere = false
				break
			}
		}
		if everywhere {
			common = append(common, d.Granularity)
		}
	}
	sortDescending(common)
	return common
}

// write writes a node as text with parentheses.
func (o *Operation) write(b *strings.Builder, n *node) {
	if n.kind == number {
		b.WriteString(strconv.FormatFloat(n.number, 'g', -1, 64))
		return
	}
	b.WriteString("(" + n.name)
	switch n.kind {
	case metric:
		for _, i := range n.metrics {
			r := o.References[i]
			if len(n.metrics) == 1 {
				fmt.Fprintf(b, " %s %s", quote(r.Metric), quote(r.Aggregation))
			} else {
				fmt.Fprintf(b, " (%s %s)", quote(r.Metric), quote(r.Aggregation))
			}
		}
	case aggregate:
		b.WriteString(" " + n.function.String())
	case rolling:
		fmt.Fprintf(b, " %v %d", n.function, n.points)
	case resample:
		name, span := n.resampling()
		b.WriteString(" " + name + " " + span)
	}
	for i := range n.operands {
		b.WriteByte(' ')
		o.write(b, &n.operands[i])
	}
	b.WriteByte(')')
}

// resampling is the function and the timespan of a resample node as text.
func (n *node) resampling() (name, span string) {
	name, span = n.method.String(), n.period.String()
	if n.variance {
		name = strings.Replace(name, "std", "var", 1)
	}
	if n.period.Letter == 0 {
		span = seconds(n.period.Span)
	}
	return name, span
}

// seconds is a timespan as a number, with all of its digits.
func seconds(d time.Duration) string {
	text := fmt.Sprintf("%d.%09d", d/time.Second, d%time.Second)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}
