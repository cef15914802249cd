package spool

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

const readAhead = 256 << 10

// reader finds records in one segment file at a time. Payloads that it returns
// share the memory of a read-ahead buffer, which is never written again: a
// buffer is garbage when its last payload is.
type reader struct {
	ahead int64        // bytes to read at once
	fault func() error // injected by tests

	ended bool // the spool is closed

	id   uint64
	seed uint32
	file *os.File
	buf  []byte
	base int64 // file offset of buf[0]

	// skipped counts the records with an intact header and a damaged or missing
	// payload that the last call of find passed.
	skipped Count
}

// open makes the segment the one to read, unless it is already.
func (r *reader) open(dir *directory, id uint64) error {
	if r.file != nil && r.id == id {
		return nil
	}
	r.close()
	if r.ended {
		return ErrClosed
	}
	f, err := os.Open(dir.segmentPath(id))
	if err != nil {
		return err
	}
	r.file, r.id, r.seed = f, id, segmentSeed(id)
	return nil
}

// close also frees the read-ahead buffer; the reader can be opened again.
func (r *reader) close() {
	if r.file != nil {
		r.file.Close() //nolint:errcheck // opened for reading
	}
	r.file, r.buf, r.base = nil, nil, 0
}

// find returns the first intact record at or after off and before limit that
// belongs between lo and hi, its payload, and the offset after it; io.EOF when
// there is none. Whatever is damaged is passed over.
func (r *reader) find(off, limit int64, lo, hi totals) (record, []byte, int64, error) {
	r.skipped = Count{}
	for limit-off >= recordHeaderSize {
		b, err := r.bytes(off, recordHeaderSize, limit)
		if err != nil {
			return record{}, nil, 0, err
		}
		rec, ok := parseRecordHeader(b, r.seed)
		if !ok || !rec.between(lo, hi) {
			if off, err = r.resync(off+1, limit); err != nil {
				return record{}, nil, 0, err
			}
			continue
		}
		frame := recordHeaderSize + int64(rec.length)
		if frame > limit-off {
			r.skipped.add(one(rec.samples))
			off += recordHeaderSize
			continue
		}
		if b, err = r.bytes(off, frame, limit); err != nil {
			return record{}, nil, 0, err
		}
		off += frame
		payload := b[recordHeaderSize:frame:frame]
		if checksum(payload) != rec.sum {
			r.skipped.add(one(rec.samples))
			continue
		}
		return rec, payload, off, nil
	}
	return record{}, nil, 0, io.EOF
}

// resync returns the offset of the next record magic at or after off, or limit.
func (r *reader) resync(off, limit int64) (int64, error) {
	for limit-off >= recordHeaderSize {
		b, err := r.bytes(off, recordHeaderSize, limit)
		if err != nil {
			return 0, err
		}
		if i := bytes.Index(b, []byte(recordMagic)); i >= 0 {
			return off + int64(i), nil
		}
		// The magic may straddle the end of what is buffered.
		off += int64(len(b) - len(recordMagic) + 1)
	}
	return limit, nil
}

// bytes returns at least n bytes at off, more when they are buffered, none
// beyond limit.
func (r *reader) bytes(off, n, limit int64) ([]byte, error) {
	if off < r.base || off+n > r.base+int64(len(r.buf)) {
		if err := r.fill(off, n, limit); err != nil {
			return nil, err
		}
	}
	b := r.buf[off-r.base:]
	if int64(len(b)) > limit-off {
		b = b[:limit-off]
	}
	return b, nil
}

// fill reads a fresh buffer that starts at off. The old one stays as it is:
// payloads in it belong to the consumer.
func (r *reader) fill(off, n, limit int64) error {
	if r.fault != nil {
		if err := r.fault(); err != nil {
			return err
		}
	}
	buf := make([]byte, min(max(n, r.ahead), limit-off))
	kept := 0
	if off >= r.base && off < r.base+int64(len(r.buf)) {
		kept = copy(buf, r.buf[off-r.base:])
	}
	read, err := r.file.ReadAt(buf[kept:], off+int64(kept))
	if err == io.EOF {
		// The file is shorter than it was; what is left of it may do.
		buf, err = buf[:kept+read], nil
		if int64(len(buf)) < n {
			err = fmt.Errorf("%s: %w", r.file.Name(), io.ErrUnexpectedEOF)
		}
	}
	if err != nil {
		return err
	}
	r.buf, r.base = buf, off
	return nil
}
