package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
)

// An expression is what a search by value computes of a measure's value. True is
// everything but 0, as in Python.
type expression func(v float64) float64

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// valueOperators are the comparisons and the arithmetic of searches by value.
var valueOperators = func() map[string]func(a, b float64) float64 {
	all := map[string]func(a, b float64) float64{}
	for _, o := range []struct {
		names []string
		f     func(a, b float64) float64
	}{
		{[]string{"=", "==", "eq"}, func(a, b float64) float64 { return truth(a == b) }},
		{[]string{"!=", "≠", "ne"}, func(a, b float64) float64 { return truth(a != b) }},
		{[]string{"<", "lt"}, func(a, b float64) float64 { return truth(a < b) }},
		{[]string{">", "gt"}, func(a, b float64) float64 { return truth(a > b) }},
		{[]string{"<=", "≤", "le"}, func(a, b float64) float64 { return truth(a <= b) }},
		{[]string{">=", "≥", "ge"}, func(a, b float64) float64 { return truth(a >= b) }},
		{[]string{"%", "mod"}, modulo},
		{[]string{"+", "add"}, func(a, b float64) float64 { return a + b }},
		{[]string{"-", "sub"}, func(a, b float64) float64 { return a - b }},
		{[]string{"*", "×", "mul"}, func(a, b float64) float64 { return a * b }},
		{[]string{"/", "÷", "div"}, func(a, b float64) float64 { return a / b }},
		{[]string{"**", "^", "pow"}, math.Pow},
	} {
		for _, name := range o.names {
			all[name] = o.f
		}
	}
	return all
}()

// modulo is Python's: the result has the sign of b.
func modulo(a, b float64) float64 {
	m := math.Mod(a, b)
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m
}

// Limits of searches by value. Each level is unpacked by itself, so both together limit
// the memory of one.
const (
	maxSearch      = 64 << 10 // bytes
	maxSearchDepth = 64
)

// search reads a search by value.
func (in input) search() expression {
	name, value, ok := in.only()
	if !ok {
		return nil
	}
	switch name {
	case "and", "∧", "or", "∨":
		var terms []expression
		for _, item := range value.list(0) {
			terms = append(terms, item.search())
		}
		some := name == "or" || name == "∨"
		return func(v float64) float64 {
			return truth(slices.ContainsFunc(terms, func(e expression) bool { return (e(v) != 0) == some }) == some)
		}
	case "not":
		value.abort(badRequest("Unknown operator not: use the opposite comparison"))
		return nil
	}
	return in.operation()
}

// operation reads {OPERATOR: NUMBER}, whose other operand is the value, or
// {OPERATOR: [X, Y]} of numbers and operations.
func (in input) operation() expression {
	name, value, ok := in.only()
	if !ok {
		return nil
	}
	f := valueOperators[name]
	if f == nil {
		value.abort(value.describe("extra keys not allowed", "it is no operator"))
		return nil
	}
	if value.kind() != '[' {
		n := value.float()
		return func(v float64) float64 { return f(v, n) }
	}
	operands := value.list(0)
	if len(operands) != 2 {
		value.fault("expected float")
		return nil
	}
	var e [2]expression
	for i, operand := range operands {
		if operand.kind() == '{' {
			e[i] = operand.operation()
			continue
		}
		n := operand.float()
		e[i] = func(float64) float64 { return n }
	}
	return func(v float64) float64 { return f(e[0](v), e[1](v)) }
}

// float reads a number.
func (in input) float() float64 {
	if in.skip() {
		return 0
	}
	var v float64
	if c := in.kind(); c != '-' && (c < '0' || c > '9') || json.Unmarshal(in.raw, &v) != nil {
		in.fault("expected float")
	}
	return v
}

// only is the one member of an object.
func (in input) only() (name string, value input, ok bool) {
	if len(in.path) >= 2*maxSearchDepth { // a key and a place in a list for each level
		in.refuse(fmt.Sprintf("conditions nest at most %d deep", maxSearchDepth))
		return "", in, false
	}
	members := in.object()
	if in.skip() || members.values == nil {
		return "", in, false
	}
	names := members.names()
	switch {
	case len(names) == 0:
		in.refuse("length of value must be at least 1")
		return "", in, false
	case len(names) > 1:
		in.refuse("length of value must be at most 1")
		return "", in, false
	}
	return names[0], members.get(names[0]), true
}

