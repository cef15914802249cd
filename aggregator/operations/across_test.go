package operations

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestAcross compares with sums and counts made one value after the other.
func TestAcross(t *testing.T) {
	odd := []float64{math.NaN(), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 0}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		rows := r.IntN(20)
		columns := make([][]float64, 1+r.IntN(13))
		for i := range columns {
			columns[i] = make([]float64, rows)
			for row := range columns[i] {
				columns[i][row] = r.NormFloat64() * 1e3
				if r.IntN(6) == 0 {
					columns[i][row] = odd[r.IntN(len(odd))]
				}
			}
		}
		for _, of := range []functionKind{sum, count, mean} {
			result, counts := make([]float64, rows), make([]float64, rows)
			across(of, columns, result, counts)
			for row, got := range result {
				total, n := 0.0, 0.0
				for _, c := range columns {
					if v := c[row]; !math.IsNaN(v) {
						total += v
						n++
					}
				}
				want := map[functionKind]float64{sum: total, count: n, mean: total / n}[of]
				if math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
					t.Fatalf("function %v of row %d of %v: %v, want %v", of, row, columns, got, want)
				}
			}
		}
	}
}
