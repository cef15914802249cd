package block

import (
	"slices"

	"github.com/nephoscope/nepho/aggregator/window"
)

// A form is how a column is stored in a segment. Its number goes into files.
//
// All but the first two are of integers: of decimals that are multiplied by 10^e, where e
// is the first byte and not below the exponents of the columns that they refer to.
type form uint8

const (
	formOwn    form = iota // as column.AppendFloats writes it
	formSame               // the same values as another column, whose number is all there is
	formMean               // less floor(Sum/Count)
	formLess               // less another column, whose number comes first
	formBefore             // less what another column, whose number comes first, has in the window before
	formChange             // less what another column, whose number comes first, is more than in the window before
	formShare              // of Sum: floor(Sum/Count), and what remains, as two columns
	forms
)

// nearDecimals is set in the exponent of decimals that are such but for their last
// bits, as in column.AppendFloats: another column follows, how many numbers each value is above its decimal.
const nearDecimals = 0x20

var formNames = [forms]string{"values", "same as", "less mean", "less", "less before's", "less change of", "share and rest"}

func (f form) String() string { return formNames[f] }

// refers reports whether the form names another column.
func (f form) refers() bool { return f == formSame || f >= formLess && f <= formChange }

// order is the columns of a frame in the order of a segment: each refers to earlier ones
// only. It is that of their numbers, but First comes after Last, to which it is close.
func order(columns window.Columns, list []window.Column) []window.Column {
	list = slices.AppendSeq(list, columns.All())
	for i := 1; i < len(list); i++ {
		if list[i].Plain() == window.Last && list[i-1].Plain() == window.First {
			list[i-1], list[i] = list[i], list[i-1]
		}
	}
	return list
}

// of is the column of plain values or of rates that belongs to a column.
func of(c, plain window.Column) window.Column {
	if c.IsRate() {
		return plain.Rate()
	}
	return plain
}

// means fills m with floor(sum/count). Windows without points have their sum.
func means(m, sums, counts []int64) {
	m, counts = m[:len(sums)], counts[:len(sums)]
	for i, s := range sums {
		n := counts[i]
		if n <= 1 {
			m[i] = s
			continue
		}
		q := s / n
		if q*n > s {
			q--
		}
		m[i] = q
	}
}
