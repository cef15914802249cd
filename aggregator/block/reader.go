package block

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sort"
	"sync"

	"github.com/nephoscope/nepho/aggregator/window"
)

// Bytes that are read at once, which is more than most footers and chunks have.
const (
	tailLength = 64 << 10
	headLength = 64 << 10
)

// Reader reads a file. Its methods may be called concurrently. It keeps the footer in memory, about
// 8 bytes a metric.
type Reader struct {
	r      io.ReaderAt
	size   int64
	footer *footer
	damage []*DamageError
}

// Open reads the footer of a file. If that is damaged, it looks for chunks in the whole file, and
// [Reader.Damage] tells so. It fails when the file is none, has a later version (*[VersionError]), or can't be read.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	f, err := readFooter(r, size)
	if err == nil {
		return &Reader{r: r, size: size, footer: f}, nil
	}
	var damage *DamageError
	if !errors.As(err, &damage) {
		return nil, fmt.Errorf("cannot open block file: %w", err)
	}
	found, err := scan(r, size, damage)
	if err != nil {
		return nil, fmt.Errorf("cannot open block file: %w", err)
	}
	return found, nil
}

// readFooter fails with a *DamageError if it could be read, but is damaged.
func readFooter(r io.ReaderAt, size int64) (*footer, error) {
	tail, err := readAt(r, max(0, size-tailLength), min(size, tailLength), nil)
	if err != nil {
		return nil, err
	}
	damaged := func(length int64, err error) error {
		return &DamageError{Part: Footer, Offset: size - length, Length: length, Reason: err.Error()}
	}
	length, err := footerLength(tail[max(0, len(tail)-trailerLength):], size)
	if err != nil {
		return nil, damaged(0, err)
	}
	length += trailerLength
	if length > int64(len(tail)) {
		if tail, err = readAt(r, size-length, length, nil); err != nil {
			return nil, err
		}
	}
	f, err := parseFooter(tail[int64(len(tail))-length:], size)
	var later *VersionError
	if err != nil && !errors.As(err, &later) {
		err = damaged(length, err)
	}
	return f, err
}

// readAt reads n bytes into a buffer, which it makes when it is too small. When the file ends before, so do they.
func readAt(r io.ReaderAt, offset, n int64, buffer []byte) ([]byte, error) {
	b := resize(buffer, int(n))
	k, err := r.ReadAt(b, offset)
	if k == len(b) || errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:k], err
}

// Damage is what Open found to be damaged.
func (r *Reader) Damage() []*DamageError { return r.damage }

// Summary tells what is in the file.
func (r *Reader) Summary() Summary { return r.footer.summary(r.size) }

// Entry tells of a metric's chunk.
type Entry struct {
	Ref            uint64
	Offset, Length int64 // in the file, bytes
	First, Last    int64 // starts of its first and its last window, nanoseconds since 1970
}

func (r *Reader) entry(e entry) Entry {
	g := r.footer.granularity
	return Entry{Ref: e.ref, Offset: e.offset, Length: e.length, First: e.first * g, Last: e.last * g}
}

// Entries gives all metrics of the file, by ref.
func (r *Reader) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for e := range r.footer.all() {
			if !yield(r.entry(e)) {
				return
			}
		}
	}
}

// Entry is that of a metric, if the file has windows of it.
func (r *Reader) Entry(ref uint64) (Entry, bool) {
	e, ok := r.footer.find(ref)
	return r.entry(e), ok
}

// A MissingError says that windows were stored without a column.
type MissingError struct {
	Ref    uint64
	Column window.Column
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("windows of metric %d were stored without column %v", e.Ref, e.Column)
}

// reading is the buffers of one Read.
type reading struct {
	chunk    chunk
	head     []byte
	body     []byte
	unpacker unpacker
}

var readings = sync.Pool{New: func() any { return new(reading) }}

