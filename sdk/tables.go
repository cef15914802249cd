package sdk

import (
	"encoding/binary"
	"fmt"
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
	size       int  // about how many bytes it takes encoded
	generation int  // counts resets: entries of an earlier one are gone
	anonymous  bool // resources need no id

	symbols   map[string]uint32
	meters    map[Meter]uint32
	resources map[[5]uint32]uint32
	sets      map[string]uint32
	texts     []setEntry // scratch
	entries   []byte     // scratch
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
	t.size = 0
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
	s = validText(s)
	t.w.Strings = append(t.w.Strings, s)
	t.size += len(s) + 4
	return i
}

// validText makes a string for the wire, which carries UTF-8 only: what a kernel
// or a device names otherwise is shown with replacement characters rather than
// lost.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (t *tables) addMeter(m Meter) uint32 {
	w := &t.w
	w.MeterName = append(w.MeterName, t.symbol(m.Name))
	w.MeterType = append(w.MeterType, uint32(m.Type))
	w.MeterUnit = append(w.MeterUnit, t.symbol(m.Unit))
	return uint32(len(w.MeterName) - 1)
}

// addResource gives the table entry of r.
func (t *tables) addResource(r *Resource, tags map[string]string) (uint32, error) {
	if r.ID == "" && !t.anonymous || tooLong(r.ID) || tooLong(r.ProjectID) || tooLong(r.UserID) || tooLong(r.Source) {
		return 0, fmt.Errorf("its id is empty, or one of its fields has over %d bytes", MaxStringBytes)
	}
	set, err := t.addSet(r.Metadata, tags)
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
		t.size += 15
	}
	return i, nil
}

// addSet gives the number of the metadata set that holds m and the tags it does
// not overrule.
func (t *tables) addSet(m Metadata, tags map[string]string) (uint32, error) {
	if len(m) == 0 && len(tags) == 0 {
		return 0, nil
	}
	var err error
	if t.texts, err = setTexts(t.texts[:0], m, tags); err != nil {
		return 0, err
	}
	e := t.entries[:0]
	for _, s := range t.texts {
		e = binary.LittleEndian.AppendUint32(e, t.symbol(s.key))
		e = binary.LittleEndian.AppendUint32(e, t.symbol(s.text))
		e = append(e, byte(s.literal))
	}
	t.entries = e
	if set, ok := t.sets[string(e)]; ok {
		return set, nil
	}
	w := &t.w
	set := uint32(len(w.MetadataSize))
	t.sets[string(e)] = set
	w.MetadataSize = append(w.MetadataSize, uint32(len(t.texts)))
	t.size += 9 * len(t.texts)
	for ; len(e) > 0; e = e[9:] {
		w.MetadataKey = append(w.MetadataKey, binary.LittleEndian.Uint32(e))
		w.MetadataValue = append(w.MetadataValue, binary.LittleEndian.Uint32(e[4:]))
		w.MetadataJson = append(w.MetadataJson, uint32(e[8]))
	}
	return set, nil
}
