package chunk

import "encoding/binary"

func appendText(to []byte, text string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(text))), text...)
}

// reader reads what was written by append functions. After what is not there, failed
// is set, and all that is read is zero.
type reader struct {
	data   []byte
	at     int
	failed bool
}

func (r *reader) fail() {
	r.failed, r.at = true, len(r.data)
}

// left is the number of bytes that were not read, and rest gives them.
func (r *reader) left() int    { return len(r.data) - r.at }
func (r *reader) rest() []byte { return r.data[r.at:] }

func (r *reader) uvarint() uint64 {
	if r.at < len(r.data) && r.data[r.at] < 0x80 {
		r.at++
		return uint64(r.data[r.at-1])
	}
	v, n := binary.Uvarint(r.data[r.at:])
	if n <= 0 {
		r.fail()
		return 0
	}
	r.at += n
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads a number of things each of which has at least one byte in what follows.
func (r *reader) count() int {
	v := r.uvarint()
	if v > uint64(r.left()) {
		r.fail()
		return 0
	}
	return int(v)
}

func (r *reader) byte() byte {
	b := r.bytes(1)
	if b == nil {
		return 0
	}
	return b[0]
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > r.left() {
		r.fail()
		return nil
	}
	b := r.data[r.at : r.at+n : r.at+n]
	r.at += n
	return b
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}
