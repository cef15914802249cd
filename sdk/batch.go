package sdk

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nephoscope/nepho/sdk/wire"
)

// Limits of a batch. A builder stays well below them; a decoder refuses what
// exceeds them.
const (
	MaxBatchBytes  = 8 << 20
	MaxBatchRows   = 20_000 // samples and events together
	MaxStringBytes = 1 << 20
)

const batchVersion = 1

// ErrBatch is wrapped by every error that says that bytes are not a batch that
// may be taken.
var ErrBatch = errors.New("invalid batch")

// Batch holds samples and events in columns. Transformers change it in place;
// everybody else reads it. It is not safe for concurrent use.
//
// Samples are rows 0 to Len()-1. Each refers to an entry of the meter table and
// one of the resource table, so that work that depends on the meter or on the
// resource alone is done once per table entry instead of once per sample.
type Batch struct {
	w *wire.Batch

	times     []int64 // timestamps, no longer as differences
	monotonic []int64 // nil when no sample has one
	generated []int64
	metadata  []Metadata        // decoded sets, nil until asked for
	symbols   map[string]uint32 // where strings stand, nil until edits look for them
	sets      []int             // offset of each metadata set in the entry columns
	traits    []int             // offset of each event's traits
}

// DecodeBatch reads an encoded batch and checks all of it: that every index
// points into its table, that columns have one length, and the limits.
func DecodeBatch(data []byte) (*Batch, error) {
	if len(data) > MaxBatchBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrBatch, len(data), MaxBatchBytes)
	}
	w := new(wire.Batch)
	if err := proto.Unmarshal(data, w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBatch, err)
	}
	if err := check(w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBatch, err)
	}
	b := &Batch{w: w, times: w.Timestamp, monotonic: w.Monotonic, generated: w.EventGenerated}
	undelta(b.times)
	undelta(b.monotonic)
	undelta(b.generated)
	b.index()
	return b, nil
}

// index computes the offsets of the variable-length parts.
func (b *Batch) index() {
	b.sets = offsets(b.sets[:0], b.w.MetadataSize)
	b.traits = offsets(b.traits[:0], b.w.EventTraits)
	b.metadata = nil
}

func offsets(to []int, sizes []uint32) []int {
	at := 0
	for _, n := range sizes {
		to = append(to, at)
		at += int(n)
	}
	return append(to, at)
}

func undelta(column []int64) {
	var sum int64
	for i, d := range column {
		sum += d
		column[i] = sum
	}
}

func delta(to, column []int64) []int64 {
	to = to[:0]
	var before int64
	for _, v := range column {
		to = append(to, v-before)
		before = v
	}
	return to
}

// Encode gives the batch's wire form.
func (b *Batch) Encode() ([]byte, error) {
	w := b.w
	w.Count, w.Events = uint32(len(w.Meter)), uint32(len(w.EventId))
	w.Timestamp = delta(make([]int64, 0, len(b.times)), b.times)
	w.Monotonic = delta(make([]int64, 0, len(b.monotonic)), b.monotonic)
	w.EventGenerated = delta(make([]int64, 0, len(b.generated)), b.generated)
	data, err := proto.Marshal(w)
	if err == nil && len(data) > MaxBatchBytes {
		err = fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrBatch, len(data), MaxBatchBytes)
	}
	return data, err
}

// Len is the number of samples.
func (b *Batch) Len() int { return len(b.w.Meter) }

// Instance is the name of the instance that made the batch.
func (b *Batch) Instance() string { return b.w.Instance }

// Sequence is the batch's running number at the instance that made it.
func (b *Batch) Sequence() uint64 { return b.w.Sequence }

// ID is the batch's 16-byte id. A batch that is delivered again has the same.
func (b *Batch) ID() [16]byte { return [16]byte(b.w.Id) }

// Samples yields the rows in order.
func (b *Batch) Samples() iter.Seq2[int, Sample] {
	return func(yield func(int, Sample) bool) {
		for i := range b.w.Meter {
			if !yield(i, b.Sample(i)) {
				return
			}
		}
	}
}

// Sample gives row i. Its strings and metadata are shared with the batch.
func (b *Batch) Sample(i int) Sample {
	m, r := b.Meter(b.MeterOf(i)), b.Resource(b.ResourceOf(i))
	return Sample{
		ID: b.SampleID(i), Name: m.Name, Type: m.Type, Unit: m.Unit, Volume: b.w.Volume[i],
		ResourceID: r.ID, ProjectID: r.ProjectID, UserID: r.UserID, Source: r.Source, Metadata: r.Metadata,
		Timestamp: b.Time(i), Monotonic: b.Monotonic(i),
	}
}

