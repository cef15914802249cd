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
	"syscall"

	"github.com/nephoscope/nepho/aggregator/objects"
)

// A head object holds what is in memory of metrics. Integers are little-endian or
// varints.
//
//	8   magic "NephoHd2"
//	chunks, one a metric:
//	    4   magic
//	    4   length n of the body
//	    4   CRC-32C of the body
//	    n   the metric's state, base time (varint, less the newest), packed points
//	table: the metrics' states again, each followed by n
//	32  offset and length of the table, number of chunks (8 each), CRC-32C of the table and of these 24 bytes, magic of 4
//
// The state is the ref less that of the chunk before in the table (absolute in a chunk), flags, policy,
// newest time; with stateEdge how much newer that is than the edge; with stateLost
// the times from and to which points were lost, less the newest (zigzag). When a chunk is damaged
// the table tells whose it was. The table is there a second time, in an object of its own, which is
// a head object without chunks: so the loss of either object costs points, but no metric.
// When both tables are damaged, chunks are found one after the other.
const (
	headMagic   = "NephoHd2"
	chunkMagic  = "\xc4NHc"
	tableMagic  = "\xc4NHs"
	chunkHeader = 12
	headTrailer = 32
	maxChunk    = 1 << 30
)

// The flags of a state.
const (
	stateEdge = 1 << iota
	stateLost
	stateGone // was forgotten at its newest time
)

var errHead = errors.New("head object is damaged")

// headEntry is a metric's state.
type headEntry struct {
	ref          Ref
	policy       uint32
	newest, edge int64
	lost         hole // points that an earlier head object had
	gone         bool // it was forgotten, at newest
}

// appendTo appends the state; before is the ref from which that of the entry is counted.
func (h headEntry) appendTo(dst []byte, before Ref) []byte {
	flags := uint64(0)
	if h.edge != noTime {
		flags |= stateEdge
	}
	if !h.lost.empty() {
		flags |= stateLost
	}
	if h.gone {
		flags |= stateGone
	}
	dst = binary.AppendUvarint(dst, uint64(h.ref-before))
	dst = binary.AppendUvarint(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(h.policy))
	dst = binary.AppendVarint(dst, h.newest)
	if flags&stateEdge != 0 {
		dst = binary.AppendUvarint(dst, uint64(h.newest-h.edge))
	}
	if flags&stateLost != 0 {
		dst = binary.AppendVarint(dst, h.lost.from-h.newest)
		dst = binary.AppendVarint(dst, h.lost.to-h.newest)
	}
	return dst
}

