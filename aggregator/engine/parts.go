package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nephoscope/nepho/aggregator/block"
	"github.com/nephoscope/nepho/aggregator/window"
)

// part is the windows of a metric in a block file. A window is in one part only.
type part struct {
	file *openBlock
	block.Entry
}

// partError is an error of a part.
type partError struct {
	name string // of the object
	err  error
}

func (e *partError) Error() string {
	return fmt.Sprintf("cannot read block file %s: %v", e.name, e.err)
}
func (e *partError) Unwrap() error { return e.err }

// read appends the windows with from <= start < to.
func (p *part) read(from, to int64, into *window.Frame) error {
	if err := p.file.Read(p.Ref, from, to, into); err != nil {
		return &partError{p.file.info.Name, err}
	}
	return nil
}

// partsOf are the parts of a metric in some files, in order of time.
func partsOf(files []*openBlock, ref Ref) []part {
	var parts []part
	for _, f := range files {
		if entry, ok := f.Entry(uint64(ref)); ok {
			parts = append(parts, part{f, entry})
		}
	}
	sortParts(parts)
	return parts
}

func sortParts(parts []part) {
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.First, b.First) })
}

// readersOf are the readers of parts.
func readersOf(parts []part) []*block.Reader {
	readers := make([]*block.Reader, len(parts))
	for i, p := range parts {
		readers[i] = p.file.Reader
	}
	return readers
}

// interleaved reports whether parts that are in order overlap in time.
func interleaved(parts []part) bool {
	for i := 1; i < len(parts); i++ {
		if parts[i-1].Last >= parts[i].First {
			return true
		}
	}
	return false
}

// weave appends the windows with from <= start < to of parts that overlap in time.
// They come of files of which some in the middle were not merged, because they were damaged or of
// another class.
func weave(parts []part, from, to int64, into *window.Frame) error {
	frames := make([]window.Frame, len(parts))
	for i := range parts {
		frames[i].Reset(into.Granularity, into.Columns)
		if err := parts[i].read(from, to, &frames[i]); err != nil {
			return err
		}
	}
	next := make([]int, len(parts))
	for {
		least := -1
		for i := range frames {
			if next[i] < frames[i].Len() && (least < 0 || frames[i].Starts[next[i]] < frames[least].Starts[next[least]]) {
				least = i
			}
		}
		if least < 0 {
			return nil
		}
		into.Grow(1)
		at := into.Len() - 1
		into.Starts[at] = frames[least].Starts[next[least]]
		for c := range into.Columns.All() {
			into.Values(c)[at] = frames[least].Values(c)[next[least]]
		}
		next[least]++
	}
}
