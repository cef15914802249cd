package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sort"
)

// What a file begins and ends with. See docs/BLOCKS.md.
const (
	version       = 1
	headerMagic   = "nephoblk"
	trailerMagic  = "blkend\r\n"
	headerLength  = 24
	trailerLength = 24
)

// footerMark begins the footer, so that a scan for chunks knows where they end.
var footerMark = [2]byte{0xb1, 0xf0}

// maxFooter is how long a footer may be: that of a hundred million metrics.
const maxFooter = 1 << 30

// A VersionError says that a file was written by a later program.
type VersionError struct{ Version uint32 }

func (e *VersionError) Error() string {
	return fmt.Sprintf("block file has version %d, and this program reads version %d: use a newer one", e.Version, version)
}

func appendHeader(dst []byte, granularity int64) []byte {
	start := len(dst)
	dst = append(dst, headerMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(granularity))
	return binary.LittleEndian.AppendUint32(dst, sum(dst[start:]))
}

// parseHeader gives the granularity.
func parseHeader(b []byte) (granularity int64, err error) {
	switch {
	case len(b) < headerLength || string(b[:8]) != headerMagic:
		return 0, errors.New("it does not begin as a block file")
	case sum(b[:20]) != binary.LittleEndian.Uint32(b[20:]):
		return 0, errSum
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return 0, &VersionError{v}
	}
	granularity = int64(binary.LittleEndian.Uint64(b[12:]))
	if granularity <= 0 {
		return 0, errors.New("its granularity is not above 0")
	}
	return granularity, nil
}

// groupLength is how many metrics there are from one place at which reading of the
// footer can begin to the next.
const groupLength = 16

// footer tells where chunks are. It stays packed: a few bytes say how each metric
// differs from the one before. Chunks are in the order of refs.
type footer struct {
	granularity int64
	metrics     int
	windows     int64
	first, last int64 // numbers of the first and the last of all windows
	packed      []byte
	groups      []group
	end         entry // the last one
}

// entry is a metric's place in a file.
type entry struct {
	ref            uint64
	offset, length int64
	first, last    int64 // numbers of windows
}

// group is where reading can begin.
type group struct {
	before entry
	at     int // in packed
}

// beforeAll is what comes before the first entry: the next ref is 0 or more.
var beforeAll = entry{ref: math.MaxUint64, offset: headerLength}

// add adds a metric. Its chunk is behind the one before, perhaps with something
// else in between.
func (f *footer) add(e entry, windows int64) {
	if f.metrics == 0 {
		f.end, f.first, f.last = beforeAll, e.first, e.last
	}
	if adjoins := f.end.offset+f.end.length == e.offset; f.metrics%groupLength == 0 || !adjoins {
		f.end.offset = e.offset - f.end.length
		f.groups = append(f.groups, group{f.end, len(f.packed)})
	}
	f.packed = binary.AppendUvarint(f.packed, e.ref-f.end.ref-1)
	f.packed = binary.AppendUvarint(f.packed, uint64(e.length))
	f.packed = binary.AppendVarint(f.packed, e.first-f.end.first)
	f.packed = binary.AppendVarint(f.packed, e.last-f.end.last)
	f.end = e
	f.metrics++
	f.windows += windows
	f.first, f.last = min(f.first, e.first), max(f.last, e.last)
}

// next reads the entry that follows one.
func (f *fields) next(before entry) entry {
	return entry{
		ref:    before.ref + 1 + f.upTo(math.MaxUint64-(before.ref+1)),
		offset: before.offset + before.length,
		length: int64(f.upTo(math.MaxInt64 / 2)),
		first:  before.first + f.signed(),
		last:   before.last + f.signed(),
	}
}

// all gives the entries by ref.
func (f *footer) all() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		for i := range f.groups {
			e, at, end := f.group(i)
			for at < end {
				if at = e.next(f.packed, at); !yield(e) {
					return
				}
			}
		}
	}
}

// group is what comes before the entries of a group, and where they are.
func (f *footer) group(i int) (before entry, at, end int) {
	end = len(f.packed)
	if i+1 < len(f.groups) {
		end = f.groups[i+1].at
	}
	return f.groups[i].before, f.groups[i].at, end
}

