// Package block reads and writes block files: windows of many metrics at one
// granularity, packed, in files that do not change once they are written. The
// layout is in docs/BLOCKS.md.
//
// Each metric's part of a file is a chunk, each chunk has segments, and each of those its
// own checksum. So damage costs what it hits and nothing else, and is not taken for data.
package block

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrNone says that a file has nothing of a metric.
var ErrNone = errors.New("block file has no windows of this metric")

// Part is a part of a file.
type Part string

// The parts of a file.
const (
	Header  Part = "header"
	Chunk   Part = "chunk"   // all windows of a metric
	Segment Part = "segment" // up to 2,048 windows of a metric
	Footer  Part = "footer"  // tells where chunks are; they can be found without it
	Gap     Part = "gap"     // bytes in which no part can be told any more
)

// DamageError says which part of a file can't be read. All other parts can.
type DamageError struct {
	Part     Part
	Ref      uint64 // of chunks and segments: the metric
	Offset   int64  // where the part begins in the file
	Length   int64  // of the part, in bytes
	From, To int64  // of chunks and segments: windows with From <= start < To are lost, nanoseconds since 1970
	Reason   string
}

func (e *DamageError) Error() string {
	lost := ""
	if e.Part == Chunk || e.Part == Segment {
		lost = fmt.Sprintf(" of metric %d, windows from %s until %s,", e.Ref, timeText(e.From), timeText(e.To))
	}
	return fmt.Sprintf("%s%s at offset %d (%d bytes) can't be read: %s", e.Part, lost, e.Offset, e.Length, e.Reason)
}

// timeText is a time for people to read.
func timeText(t int64) string { return time.Unix(0, t).UTC().Format(time.RFC3339Nano) }

// lost says which windows are lost with a chunk or a segment.
func lost(part Part, e entry, granularity, offset, length, first, last int64, err error) *DamageError {
	d := &DamageError{
		Part: part, Ref: e.ref, Offset: e.offset + offset, Length: length,
		From: first * granularity, To: math.MaxInt64, Reason: err.Error(),
	}
	if last < math.MaxInt64/granularity {
		d.To = (last + 1) * granularity
	}
	return d
}

// Summary tells what is in a file.
type Summary struct {
	Granularity int64 // nanoseconds
	Metrics     int
	Windows     int64
	Bytes       int64 // size of the file
	First, Last int64 // starts of the first and the last of all windows, nanoseconds since 1970
}

func (f *footer) summary(size int64) Summary {
	return Summary{
		Granularity: f.granularity, Metrics: f.metrics, Windows: f.windows, Bytes: size,
		First: f.first * f.granularity, Last: f.last * f.granularity,
	}
}
