package block

import "encoding/binary"

// fields reads numbers one after the other. After one that can't be read, all others
// are 0.
type fields struct {
	b      []byte
	at     int // what was read of b
	failed bool
	cut    bool // it failed because b is too short
}

func (f *fields) fail() { f.failed = true }

// left is how many bytes were not read.
func (f *fields) left() int { return len(f.b) - f.at }

func (f *fields) unsigned() uint64 {
	if f.failed {
		return 0
	}
	if f.at < len(f.b) && f.b[f.at] < 0x80 {
		f.at++
		return uint64(f.b[f.at-1])
	}
	u, n := binary.Uvarint(f.b[f.at:])
	if n <= 0 {
		f.failed, f.cut = true, n == 0
		return 0
	}
	f.at += n
	return u
}

// upTo is a number that is not above a limit.
func (f *fields) upTo(limit uint64) uint64 {
	u := f.unsigned()
	if u > limit {
		f.fail()
		return 0
	}
	return u
}

func (f *fields) signed() int64 {
	u := f.unsigned()
	return int64(u>>1) ^ -int64(u&1)
}

// step adds a distance to a number; the sum may not be above a limit.
func (f *fields) step(from, limit int64) int64 {
	return from + int64(f.upTo(uint64(limit)-uint64(from)))
}

func (f *fields) take(n int) []byte {
	if f.failed || n > f.left() {
		f.cut = f.cut || !f.failed
		f.failed = true
		return make([]byte, n)
	}
	f.at += n
	return f.b[f.at-n : f.at]
}
