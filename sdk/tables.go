package sdk

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/nephoscope/nepho/sdk/wire"
)

// tables are the parts of a batch under construction and the indexes that find
// what they hold.
type tables struct {
	w          wire.Batch
	times      []int64
	monotonic  []int64
	generated  []int64
	measured   bool // some sample has a monotonic time
	generation int  // counts resets: entries of an earlier one are gone
	last       uint32

	symbols   map[string]uint32
	meters    map[Meter]uint32
	resources map[[5]uint32]uint32
	sets      map[string]uint32
	keys      []string // scratch
	entries   []byte   // scratch
}

const unwanted = 1<<32 - 1

func (t *tables) reset() {
	t.generation++
	w := &t.w
	// The wire message is kept with its columns' memory; ids of samples and raw
	// events are the exception rather than the rule and go.
	w.Strings = append(w.Strings[:0], "")
	for _, c := range []*[]uint32{
		&w.MeterName, &w.MeterType, &w.MeterUnit, &w.MetadataKey, &w.MetadataValue, &w.MetadataJson,
		&w.ResourceId, &w.ResourceProject, &w.ResourceUser, &w.ResourceSource, &w.ResourceMetadata,
		&w.Meter, &w.Resource, &w.EventId, &w.EventType, &w.EventTraits, &w.TraitName, &w.TraitType, &w.TraitValue,
	} {
		*c = (*c)[:0]
	}
	w.MetadataSize = append(w.MetadataSize[:0], 0)
	w.Volume = w.Volume[:0]
	w.SampleId, w.Row, w.EventRaw = nil, nil, nil
	t.times, t.monotonic, t.generated, t.measured = t.times[:0], t.monotonic[:0], t.generated[:0], false
	if t.symbols == nil {
		t.symbols, t.meters = map[string]uint32{}, map[Meter]uint32{}
		t.resources, t.sets = map[[5]uint32]uint32{}, map[string]uint32{}
	}
	clear(t.symbols)
	clear(t.meters)
	clear(t.resources)
	clear(t.sets)
	t.symbols[""], t.sets[""] = 0, 0
}

// symbol gives the index of s in the table of strings.
func (t *tables) symbol(s string) uint32 {
	if i, ok := t.symbols[s]; ok {
		return i
	}
	i := uint32(len(t.w.Strings))
	t.symbols[s] = i
	// The wire carries UTF-8 only; what a kernel or a device names otherwise is
	// shown with replacement characters rather than lost.
	t.w.Strings = append(t.w.Strings, strings.ToValidUTF8(s, "\uFFFD"))
	return i
}

func (t *tables) addMeter(m Meter) uint32 {
	w := &t.w
	w.MeterName = append(w.MeterName, t.symbol(m.Name))
	w.MeterType = append(w.MeterType, uint32(m.Type))
	w.MeterUnit = append(w.MeterUnit, t.symbol(m.Unit))
	return uint32(len(w.MeterName) - 1)
}

// addResource leaves the table entry of r in t.last and returns about how many
// bytes it took.
func (t *tables) addResource(r *Resource, tags map[string]string) (int, error) {
	if r.ID == "" || tooLong(r.ID) || tooLong(r.ProjectID) || tooLong(r.UserID) || tooLong(r.Source) {
		return 0, fmt.Errorf("its id is empty, or one of its fields has over %d bytes", MaxStringBytes)
	}
	set, size, err := t.addSet(r.Metadata, tags)
	if err != nil {
		return 0, err
	}
	key := [5]uint32{t.symbol(r.ID), t.symbol(r.ProjectID), t.symbol(r.UserID), t.symbol(r.Source), set}
	i, ok := t.resources[key]
	if !ok {
		w := &t.w
		i = uint32(len(w.ResourceId))
		w.ResourceId = append(w.ResourceId, key[0])
		w.ResourceProject = append(w.ResourceProject, key[1])
		w.ResourceUser = append(w.ResourceUser, key[2])
		w.ResourceSource = append(w.ResourceSource, key[3])
		w.ResourceMetadata = append(w.ResourceMetadata, key[4])
		t.resources[key] = i
		size += len(r.ID) + len(r.ProjectID) + len(r.UserID) + 8
	}
	t.last = i
	return size, nil
}

// addSet gives the number of the metadata set that holds m and the tags it does
// not overrule.
func (t *tables) addSet(m Metadata, tags map[string]string) (set uint32, size int, err error) {
	if len(m) == 0 && len(tags) == 0 {
		return 0, 0, nil
	}
	t.keys = t.keys[:0]
	for k := range m {
		t.keys = append(t.keys, k)
	}
	for k := range tags {
		if _, ok := m[k]; !ok {
			t.keys = append(t.keys, k)
		}
	}
	slices.Sort(t.keys)
	t.entries = t.entries[:0]
	for _, k := range t.keys {
		text, literal := tags[k], false
		if v, ok := m[k]; ok {
			if text, literal, err = metadataText(v); err != nil {
				return 0, 0, fmt.Errorf("metadata %q: %w", k, err)
			}
		}
		if tooLong(k) || tooLong(text) {
			return 0, 0, fmt.Errorf("metadata %.100q has over %d bytes", k, MaxStringBytes)
		}
		e := t.entries
		e = binary.LittleEndian.AppendUint32(e, t.symbol(k))
		e = binary.LittleEndian.AppendUint32(e, t.symbol(text))
		e = append(e, 0)
		if literal {
			e[len(e)-1] = 1
		}
		t.entries = e
		size += len(text) + 4
	}
	if set, ok := t.sets[string(t.entries)]; ok {
		return set, 0, nil
	}
	w := &t.w
	set = uint32(len(w.MetadataSize))
	t.sets[string(t.entries)] = set
	w.MetadataSize = append(w.MetadataSize, uint32(len(t.keys)))
	for e := t.entries; len(e) > 0; e = e[9:] {
		w.MetadataKey = append(w.MetadataKey, binary.LittleEndian.Uint32(e))
		w.MetadataValue = append(w.MetadataValue, binary.LittleEndian.Uint32(e[4:]))
		w.MetadataJson = append(w.MetadataJson, uint32(e[8]))
	}
	return set, size, nil
}
