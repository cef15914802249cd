package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

const (
	readAhead = 256 << 10
	// pageSize is the least that a disk fails to read.
	pageSize = 4 << 10
)

// scanner finds the sound records of a segment. A record that crosses its end is none.
type scanner struct {
	r     io.ReaderAt
	start Position // of the segment
	at    Position // after the record
	to    Position // end of what is looked at

	record   []byte // the payload; valid until the next call
	position Position
	skipped  Position // where the damage before the record begins; position when there is none
	settled  bool     // what is before the record was durable when it was written

	unreadable Position // end of what the disk refused to give, 0 if it gave all

	buf    []byte // what was read
	bufPos Position
}

func newScanner(r io.ReaderAt, start, from, to Position) *scanner {
	from += (start - from) % alignment // records are nowhere else
	return &scanner{r: r, start: start, at: from, to: max(from, to)}
}

// next moves to the next sound record. When it returns false, skipped is the end of the
// last one.
func (s *scanner) next() bool {
	p := s.at
	s.skipped = p
	for p < s.to {
		size, sum, settled, ok := s.header(p)
		if !ok {
			p = s.candidate(p + alignment)
			continue
		}
		b := s.peek(p, recordHeaderSize+int(size))
		if b = b[min(len(b), recordHeaderSize):]; len(b) == int(size) && crc32.Checksum(b, castagnoli) == sum {
			s.record, s.position, s.settled = b, p, settled
			s.at = p + Position(frame(size))
			return true
		}
		// The header is right, so it says where the next one is.
		p += Position(frame(size))
	}
	return false
}

// header returns what a sound header at p says of a record that fits.
func (s *scanner) header(p Position) (size int64, sum uint32, settled, ok bool) {
	b := s.peek(p, recordHeaderSize)
	if len(b) < recordHeaderSize || binary.LittleEndian.Uint32(b) != recordMagic ||
		binary.LittleEndian.Uint32(b[12:]) != headerSum(p, b) {
		return 0, 0, false, false
	}
	length := binary.LittleEndian.Uint32(b[4:])
	size, settled = int64(length&^settledBit), length&settledBit != 0
	return size, binary.LittleEndian.Uint32(b[8:]), settled, size <= MaxRecord && frame(size) <= s.to.minus(p)
}

// candidate returns the first place at or after p where a header may begin, or the end.
func (s *scanner) candidate(p Position) Position {
	for p < s.to {
		b := s.window(p, recordHeaderSize)
		if len(b) < recordHeaderSize {
			break
		}
		i := 0
		for ; i+4 <= len(b); i += alignment {
			if binary.LittleEndian.Uint32(b[i:]) == recordMagic {
				return p + Position(i)
			}
		}
		p += Position(i)
	}
	return s.to
}

// written is the end of what is not zeros from p on, in whole places for records. What the
// disk refuses to give counts as written.
func (s *scanner) written(p Position) Position {
	end := p
	for p < s.to {
		b := s.window(p, 1)
		if len(b) == 0 {
			break
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			end = p + Position(n)
			end = min(s.to, end+(s.start-end)%alignment)
		}
		p += Position(len(b))
	}
	return max(end, s.unreadable)
}

// peek returns n bytes from p on, or those up to the end of what is looked at or of
// the file.
func (s *scanner) peek(p Position, n int) []byte {
	b := s.window(p, n)
	return b[:min(n, len(b))]
}

// window is like peek, but also gives what else was read.
func (s *scanner) window(p Position, n int) []byte {
	n = int(min(int64(n), s.to.minus(p)))
	if p < s.bufPos || p+Position(n) > s.bufPos+Position(len(s.buf)) {
		s.fill(p, n)
	}
	return s.buf[min(int64(len(s.buf)), p.minus(s.bufPos)):]
}

// fill reads at least n bytes from p on, if there are as many.
func (s *scanner) fill(p Position, n int) {
	n = int(min(int64(max(n, readAhead)), s.to.minus(p)))
	if cap(s.buf) < n {
		s.buf = make([]byte, n)
	}
	s.buf, s.bufPos = s.buf[:n], p
	offset := segmentHeaderSize + p.minus(s.start)
	got, err := s.r.ReadAt(s.buf, offset)
	if err == nil || errors.Is(err, io.EOF) {
		s.buf = s.buf[:got]
		return
	}
	// One bad block of the disk does not cost what is around it.
	for got < n {
		part := s.buf[got:min(n, got+int(pageSize-(offset+int64(got))%pageSize))]
		k, err := s.r.ReadAt(part, offset+int64(got))
		got += k
		if k == len(part) {
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		s.unreadable = p + Position(got+len(part))
		clear(part[k:])
		got += len(part) - k
	}
	s.buf = s.buf[:got]
}
