package operations

import (
	"encoding/json"
	"math"
	"strconv"
)

// MarshalJSON gives the operation as nested lists that Gnocchi itself understands, too:
// its aggregate takes one operand only, so that several stored series become one.
func (o *Operation) MarshalJSON() ([]byte, error) { return json.Marshal(o.tree(&o.root)) }

func (o *Operation) tree(n *node) any {
	if n.kind == number {
		if math.IsNaN(n.number) || math.IsInf(n.number, 0) {
			return strconv.FormatFloat(n.number, 'g', -1, 64) // JSON has no such numbers
		}
		return n.number
	}
	list := []any{n.name}
	switch n.kind {
	case metric:
		pairs := o.pairs(n)
		if len(pairs) == 1 {
			return append(list, pairs[0][0], pairs[0][1])
		}
		for _, p := range pairs {
			list = append(list, p)
		}
	case aggregate:
		list = append(list, n.function.String())
		if pairs, ok := o.stored(n.operands); ok {
			operand := []any{"metric"}
			for _, p := range pairs {
				operand = append(operand, p)
			}
			return append(list, operand)
		}
	case rolling:
		list = append(list, n.function.String(), n.points)
	case resample:
		name, span := n.resampling()
		list = append(list, name, span)
	}
	for i := range n.operands {
		list = append(list, o.tree(&n.operands[i]))
	}
	return list
}

// pairs are the series of a metric node: what each is called, and its method.
func (o *Operation) pairs(n *node) (list [][2]string) {
	for _, i := range n.metrics {
		list = append(list, [2]string{o.References[i].Metric, o.References[i].Aggregation})
	}
	return list
}

// stored are the series of operands that are several, and nothing but stored series, each
// once: of two that are the same, one would be lost.
func (o *Operation) stored(operands []node) (list [][2]string, ok bool) {
	seen := map[int]bool{}
	for i := range operands {
		if operands[i].kind != metric {
			return nil, false
		}
		for _, place := range operands[i].metrics {
			if seen[place] {
				return nil, false
			}
			seen[place] = true
		}
		list = append(list, o.pairs(&operands[i])...)
	}
	return list, len(operands) > 1
}
