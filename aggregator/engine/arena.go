package engine

import "unsafe"

// arena hands out elements of one size by number, out of slabs that hold no
// pointers. So a million metrics cost the garbage collector nothing, and memory
// that one gives back serves the next. Number 0 is none.
type arena[T any] struct {
	slabs []*[perSlab]T
	next  uint32 // the first number that was never given; 0 at first
	free  []uint32
}

const perSlab = 32

// at is the element of a number. It is valid for the life of the number.
func (a *arena[T]) at(i uint32) *T { return &a.slabs[i/perSlab][i%perSlab] }

// get gives a number whose element holds anything.
func (a *arena[T]) get() uint32 {
	if n := len(a.free); n > 0 {
		i := a.free[n-1]
		a.free = a.free[:n-1]
		return i
	}
	a.next = max(a.next, 1)
	if int(a.next/perSlab) == len(a.slabs) {
		a.slabs = append(a.slabs, new([perSlab]T))
	}
	a.next++
	return a.next - 1
}

func (a *arena[T]) put(i uint32) { a.free = append(a.free, i) }

// used is the number of elements that are given out.
func (a *arena[T]) used() int { return max(int(a.next)-1, 0) - len(a.free) }

// bytes is what the elements that are given out take.
func (a *arena[T]) bytes() int64 {
	var t T
	return int64(a.used()) * int64(unsafe.Sizeof(t))
}

// sparse reports whether so few elements are given out that moving them to new
// slabs is worth it.
func (a *arena[T]) sparse() bool {
	return len(a.slabs) > 8 && a.used() < len(a.slabs)*perSlab/4
}

// move gives the number that an element of another arena gets in this one.
func (a *arena[T]) move(from *arena[T], i uint32) uint32 {
	if i == 0 {
		return 0
	}
	to := a.get()
	*a.at(to) = *from.at(i)
	return to
}
