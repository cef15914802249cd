// Package block reads and writes block files: windows of many metrics at one
// granularity, packed, in files that do not change once they are written. The
// layout is in docs/BLOCKS.md.
//
// Each metric's part of a file is a chunk. It has its own checksums, so damage
// costs what it hits and nothing else, and is never read as data.
package block

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/nephoscope/nepho/aggregator/window"
)

// ErrNone says that a file has nothing of a metric.
var ErrNone = errors.New("block file has no windows of this metric")

// Part is a part of a file.
type Part string

// The parts of a file.
const (
	Head    Part = "header"
	Chunk   Part = "chunk"   // all windows of a metric
	Segment Part = "segment" // up to 4,096 windows of a metric
	Footer  Part = "footer"  // what tells where chunks are; they are found without it
	Gap     Part = "gap"     // bytes that are none of these
)

// DamageError says what of a file can't be read. Everything else can.
type DamageError struct {
	Part     Part
	Ref      uint64 // of chunks and segments: the metric
	Offset   int64  // where the part begins in the file
	Length   int64  // of the part in bytes, or 0 if that can't be told
	From, To int64  // of chunks and segments: windows with From <= start < To are lost; nanoseconds since 1970
	Reason   string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s at offset %d is damaged: %s", e.Part, e.Offset, e.Reason)
}

// Summary tells what is in a file.
type Summary struct {
	Granularity int64 // nanoseconds
	Metrics     int
	Windows     int64
	Bytes       int64 // size of the file
	First, Last int64 // starts of the first and the last window of all, nanoseconds since 1970
}

var errNotYet = errors.New("not written yet")

// Writer writes a file. It writes from front to back, and keeps only the footer in memory. Not for concurrent use.
type Writer struct{}

// NewWriter begins a file of windows of a granularity, in nanoseconds.
func NewWriter(w io.Writer, granularity int64) *Writer { return &Writer{} }

// Add writes a metric's windows. Refs must ascend from call to call. A frame without windows writes nothing.
func (w *Writer) Add(ref uint64, f *window.Frame) error { return errNotYet }

// Merge writes a metric's windows that start at from or later, out of files of the same granularity, in which they
// follow each other in time without overlapping. Parts that are large enough are copied as they are, others are unpacked and packed
// together. What is damaged is left out, and reported.
func (w *Writer) Merge(ref uint64, from int64, sources []*Reader, report func(*Reader, *DamageError)) error {
	return errNotYet
}

// Close writes the rest. It does not close the underlying writer.
func (w *Writer) Close() (Summary, error) { return Summary{}, errNotYet }

// Reader reads a file. Its methods may be called concurrently. It keeps about 8 bytes a metric in memory.
type Reader struct{}

// Open reads the footer of a file. If that is damaged, it looks for the chunks in the whole file, and [Reader.Damage] tells so.
func Open(r io.ReaderAt, size int64) (*Reader, error) { return nil, errNotYet }

// Damage is what Open found to be damaged.
func (r *Reader) Damage() []*DamageError { return nil }

// Summary tells what is in the file.
func (r *Reader) Summary() Summary { return Summary{} }

// Entry tells of a metric's chunk.
type Entry struct {
	Ref            uint64
	Offset, Length int64 // in the file, bytes
	First, Last    int64 // starts of its first and last window, nanoseconds since 1970
}

// Entries gives all metrics of the file, by ref.
func (r *Reader) Entries() iter.Seq[Entry] { return nil }

// Entry is that of a metric, if the file has any windows of it.
func (r *Reader) Entry(ref uint64) (Entry, bool) { return Entry{}, false }

// Read appends to a frame the windows of a metric with from <= start < to. It unpacks only the columns that the frame has.
// [ErrNone] says that the file has nothing of the metric, a *[MissingError] that it lacks a column. When parts are damaged, the frame gets the windows of the others,
// and the error is a *[DamageError], or several joined. On other errors the frame gets none.
func (r *Reader) Read(ref uint64, from, to int64, into *window.Frame) error { return errNotYet }

// A MissingError says that windows were stored without a column.
type MissingError struct {
	Ref    uint64
	Column window.Column
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("windows of metric %d were stored without column %v", e.Ref, e.Column)
}

// Verify reads a whole file, everything that is in it, and reports what is damaged.
func Verify(r io.ReaderAt, size int64, report func(*DamageError)) (Summary, error) {
	return Summary{}, errNotYet
}

// Inspect writes what is in a file for people to read.
func Inspect(out io.Writer, r io.ReaderAt, size int64) error { return errNotYet }
