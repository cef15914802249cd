package spool

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	segmentHeaderSize = 48
	recordHeaderSize  = 48

	formatVersion = 1
	segmentMagic  = "NephoSpl"
	recordMagic   = "\xf5Np\xe7" // F5 never occurs in UTF-8 text

	flagHeld = 1

	// maxNumber bounds all running numbers, so that sums of them stay right
	// whatever a file says.
	maxNumber = 1 << 62
)

// castagnoli is a lookup table, never written after this.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// segmentSeed is the start value of the header checksums of a segment.
func segmentSeed(id uint64) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], id)
	return checksum(b[:])
}

// totals numbers a point in the stream: what came before it since the spool
// was created.
type totals struct {
	seq     uint64 // entries
	samples uint64
	held    uint64 // entries with Held set
}

func (t *totals) add(it *item) {
	t.seq++
	t.samples += uint64(it.Samples)
	if it.Held {
		t.held++
	}
}

func (t totals) valid() bool {
	return t.seq < maxNumber && t.samples < maxNumber && t.held < maxNumber
}

func appendSegmentHeader(dst []byte, id uint64, first totals) []byte {
	start := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, formatVersion)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, first.seq)
	dst = binary.LittleEndian.AppendUint64(dst, first.samples)
	dst = binary.LittleEndian.AppendUint64(dst, first.held)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	sum := crc32.Update(segmentSeed(id), castagnoli, dst[start:])
	return binary.LittleEndian.AppendUint32(dst, sum)
}

func parseSegmentHeader(b []byte, id uint64) (totals, bool) {
	if len(b) < segmentHeaderSize || string(b[:8]) != segmentMagic ||
		binary.LittleEndian.Uint32(b[8:]) != formatVersion ||
		binary.LittleEndian.Uint32(b[44:]) != crc32.Update(segmentSeed(id), castagnoli, b[:44]) {
		return totals{}, false
	}
	first := totals{
		seq:     binary.LittleEndian.Uint64(b[16:]),
		samples: binary.LittleEndian.Uint64(b[24:]),
		held:    binary.LittleEndian.Uint64(b[32:]),
	}
	return first, first.valid()
}

// record is the header of an entry on disk.
type record struct {
	length  uint32
	samples uint32
	held    bool
	seq     uint64
	before  uint64 // samples in all entries before
	time    int64  // nanoseconds since 1970
	sum     uint32 // of the payload
}

// end is the point after the entry.
func (r *record) end() totals {
	return totals{seq: r.seq + 1, samples: r.before + uint64(r.samples)}
}

// between tells whether the entry can be one of those from lo to hi.
func (r *record) between(lo, hi totals) bool {
	return r.seq >= lo.seq && r.seq < hi.seq && r.before >= lo.samples && r.before < maxNumber && r.end().samples <= hi.samples
}

// frameSize is what an entry takes of the limit, on disk and in memory alike.
func frameSize(payload []byte) int64 { return recordHeaderSize + int64(len(payload)) }

func appendRecord(dst []byte, seed uint32, it *item) []byte {
	var flags uint32
	if it.Held {
		flags |= flagHeld
	}
	start := len(dst)
	dst = append(dst, recordMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(it.Payload)))
	dst = binary.LittleEndian.AppendUint32(dst, it.Samples)
	dst = binary.LittleEndian.AppendUint32(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, it.seq)
	dst = binary.LittleEndian.AppendUint64(dst, it.before)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(it.time))
	dst = binary.LittleEndian.AppendUint32(dst, checksum(it.Payload))
	sum := crc32.Update(seed, castagnoli, dst[start:])
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return append(dst, it.Payload...)
}

func parseRecordHeader(b []byte, seed uint32) (record, bool) {
	if len(b) < recordHeaderSize || string(b[:4]) != recordMagic ||
		binary.LittleEndian.Uint32(b[44:]) != crc32.Update(seed, castagnoli, b[:44]) {
		return record{}, false
	}
	return record{
		length:  binary.LittleEndian.Uint32(b[4:]),
		samples: binary.LittleEndian.Uint32(b[8:]),
		held:    binary.LittleEndian.Uint32(b[12:])&flagHeld != 0,
		seq:     binary.LittleEndian.Uint64(b[16:]),
		before:  binary.LittleEndian.Uint64(b[24:]),
		time:    int64(binary.LittleEndian.Uint64(b[32:])),
		sum:     binary.LittleEndian.Uint32(b[40:]),
	}, true
}
