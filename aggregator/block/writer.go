package block

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/nephoscope/nepho/aggregator/window"
)

// Writer writes a file from front to back. It keeps the footer in memory, a few bytes a
// metric. Not for concurrent use. After an error it writes nothing more, and gives that error again.
type Writer struct {
	w        *bufio.Writer
	at       int64
	footer   footer
	packer   packer
	segments []segment
	head     []byte
	body     []byte // segments of a chunk
	err      error
	merge    merging
}

// NewWriter begins a file of windows of a granularity, in nanoseconds.
func NewWriter(w io.Writer, granularity int64) *Writer {
	b := &Writer{w: bufio.NewWriterSize(w, 64<<10), footer: footer{granularity: granularity}}
	if granularity <= 0 {
		b.err = fmt.Errorf("cannot write windows of %d ns", granularity)
		return b
	}
	b.write(appendHeader(nil, granularity))
	return b
}

func (w *Writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
		w.at += int64(len(b))
	}
}

// Add writes a metric's windows, if there are any. Refs must ascend from call to call.
func (w *Writer) Add(ref uint64, f *window.Frame) error {
	if f.Granularity != w.footer.granularity && w.err == nil {
		w.err = fmt.Errorf("cannot write windows of %d ns to a block file of %d ns", f.Granularity, w.footer.granularity)
	}
	w.begin(ref)
	w.pack(ref, f)
	return w.end(ref)
}

// begin begins the chunk of a metric.
func (w *Writer) begin(ref uint64) {
	if w.err == nil && w.footer.metrics > 0 && ref <= w.footer.end.ref {
		w.err = fmt.Errorf("cannot write metric %d behind metric %d: they must ascend", ref, w.footer.end.ref)
	}
	w.segments, w.body = w.segments[:0], w.body[:0]
}

// pack adds windows to the chunk, in segments of about the same length.
func (w *Writer) pack(ref uint64, f *window.Frame) {
	if w.err == nil {
		w.err = check(ref, f)
	}
	if w.err != nil {
		return
	}
	for i, n := 0, f.Len(); i < n; {
		left := n - i
		parts := (left + maxSegment - 1) / maxSegment
		j := i + (left+parts-1)/parts
		first := f.Starts[i] / f.Granularity
		for f.Starts[j-1]/f.Granularity-first < 0 { // so far from each other that the distance is no integer
			j--
		}
		s := segment{offset: int64(len(w.body)), first: first, windows: j - i}
		s.missing = f.Starts[j-1]/f.Granularity - first - int64(j-i-1)
		w.body = w.packer.segment(w.body, ref, f, i, j)
		s.length = int64(len(w.body)) - s.offset
		w.segments = append(w.segments, s)
		i = j
	}
}

// check reports what is wrong with a frame.
func check(ref uint64, f *window.Frame) error {
	if !f.Columns.Known() {
		return fmt.Errorf("cannot write metric %d: it has columns that this program does not know", ref)
	}
	g := f.Granularity
	for i, t := range f.Starts {
		switch {
		case i > 0 && t-f.Starts[i-1] == g:
		case t%g != 0, t == math.MinInt64, i > 0 && t <= f.Starts[i-1]:
			return fmt.Errorf("cannot write metric %d: its window %d starts at %d ns, which is no multiple of %d ns, or not after the one before", ref, i, t, g)
		}
	}
	return nil
}

// end writes the chunk, if it has any windows.
func (w *Writer) end(ref uint64) error {
	if w.err != nil || len(w.segments) == 0 {
		return w.err
	}
	e := entry{ref: ref, offset: w.at, first: w.segments[0].first, last: w.segments[len(w.segments)-1].last()}
	windows := int64(0)
	for i := range w.segments {
		windows += int64(w.segments[i].windows)
	}
	w.head = appendHead(w.head[:0], ref, w.segments)
	w.write(w.head)
	w.write(w.body)
	e.length = w.at - e.offset
	w.footer.add(e, windows)
	return w.err
}

// Close writes the footer. It does not close what the file is written to.
func (w *Writer) Close() (Summary, error) {
	w.write(w.footer.append(nil))
	if w.err == nil {
		w.err = w.w.Flush()
	}
	if w.err != nil {
		return Summary{}, w.err
	}
	w.err = errors.New("block file is closed")
	return w.footer.summary(w.at), nil
}