// searchMeasures answers with the measures of metrics whose values satisfy a
// condition.
func (d *dataPlane) searchMeasures(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	entries, err := d.searched(ctx, q)
	if err != nil {
		return err
	}
	body, err := d.body(w, r, nil)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return badRequest("No query specified in body")
	}
	if err := requireMedia(r, mediaJSON); err != nil {
		return err
	}
	if len(body) > maxSearch {
		return &http.MaxBytesError{Limit: maxSearch}
	}
	in, err := newInput(body)
	if err != nil {
		return err
	}
	matches := in.search()
	if err := in.err(); err != nil {
		return err
	}
	selections, err := d.searchSelections(q, entries)
	if err != nil {
		return err
	}
	rd := d.reader()
	defer d.doneReading(rd)
	rd.json.start(w)
	rd.json.raw("{")
	for i, entry := range entries {
		if i > 0 {
			rd.json.raw(",")
		}
		rd.json.raw(`"` + entry.ID.String() + `":[`)
		first := true
		for _, g := range selections[i].granularities {
			if err := d.series(ctx, rd, &selections[i], g); err != nil {
				return err
			}
			kept := 0
			for k, v := range rd.series.Values {
				if k%1024 == 0 && ctx.Err() != nil {
					return ctx.Err()
				}
				if matches(v) != 0 {
					rd.series.Times[kept], rd.series.Values[kept] = rd.series.Times[k], v
					kept++
				}
			}
			rd.series.Times, rd.series.Values = rd.series.Times[:kept], rd.series.Values[:kept]
			first = rd.json.measures(&rd.series, jsonSpan(g), first)
		}
		rd.json.raw("]")
	}
	rd.json.raw("}")
	return d.finish(ctx, rd, &rd.json.pieces)
}

// searched is the metrics that a search names. Those that do not exist are left out.
func (d *dataPlane) searched(ctx context.Context, q query) ([]*index.Entry, error) {
	var ids []uuid.UUID
	for _, text := range q.all("metric_id") {
		id, err := uuid.Parse(text)
		if err != nil {
			return nil, badArgument("metric_id", "badly formed hexadecimal UUID string")
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if ids == nil {
		return nil, badArgument("metric_id", "required")
	}
	entries, err := d.o.Index.Lookup(ctx, ids, nil)
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e *index.Entry) bool { return e == nil })
	for _, entry := range entries {
		if err := requireEntry(ctx, entry, false); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// searchSelections is which measures of metrics a search looks at.
func (d *dataPlane) searchSelections(q query, entries []*index.Entry) ([]selection, error) {
	span := interval{earliest, math.MaxInt64}
	for name, into := range map[string]*int64{"start": &span.from, "stop": &span.to} {
		if q.has(name) {
			t, err := timetext.ParseTime(q.text(name), d.o.Now())
			if err != nil {
				return nil, badRequest("Invalid value for " + name)
			}
			*into = t
		}
	}
	asked, err := q.granularities()
	if err != nil {
		return nil, err
	}
	name := "mean"
	if q.has("aggregation") {
		name = q.text("aggregation")
	}
	selections := make([]selection, len(entries))
	for i, entry := range entries {
		p, err := d.policy(entry)
		if err != nil {
			return nil, err
		}
		s := selection{ref: entry.Ref, interval: span, granularities: granularities(p)}
		method, err := policy.ParseMethod(name)
		known := err == nil && p.Methods.Has(method)
		missing := s.granularities[0]
		for _, g := range asked {
			if !slices.Contains(s.granularities, g) {
				missing, known = g, false
			}
		}
		if !known {
			return nil, badRequest(Cause{Cause: "Aggregation does not exist", Detail: map[string]any{
				"granularity": json.RawMessage(jsonSpan(missing)), "aggregation_method": name,
			}})
		}
		if s.method = method; asked != nil {
			s.granularities = asked
		}
		selections[i] = s
	}
	return selections, nil
}
