package sdk

import (
	"hash/maphash"
	"math/bits"
)

// Fingerprints appends a number for each entry of the resource table, made of all
// that the entry says. Under one seed equal resources have equal numbers, whichever
// batch they are in and in whatever order their metadata stands there; others differ
// but for one in 2^63. So what was made of a resource once can be found again
// without looking into its metadata. A seed holds within one process.
func (b *Batch) Fingerprints(seed maphash.Seed, to []uint64) []uint64 {
	w := b.w
	// Every string is hashed once, however many entries refer to it; 0 is not yet.
	hashes := make([]uint64, len(w.Strings))
	text := func(i uint32) uint64 {
		if hashes[i] == 0 {
			hashes[i] = maphash.String(seed, w.Strings[i]) | 1
		}
		return hashes[i]
	}
	sets := make([]uint64, len(w.MetadataSize))
	for s := range sets {
		// A sum has no order.
		for k := b.sets[s]; k < b.sets[s+1]; k++ {
			sets[s] += mix(text(w.MetadataKey[k]), text(w.MetadataValue[k])+uint64(w.MetadataJson[k]))
		}
	}
	for r := range w.ResourceId {
		h := mix(text(w.ResourceId[r]), text(w.ResourceProject[r]))
		h = mix(h, text(w.ResourceUser[r]))
		h = mix(h, text(w.ResourceSource[r]))
		to = append(to, mix(h, sets[w.ResourceMetadata[r]]+1))
	}
	return to
}

// mix makes one number of two, which matter in their order: a product's halves,
// folded.
func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xd6e8feb86659fd93)
	return high ^ low
}