func (r *reader) headEntry(before Ref) headEntry {
	h := headEntry{ref: before + Ref(r.uvarint())}
	flags, p := r.uvarint(), r.uvarint()
	h.policy, h.newest, h.edge, h.gone = uint32(p), r.varint(), noTime, flags&stateGone != 0
	if flags&stateEdge != 0 {
		h.edge = h.newest - int64(r.uvarint())
	}
	if flags&stateLost != 0 {
		h.lost.from = h.newest + r.varint()
		h.lost.to = h.newest + r.varint()
	}
	r.failed = r.failed || h.ref > MaxRef || p > 1<<32-1 || h.ref < before || flags > stateEdge|stateLost|stateGone || h.lost.from > h.lost.to
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

// writeTable writes a second object of the table, and gives its size.
func (h *headWriter) writeTable(w io.Writer) (int64, error) {
	second := newHeadWriter(w)
	second.table, second.chunks = h.table, h.chunks
	return second.close()
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
	err    error
	told   bool // it is part of a damage that was reported before
}

// headTable is the states of all metrics of a head object.
type headTable struct {
	states []byte
	chunks uint64
	end    int64 // of the chunks
}

// readHead calls f with each metric of a head object. The chunk is valid only during the call. It
// reports damage, which costs only what it hits; also that the object, or the second one of its
// table, is not there at all.
func readHead(ctx context.Context, s objects.Store, o, second objectInfo, f func(*headChunk) error, report func(headDamage)) error {
	table, err := readHeadTable(ctx, s, o)
	if damaged(ctx, s, o, err) {
		report(headDamage{offset: max(0, o.Size-headTrailer), length: headTrailer, err: err})
		table, err = readHeadTable(ctx, s, second)
		table.end = o.Size - headTrailer - int64(len(table.states))
		if damaged(ctx, s, second, err) {
			return scanHead(ctx, s, o, f, report)
		}
	}
	if err != nil {
		return err
	}
	body := headBody{ctx: ctx, s: s, o: o, at: int64(len(headMagic))}
	defer body.close()
	t := reader{b: table.states}
	entry := headEntry{}
	var c headChunk
	told := false
	for range table.chunks {
		entry = t.headEntry(entry.ref)
		n := chunkHeader + int64(t.uvarint())
		if t.failed || n > maxChunk || n > table.end-body.at {
			return fmt.Errorf("cannot read head object %q: %w", o.Name, errHead) // no damage: its checksum is right
		}
		damage := headDamage{entry: &entry, offset: body.at, length: n, err: errHead, told: told}
		raw, err := body.read(n)
		switch {
		case err == nil && c.decode(raw) && c.headEntry == entry:
			if err := f(&c); err != nil {
				return err
			}
			continue
		case err == nil:
		case damaged(ctx, s, o, err):
			damage.err = err
			told = body.gone
		default:
			return err
		}
		report(damage)
	}
	return nil
}

// headBody reads the chunks of a head object one after the other.
type headBody struct {
	ctx  context.Context
	s    objects.Store
	o    objectInfo
	at   int64
	gone bool // from here on there is nothing

	in     *bufio.Reader // nil when the object is to be opened at a place
	object io.Closer
	raw    []byte
}

// read reads n bytes. After an error, too, what follows is read next.
func (b *headBody) read(n int64) (_ []byte, err error) {
	defer func() {
		b.at += n
		if err != nil {
			err = fmt.Errorf("cannot read head object %q: %w", b.o.Name, err)
			b.close()
		}
	}()
	if b.gone {
		return nil, io.ErrUnexpectedEOF
	}
	if b.in == nil {
		object, err := b.s.Get(b.ctx, b.o.Name, b.at, -1)
		if err != nil {
			b.gone = errors.Is(err, objects.ErrNotFound)
			return nil, err
		}
		b.in, b.object = bufio.NewReaderSize(object, 1<<18), object
	}
	b.raw = grow(b.raw[:0], int(n))
	_, err = io.ReadFull(b.in, b.raw)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	b.gone = errors.Is(err, io.ErrUnexpectedEOF)
	return b.raw, err
}

func (b *headBody) close() {
	if b.in != nil {
		b.object.Close() //nolint:errcheck // it was only read
		b.in = nil
	}
}

// damaged tells whether an error of reading an object means that what was to be read is gone for
// good, and not only out of reach.
func damaged(ctx context.Context, s objects.Store, o objectInfo, err error) bool {
	switch {
	case err == nil || ctx.Err() != nil:
		return false
	case errors.Is(err, errHead), errors.Is(err, objects.ErrNotFound), errors.Is(err, syscall.EIO):
		return true
	case !errors.Is(err, io.ErrUnexpectedEOF):
		return false
	}
	// It is shorter than it was, or the connection broke.
	for info, err := range s.List(ctx, o.Name) {
		if err != nil {
			return false
		}
		if info.Name == o.Name {
			return info.Size < o.Size
		}
	}
	return true
}

// readHeadTable reads the table of a head object.
func readHeadTable(ctx context.Context, s objects.Store, o objectInfo) (headTable, error) {
	if o.Size < int64(len(headMagic)+headTrailer) {
		return headTable{}, errHead
	}
	trailer, err := readRange(ctx, s, o.Name, o.Size-headTrailer, headTrailer)
	if err != nil {
		return headTable{}, err
	}
	at := binary.LittleEndian.Uint64(trailer)
	length := binary.LittleEndian.Uint64(trailer[8:])
	chunks := binary.LittleEndian.Uint64(trailer[16:])
	if limit := uint64(o.Size - headTrailer); string(trailer[28:]) != tableMagic || at < uint64(len(headMagic)) || at > limit || length != limit-at || chunks > length {
		return headTable{}, errHead
	}
	states, err := readRange(ctx, s, o.Name, int64(at), int64(length))
	if err != nil {
		return headTable{}, err
	}
	if crc32.Update(crc32.Checksum(states, castagnoli), castagnoli, trailer[:24]) != binary.LittleEndian.Uint32(trailer[24:]) {
		return headTable{}, errHead
	}
	return headTable{states, chunks, int64(at)}, nil
}

// readRange reads a part of an object.
func readRange(ctx context.Context, s objects.Store, name string, offset, length int64) ([]byte, error) {
	in, err := s.Get(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b := make([]byte, length)
	if _, err = io.ReadFull(in, b); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
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

// scanHead finds chunks without the table. Those that are damaged then cost their metric,
// as nothing tells whose they were; if there is none at all, that is an error.
func scanHead(ctx context.Context, s objects.Store, o objectInfo, f func(*headChunk) error, report func(headDamage)) error {
	in, err := s.Get(ctx, o.Name, 0, -1)
	if err != nil {
		return fmt.Errorf("cannot read head object %q nor the second one of its table, bring one of them back: %w", o.Name, err)
	}
	defer in.Close()
	all, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("cannot read object %q: %w", o.Name, err)
	}
	var c headChunk
	before := Ref(0)
	found := false
	for at, first := 0, true; ; {
		next := bytes.Index(all[at:], []byte(chunkMagic))
		if next < 0 && !found {
			return fmt.Errorf("cannot read head object %q nor the second one of its table, bring one of them back: %w", o.Name, errHead)
		}
		if next < 0 {
			return nil
		}
		if next > 0 && !first {
			report(headDamage{offset: int64(at), length: int64(next), err: errHead})
		}
		at += next
		if rest := all[at:]; len(rest) >= chunkHeader {
			n := chunkHeader + uint64(binary.LittleEndian.Uint32(rest[4:]))
			if n <= uint64(len(rest)) && c.decode(rest[:n]) && (first || c.ref > before) {
				if err := f(&c); err != nil {
					return err
				}
				at, before, first, found = at+int(n), c.ref, false, true
				continue
			}
		}
		report(headDamage{offset: int64(at), length: int64(len(chunkMagic)), err: errHead})
		at++
		first = false
	}
}
