package column

import "fmt"

// DescribeInts tells people how the n integers that src begins with are packed.
func DescribeInts(src []byte, n int) string {
	r, ok := openInts(src, n)
	if !ok {
		return "damaged"
	}
	text := [...]string{formValues: "values", formDifferences: "differences", formSlopes: "slopes", formRuns: "runs"}[r.form]
	switch {
	case n == 1 || r.constant && r.form == formDifferences && r.centre == 0:
		text = "constant"
	case r.constant:
		text = "constant " + text
	}
	if r.factor != 1 {
		text += fmt.Sprintf(" of %d", r.factor)
	}
	return text
}

// Describe tells people how the n numbers that src begins with are packed.
func Describe(src []byte, n int) string {
	if len(src) == 0 {
		return "damaged"
	}
	text := DescribeInts(src[1:], n)
	if src[0] == bitwise {
		return "bits, " + text
	}
	if exponent := src[0] &^ (near | patched); exponent > 0 {
		text = fmt.Sprintf("%d decimals, %s", exponent, text)
	}
	switch {
	case src[0]&near != 0:
		text = "near " + text
	case src[0]&patched != 0:
		text += ", some not"
	}
	return text
}
