package spool

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

const (
	positionMagic    = "NpPo"
	positionSlotSize = 52
	positionSlotStep = 512 // each slot in a sector of its own
)

// place is a point in the stream together with where it is stored.
type place struct {
	seg     uint64 // number of the segment
	off     int64  // offset in it; in memory: index of the entry
	seq     uint64
	samples uint64
}

func (p place) totals() totals { return totals{seq: p.seq, samples: p.samples} }

// positionFile remembers the place of the first entry that is not acknowledged.
// It is not goroutine-safe.
type positionFile struct {
	file       *os.File
	generation uint64
}

// openPosition returns the newest valid place, ok false when there is none. The
// file can be written afterwards even when what was in it is unreadable.
func openPosition(path string) (p *positionFile, at place, ok bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, place{}, false, err
	}
	p = &positionFile{file: f}
	var b [positionSlotStep + positionSlotSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close() //nolint:errcheck // nothing was written
		return nil, place{}, false, err
	}
	for start := 0; start+positionSlotSize <= n; start += positionSlotStep {
		generation, pl, valid := parsePosition(b[start:])
		if valid && (!ok || generation > p.generation) {
			p.generation, at, ok = generation, pl, true
		}
	}
	return p, at, ok, nil
}

// write stores the place in the slot that does not hold the newest one. It is
// in the page cache afterwards: safe from the death of the process, not from
// that of the machine.
func (p *positionFile) write(at place) error {
	p.generation++
	var b [positionSlotSize]byte
	_, err := p.file.WriteAt(appendPosition(b[:0], p.generation, at), int64(p.generation%2)*positionSlotStep)
	return err
}

func (p *positionFile) close() error {
	return errors.Join(p.file.Sync(), p.file.Close())
}

func appendPosition(dst []byte, generation uint64, at place) []byte {
	start := len(dst)
	dst = append(dst, positionMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, formatVersion)
	dst = binary.LittleEndian.AppendUint64(dst, generation)
	dst = binary.LittleEndian.AppendUint64(dst, at.seg)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(at.off))
	dst = binary.LittleEndian.AppendUint64(dst, at.seq)
	dst = binary.LittleEndian.AppendUint64(dst, at.samples)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
}

func parsePosition(b []byte) (generation uint64, at place, ok bool) {
	if len(b) < positionSlotSize || string(b[:4]) != positionMagic ||
		binary.LittleEndian.Uint32(b[4:]) != formatVersion ||
		binary.LittleEndian.Uint32(b[48:]) != checksum(b[:48]) {
		return 0, place{}, false
	}
	at = place{
		seg:     binary.LittleEndian.Uint64(b[16:]),
		off:     int64(binary.LittleEndian.Uint64(b[24:])),
		seq:     binary.LittleEndian.Uint64(b[32:]),
		samples: binary.LittleEndian.Uint64(b[40:]),
	}
	return binary.LittleEndian.Uint64(b[8:]), at, at.seg < maxNumber && at.seq < maxNumber && at.samples < maxNumber
}
