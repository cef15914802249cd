package block

import (
	"encoding/binary"
	"errors"
)

// chunkMark begins each chunk, so that chunks are found behind damage.
var chunkMark = [2]byte{0xb1, 0x0c}

// chunk is what the head of a metric's chunk tells.
type chunk struct {
	ref      uint64
	segments []segment
	length   int64 // of head and segments
}

func (c *chunk) first() int64 { return c.segments[0].first }
func (c *chunk) last() int64  { return c.segments[len(c.segments)-1].last() }

func (c *chunk) windows() int64 {
	n := int64(0)
	for i := range c.segments {
		n += int64(c.segments[i].windows)
	}
	return n
}

var (
	errMark    = errors.New("no chunk begins here")
	errHeadCut = errors.New("its head is cut off")
	errHead    = errors.New("its head makes no sense")
	errHeadSum = errors.New("the checksum of its head is wrong")
)

// appendHead appends the head of a chunk of such segments.
func appendHead(dst []byte, ref uint64, segments []segment) []byte {
	start := len(dst)
	dst = append(dst, chunkMark[:]...)
	dst = binary.AppendUvarint(dst, ref)
	dst = binary.AppendUvarint(dst, uint64(len(segments)))
	for i := range segments {
		s := &segments[i]
		dst = binary.AppendUvarint(dst, uint64(s.length))
		if i == 0 {
			dst = binary.AppendVarint(dst, s.first)
		} else {
			dst = binary.AppendUvarint(dst, uint64(s.first-segments[i-1].last()))
		}
		dst = binary.AppendUvarint(dst, uint64(s.windows-1))
		dst = binary.AppendUvarint(dst, uint64(s.missing))
	}
	return binary.LittleEndian.AppendUint32(dst, sum(dst[start:]))
}

// parse reads the head that b begins with. It fails with [errHeadCut] when b is too
// short to tell. Windows have numbers from -limit to limit.
func (c *chunk) parse(b []byte, limit int64) error {
	f := fields{b: b}
	if mark := f.take(2); !f.failed && [2]byte(mark) != chunkMark {
		return errMark
	}
	c.ref, c.segments, c.length = f.unsigned(), c.segments[:0], 0
	for n := f.unsigned(); n > 0 && !f.failed; n-- {
		s := segment{offset: c.length, length: int64(f.upTo(maxSegmentLength))}
		if len(c.segments) == 0 {
			if s.first = f.signed(); s.first < -limit || s.first > limit {
				f.fail()
			}
		} else if s.first = f.step(c.last(), limit); s.first == c.last() {
			f.fail()
		}
		room := uint64(limit) - uint64(s.first)
		more := f.upTo(min(room, maxSegment-1))
		s.windows, s.missing = int(more)+1, int64(f.upTo(room-more))
		c.segments = append(c.segments, s)
		c.length += s.length
	}
	stored := binary.LittleEndian.Uint32(f.take(4))
	head := b[:f.at]
	switch {
	case f.cut:
		return errHeadCut
	case f.failed || len(c.segments) == 0:
		return errHead
	case sum(head[:len(head)-4]) != stored:
		return errHeadSum
	}
	for i := range c.segments {
		c.segments[i].offset += int64(len(head))
	}
	c.length += int64(len(head))
	return nil
}
