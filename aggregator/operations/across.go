package operations

import (
	"math"
	"slices"
)

// aggregate makes one series of all columns of all operands.
func (e *evaluator) aggregate(n *node) (grid, error) {
	f := n.function
	g, err := e.evaluate(&n.operands[0])
	if err != nil {
		return g, err
	}
	g.columns = slices.Clip(g.columns)
	for i := range n.operands[1:] {
		more, err := e.evaluate(&n.operands[1+i])
		if err != nil {
			return g, err
		}
		if err := e.sameTimes(n, &g, &more); err != nil {
			return g, err
		}
		g.columns = append(g.columns, more.columns...)
	}
	out := grid{times: g.times, period: g.period, owned: true, aggregated: true}
	columns, err := e.columns(2, len(g.times))
	if err != nil {
		return g, err
	}
	result := columns[0]
	across(f.of, g.columns, result, columns[1])
	out.columns = columns[:1]
	if f.rate {
		return e.differences(out)
	}
	return out, nil
}

// across sets result to the function of each row, NaN left out. Rows of nothing else
// have a count and a sum of 0, and NaN otherwise. It needs as much room for counts.
func across(of functionKind, columns [][]float64, result, counts []float64) {
	clear(result)
	clear(counts)
	switch of {
	case minimum, maximum:
		extremes(of, columns, result)
		return
	case median:
		medians(columns, result)
		return
	}
	whole := len(columns) / 4 * 4
	for i := 0; i < whole; i += 4 {
		addFour((*[4][]float64)(columns[i:]), result, counts)
	}
	for row := range counts {
		counts[row] += float64(whole)
	}
	for _, c := range columns[whole:] {
		sums, counts := result[:len(c)], counts[:len(c)] // all are, and the compiler knows
		for row, v := range c {
			if v == v {
				sums[row] += v
				counts[row]++
			}
		}
	}
	switch of {
	case sum:
		return
	case count:
		copy(result, counts)
		return
	}
	for row, n := range counts {
		result[row] /= n // NaN of no values
	}
	if of == mean {
		return
	}
	means := result
	squares := make([]float64, len(means))
	for _, c := range columns {
		for row, v := range c {
			if v == v {
				d := v - means[row]
				squares[row] += d * d
			}
		}
	}
	for row, n := range counts {
		result[row] = spread(of, squares[row]/n)
	}
}

// addFour adds four columns to sums, one after the other as a float64 adds, and takes one from the counts
// for each NaN, which is left out.
func addFour(c *[4][]float64, sums, counts []float64) {
	n := len(sums)
	c0, c1, c2, c3, counts := c[0][:n], c[1][:n], c[2][:n], c[3][:n], counts[:n]
	for row, sum := range sums {
		all := sum + c0[row] + c1[row] + c2[row] + c3[row]
		if all == all {
			sums[row] = all
			continue
		}
		for _, v := range [4]float64{c0[row], c1[row], c2[row], c3[row]} {
			if v == v {
				sum += v
			} else {
				counts[row]--
			}
		}
		sums[row] = sum
	}
}

// spread is a variance, or its root.
func spread(of functionKind, variance float64) float64 {
	if of == deviation {
		return math.Sqrt(variance)
	}
	return variance
}

func extremes(of functionKind, columns [][]float64, result []float64) {
	copy(result, columns[0])
	for _, c := range columns[1:] {
		if of == minimum {
			for row, v := range c {
				if best := result[row]; v < best || best != best {
					result[row] = v
				}
			}
		} else {
			for row, v := range c {
				if best := result[row]; v > best || best != best {
					result[row] = v
				}
			}
		}
	}
}

func medians(columns [][]float64, result []float64) {
	values := make([]float64, 0, len(columns))
	for row := range result {
		values = values[:0]
		for _, c := range columns {
			if v := c[row]; v == v {
				values = append(values, v)
			}
		}
		slices.Sort(values)
		result[row] = middle(values)
	}
}

// middle is the median of sorted values.
func middle(sorted []float64) float64 {
	n := len(sorted)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return sorted[n/2]
	}
	a, b := sorted[n/2-1], sorted[n/2]
	if s := a + b; !math.IsInf(s, 0) {
		return s / 2
	}
	return a/2 + b/2
}