// next makes e the entry that follows it, and gives the place of the one behind that. It is
// fields.next of what is known to be sound.
func (e *entry) next(packed []byte, at int) int {
	distance, at := number(packed, at)
	length, at := number(packed, at)
	first, at := number(packed, at)
	last, at := number(packed, at)
	e.ref += 1 + distance
	e.offset += e.length
	e.length = int64(length)
	e.first += int64(first>>1) ^ -int64(first&1)
	e.last += int64(last>>1) ^ -int64(last&1)
	return at
}

// number reads a number, and gives the place of the next one.
func number(packed []byte, at int) (uint64, int) {
	if b := packed[at]; b < 0x80 {
		return uint64(b), at + 1
	}
	u, n := binary.Uvarint(packed[at:])
	return u, at + n
}

// find gives the entry of a metric.
func (f *footer) find(ref uint64) (entry, bool) {
	if f.metrics == 0 {
		return entry{}, false
	}
	i := sort.Search(len(f.groups)-1, func(i int) bool { return f.groups[i+1].before.ref >= ref })
	e, at, end := f.group(i)
	for at < end {
		if at = e.next(f.packed, at); e.ref >= ref {
			return e, e.ref == ref
		}
	}
	return entry{}, false
}

// append appends the footer and the trailer.
func (f *footer) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, footerMark[:]...)
	dst = binary.AppendUvarint(dst, uint64(f.granularity))
	dst = binary.AppendUvarint(dst, uint64(f.metrics))
	dst = binary.AppendUvarint(dst, uint64(f.windows))
	dst = append(dst, f.packed...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(dst)-start))
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint32(dst, sum(dst[start:]))
	return append(dst, trailerMagic...)
}

var errNoTrailer = errors.New("the file does not end as a block file: it was cut off, or never written to its end")

// footerLength is the length of the footer of a file, without trailer, by the
// trailer.
func footerLength(trailer []byte, size int64) (int64, error) {
	if len(trailer) != trailerLength || string(trailer[16:]) != trailerMagic {
		return 0, errNoTrailer
	}
	length := binary.LittleEndian.Uint64(trailer)
	if length > maxFooter || int64(length) > size-headerLength-trailerLength {
		return 0, errors.New("its length makes no sense")
	}
	return int64(length), nil
}

// parseFooter reads the footer and the trailer, b, of a file.
func parseFooter(b []byte, size int64) (*footer, error) {
	body, trailer := b[:len(b)-trailerLength], b[len(b)-trailerLength:]
	if sum(b[:len(b)-12]) != binary.LittleEndian.Uint32(trailer[12:]) {
		return nil, errSum
	}
	if v := binary.LittleEndian.Uint32(trailer[8:]); v != version {
		return nil, &VersionError{v}
	}
	errSense := errors.New("it makes no sense")
	r := fields{b: body}
	if [2]byte(r.take(2)) != footerMark {
		return nil, errSense
	}
	f := &footer{granularity: int64(r.upTo(math.MaxInt64)), metrics: int(r.upTo(uint64(len(b)))), windows: int64(r.upTo(math.MaxInt64)), end: beforeAll}
	if r.failed || f.granularity == 0 {
		return nil, errSense
	}
	f.packed = slices.Clone(body[r.at:])
	f.groups = make([]group, 0, (f.metrics+groupLength-1)/groupLength)
	r = fields{b: f.packed}
	limit := math.MaxInt64 / f.granularity
	for i := range f.metrics {
		if i%groupLength == 0 {
			f.groups = append(f.groups, group{f.end, r.at})
		}
		f.end = r.next(f.end)
		e := f.end
		if r.failed || e.first < -limit || e.first > e.last || e.last > limit || e.length == 0 || e.offset+e.length > size {
			return nil, errSense
		}
		if i == 0 {
			f.first, f.last = e.first, e.last
		}
		f.first, f.last = min(f.first, e.first), max(f.last, e.last)
	}
	if r.left() > 0 || f.end.offset+f.end.length != size-int64(len(b)) {
		return nil, errSense
	}
	return f, nil
}
