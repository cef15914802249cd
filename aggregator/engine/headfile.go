package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/nephoscope/nepho/aggregator/objects"
)

// A head object holds what is in memory of metrics. Integers are little-endian or
// varints.
//
//	8   magic "NephoHd1"
//	chunks, one a metric:
//	    4   magic
//	    4   length n of the body
//	    4   CRC-32C of the body
//	    n   the metric's state, base time (varint, less the newest), packed points
//	table: the metrics' states again, each followed by n
//	32  offset and length of the table, number of chunks (8 each), CRC-32C of the table and of these 24 bytes, magic of 4
//
// The state is the ref less that of the chunk before in the table (absolute in a chunk), policy,
// newest time, and how much newer that is than the edge, plus 1, or 0 if there is no edge. When a chunk is damaged
// the table tells whose it was; when the table is, chunks are found one after the other.
const (
	headMagic   = "NephoHd1"
	chunkMagic  = "\xc4NHc"
	tableMagic  = "\xc4NHt"
	chunkHeader = 12
	headTrailer = 32
	maxChunk    = 1 << 30
)

var errHead = errors.New("head object is damaged")

// headEntry is a metric's state.
type headEntry struct {
	ref          Ref
	policy       uint32
	newest, edge int64
}

// appendTo appends the state; before is the ref from which that of the entry is counted.
func (h headEntry) appendTo(dst []byte, before Ref) []byte {
	dst = binary.AppendUvarint(dst, uint64(h.ref-before))
	dst = binary.AppendUvarint(dst, uint64(h.policy))
	dst = binary.AppendVarint(dst, h.newest)
	if h.edge == noTime {
		return append(dst, 0)
	}
	return binary.AppendUvarint(dst, uint64(h.newest-h.edge)+1)
}

func (r *reader) headEntry(before Ref) headEntry {
	h := headEntry{ref: before + Ref(r.uvarint())}
	p := r.uvarint()
	h.policy, h.newest, h.edge = uint32(p), r.varint(), noTime
	if d := r.uvarint(); d > 0 {
		h.edge = h.newest - int64(d-1)
	}
	r.failed = r.failed || h.ref > MaxRef || p > 1<<32-1 || h.ref < before
	return h
}

// headWriter writes a head object.
type headWriter struct {
	w      *bufio.Writer
	offset int64
	table  []byte
	before Ref
	chunks uint64
	chunk  []byte
	err    error
}

func newHeadWriter(w io.Writer) *headWriter {
	h := &headWriter{w: bufio.NewWriterSize(w, 1<<18)}
	h.write([]byte(headMagic))
	return h
}

func (h *headWriter) write(b []byte) {
	if h.err == nil {
		_, h.err = h.w.Write(b)
	}
	h.offset += int64(len(b))
}

// add writes a metric; refs ascend. row is its packed points, without padding.
func (h *headWriter) add(entry headEntry, base int64, row []byte) {
	c := append(h.chunk[:0], make([]byte, chunkHeader)...)
	c = entry.appendTo(c, 0)
	c = binary.AppendVarint(c, base-entry.newest)
	c = append(c, row...)
	body := c[chunkHeader:]
	copy(c, chunkMagic)
	binary.LittleEndian.PutUint32(c[4:], uint32(len(body)))
	binary.LittleEndian.PutUint32(c[8:], crc32.Checksum(body, castagnoli))
	h.table = entry.appendTo(h.table, h.before)
	h.table = binary.AppendUvarint(h.table, uint64(len(body)))
	h.before = entry.ref
	h.chunks++
	h.write(c)
	h.chunk = c
}

// close writes the rest, and gives the size of the object.
func (h *headWriter) close() (int64, error) {
	trailer := binary.LittleEndian.AppendUint64(nil, uint64(h.offset))
	trailer = binary.LittleEndian.AppendUint64(trailer, uint64(len(h.table)))
	trailer = binary.LittleEndian.AppendUint64(trailer, h.chunks)
	h.write(h.table)
	trailer = binary.LittleEndian.AppendUint32(trailer, crc32.Update(crc32.Checksum(h.table, castagnoli), castagnoli, trailer))
	h.write(append(trailer, tableMagic...))
	if h.err == nil {
		h.err = h.w.Flush()
	}
	return h.offset, h.err
}

// headChunk is a metric of a head object: its state and points, also packed, with padding.
type headChunk struct {
	headEntry
	base int64
	row  []byte

	times  []int64
	values []float64
}

// headDamage is what of a head object can't be read: a metric, if known, or bytes.
type headDamage struct {
	entry  *headEntry
	offset int64
	length int64
}

