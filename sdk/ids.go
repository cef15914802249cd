package sdk

import (
	"crypto/rand"
	"encoding/binary"
	"hash/fnv"
	"sync"
)

// idSource gives ids of batches: 12 bytes that are unique and 4 zero bytes, to
// which the row numbers of samples are added.
type idSource interface{ next() [16]byte }

// derivedIDs gives the ids of what a transformer makes of one batch: the same
// whenever the same batch is transformed again.
type derivedIDs struct {
	of       [16]byte
	instance string
	n        uint64
}

func (d *derivedIDs) next() [16]byte {
	d.n++
	return newID(binary.BigEndian.AppendUint64(append([]byte(d.instance), d.of[:]...), d.n))
}

// randomIDs gives ids that nobody else gives.
type randomIDs struct {
	mu     sync.Mutex
	prefix [12]byte
}

func (r *randomIDs) next() [16]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The counter's two highest bits are not part of the id.
	if n := binary.BigEndian.Uint32(r.prefix[8:]) + 1; n != 1 && n < 1<<30 {
		binary.BigEndian.PutUint32(r.prefix[8:], n)
	} else {
		// At the start, and after a thousand million batches.
		rand.Read(r.prefix[:8]) // never fails
		binary.BigEndian.PutUint32(r.prefix[8:], 1)
	}
	return stampUUID(r.prefix)
}

func newID(seed []byte) [16]byte {
	h := fnv.New128a()
	h.Write(seed)
	return stampUUID([12]byte(h.Sum(nil)))
}

// stampUUID makes a version 8 UUID (RFC 9562: "free form") of 12 bytes, with
// room for the row number in its last 4.
func stampUUID(prefix [12]byte) [16]byte {
	var id [16]byte
	copy(id[:], prefix[:])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}
