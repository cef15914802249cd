package block

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

// maxHead is more than the head of a chunk has.
const maxHead = 64 << 20

// scanner reads a file in large pieces.
type scanner struct {
	r    io.ReaderAt
	size int64
	at   int64
	b    []byte
}

// bytes gives n bytes of the file, or those up to its end.
func (s *scanner) bytes(offset, n int64) ([]byte, error) {
	n = min(n, s.size-offset)
	if offset < s.at || offset+n > s.at+int64(len(s.b)) {
		var err error
		if s.b, err = readAt(s.r, offset, min(max(n, 1<<20), s.size-offset), s.b); err != nil {
			return nil, err
		}
		s.at = offset
	}
	b := s.b[offset-s.at:]
	return b[:min(n, int64(len(b)))], nil
}

// chunk reads the head of the chunk at an offset. It fails with another error
// than those of chunk.parse only if the file can't be read.
func (s *scanner) chunk(c *chunk, offset, limit int64) (broken, err error) {
	for n := int64(headLength); ; n *= 4 {
		b, err := s.bytes(offset, n)
		if err != nil {
			return nil, err
		}
		broken := c.parse(b, limit)
		if !errors.Is(broken, errHeadCut) || int64(len(b)) < n || n >= maxHead {
			return broken, nil
		}
	}
}

// scan opens a file by its chunks, when its footer is damaged.
func scan(r io.ReaderAt, size int64, cause *DamageError) (*Reader, error) {
	s := &scanner{r: r, size: size}
	header, err := s.bytes(0, headerLength)
	if err != nil {
		return nil, err
	}
	granularity, err := parseHeader(header)
	if err != nil {
		return nil, fmt.Errorf("it is none, or its header and its footer are both damaged: %w", err)
	}
	f := &footer{granularity: granularity}
	damage := []*DamageError{cause}
	limit := math.MaxInt64 / granularity
	lost := int64(-1) // where bytes begin that are no chunk
	reason := ""
	for at := int64(headerLength); at < size; {
		var c chunk
		broken, err := s.chunk(&c, at, limit)
		if err != nil {
			return nil, err
		}
		switch {
		case broken != nil:
		case c.length > size-at:
			broken = fmt.Errorf("the chunk of metric %d is cut off", c.ref)
		case f.metrics > 0 && c.ref <= f.end.ref:
			broken = fmt.Errorf("the chunk of metric %d is behind that of metric %d", c.ref, f.end.ref)
		default:
			if lost >= 0 {
				damage = append(damage, &DamageError{Part: Gap, Offset: lost, Length: at - lost, Reason: reason})
				lost = -1
			}
			f.add(entry{ref: c.ref, offset: at, length: c.length, first: c.first(), last: c.last()}, c.windows())
			at += c.length
			continue
		}
		if lost < 0 {
			if b, err := s.bytes(at, 2); err != nil {
				return nil, err
			} else if bytes.Equal(b, footerMark[:]) {
				break
			}
			lost, reason = at, broken.Error()
		}
		if at, err = s.mark(at + 1); err != nil {
			return nil, err
		}
	}
	if lost >= 0 {
		end := size
		if cause.Length > 0 && cause.Offset > lost {
			end = cause.Offset // the footer seems to be there
		}
		damage = append(damage, &DamageError{Part: Gap, Offset: lost, Length: end - lost, Reason: reason})
	}
	return &Reader{r: r, size: size, footer: f, damage: damage}, nil
}

// mark finds the next place where a chunk may begin, or the end.
func (s *scanner) mark(offset int64) (int64, error) {
	for offset < s.size {
		b, err := s.bytes(offset, 1<<20)
		if err != nil {
			return 0, err
		}
		if i := bytes.Index(b, chunkMark[:]); i >= 0 {
			return offset + int64(i), nil
		}
		if len(b) < 2 {
			break
		}
		offset += int64(len(b)) - 1 // the mark may begin with the last byte
	}
	return s.size, nil
}