// readHead calls f with each metric of a head object. The chunk is valid only during the call. It
// reports damage, which costs only what it hits.
func readHead(ctx context.Context, s objects.Store, o objectInfo, f func(*headChunk) error, report func(headDamage)) error {
	table, chunks, end, err := readHeadTable(ctx, s, o)
	if errors.Is(err, errHead) {
		report(headDamage{offset: o.Size - headTrailer, length: headTrailer})
		return scanHead(ctx, s, o, f, report)
	}
	if err != nil {
		return err
	}
	body, err := s.Get(ctx, o.Name, 0, end)
	if err != nil {
		return err
	}
	defer body.Close()
	in := bufio.NewReaderSize(body, 1<<18)
	offset := int64(len(headMagic))
	if _, err := in.Discard(len(headMagic)); err != nil {
		return fmt.Errorf("cannot read head object %q: %w", o.Name, err)
	}
	t := reader{b: table}
	entry := headEntry{}
	var c headChunk
	var raw []byte
	for range chunks {
		entry = t.headEntry(entry.ref)
		n := int64(t.uvarint())
		if t.failed || n > maxChunk || n > end-offset-chunkHeader {
			return fmt.Errorf("cannot read head object %q: %w", o.Name, errHead) // no damage: its checksum is right
		}
		raw = grow(raw[:0], int(chunkHeader+n))
		if _, err := io.ReadFull(in, raw); err != nil {
			return fmt.Errorf("cannot read head object %q: %w", o.Name, err)
		}
		if c.decode(raw) && c.headEntry == entry {
			if err := f(&c); err != nil {
				return err
			}
		} else {
			report(headDamage{entry: &entry, offset: offset, length: int64(len(raw))})
		}
		offset += int64(len(raw))
	}
	return nil
}

// readHeadTable gives the table and where the chunks end.
func readHeadTable(ctx context.Context, s objects.Store, o objectInfo) (table []byte, chunks uint64, end int64, err error) {
	if o.Size < int64(len(headMagic)+headTrailer) {
		return nil, 0, 0, errHead
	}
	trailer, err := readRange(ctx, s, o.Name, o.Size-headTrailer, headTrailer)
	if err != nil {
		return nil, 0, 0, err
	}
	at := binary.LittleEndian.Uint64(trailer)
	length := binary.LittleEndian.Uint64(trailer[8:])
	chunks = binary.LittleEndian.Uint64(trailer[16:])
	if limit := uint64(o.Size - headTrailer); string(trailer[28:]) != tableMagic || at < uint64(len(headMagic)) || at > limit || length != limit-at || chunks > length {
		return nil, 0, 0, errHead
	}
	if table, err = readRange(ctx, s, o.Name, int64(at), int64(length)); err != nil {
		return nil, 0, 0, err
	}
	if crc32.Update(crc32.Checksum(table, castagnoli), castagnoli, trailer[:24]) != binary.LittleEndian.Uint32(trailer[24:]) {
		return nil, 0, 0, errHead
	}
	return table, chunks, int64(at), nil
}

// readRange reads a part of an object.
func readRange(ctx context.Context, s objects.Store, name string, offset, length int64) ([]byte, error) {
	in, err := s.Get(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b := make([]byte, length)
	if _, err := io.ReadFull(in, b); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, errHead // shorter than it was
		}
		return nil, fmt.Errorf("cannot read object %q: %w", name, err)
	}
	return b, nil
}

// decode reads a chunk with its header.
func (c *headChunk) decode(raw []byte) bool {
	if len(raw) < chunkHeader || string(raw[:4]) != chunkMagic {
		return false
	}
	body := raw[chunkHeader:]
	if int(binary.LittleEndian.Uint32(raw[4:])) != len(body) || crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(raw[8:]) {
		return false
	}
	r := reader{b: body}
	c.headEntry = r.headEntry(0)
	c.base = c.newest + r.varint()
	if r.failed {
		return false
	}
	c.row = append(append(c.row[:0], r.b...), make([]byte, padding)...)
	var err error
	c.times, c.values, err = unpack(c.row, c.base, c.times[:0], c.values[:0])
	n := len(c.times)
	// The newest point may have been lost with an older head.
	return err == nil && (n == 0 || c.times[n-1] <= c.newest) && ascend(c.times)
}

func ascend(times []int64) bool {
	for i := 1; i < len(times); i++ {
		if times[i] <= times[i-1] {
			return false
		}
	}
	return true
}

// scanHead finds chunks without the table.
func scanHead(ctx context.Context, s objects.Store, o objectInfo, f func(*headChunk) error, report func(headDamage)) error {
	in, err := s.Get(ctx, o.Name, 0, -1)
	if err != nil {
		return err
	}
	defer in.Close()
	all, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("cannot read object %q: %w", o.Name, err)
	}
	var c headChunk
	before := Ref(0)
	for at, first := 0, true; ; {
		next := bytes.Index(all[at:], []byte(chunkMagic))
		if next < 0 {
			return nil
		}
		if next > 0 && !first {
			report(headDamage{offset: int64(at), length: int64(next)})
		}
		at += next
		if rest := all[at:]; len(rest) >= chunkHeader {
			n := chunkHeader + uint64(binary.LittleEndian.Uint32(rest[4:]))
			if n <= uint64(len(rest)) && c.decode(rest[:n]) && (first || c.ref > before) {
				if err := f(&c); err != nil {
					return err
				}
				at, before, first = at+int(n), c.ref, false
				continue
			}
		}
		report(headDamage{offset: int64(at), length: int64(len(chunkMagic))})
		at++
		first = false
	}
}
