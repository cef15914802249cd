package message

import (
	"encoding/binary"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Part names rows and events of a batch, in the order they shall have.
type Part struct {
	Rows, Events []int
}

// Splitter makes batches of parts of one batch, each with no more of its tables
// than it needs. Samples keep their ids; parts that share no row get ids of their
// own, for whoever sees the same id again takes the batch for one that is
// delivered again.
type Splitter struct {
	w         *wire.Batch
	times     []int64
	monotonic []int64
	generated []int64
	sets      []uint32 // offset of each metadata set
	traits    []uint32 // offset of each event's traits

	// Where a string, meter, metadata set or resource went in the part under way;
	// 0 is nowhere yet, for the entries of meters and resources are counted from 1.
	strings, meters, metadata, resources []uint32
}

// NewSplitter reads the batch, which must not be changed by others meanwhile.
func NewSplitter(b *sdk.Batch) (*Splitter, error) {
	data, err := b.Encode()
	if err != nil {
		return nil, fmt.Errorf("cannot encode batch: %w", err)
	}
	w := new(wire.Batch)
	if err := proto.Unmarshal(data, w); err != nil {
		return nil, fmt.Errorf("cannot decode batch: %w", err)
	}
	return &Splitter{
		w: w, times: sums(w.Timestamp), monotonic: sums(w.Monotonic), generated: sums(w.EventGenerated),
		sets: offsets(w.MetadataSize), traits: offsets(w.EventTraits),
		strings: make([]uint32, len(w.Strings)), meters: make([]uint32, len(w.MeterName)),
		metadata: make([]uint32, len(w.MetadataSize)), resources: make([]uint32, len(w.ResourceId)),
	}, nil
}

// Encode gives a part as an encoded batch.
func (s *Splitter) Encode(p Part) ([]byte, error) {
	for _, index := range [][]uint32{s.strings, s.meters, s.metadata, s.resources} {
		clear(index)
	}
	to := &wire.Batch{
		Version: s.w.Version, Instance: s.w.Instance, Sequence: s.w.Sequence,
		Count: uint32(len(p.Rows)), Events: uint32(len(p.Events)), Strings: []string{""}, MetadataSize: []uint32{0},
	}
	var before, beforeMonotonic, beforeEvent int64
	offset := s.offset(p)
	to.Id = slices.Clone(s.w.Id)
	last := to.Id[len(to.Id)-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)+offset)
	for _, i := range p.Rows {
		to.Meter = append(to.Meter, s.meter(to, s.w.Meter[i]))
		to.Resource = append(to.Resource, s.resource(to, s.w.Resource[i]))
		to.Volume = append(to.Volume, s.w.Volume[i])
		to.Timestamp = append(to.Timestamp, s.times[i]-before)
		before = s.times[i]
		if len(s.monotonic) > 0 {
			to.Monotonic = append(to.Monotonic, s.monotonic[i]-beforeMonotonic)
			beforeMonotonic = s.monotonic[i]
		}
		to.Row = append(to.Row, s.row(i)-offset)
		if len(s.w.SampleId) > 0 {
			to.SampleId = append(to.SampleId, s.text(to, s.w.SampleId[i]))
		}
	}
	for _, e := range p.Events {
		to.EventId = append(to.EventId, s.text(to, s.w.EventId[e]))
		to.EventType = append(to.EventType, s.text(to, s.w.EventType[e]))
		to.EventGenerated = append(to.EventGenerated, s.generated[e]-beforeEvent)
		beforeEvent = s.generated[e]
		to.EventTraits = append(to.EventTraits, s.w.EventTraits[e])
		for t := s.traits[e]; t < s.traits[e]+s.w.EventTraits[e]; t++ {
			to.TraitName = append(to.TraitName, s.text(to, s.w.TraitName[t]))
			to.TraitType = append(to.TraitType, s.w.TraitType[t])
			to.TraitValue = append(to.TraitValue, s.text(to, s.w.TraitValue[t]))
		}
		if len(s.w.EventRaw) > 0 {
			to.EventRaw = append(to.EventRaw, s.w.EventRaw[e])
		}
	}
	return proto.Marshal(to)
}

// offset is how much of the row numbers, which are added to a batch's id to give
// those of its samples, moves into the id of a part.
func (s *Splitter) offset(p Part) uint32 {
	if len(p.Rows) > 0 {
		return s.row(p.Rows[0])
	}
	if len(p.Events) > 0 {
		return 1<<31 + uint32(p.Events[0]) // no row has such a number
	}
	return 0
}

// row is the number that row i had when its id was given.
func (s *Splitter) row(i int) uint32 {
	if len(s.w.Row) > 0 {
		return s.w.Row[i]
	}
	return uint32(i)
}

func (s *Splitter) text(to *wire.Batch, i uint32) uint32 {
	if i == 0 {
		return 0
	}
	if s.strings[i] == 0 {
		s.strings[i] = uint32(len(to.Strings))
		to.Strings = append(to.Strings, s.w.Strings[i])
	}
	return s.strings[i]
}

func (s *Splitter) meter(to *wire.Batch, i uint32) uint32 {
	if s.meters[i] == 0 {
		to.MeterName = append(to.MeterName, s.text(to, s.w.MeterName[i]))
		to.MeterType = append(to.MeterType, s.w.MeterType[i])
		to.MeterUnit = append(to.MeterUnit, s.text(to, s.w.MeterUnit[i]))
		s.meters[i] = uint32(len(to.MeterName))
	}
	return s.meters[i] - 1
}

func (s *Splitter) resource(to *wire.Batch, i uint32) uint32 {
	if s.resources[i] == 0 {
		to.ResourceId = append(to.ResourceId, s.text(to, s.w.ResourceId[i]))
		to.ResourceProject = append(to.ResourceProject, s.text(to, s.w.ResourceProject[i]))
		to.ResourceUser = append(to.ResourceUser, s.text(to, s.w.ResourceUser[i]))
		to.ResourceSource = append(to.ResourceSource, s.text(to, s.w.ResourceSource[i]))
		to.ResourceMetadata = append(to.ResourceMetadata, s.set(to, s.w.ResourceMetadata[i]))
		s.resources[i] = uint32(len(to.ResourceId))
	}
	return s.resources[i] - 1
}

func (s *Splitter) set(to *wire.Batch, i uint32) uint32 {
	if i == 0 {
		return 0
	}
	if s.metadata[i] == 0 {
		s.metadata[i] = uint32(len(to.MetadataSize))
		n := s.w.MetadataSize[i]
		to.MetadataSize = append(to.MetadataSize, n)
		for k := s.sets[i]; k < s.sets[i]+n; k++ {
			to.MetadataKey = append(to.MetadataKey, s.text(to, s.w.MetadataKey[k]))
			to.MetadataValue = append(to.MetadataValue, s.text(to, s.w.MetadataValue[k]))
			to.MetadataJson = append(to.MetadataJson, s.w.MetadataJson[k])
		}
	}
	return s.metadata[i]
}

// sums undoes the coding of a column as differences, in place.
func sums(column []int64) []int64 {
	var sum int64
	for i, d := range column {
		sum += d
		column[i] = sum
	}
	return column
}

func offsets(sizes []uint32) []uint32 {
	list := make([]uint32, len(sizes))
	var at uint32
	for i, n := range sizes {
		list[i] = at
		at += n
	}
	return list
}
