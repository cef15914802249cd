package operations

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// rolling makes, of each column by itself, results of so many points up to each.
func (e *evaluator) rolling(n *node, g grid) (grid, error) {
	if n.points > len(g.times) {
		return g, e.unaggregable(fmt.Sprintf("Rolling window '%d' is greater than serie length '%d'", n.points, len(g.times)))
	}
	out := g
	out.times = g.times[n.points-1:]
	out.owned = true
	columns, err := e.columns(len(g.columns), len(out.times))
	if err != nil {
		return g, err
	}
	out.columns = columns
	r := roller{points: n.points, of: n.function.of}
	for i, c := range g.columns {
		if r.of == median {
			err = r.medians(e.ctx, c, out.columns[i])
		} else {
			r.summaries(c, out.columns[i])
			err = e.ctx.Err()
		}
		if err != nil {
			return g, err
		}
	}
	if n.function.rate {
		return e.differences(out)
	}
	return out, nil
}

// roller moves a window of points over columns.
type roller struct {
	points int
	of     functionKind
	tails  []summary
	sorted []float64
}

// summary is what is known of some values: how many there are, and their sum or
// extreme, or their mean and the sum of squared distances from it.
type summary struct{ count, value, squares float64 }

// with adds what is known of other values.
func (s summary) with(other summary, of functionKind) summary {
	switch {
	case other.count == 0:
		return s
	case s.count == 0:
		return other
	}
	n := s.count + other.count
	switch of {
	case minimum:
		return summary{count: n, value: min(s.value, other.value)}
	case maximum:
		return summary{count: n, value: max(s.value, other.value)}
	case deviation, variance:
		apart := other.value - s.value
		return summary{
			count:   n,
			value:   s.value + apart*other.count/n,
			squares: s.squares + other.squares + apart*apart*s.count*other.count/n,
		}
	}
	return summary{count: n, value: s.value + other.value}
}

// result is the function of the values.
func (s summary) result(of functionKind) float64 {
	switch {
	case of == count:
		return s.count
	case s.count == 0 && of != sum:
		return math.NaN()
	case of == mean:
		return s.value / s.count
	case of == deviation || of == variance:
		if math.IsInf(s.value, 0) || math.IsNaN(s.value) {
			return math.NaN() // there was infinity less infinity
		}
		return spread(of, s.squares/s.count)
	}
	return s.value
}

func single(v float64) summary {
	if v != v {
		return summary{}
	}
	return summary{count: 1, value: v}
}

// summaries cuts the column into pieces as long as the window: each window is the tail of
// one piece and the head of the next. So a value is looked at three times, however long
// the window is, and nothing that has left it can be felt.
func (r *roller) summaries(column, out []float64) {
	n := r.points
	r.tails = slices.Grow(r.tails[:0], n)[:n]
	for piece := 0; piece < len(out); piece += n {
		tail := summary{}
		for i := n - 1; i >= 0; i-- {
			tail = single(column[piece+i]).with(tail, r.of)
			r.tails[i] = tail
		}
		head := summary{}
		for i := 0; i < n && piece+i < len(out); i++ {
			if i > 0 {
				head = head.with(single(column[piece+n+i-1]), r.of)
			}
			out[piece+i] = r.tails[i].with(head, r.of).result(r.of)
		}
	}
}

// medians keeps the values of the window sorted.
func (r *roller) medians(ctx context.Context, column, out []float64) error {
	r.sorted = r.sorted[:0]
	for i, v := range column {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if i >= r.points {
			if left := column[i-r.points]; left == left {
				at, _ := slices.BinarySearch(r.sorted, left)
				r.sorted = slices.Delete(r.sorted, at, at+1)
			}
		}
		if v == v {
			at, _ := slices.BinarySearch(r.sorted, v)
			r.sorted = slices.Insert(r.sorted, at, v)
		}
		if i >= r.points-1 {
			out[i-r.points+1] = middle(r.sorted)
		}
	}
	return nil
}
