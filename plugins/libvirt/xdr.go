package libvirt

import (
	"encoding/binary"
	"errors"

	lv "github.com/digitalocean/go-libvirt"
)

// What this plugin asks for most is encoded and decoded by hand: go-libvirt does
// it by reflection, field by field, into values that are thrown away at once.

var errMalformed = errors.New("malformed reply from libvirt")

// Typed parameters' types.
const (
	paramInt = iota + 1
	paramUint
	paramLlong
	paramUllong
	paramDouble
	paramBoolean
	paramString
)

func appendUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

func appendString(b []byte, s string) []byte {
	b = append(appendUint32(b, uint32(len(s))), s...)
	for range -len(s) & 3 {
		b = append(b, 0)
	}
	return b
}

// appendPresent appends an optional string that is there.
func appendPresent(b []byte, s string) []byte { return appendString(appendUint32(b, 1), s) }

func appendDomain(b []byte, d *lv.Domain) []byte {
	b = append(appendString(b, d.Name), d.UUID[:]...)
	return appendUint32(b, uint32(d.ID))
}

// decoder reads XDR. After the first value that is not there all others are
// zero, and err tells.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) err() error {
	if d.bad {
		return errMalformed
	}
	return nil
}

// take gives the next n bytes, which are part of the reply.
func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.b, d.bad = nil, true
		return nil
	}
	t := d.b[:n]
	d.b = d.b[n:]
	return t
}

func (d *decoder) uint32() uint32 {
	if t := d.take(4); t != nil {
		return binary.BigEndian.Uint32(t)
	}
	return 0
}

func (d *decoder) int32() int32 { return int32(d.uint32()) }

func (d *decoder) uint64() uint64 {
	if t := d.take(8); t != nil {
		return binary.BigEndian.Uint64(t)
	}
	return 0
}

// count reads the length of an array whose elements take at least size bytes
// each, so that no reply makes anyone allocate more than it is long itself.
func (d *decoder) count(size int) int {
	n := d.uint32()
	if uint64(n)*uint64(size) > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return 0
	}
	return int(n)
}

// text gives a string as a part of the reply.
func (d *decoder) text() []byte {
	n := d.count(1)
	t := d.take(n)
	d.take(-n & 3)
	return t
}

// domain reads into to and keeps its name where that is still the same.
func (d *decoder) domain(to *lv.Domain) {
	name := d.text()
	if string(name) != to.Name {
		to.Name = string(name)
	}
	copy(to.UUID[:], d.take(len(to.UUID)))
	to.ID = d.int32()
}

// minDomain is the least that a domain takes.
const minDomain = 4 + 16 + 4

// param reads a typed parameter. Numbers come as bits, texts as part of the
// reply; floating-point numbers are skipped, for no statistic read here is one.
func (d *decoder) param() (name []byte, number uint64, text []byte) {
	name = d.text()
	switch d.uint32() {
	case paramInt:
		number = uint64(int64(d.int32()))
	case paramUint, paramBoolean:
		number = uint64(d.uint32())
	case paramLlong, paramUllong:
		number = d.uint64()
	case paramDouble:
		d.uint64()
	case paramString:
		text = d.text()
	default:
		d.b, d.bad = nil, true
	}
	return name, number, text
}

// minParam is the least that a typed parameter takes.
const minParam = 4 + 4 + 4

// decodeError reads the error that stands in the place of a reply.
func decodeError(body []byte) error {
	d := decoder{b: body}
	e := lv.Error{Code: d.uint32()}
	d.uint32() // the part of libvirt that it comes from
	if d.uint32() != 0 {
		e.Message = string(d.text())
	}
	if d.bad {
		return errMalformed
	}
	return e
}

// code gives the libvirt error number in err, or lv.ErrOk.
func code(err error) lv.ErrorNumber {
	var e lv.Error
	if errors.As(err, &e) {
		return lv.ErrorNumber(e.Code)
	}
	return lv.ErrOk
}
