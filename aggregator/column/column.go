// Package column packs columns of numbers: integers and floating-point numbers
// that are alike or change little from one to the next, such as times and
// measurements, into few bytes, and unpacks them fast.
//
// Integers are stored as values, differences, differences of differences, or
// runs, whichever is smallest, in mini-blocks of 128 with as many bits for each as most of
// them need; the few that need more are patched in. Floating-point numbers become integers first:
// decimals are multiplied by a power of ten, others taken by their bits. The format is described
// in docs/BLOCKS.md.
package column

import (
	"encoding/binary"
	"errors"
)

// ErrDamaged says that bytes are not what this package wrote.
var ErrDamaged = errors.New("column is damaged")

// zigzag maps integers that are close to 0 to small unsigned ones.
func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// appendSigned appends v in 1 to 10 bytes.
func appendSigned(dst []byte, v int64) []byte { return binary.AppendUvarint(dst, zigzag(v)) }

// signed reads what appendSigned wrote; ok is false if there is no such thing.
func signed(src []byte) (v int64, rest []byte, ok bool) {
	u, rest, ok := unsigned(src)
	return unzigzag(u), rest, ok
}

func unsigned(src []byte) (u uint64, rest []byte, ok bool) {
	u, n := binary.Uvarint(src)
	if n <= 0 {
		return 0, nil, false
	}
	return u, src[n:], true
}
