package sdk

import (
	"maps"
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
	b.w.Strings = append(b.w.Strings, validText(s))
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
// the set it is given. On an error nothing is changed.
func (b *Batch) MapMetadata(edit func(Metadata) Metadata) error {
	sets := make([][]setEntry, len(b.w.MetadataSize))
	for s := range sets {
		var err error
		if sets[s], err = setTexts(nil, edit(b.set(s)), nil); err != nil {
			return err
		}
	}
	w := b.w
	w.MetadataSize, w.MetadataKey, w.MetadataValue, w.MetadataJson = nil, nil, nil, nil
	// Set 0 stays the empty one: where it got entries, the resources that refer to
	// it get a set of their own.
	empty := sets[0]
	sets[0] = nil
	for _, entries := range sets {
		b.addSet(entries)
	}
	if len(empty) > 0 {
		s := b.addSet(empty)
		for r := range w.ResourceMetadata {
			if w.ResourceMetadata[r] == 0 {
				w.ResourceMetadata[r] = s
			}
		}
	}
	b.sets = offsets(b.sets[:0], w.MetadataSize)
	b.metadata = nil
	return nil
}

// addSet appends a metadata set; the offsets are the caller's to renew.
func (b *Batch) addSet(entries []setEntry) uint32 {
	if b.symbols == nil {
		b.symbols = make(map[string]uint32, len(b.w.Strings))
		for i, s := range b.w.Strings {
			b.symbols[s] = uint32(i)
		}
	}
	known := func(s string) uint32 {
		i, ok := b.symbols[s]
		if !ok {
			i = b.symbol(s)
			b.symbols[s] = i
		}
		return i
	}
	w := b.w
	for _, e := range entries {
		w.MetadataKey = append(w.MetadataKey, known(e.key))
		w.MetadataValue = append(w.MetadataValue, known(e.text))
		w.MetadataJson = append(w.MetadataJson, e.literal)
	}
	w.MetadataSize = append(w.MetadataSize, uint32(len(entries)))
	return uint32(len(w.MetadataSize) - 1)
}

// SetResource replaces entry r of the resource table, for all its samples. On an
// error nothing is changed.
func (b *Batch) SetResource(r int, to Resource) error {
	entries, err := setTexts(nil, to.Metadata, nil)
	if err != nil {
		return err
	}
	w := b.w
	w.ResourceId[r], w.ResourceProject[r] = b.symbol(to.ID), b.symbol(to.ProjectID)
	w.ResourceUser[r], w.ResourceSource[r] = b.symbol(to.UserID), b.symbol(to.Source)
	w.ResourceMetadata[r] = 0
	if len(entries) > 0 {
		w.ResourceMetadata[r] = b.addSet(entries)
		b.sets = append(b.sets, b.sets[len(b.sets)-1]+len(entries))
		if b.metadata != nil {
			b.metadata = append(b.metadata, nil)
		}
	}
	return nil
}

// tag adds to all metadata the tags that it does not overrule.
func (b *Batch) tag(tags map[string]string) error {
	if len(tags) == 0 {
		return nil
	}
	return b.MapMetadata(func(m Metadata) Metadata {
		tagged := make(Metadata, len(m)+len(tags))
		for k, v := range tags {
			tagged[k] = v
		}
		maps.Copy(tagged, m)
		return tagged
	})
}