// Read appends to a frame the windows of a metric with from <= start < to, in nanoseconds since 1970. It unpacks
// only the columns that the frame has, and reads only the segments that it needs.
//
// [ErrNone] says that the file has nothing of the metric, a *[MissingError] that it lacks a column. When parts are damaged,
// the frame gets all other windows, and the error is a *[DamageError], or some of them joined. After any other error the frame is as
// before.
func (r *Reader) Read(ref uint64, from, to int64, into *window.Frame) error {
	g := r.footer.granularity
	if into.Granularity != g {
		return fmt.Errorf("cannot read windows of %d ns into a frame of %d ns", g, into.Granularity)
	}
	e, ok := r.footer.find(ref)
	if !ok {
		return ErrNone
	}
	first, end := ceil(from, g), ceil(to, g)
	if e.last < first || e.first >= end || first >= end {
		return nil
	}
	b := readings.Get().(*reading)
	defer readings.Put(b)
	before := into.Len()
	var damage []error
	err := r.segments(b, e, first, end, func(s *segment, body []byte) error {
		err := b.unpacker.read(ref, s, body, first, end, g, into)
		if missing := (*MissingError)(nil); err != nil && !errors.As(err, &missing) {
			damage = append(damage, r.segmentDamage(e, s, err))
			err = nil
		}
		return err
	})
	if part := (*DamageError)(nil); errors.As(err, &part) {
		return err
	}
	if err != nil {
		truncate(into, before)
		return err
	}
	if len(damage) == 1 {
		return damage[0]
	}
	return errors.Join(damage...)
}

func (r *Reader) segmentDamage(e entry, s *segment, err error) *DamageError {
	return lost(Segment, e, r.footer.granularity, s.offset, s.length, s.first, s.last(), err)
}

// segments reads the segments of a chunk that have windows with numbers from first and before
// end, and calls f with each. It fails with a *DamageError if the chunk's head is damaged.
func (r *Reader) segments(b *reading, e entry, first, end int64, f func(*segment, []byte) error) error {
	damaged := func(err error) error {
		return lost(Chunk, e, r.footer.granularity, 0, e.length, e.first, e.last, err)
	}
	limit := math.MaxInt64 / r.footer.granularity
	var err error
	if b.head, err = readAt(r.r, e.offset, min(e.length, headLength), b.head); err != nil {
		return err
	}
	err = b.chunk.parse(b.head, limit)
	if errors.Is(err, errHeadCut) && e.length > headLength {
		if b.head, err = readAt(r.r, e.offset, e.length, b.head); err != nil {
			return err
		}
		err = b.chunk.parse(b.head, limit)
	}
	switch c := &b.chunk; {
	case err != nil:
		return damaged(err)
	case c.ref != e.ref || c.length != e.length || c.first() != e.first || c.last() != e.last:
		return damaged(errors.New("its head is that of another chunk"))
	}

	want := b.chunk.segments
	want = want[sort.Search(len(want), func(i int) bool { return want[i].last() >= first }):]
	want = want[:sort.Search(len(want), func(i int) bool { return want[i].first >= end })]
	if len(want) == 0 {
		return nil
	}
	from, to := want[0].offset, want[len(want)-1].offset+want[len(want)-1].length
	data, at := b.head, int64(0)
	if to > int64(len(data)) {
		if b.body, err = readAt(r.r, e.offset+from, to-from, b.body); err != nil {
			return err
		}
		data, at = b.body, from
	}
	for i := range want {
		s := &want[i]
		begin := min(s.offset-at, int64(len(data)))
		if err := f(s, data[begin:min(begin+s.length, int64(len(data)))]); err != nil {
			return err
		}
	}
	return nil
}

// read appends the windows of a segment with numbers from first and before end.
func (u *unpacker) read(ref uint64, s *segment, body []byte, first, end, granularity int64, into *window.Frame) error {
	if err := u.open(ref, s, body); err != nil {
		return err
	}
	for c := range into.Columns.All() {
		if !u.has(c) {
			return &MissingError{ref, c}
		}
	}
	i, j := 0, u.windows
	if first > s.first {
		i = u.find(first - s.first)
	}
	if end <= s.last() {
		j = u.find(end - s.first)
	}
	n := into.Len()
	into.Grow(j - i)
	u.starts(i, s.first, granularity, into.Starts[n:])
	for c := range into.Columns.All() {
		if err := u.values(c, i, j, into.Values(c)[n:]); err != nil {
			truncate(into, n)
			return err
		}
	}
	return nil
}

// truncate leaves the first n windows of a frame.
func truncate(f *window.Frame, n int) {
	if n < f.Len() {
		f.Cut(math.MinInt64, f.Starts[n])
	}
}

// ceil is the number of the first window that starts at t or later.
func ceil(t, granularity int64) int64 {
	n := t / granularity
	if n*granularity < t {
		n++
	}
	return n
}
