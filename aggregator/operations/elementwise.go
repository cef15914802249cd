package operations

import (
	"fmt"
	"slices"
)

// writable makes the columns of a grid such that they may be written to; their
// values are undefined if they were not.
func (e *evaluator) writable(g *grid) error {
	if g.owned {
		return nil
	}
	columns, err := e.columns(len(g.columns), len(g.times))
	g.columns, g.owned = columns, true
	return err
}

func (e *evaluator) unary(n *node, g grid) (grid, error) {
	out := g
	if err := e.writable(&out); err != nil {
		return g, err
	}
	for i, c := range g.columns {
		to := out.columns[i]
		for row, v := range c {
			to[row] = n.unary(v)
		}
	}
	return out, nil
}

func (e *evaluator) binary(n *node) (grid, error) {
	operands, out, err := e.operands(n)
	if err != nil {
		return grid{}, err
	}
	for i, to := range out.columns {
		combine(to, operands[0].column(i), operands[1].column(i), n.binary)
	}
	return out, nil
}

// clip is clip_min and clip_max after each other.
func (e *evaluator) clip(n *node) (grid, error) {
	operands, out, err := e.operands(n)
	if err != nil {
		return grid{}, err
	}
	for i, to := range out.columns {
		values, low := operands[0].column(i), operands[1].column(i)
		if len(operands) == 2 {
			combine(to, values, low, clipMin)
			continue
		}
		high := operands[2].column(i)
		for row := range to {
			to[row] = clipMax(clipMin(at(values, row), at(low, row)), at(high, row))
		}
	}
	return out, nil
}

// combine sets to to f of a and b, either of which may be one value for all.
func combine(to, a, b []float64, f func(a, b float64) float64) {
	switch {
	case len(b) == 1:
		for row := range to {
			to[row] = f(at(a, row), b[0])
		}
	case len(a) == 1:
		for row := range to {
			to[row] = f(a[0], b[row])
		}
	default:
		for row := range to {
			to[row] = f(a[row], b[row])
		}
	}
}

// at is the value of a row, or of all.
func at(column []float64, row int) float64 {
	if len(column) == 1 {
		return column[0]
	}
	return column[row]
}

// column is the i-th column, or the only one.
func (g *grid) column(i int) []float64 {
	if len(g.columns) == 1 {
		return g.columns[0]
	}
	return g.columns[i]
}

// operands evaluates the operands of a node, of which one has series at least, and
// makes place for the result, which may be in that of an operand: a row of the result may be
// written when the same row of the operands was read.
func (e *evaluator) operands(n *node) (operands []grid, out grid, err error) {
	var series []*grid // those that are not numbers
	operands = make([]grid, len(n.operands))
	for i := range n.operands {
		if operands[i], err = e.evaluate(&n.operands[i]); err != nil {
			return nil, out, err
		}
		if !operands[i].isOne {
			series = append(series, &operands[i])
		}
	}
	out = *series[0]
	for _, g := range series[1:] {
		if err := e.sameTimes(n, &out, g); err != nil {
			return nil, out, err
		}
		if len(g.columns) != len(out.columns) && len(g.columns) > 1 && len(out.columns) > 1 {
			return nil, out, e.unaggregable(fmt.Sprintf("Can't compute %d timeseries with %d: %s", len(out.columns), len(g.columns), e.texts(n)))
		}
		aggregated := out.aggregated || g.aggregated
		if len(g.columns) > len(out.columns) || len(g.columns) == len(out.columns) && g.owned {
			out = *g
		}
		out.aggregated = aggregated
	}
	if len(series) > 1 {
		out.aggregated = true
	}
	return operands, out, e.writable(&out)
}

// sameTimes refuses operands of a node that are series of different times.
func (e *evaluator) sameTimes(n *node, a, b *grid) error {
	if a.period != b.period || !slices.Equal(a.times, b.times) {
		return e.unaggregable("Can't compute timeseries with different granularity " + e.texts(n))
	}
	return nil
}

// texts is the operands of a node as text.
func (e *evaluator) texts(n *node) string {
	text := ""
	for i := range n.operands {
		if i > 0 {
			text += " <> "
		}
		o := Operation{References: e.operation.References, root: n.operands[i]}
		text += o.String()
	}
	return text
}

// differences is each row less the one before, without the first.
func (e *evaluator) differences(g grid) (grid, error) {
	if len(g.times) == 0 {
		return g, nil
	}
	out := g
	if err := e.writable(&out); err != nil {
		return g, err
	}
	for i, c := range g.columns {
		to := out.columns[i]
		for row := range len(c) - 1 {
			to[row] = c[row+1] - c[row]
		}
		out.columns[i] = to[:len(c)-1]
	}
	out.times = g.times[1:]
	return out, nil
}
