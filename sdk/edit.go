package sdk

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// SetVolume changes the volume of row i.
func (b *Batch) SetVolume(i int, v float64) { b.w.Volume[i] = v }

// SetTime changes the time of row i; a monotonic time of 0 is unknown.
func (b *Batch) SetTime(i int, t time.Time, monotonic time.Duration) {
	b.times[i] = t.UnixNano()
	if len(b.monotonic) == 0 && monotonic != 0 {
		b.monotonic = make([]int64, b.Len())
	}
	if len(b.monotonic) > 0 {
		b.monotonic[i] = int64(monotonic)
	}
}

// EditMeter changes entry m of the meter table, and with it every sample that
// refers to it.
func (b *Batch) EditMeter(m int, to Meter) {
	b.w.MeterName[m], b.w.MeterType[m], b.w.MeterUnit[m] = b.symbol(to.Name), uint32(to.Type), b.symbol(to.Unit)
}

// AddMeter adds an entry to the meter table and gives its number.
func (b *Batch) AddMeter(m Meter) int {
	w := b.w
	w.MeterName = append(w.MeterName, b.symbol(m.Name))
	w.MeterType = append(w.MeterType, uint32(m.Type))
	w.MeterUnit = append(w.MeterUnit, b.symbol(m.Unit))
	return len(w.MeterName) - 1
}

// SetMeterOf makes row i refer to entry m of the meter table.
func (b *Batch) SetMeterOf(i, m int) { b.w.Meter[i] = uint32(m) }

// symbol adds s to the table of strings. Strings that edits add are few, so
// they are not looked up among those that are there.
func (b *Batch) symbol(s string) uint32 {
	if s == "" {
		return 0
	}
	b.w.Strings = append(b.w.Strings, strings.ToValidUTF8(s, "\uFFFD"))
	return uint32(len(b.w.Strings) - 1)
}

// Keep leaves in the batch only the rows that keep says true of; it is asked
// once for each row, in order.
func (b *Batch) Keep(keep func(i int) bool) {
	w := b.w
	n := 0
	for i := range w.Meter {
		if !keep(i) {
			if len(w.Row) == 0 && n == i {
				// The first to go: from here on rows no longer number themselves.
				w.Row = make([]uint32, len(w.Meter))
				for r := range w.Row {
					w.Row[r] = uint32(r)
				}
			}
			continue
		}
		if n != i {
			w.Meter[n], w.Resource[n], w.Volume[n], b.times[n] = w.Meter[i], w.Resource[i], w.Volume[i], b.times[i]
			w.Row[n] = w.Row[i]
			if len(b.monotonic) > 0 {
				b.monotonic[n] = b.monotonic[i]
			}
			if len(w.SampleId) > 0 {
				w.SampleId[n] = w.SampleId[i]
			}
		}
		n++
	}
	w.Meter, w.Resource, w.Volume, b.times = w.Meter[:n], w.Resource[:n], w.Volume[:n], b.times[:n]
	if len(w.Row) > 0 {
		w.Row = w.Row[:n]
	}
	if len(b.monotonic) > 0 {
		b.monotonic = b.monotonic[:n]
	}
	if len(w.SampleId) > 0 {
		w.SampleId = w.SampleId[:n]
	}
}

// KeepEvents leaves in the batch only the events that keep says true of.
func (b *Batch) KeepEvents(keep func(e int) bool) {
	w := b.w
	n, traits := 0, 0
	for e := range w.EventId {
		from, to := b.traits[e], b.traits[e+1]
		if !keep(e) {
			continue
		}
		w.EventId[n], w.EventType[n], b.generated[n], w.EventTraits[n] = w.EventId[e], w.EventType[e], b.generated[e], w.EventTraits[e]
		if len(w.EventRaw) > 0 {
			w.EventRaw[n] = w.EventRaw[e]
		}
		copy(w.TraitName[traits:], w.TraitName[from:to])
		copy(w.TraitType[traits:], w.TraitType[from:to])
		copy(w.TraitValue[traits:], w.TraitValue[from:to])
		traits += to - from
		n++
	}
	w.EventId, w.EventType, b.generated, w.EventTraits = w.EventId[:n], w.EventType[:n], b.generated[:n], w.EventTraits[:n]
	if len(w.EventRaw) > 0 {
		w.EventRaw = w.EventRaw[:n]
	}
	w.TraitName, w.TraitType, w.TraitValue = w.TraitName[:traits], w.TraitType[:traits], w.TraitValue[:traits]
	b.traits = offsets(b.traits[:0], w.EventTraits)
}

// MapMetadata gives every distinct metadata set once to edit and puts the
// result in its place, for all resources that share it. edit must not change
// the set it is given.
func (b *Batch) MapMetadata(edit func(Metadata) Metadata) error {
	sets := make([]Metadata, len(b.w.MetadataSize))
	for s := range sets {
		sets[s] = edit(b.set(s))
	}
	return b.replaceSets(sets)
}

// replaceSets rebuilds the metadata columns from sets. Set 0 stays the empty
// one: where it got entries, the resources that refer to it get a set of their own.
func (b *Batch) replaceSets(sets []Metadata) error {
	w := b.w
	if len(sets[0]) > 0 {
		sets = append(sets, sets[0])
		sets[0] = nil
		for r, s := range w.ResourceMetadata {
			if s == 0 {
				w.ResourceMetadata[r] = uint32(len(sets) - 1)
			}
		}
	}
	w.MetadataSize, w.MetadataKey, w.MetadataValue, w.MetadataJson = nil, nil, nil, nil
	for _, m := range sets {
		keys := make([]string, 0, len(m))
		for k := range m {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		w.MetadataSize = append(w.MetadataSize, uint32(len(keys)))
		for _, k := range keys {
			text, literal, err := metadataText(m[k])
			if err != nil {
				return fmt.Errorf("metadata %q: %w", k, err)
			}
			w.MetadataKey = append(w.MetadataKey, b.symbol(k))
			w.MetadataValue = append(w.MetadataValue, b.symbol(text))
			w.MetadataJson = append(w.MetadataJson, 0)
			if literal {
				w.MetadataJson[len(w.MetadataJson)-1] = 1
			}
		}
	}
	b.sets = offsets(b.sets[:0], w.MetadataSize)
	b.metadata = nil
	return nil
}

// SetResource replaces entry r of the resource table, for all its samples.
func (b *Batch) SetResource(r int, to Resource) error {
	w := b.w
	w.ResourceId[r], w.ResourceProject[r] = b.symbol(to.ID), b.symbol(to.ProjectID)
	w.ResourceUser[r], w.ResourceSource[r] = b.symbol(to.UserID), b.symbol(to.Source)
	sets := make([]Metadata, len(w.MetadataSize), len(w.MetadataSize)+1)
	for s := range sets {
		sets[s] = b.set(s)
	}
	w.ResourceMetadata[r] = uint32(len(sets))
	return b.replaceSets(append(sets, to.Metadata))
}
