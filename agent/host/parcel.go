package host

import (
	"errors"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nephoscope/nepho/sdk"
)

// parcel is an encoded batch on its way, and what the host knows of it without
// decoding it.
type parcel struct {
	data    []byte
	samples uint32
	events  uint32
	fate    *fate
	held    bool // from a source that waits for our word: it must not be dropped
}

// rows is what counters count: samples and events alike.
func (p parcel) rows() uint64 { return uint64(p.samples) + uint64(p.events) }

// fate follows everything that is made of one poll or one delivery, until all of
// it is durable or part of it is known not to be.
type fate struct {
	mu      sync.Mutex
	waiting int
	err     error
	over    func(error) // called once, when nothing waits any more
}

func newFate(over func(error)) *fate { return &fate{waiting: 1, over: over} }

func (f *fate) add(n int) {
	f.mu.Lock()
	f.waiting += n
	f.mu.Unlock()
}

// done takes one off what waits; an error makes the whole not durable.
func (f *fate) done(err error) {
	f.mu.Lock()
	f.waiting--
	f.err = errors.Join(f.err, err)
	over, err := f.waiting == 0, f.err
	f.mu.Unlock()
	if over {
		f.over(err)
	}
}

// header is the part of a batch that routing needs.
type header struct {
	samples, events uint32
	strings         [][]byte
	meters          []uint32 // names in the meter table, as indexes of strings
	eventTypes      []uint32 // one per event
}

// Field numbers of wire.Batch.
const (
	fieldCount     = 5
	fieldEvents    = 6
	fieldStrings   = 10
	fieldMeterName = 11
	fieldMeter     = 30
	fieldEventType = 41
)

var errHeader = errors.New("not an encoded batch")

// peek reads a batch's header without decoding its columns. What it reads refers
// to data.
func peek(data []byte) (h header, err error) {
	rows := 0 // that there are, whatever count says
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return h, errHeader
		}
		data = data[n:]
		switch {
		case kind == protowire.BytesType:
			value, n := protowire.ConsumeBytes(data)
			if n < 0 {
				return h, errHeader
			}
			data = data[n:]
			switch number {
			case fieldStrings:
				h.strings = append(h.strings, value)
			case fieldMeterName:
				h.meters, err = varints(h.meters, value)
			case fieldMeter:
				for _, b := range value {
					if b < 0x80 { // the last byte of a number
						rows++
					}
				}
			case fieldEventType:
				h.eventTypes, err = varints(h.eventTypes, value)
			}
			if err != nil {
				return h, err
			}
		case kind == protowire.VarintType:
			value, n := protowire.ConsumeVarint(data)
			if n < 0 {
				return h, errHeader
			}
			data = data[n:]
			// As protobuf has it: what is too large is cut, and a packed field may as
			// well come as one field for each number.
			switch v := uint32(value); number {
			case fieldCount:
				h.samples = v
			case fieldEvents:
				h.events = v
			case fieldMeterName:
				h.meters = append(h.meters, v)
			case fieldEventType:
				h.eventTypes = append(h.eventTypes, v)
			}
		default:
			n := protowire.ConsumeFieldValue(number, kind, data)
			if n < 0 {
				return h, errHeader
			}
			data = data[n:]
		}
	}
	if rows != int(h.samples) || len(h.eventTypes) != int(h.events) {
		return h, errHeader
	}
	if h.samples > sdk.MaxBatchRows || h.events > sdk.MaxBatchRows {
		return h, errHeader
	}
	for _, column := range [][]uint32{h.meters, h.eventTypes} {
		for _, s := range column {
			if int(s) >= len(h.strings) {
				return h, errHeader
			}
		}
	}
	return h, nil
}

func varints(to []uint32, packed []byte) ([]uint32, error) {
	for len(packed) > 0 {
		v, n := protowire.ConsumeVarint(packed)
		if n < 0 {
			return to, errHeader
		}
		to = append(to, uint32(v))
		packed = packed[n:]
	}
	return to, nil
}
