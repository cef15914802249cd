// Package chunk packs events, some thousands at a time, into columns, and reads from
// them what a question needs: the form in which the event store keeps events.
//
// A chunk is a number of parts, which are stored by their numbers. Each part is
// compressed, has a checksum, and holds entries by name: a column, or the filter of
// one. There is a column of times, of message ids, of event types and of raw forms, and
// one for each name and type of a trait. A filter says, without its column, whether a
// value may be in it. Small chunks have a single part and no filters. The format is
// described in DESIGN.md of the event store.
package chunk

import (
	"errors"
	"fmt"

	"github.com/nephoscope/nepho/sdk"
)

// MaxEvents is the most events of a chunk that can be read.
const MaxEvents = 1 << 15

// packedBelow is the number of events below which a chunk has a single part.
const packedBelow = 512

// ErrDamaged is in the errors of chunks that are not as they were written.
var ErrDamaged = errors.New("the chunk is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// Chunk is an encoded chunk.
type Chunk struct {
	// Count is the number of events, of which First is the oldest and Last the newest,
	// in nanoseconds since 1970.
	Count       int
	First, Last int64
	// Size is about how many bytes the events have without compression.
	Size int
	// Packed says that there is a single part.
	Packed bool
	Parts  []Part
	// IDs are the sorted hashes of the message ids, see [Hash].
	IDs []uint64
}

// Part is a part of a chunk. Those with negative numbers are filters only.
type Part struct {
	Number int64
	Data   []byte
}

// The names of columns that every chunk has. The others are those of traits, see
// traitKey, and of filters: F and the name of their column.
const (
	keyTimes  = "g"
	keyTypes  = "t"
	keyIDs    = "i"
	keyRaw    = "r"
	keyFilter = 'F'
	keyTrait  = 'T'
)

func traitKey(name string, t sdk.TraitType) string {
	return string([]byte{keyTrait, '0' + byte(t)}) + name
}

func filterKey(column string) string { return string(byte(keyFilter)) + column }

// columnTrait gives the trait of a column's name.
func columnTrait(key string) (name string, t sdk.TraitType, ok bool) {
	if len(key) < 2 || key[0] != keyTrait || key[1] < '0' || key[1] > '0'+byte(sdk.Datetime) {
		return "", 0, false
	}
	return key[2:], sdk.TraitType(key[1] - '0'), true
}

// Numbers of parts. What has a name that strangers choose goes into one of some
// buckets, so that there is an end to how many parts a chunk has.
const (
	partPacked  = 0
	partBase    = 1
	partIDs     = 2
	partRaw     = 3
	firstBucket = 16
	buckets     = 256
)

// partOf is the number of the part, of a chunk that is not packed, in which an entry
// is.
func partOf(key string) int64 {
	switch {
	case key == keyTimes || key == keyTypes:
		return partBase
	case key == keyIDs:
		return partIDs
	case key == keyRaw:
		return partRaw
	case key[0] == keyFilter:
		return -firstBucket - int64(Hash(key)%buckets)
	}
	return firstBucket + int64(Hash(key)%buckets)
}

// Hash is a hash of 64 bits: FNV-1a, whose bits are mixed once more by the finalizer
// of MurmurHash3, since filters use the upper ones.
func Hash(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
