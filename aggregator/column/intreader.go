package column

import "slices"

// Ints appends the n integers that src begins with to dst, and gives what follows
// them in src. It fails with [ErrDamaged], and then gives dst as it was.
func Ints(src []byte, n int, dst []int64) (v []int64, rest []byte, err error) {
	if n <= 0 {
		return dst, src, nil
	}
	r, ok := openInts(src, n)
	if !ok {
		return dst, nil, ErrDamaged
	}
	v = slices.Grow(dst, n)[:len(dst)+n]
	for out := v[len(dst):]; len(out) > 0; {
		k := r.next(out)
		if k == 0 {
			return dst, nil, ErrDamaged
		}
		out = out[k:]
	}
	return v, r.src, nil
}

// intReader reads a column of integers, about a mini-block at a time.
type intReader struct {
	src      []byte
	form     byte
	constant bool
	begun    bool
	left     int // integers that were not read yet
	first    int64
	factor   int64
	centre   int64
	sum      int64 // of the differences so far, without the factor; with the first integer if there is no factor
	slope    int64 // the last difference, without the factor
	same     int   // how much of a run of first is left
}

func openInts(src []byte, n int) (r intReader, ok bool) {
	if len(src) == 0 || src[0]&^(formMask|constant|factored) != 0 {
		return r, false
	}
	r = intReader{form: src[0] & formMask, constant: src[0]&constant != 0, left: n, factor: 1}
	factored := src[0]&factored != 0
	r.first, r.src, ok = signed(src[1:])
	switch {
	case !ok || n == 1:
		r.form = formValues
		return r, ok
	case r.form == formRuns:
		return r, r.run(n)
	}
	if factored {
		var factor uint64
		factor, r.src, ok = unsigned(r.src)
		r.factor = int64(factor)
	}
	if r.form == formSlopes && ok {
		r.slope, r.src, ok = signed(r.src)
	}
	if ok {
		r.centre, r.src, ok = signed(r.src)
	}
	return r, ok
}

// next fills the front of out, which must have room for all that is left or for a
// mini-block, and tells how many integers it read: 0 if there is damage.
func (r *intReader) next(out []int64) int {
	k := 0
	switch {
	case r.form == formRuns:
		out = out[:min(blockLength, r.left)]
		k = r.runs(out)
	case !r.begun:
		r.begun = true
		out[0], k = r.first, 1
		if r.form == formSlopes && r.left > 1 {
			out[1], k = r.first+r.factor*r.slope, 2
			r.sum = r.slope
		}
		if r.factor == 1 { // what is summed up can as well begin with the first
			r.sum += r.first
			if r.form == formValues {
				r.centre += r.first
			}
		}
	default:
		out = out[:min(blockLength, r.left)]
		k = len(out)
		if r.constant {
			for i := range out {
				out[i] = r.centre
			}
		} else {
			var ok bool
			if r.src, ok = block(r.src, out, r.centre); !ok {
				return 0
			}
		}
		r.restore(out)
	}
	r.left -= k
	return k
}

// restore makes integers of the differences in a mini-block.
func (r *intReader) restore(v []int64) {
	switch r.form {
	case formDifferences:
		sum := r.sum
		for i, d := range v {
			sum += d
			v[i] = sum
		}
		r.sum = sum
	case formSlopes:
		sum, slope := r.sum, r.slope
		for i, d := range v {
			slope += d
			sum += slope
			v[i] = sum
		}
		r.sum, r.slope = sum, slope
	}
	if r.factor != 1 {
		for i := range v {
			v[i] = r.first + r.factor*v[i]
		}
	}
}

// runs fills out with runs. It gives 0 if there is damage.
func (r *intReader) runs(out []int64) int {
	for k := 0; k < len(out); {
		if r.same == 0 {
			step, ok := int64(0), false
			if step, r.src, ok = signed(r.src); !ok || !r.run(r.left-k) {
				return 0
			}
			r.first += step
		}
		n := min(r.same, len(out)-k)
		for i := range out[k : k+n] {
			out[k+i] = r.first
		}
		k += n
		r.same -= n
	}
	return len(out)
}

// run reads how long the next run is, which is limit at most.
func (r *intReader) run(limit int) (ok bool) {
	more, rest, ok := unsigned(r.src)
	r.src, r.same = rest, int(more)+1
	return ok && more < uint64(limit)
}
