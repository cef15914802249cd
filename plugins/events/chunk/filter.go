package chunk

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// A filter is the range of a column's numbers or times, and a split block Bloom
// filter of its values, as Apache Parquet defines it: each value sets a bit in each of
// the eight words of one block of 256 bits.

// bitsPerValue makes one in a hundred values that are not there look as if they were.
const bitsPerValue = 10

var salts = [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}

const blockSize = 32

func appendBloom(to []byte, hashes []uint64) []byte {
	blocks := max(1, (len(hashes)*bitsPerValue+255)/256)
	to = binary.AppendUvarint(to, uint64(blocks))
	start := len(to)
	to = append(to, make([]byte, blocks*blockSize)...)
	for _, h := range hashes {
		block := to[start+bloomBlock(h, blocks):]
		for w, salt := range salts {
			bit := uint32(h) * salt >> 27
			block[4*w+int(bit>>3)] |= 1 << (bit & 7)
		}
	}
	return to
}

// bloomBlock is where the block of a hash begins.
func bloomBlock(h uint64, blocks int) int {
	return int((h>>32)*uint64(blocks)>>32) * blockSize
}

func bloomHas(bloom []byte, h uint64) bool {
	block := bloom[bloomBlock(h, len(bloom)/blockSize):]
	for w, salt := range salts {
		bit := uint32(h) * salt >> 27
		if block[4*w+int(bit>>3)]&(1<<(bit&7)) == 0 {
			return false
		}
	}
	return true
}

func hashNumber(v uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return Hash(string(b[:]))
}

// hashReal makes the two zeros, which are equal, one.
func hashReal(v float64) uint64 {
	if v == 0 {
		v = 0
	}
	return hashNumber(math.Float64bits(v))
}

func hashTime(v time.Time) uint64 { return hashNumber(uint64(v.Unix())*1e9 + uint64(v.Nanosecond())) }

func different(hashes []uint64) []uint64 {
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// appendFilter appends the filter of a column. distinct are the different texts of one
// of texts.
func (c *columnWriter) appendFilter(to []byte, distinct []string, hashes []uint64) ([]byte, []uint64) {
	hashes = hashes[:0]
	switch c.typ {
	case sdk.Text:
		for _, text := range distinct {
			hashes = append(hashes, Hash(text))
		}
		return appendBloom(to, hashes), hashes
	case sdk.Integer:
		for _, v := range c.ints {
			hashes = append(hashes, hashNumber(uint64(v)))
		}
		to = binary.AppendVarint(to, slices.Min(c.ints))
		to = binary.AppendVarint(to, slices.Max(c.ints))
	case sdk.Float:
		low, high := math.Inf(1), math.Inf(-1) // of those that are numbers
		for _, v := range c.reals {
			hashes = append(hashes, hashReal(v))
			if !math.IsNaN(v) {
				low, high = min(low, v), max(high, v)
			}
		}
		to = binary.LittleEndian.AppendUint64(to, math.Float64bits(low))
		to = binary.LittleEndian.AppendUint64(to, math.Float64bits(high))
	case sdk.Datetime:
		for _, v := range c.times {
			hashes = append(hashes, hashTime(v))
		}
		for _, v := range []time.Time{slices.MinFunc(c.times, time.Time.Compare), slices.MaxFunc(c.times, time.Time.Compare)} {
			to = binary.AppendVarint(to, v.Unix())
			to = binary.AppendUvarint(to, uint64(v.Nanosecond()))
		}
	}
	hashes = different(hashes)
	return appendBloom(to, hashes), hashes
}

// mayHold reports whether the column of a filter may hold a value that meets a
// condition.
func mayHold(filter []byte, c *Condition) (bool, error) {
	r := reader{data: filter}
	possible := true
	var hash uint64
	switch c.Type {
	case sdk.Text:
		hash = Hash(c.Text)
	case sdk.Integer:
		low, high := r.varint(), r.varint()
		possible = inRange(c.Op, low <= c.Integer, low < c.Integer, high >= c.Integer, high > c.Integer)
		hash = hashNumber(uint64(c.Integer))
	case sdk.Float:
		low, high := math.Float64frombits(r.uint64()), math.Float64frombits(r.uint64())
		possible = inRange(c.Op, low <= c.Float, low < c.Float, high >= c.Float, high > c.Float)
		hash = hashReal(c.Float)
	case sdk.Datetime:
		low := time.Unix(r.varint(), int64(r.uvarint()%1e9))
		high := time.Unix(r.varint(), int64(r.uvarint()%1e9))
		l, h := low.Compare(c.Time), high.Compare(c.Time)
		possible = inRange(c.Op, l <= 0, l < 0, h >= 0, h > 0)
		hash = hashTime(c.Time)
	}
	blocks := r.count()
	if r.failed || blocks == 0 || blocks*blockSize != r.left() {
		return false, damaged("a filter is cut off, or too long")
	}
	return possible && (c.Op != Equal || bloomHas(r.rest(), hash)), nil
}

// inRange reports whether a value of a range may meet a condition, given how its ends
// compare with the condition's value.
func inRange(op Op, lowAtMost, lowBelow, highAtLeast, highAbove bool) bool {
	switch op {
	case Equal:
		return lowAtMost && highAtLeast
	case Less:
		return lowBelow
	case AtMost:
		return lowAtMost
	case Greater:
		return highAbove
	case AtLeast:
		return highAtLeast
	}
	return true
}
