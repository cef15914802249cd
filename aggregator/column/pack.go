package column

import (
	"encoding/binary"
	"math/bits"
)

// A mini-block is up to 128 integers: a header byte, perhaps a base, the low bits of each
// integer's distance from the base, and the exceptions: those whose distance
// has more bits.
const blockLength = 128

// Header byte of a mini-block.
const (
	widthMask  = 0x3f // bits of a distance; 63 stands for 64, and no width is 63
	ownBase    = 0x40 // a base follows, relative to the centre; otherwise it is half of what the width spans below the centre
	exceptions = 0x80 // follow the packed bits: their number, and for each its place and the bits above, signed
)

// blockPlan is how a mini-block is to be packed.
type blockPlan struct {
	width uint
	own   bool
	base  int64
	bits  int // roughly what it takes
}

// widths counts how many values need how many bits.
type widths [65]uint8

// best is the width with which n values take the fewest bits, if some of them become exceptions. None needs
// more than widest. 63 is no width.
func (w *widths) best(n, widest int) (width uint, size int) {
	if widest >= 63 {
		w[64], w[63], widest = w[64]+w[63], 0, 64
	}
	best, size := widest, n*widest
	above := 0
	for i := widest - 1; i >= 0; i-- {
		above += int(w[i+1])
		if above > n/4 {
			break
		}
		cost := n*i + 8
		for k := i + 1; k <= widest; k++ {
			cost += int(w[k]) * (16 + (k-i)/7*8)
		}
		if cost < size && i != 63 {
			best, size = i, cost
		}
	}
	return uint(best), size
}

// planBlock finds the smallest way to pack r: by the distances from what spans
// both sides of the centre, or from the least of r.
func planBlock(r []int64, centre int64) blockPlan {
	around, widest, least, most := spread(r, centre)
	var p blockPlan
	p.width, p.bits = around.best(len(r), widest)
	p.base = below(centre, p.width)

	// A base of its own takes a byte or more, and saves most values a bit, or is not worth it.
	baseBits := signedBits(least - centre)
	if p.bits < len(r)+baseBits {
		return p
	}
	var above widths
	for _, v := range r {
		above[bits.Len64(uint64(v-least))]++
	}
	width, size := above.best(len(r), bits.Len64(uint64(most-least)))
	if size+baseBits < p.bits {
		p = blockPlan{width: width, own: true, base: least, bits: size + baseBits}
	}
	return p
}

// estimateBlock is about how many bits [planBlock] will find that r takes.
func estimateBlock(r []int64, centre int64) int {
	around, widest, least, most := spread(r, centre)
	_, size := around.best(len(r), widest)
	return min(size, len(r)*bits.Len64(uint64(most-least))+signedBits(least-centre))
}

// spread counts with how many bits values can be told from a base below the centre.
func spread(r []int64, centre int64) (around widths, widest int, least, most int64) {
	// Two counts, for values in turn: the processor need not wait for one until it adds to the next.
	var odd widths
	least, most = r[0], r[0]
	i := 0
	for ; i+1 < len(r); i += 2 {
		a, b := r[i], r[i+1]
		least, most = min(least, a, b), max(most, a, b)
		around[bitsAround(a-centre)]++
		odd[bitsAround(b-centre)]++
	}
	if i < len(r) {
		least, most = min(least, r[i]), max(most, r[i])
		around[bitsAround(r[i]-centre)]++
	}
	for i, n := range odd {
		if around[i] += n; around[i] > 0 {
			widest = i
		}
	}
	return around, widest, least, most
}

// bitsAround is the width of a distance that may be to both sides.
func bitsAround(z int64) int {
	width := bits.Len64(uint64(z^z>>63)) + 1
	if z == 0 {
		width = 0
	}
	return width
}

// below is the base of a mini-block around a centre.
func below(centre int64, width uint) int64 {
	if width == 0 {
		return centre
	}
	return centre - 1<<(width-1)
}

func signedBits(v int64) int { return (bits.Len64(zigzag(v)|1) + 6) / 7 * 8 }

// appendBlock packs a mini-block.
func appendBlock(dst []byte, r []int64, centre int64) []byte {
	p := planBlock(r, centre)
	header := len(dst)
	dst = append(dst, byte(min(p.width, 63)))
	if p.own {
		dst[header] |= ownBase
		dst = appendSigned(dst, p.base-centre)
	}
	var (
		out   uint64
		n     uint // bits in out
		mask  = uint64(1)<<p.width - 1
		extra int
	)
	for _, v := range r {
		u := uint64(v - p.base)
		if u > mask {
			extra++
			u &= mask
		}
		out |= u << n
		n += p.width
		if n >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, out)
			n -= 64
			out = u >> (p.width - n) // 0 if n is 0 and the width is 64
		}
	}
	for ; n > 0; n -= min(n, 8) {
		dst = append(dst, byte(out))
		out >>= 8
	}
	if extra == 0 {
		return dst
	}
	dst[header] |= exceptions
	dst = append(dst, byte(extra))
	for i, v := range r {
		if u := v - p.base; uint64(u) > mask {
			dst = append(dst, byte(i))
			dst = appendSigned(dst, u>>p.width)
		}
	}
	return dst
}

// block unpacks a mini-block.
func block(src []byte, out []int64, centre int64) (rest []byte, ok bool) {
	if len(src) == 0 {
		return nil, false
	}
	header := src[0]
	src = src[1:]
	width := uint(header & widthMask)
	if width == 63 {
		width = 64
	}
	base := below(centre, width)
	if header&ownBase != 0 {
		if base, src, ok = signed(src); !ok {
			return nil, false
		}
		base += centre
	}
	size := (len(out)*int(width) + 7) / 8
	if size > len(src) {
		return nil, false
	}
	packed := src
	if len(packed) < size+8 {
		// Words are read at once, so there must be some bytes behind the last.
		var padded [blockLength*8 + 8]byte
		copy(padded[:], packed[:size])
		packed = padded[:size+8]
	}
	unpack(packed, width, base, out)
	src = src[size:]
	if header&exceptions == 0 {
		return src, true
	}
	if len(src) == 0 {
		return nil, false
	}
	n := int(src[0])
	src = src[1:]
	for range n {
		if len(src) == 0 || int(src[0]) >= len(out) {
			return nil, false
		}
		i := src[0]
		var high int64
		if high, src, ok = signed(src[1:]); !ok {
			return nil, false
		}
		out[i] += high << width
	}
	return src, true
}

// unpack adds base to each number of so many bits. There must be 8 bytes behind the last.
func unpack(packed []byte, width uint, base int64, out []int64) {
	mask := uint64(1)<<width - 1
	switch {
	case width == 0:
		for i := range out {
			out[i] = base
		}
	case width <= 57:
		at := uint(0)
		for i := range out {
			u := binary.LittleEndian.Uint64(packed[at>>3:]) >> (at & 7)
			out[i] = base + int64(u&mask)
			at += width
		}
	default: // numbers may reach into a ninth byte
		at := uint(0)
		for i := range out {
			word := packed[at>>3:]
			u := binary.LittleEndian.Uint64(word)>>(at&7) | uint64(word[8])<<8<<(56-at&7)
			out[i] = base + int64(u&mask)
			at += width
		}
	}
}
