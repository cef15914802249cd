package api

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nephoscope/nepho/aggregator/window"
)

// Tags of the fields of Prometheus's protobuf messages.
const (
	tagSeries     = 1<<3 | byte(protowire.BytesType) // in a WriteRequest
	tagLabel      = 1<<3 | byte(protowire.BytesType) // in a series
	tagSample     = 2<<3 | byte(protowire.BytesType)
	tagHistogram  = 4<<3 | byte(protowire.BytesType)
	tagLabelName  = 1<<3 | byte(protowire.BytesType) // in a label
	tagLabelValue = 2<<3 | byte(protowire.BytesType)
	tagValue      = 1<<3 | byte(protowire.Fixed64Type) // in a sample
	tagTimestamp  = 2<<3 | byte(protowire.VarintType)
)

// staleMarker is the NaN by which Prometheus says that a series has ended.
const staleMarker = 0x7ff0000000000002

// errProto says that a message cannot be read.
var errProto = errors.New("it is cut off, or no protobuf message")

// remoteSeries is a series in a WriteRequest.
type remoteSeries struct {
	labels []byte // its messages of labels, with their tags, one after another
	key    labelKey
	// refused is set where no metric could be made, for another reason than that no rule
	// gives it an archive policy.
	refused bool
}

// readWriteRequest appends the series of a WriteRequest, and their samples to p, with
// times in nanoseconds. It counts what is left out. What it gives refers to the
// message.
func readWriteRequest(message []byte, series []remoteSeries, p *posted, s *skipped) ([]remoteSeries, error) {
	for len(message) > 0 {
		if message[0] != tagSeries { // metadata of metrics, and what there may be later
			n := consumeField(message)
			if n < 0 {
				return series, errProto
			}
			message = message[n:]
			continue
		}
		content, rest, ok := cutMessage(message)
		if !ok {
			return series, errProto
		}
		labels, err := readSeries(content, p, s)
		if err != nil {
			return series, err
		}
		series = append(series, remoteSeries{labels: labels})
		if !p.end() {
			return series, p.full
		}
		message = rest
	}
	return series, nil
}

// cutMessage reads the message behind a tag of one byte.
func cutMessage(m []byte) (content, rest []byte, ok bool) {
	if len(m) < 2 {
		return nil, nil, false
	}
	size, start := int(m[1]), 2
	if size >= 0x80 {
		v, n := protowire.ConsumeVarint(m[1:])
		if n < 0 || v > uint64(len(m)) {
			return nil, nil, false
		}
		size, start = int(v), 1+n
	}
	if size > len(m)-start {
		return nil, nil, false
	}
	return m[start : start+size], m[start+size:], true
}

// readSeries reads a series, and gives its labels.
func readSeries(m []byte, p *posted, s *skipped) (labels []byte, err error) {
	whole := m
	for len(m) > 0 {
		switch m[0] {
		case tagLabel:
			_, rest, ok := cutMessage(m)
			if !ok {
				return nil, errProto
			}
			message := m[:len(m)-len(rest)]
			if start := len(whole) - len(m); len(labels) == start {
				labels = whole[:start+len(message)] // they are all at the start, as a rule
			} else {
				labels = append(labels[:len(labels):len(labels)], message...)
			}
			m = rest
		case tagSample:
			content, rest, ok := cutMessage(m)
			if !ok {
				return nil, errProto
			}
			if err := readSample(content, p, s); err != nil {
				return nil, err
			}
			if len(p.points)%4096 == 0 && !p.room() {
				return nil, p.full
			}
			m = rest
		default:
			if m[0] == tagHistogram {
				s.histograms++
			}
			n := consumeField(m)
			if n < 0 {
				return nil, errProto
			}
			m = m[n:]
		}
	}
	return labels, nil
}

// consumeField is the length of a field, tag and all; negative if it cannot be read.
func consumeField(m []byte) int {
	field, typ, n := protowire.ConsumeTag(m)
	if n < 0 {
		return n
	}
	size := protowire.ConsumeFieldValue(field, typ, m[n:])
	if size < 0 {
		return size
	}
	return n + size
}

// readSample adds a sample to p. Fields that are 0 are not written.
func readSample(m []byte, p *posted, s *skipped) error {
	bits, ms := uint64(0), int64(0)
	for len(m) > 0 {
		n := 0
		switch {
		case m[0] == tagValue && len(m) >= 9:
			bits, n = binary.LittleEndian.Uint64(m[1:]), 9
		case m[0] == tagTimestamp:
			v, size := protowire.ConsumeVarint(m[1:])
			if size < 0 {
				return errProto
			}
			ms, n = int64(v), 1+size
		default:
			if n = consumeField(m); n < 0 {
				return errProto
			}
		}
		m = m[n:]
	}
	switch {
	case bits == staleMarker:
	case ms < 0 || ms > math.MaxInt64/1_000_000:
		s.early++
	default:
		p.points = append(p.points, window.Point{Time: ms * 1_000_000, Value: math.Float64frombits(bits)})
	}
	return nil
}

// maxLabelsOfSeries is how many labels a series may have.
const maxLabelsOfSeries = 1000

// readLabels calls f for the labels of a series.
func readLabels(m []byte, f func(name, value string)) error {
	for count := 0; len(m) > 0; count++ {
		content, rest, ok := cutMessage(m)
		if !ok {
			return errProto
		}
		if count == maxLabelsOfSeries {
			return fmt.Errorf("it has more than %d labels", maxLabelsOfSeries)
		}
		m = rest
		var name, value []byte
		for len(content) > 0 {
			switch content[0] {
			case tagLabelName, tagLabelValue:
				text, rest, ok := cutMessage(content)
				if !ok {
					return errProto
				}
				if content[0] == tagLabelName {
					name = text
				} else {
					value = text
				}
				content = rest
			default:
				n := consumeField(content)
				if n < 0 {
					return errProto
				}
				content = content[n:]
			}
		}
		if !utf8.Valid(name) || !utf8.Valid(value) {
			return fmt.Errorf("the label %q is not UTF-8", name)
		}
		f(string(name), string(value))
	}
	return nil
}
