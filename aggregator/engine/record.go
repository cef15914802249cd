package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/nephoscope/nepho/aggregator/window"
)

// A record of the log is one byte for its kind, and then, in varints:
//
//	recordWrite:  number of metrics, and for each
//	    ref less that of the metric before, less 1 (zigzag)
//	    number of points · 8, plus 1 if the policy is not that of the metric before,
//	      2 if the times are regular, 4 if the values are decimals
//	    policy, if it is another one
//	    first time less the first of the metric before (zigzag)
//	    regular times of more than one point: the step (zigzag); else each time less the one before (zigzag)
//	    decimals: 1 byte exponent e, and each value times 10^e less the one before (zigzag)
//	    else: 8 bytes each, the bits of the floats, little-endian
//	recordForget: number of metrics, and the ref of each less the one before (zigzag)
//
// The log itself has a checksum for each record.
const (
	recordWrite  = 1
	recordForget = 2
)

const (
	recordPolicy = 1 << iota
	recordRegular
	recordDecimal

	recordFlags = 3 // bits
)

var errRecord = errors.New("record of the log is damaged")

// appendWrite appends the record of a batch.
func appendWrite(dst []byte, b *Batch) []byte {
	dst = append(dst, recordWrite)
	dst = binary.AppendUvarint(dst, uint64(len(b.metrics)))
	var before entry
	before.ref--
	exponent := 0
	start := int64(0)
	for i := range b.metrics {
		m, points := b.metrics[i], b.of(i)
		dst = binary.AppendVarint(dst, int64(m.ref-before.ref-1))
		flags := uint64(0)
		if m.policy != before.policy {
			flags = recordPolicy
		}
		step, regular := step(points)
		if regular {
			flags |= recordRegular
		}
		flagged := len(dst)
		dst = binary.AppendUvarint(dst, uint64(len(points))<<recordFlags|flags|recordDecimal)
		if flags&recordPolicy != 0 {
			dst = binary.AppendUvarint(dst, uint64(m.policy))
		}
		before = m
		if len(points) == 0 {
			continue
		}
		dst = binary.AppendVarint(dst, points[0].Time-start)
		start = points[0].Time
		switch {
		case !regular:
			last := start
			for _, p := range points[1:] {
				dst = binary.AppendVarint(dst, p.Time-last)
				last = p.Time
			}
		case len(points) > 1:
			dst = binary.AppendVarint(dst, step)
		}
		decimal := false
		if dst, exponent, decimal = appendDecimals(dst, points, exponent); !decimal {
			dst[flagged] &^= recordDecimal
			for _, p := range points {
				dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(p.Value))
			}
		}
	}
	return dst
}

// step is the time from each point to the next, if it is always the same.
func step(points []window.Point) (int64, bool) {
	if len(points) < 2 {
		return 0, true
	}
	step := points[1].Time - points[0].Time
	for i := 2; i < len(points); i++ {
		if points[i].Time-points[i-1].Time != step {
			return 0, false
		}
	}
	return step, true
}

// appendDecimals appends the exponent and the values, if they are decimals. It begins with the
// exponent below the likely one, which lets it sink again.
func appendDecimals(dst []byte, points []window.Point, likely int) ([]byte, int, bool) {
	start := len(dst)
	least := max(likely-1, 0)
	for e := least; e <= maxExponent; {
		dst = append(dst[:start], byte(e))
		last, p, odd := int64(0), powers[e], -1
		for i := range points {
			v, ok := integer(points[i].Value, p)
			if !ok {
				odd = i
				break
			}
			dst = binary.AppendVarint(dst, v-last)
			last = v
		}
		if odd < 0 {
			return dst, e, true
		}
		for e++; e <= maxExponent; e++ {
			if _, ok := integer(points[odd].Value, powers[e]); ok {
				break
			}
		}
	}
	if least > 0 { // values may be too large for so many decimals
		if dst, e, ok := appendDecimals(dst[:start], points, 0); ok {
			return dst, e, true
		}
	}
	return dst[:start], likely, false
}

// appendForget appends the record of a deletion.
func appendForget(dst []byte, refs []Ref) []byte {
	dst = append(dst, recordForget)
	dst = binary.AppendUvarint(dst, uint64(len(refs)))
	before := Ref(0)
	for _, ref := range refs {
		dst = binary.AppendVarint(dst, int64(ref-before))
		before = ref
	}
	return dst
}

// readRecord reads a record into b, or to refs that were forgotten.
func readRecord(record []byte, b *Batch) (refs []Ref, err error) {
	b.Reset()
	r := reader{b: record}
	kind := r.byte()
	n := r.uvarint()
	switch {
	case r.failed:
		return nil, errRecord
	case kind == recordForget:
		if n > uint64(len(r.b)) {
			return nil, errRecord
		}
		ref := Ref(0)
		for range n {
			if ref += Ref(r.varint()); ref > MaxRef {
				return nil, errRecord // the head would make room for all below it
			}
			refs = append(refs, ref)
		}
	case kind == recordWrite:
		if n > uint64(len(r.b)) {
			return nil, errRecord
		}
		r.write(int(n), b)
	default:
		return nil, fmt.Errorf("record of the log is of the unknown kind %d; it was written by a later version", kind)
	}
	if r.failed || len(r.b) > 0 {
		return nil, errRecord
	}
	return refs, nil
}

func (r *reader) write(metrics int, b *Batch) {
	var m entry
	m.ref--
	start := int64(0)
	for range metrics {
		m.ref += Ref(r.varint()) + 1
		flags := r.uvarint()
		n := flags >> recordFlags
		if flags&recordPolicy != 0 {
			p := r.uvarint()
			r.failed = r.failed || p > math.MaxUint32
			m.policy = uint32(p)
		}
		if r.failed || n > uint64(len(r.b)) || m.ref > MaxRef {
			r.failed = true
			return
		}
		b.Metric(m.ref, m.policy)
		if n == 0 {
			continue
		}
		at := len(b.points)
		b.points = grow(b.points, int(n))
		points := b.points[at:]
		start += r.varint()
		t := start
		points[0].Time = t
		if flags&recordRegular != 0 {
			step := int64(0)
			if n > 1 {
				step = r.varint()
			}
			for i := range points[1:] {
				t += step
				points[1+i].Time = t
			}
		} else {
			for i := range points[1:] {
				t += r.varint()
				points[1+i].Time = t
			}
		}
		if flags&recordDecimal == 0 {
			if uint64(len(r.b)) < 8*n {
				r.failed = true
				return
			}
			for i := range points {
				points[i].Value = math.Float64frombits(binary.LittleEndian.Uint64(r.b[8*i:]))
			}
			r.b = r.b[8*n:]
			continue
		}
		e := r.byte()
		if e > maxExponent {
			r.failed = true
			return
		}
		p, v := powers[e], int64(0)
		for i := range points {
			v += r.varint()
			points[i].Value = float64(v) / p
		}
	}
}

// reader reads varints until something is wrong.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.failed = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}
