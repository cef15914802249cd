package wal

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// Tail is a piece of the log. Trim does not disturb it.
type Tail struct {
	io.Reader
	// From is at or after the position that was asked for; it is after it when
	// records before it were trimmed. The next piece begins at To.
	From, To Position
	Size     int64 // how many bytes Reader gives

	file *os.File
}

// Tail opens what is durable of the log from a position on, to the end of the
// segment that holds it. Its bytes are those of a segment file: as a file of the
// name [SegmentName] gives it is understood by [Open]. So a folder of such
// pieces is a copy of the log. From and To are equal when there is nothing.
func (l *Log) Tail(from Position) (*Tail, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.segments {
		end := l.durable
		if i+1 < len(l.segments) {
			end = min(end, l.segments[i+1].before)
		}
		if from >= end || s.start >= end || s.leaves {
			continue
		}
		file, err := os.Open(s.path)
		if err != nil {
			return nil, fmt.Errorf("cannot read the write-ahead log: %w", err)
		}
		before := from
		if from <= s.start {
			from, before = s.start, s.before
		}
		header := appendSegmentHeader(nil, from, before)
		n := end.minus(from)
		return &Tail{
			Reader: io.MultiReader(bytes.NewReader(header), io.NewSectionReader(file, s.offset(from), n)),
			From:   from,
			To:     end,
			Size:   segmentHeaderSize + n,
			file:   file,
		}, nil
	}
	return &Tail{Reader: bytes.NewReader(nil), From: from, To: from}, nil
}

// Close frees the file.
func (t *Tail) Close() error {
	if t.file == nil {
		return nil
	}
	return t.file.Close()
}