// SampleID gives the id of row i.
func (b *Batch) SampleID(i int) string {
	if len(b.w.SampleId) > 0 && b.w.SampleId[i] != 0 {
		return b.w.Strings[b.w.SampleId[i]]
	}
	row := uint32(i)
	if len(b.w.Row) > 0 {
		row = b.w.Row[i]
	}
	id := b.ID()
	binary.BigEndian.PutUint32(id[12:], binary.BigEndian.Uint32(id[12:])+row)
	return formatUUID(id)
}

func formatUUID(id [16]byte) string {
	var t [36]byte
	hex.Encode(t[0:8], id[0:4])
	hex.Encode(t[9:13], id[4:6])
	hex.Encode(t[14:18], id[6:8])
	hex.Encode(t[19:23], id[8:10])
	hex.Encode(t[24:36], id[10:16])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return string(t[:])
}

// MeterOf and ResourceOf give the table entries that row i refers to.
func (b *Batch) MeterOf(i int) int { return int(b.w.Meter[i]) }

// ResourceOf gives the entry of the resource table that row i refers to.
func (b *Batch) ResourceOf(i int) int { return int(b.w.Resource[i]) }

// Volume gives row i's volume.
func (b *Batch) Volume(i int) float64 { return b.w.Volume[i] }

// Time gives row i's timestamp.
func (b *Batch) Time(i int) time.Time { return time.Unix(0, b.times[i]).UTC() }

// UnixNano gives row i's timestamp as nanoseconds since 1970.
func (b *Batch) UnixNano(i int) int64 { return b.times[i] }

// Monotonic gives row i's time on its origin's boot-time clock; 0 is unknown.
func (b *Batch) Monotonic(i int) time.Duration {
	if len(b.monotonic) == 0 {
		return 0
	}
	return time.Duration(b.monotonic[i])
}

// Meters is the number of entries of the meter table.
func (b *Batch) Meters() int { return len(b.w.MeterName) }

// Meter gives entry m of the meter table.
func (b *Batch) Meter(m int) Meter {
	w := b.w
	return Meter{Name: w.Strings[w.MeterName[m]], Type: Type(w.MeterType[m]), Unit: w.Strings[w.MeterUnit[m]]}
}

// Resources is the number of entries of the resource table.
func (b *Batch) Resources() int { return len(b.w.ResourceId) }

// ResourceID gives the id of entry r of the resource table.
func (b *Batch) ResourceID(r int) string { return b.w.Strings[b.w.ResourceId[r]] }

// Resource gives entry r of the resource table. Its metadata is decoded once
// and shared.
func (b *Batch) Resource(r int) Resource {
	w := b.w
	return Resource{
		ID: w.Strings[w.ResourceId[r]], ProjectID: w.Strings[w.ResourceProject[r]], UserID: w.Strings[w.ResourceUser[r]],
		Source: w.Strings[w.ResourceSource[r]], Metadata: b.set(int(w.ResourceMetadata[r])),
	}
}

// set decodes metadata set s; the empty set is nil.
func (b *Batch) set(s int) Metadata {
	n := int(b.w.MetadataSize[s])
	if n == 0 {
		return nil
	}
	if b.metadata == nil {
		b.metadata = make([]Metadata, len(b.w.MetadataSize))
	}
	if b.metadata[s] == nil {
		m := make(Metadata, n)
		for k := b.sets[s]; k < b.sets[s]+n; k++ {
			m[b.w.Strings[b.w.MetadataKey[k]]] = metadataValue(b.w.Strings[b.w.MetadataValue[k]], b.w.MetadataJson[k] != 0)
		}
		b.metadata[s] = m
	}
	return b.metadata[s]
}

// Events is the number of events.
func (b *Batch) Events() int { return len(b.w.EventId) }

// Event gives event e.
func (b *Batch) Event(e int) Event {
	w := b.w
	ev := Event{
		MessageID: w.Strings[w.EventId[e]], EventType: w.Strings[w.EventType[e]],
		Generated: time.Unix(0, b.generated[e]).UTC(),
	}
	if n := b.traits[e+1] - b.traits[e]; n > 0 {
		ev.Traits = make([]Trait, 0, n)
	}
	for t := b.traits[e]; t < b.traits[e+1]; t++ {
		ev.Traits = append(ev.Traits, decodeTrait(w.Strings[w.TraitName[t]], TraitType(w.TraitType[t]), w.Strings[w.TraitValue[t]]))
	}
	if len(w.EventRaw) > 0 && len(w.EventRaw[e]) > 0 {
		ev.Raw = w.EventRaw[e]
	}
	return ev
}

// EventType gives the type of event e.
func (b *Batch) EventType(e int) string { return b.w.Strings[b.w.EventType[e]] }
