package aggregator

import (
	"encoding/binary"
	"errors"

	"github.com/nephoscope/nepho/plugins/internal/derive"
)

// aggregate is what is held of the samples of one meter and resource: the sample
// to be, still under its first name, with the sum or the last of the volumes.
type aggregate struct {
	derive.Held
	count       uint32
	first, last int64 // earliest and latest timestamp, ns
	since       int64 // when the first sample came, by this machine's clock, ns
}

// AppendBinary implements [encoding.BinaryAppender].
func (a aggregate) AppendBinary(to []byte) ([]byte, error) {
	to = binary.LittleEndian.AppendUint32(to, a.count)
	for _, t := range []int64{a.first, a.last, a.since} {
		to = binary.LittleEndian.AppendUint64(to, uint64(t))
	}
	return a.Held.AppendBinary(to)
}

var errAggregate = errors.New("an aggregate has at least 28 bytes and one sample")

// UnmarshalBinary implements [encoding.BinaryUnmarshaler].
func (a *aggregate) UnmarshalBinary(data []byte) error {
	if len(data) < 28 {
		return errAggregate
	}
	if a.count = binary.LittleEndian.Uint32(data); a.count == 0 {
		return errAggregate
	}
	for i, t := range []*int64{&a.first, &a.last, &a.since} {
		*t = int64(binary.LittleEndian.Uint64(data[4+8*i:]))
	}
	return a.Held.UnmarshalBinary(data[28:])
}
