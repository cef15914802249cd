package sdk

import (
	"fmt"

	"github.com/nephoscope/nepho/sdk/wire"
)

// check proves that reading w through the accessors of [Batch] cannot fail.
func check(w *wire.Batch) error {
	if w.Version != batchVersion {
		return fmt.Errorf("layout version %d, this build reads %d", w.Version, batchVersion)
	}
	if len(w.Id) != 16 {
		return fmt.Errorf("id of %d bytes instead of 16", len(w.Id))
	}
	if w.Count > MaxBatchRows || w.Events > MaxBatchRows || w.Count+w.Events > MaxBatchRows {
		return fmt.Errorf("%d samples and %d events, at most %d rows are allowed", w.Count, w.Events, MaxBatchRows)
	}
	if len(w.Strings) == 0 || w.Strings[0] != "" {
		return fmt.Errorf("string 0 is not empty")
	}
	for i, s := range w.Strings {
		if len(s) > MaxStringBytes {
			return fmt.Errorf("string %d has %d bytes, at most %d are allowed", i, len(s), MaxStringBytes)
		}
	}
	strings, meters, resources := len(w.Strings), len(w.MeterName), len(w.ResourceId)
	count, events, sets := int(w.Count), int(w.Events), len(w.MetadataSize)
	const any32 = 1 << 32 // of a column that holds no indexes
	if sets == 0 || w.MetadataSize[0] != 0 {
		return fmt.Errorf("metadata set 0 is not empty")
	}
	entries, err := total("metadata_size", w.MetadataSize, len(w.MetadataKey))
	if err != nil {
		return err
	}
	traits, err := total("event_traits", w.EventTraits, len(w.TraitName))
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name     string
		column   []uint32
		length   int
		below    uint64
		optional bool
	}{
		{"meter_name", w.MeterName, meters, uint64(strings), false},
		{"meter_type", w.MeterType, meters, uint64(Cumulative) + 1, false},
		{"meter_unit", w.MeterUnit, meters, uint64(strings), false},
		{"metadata_key", w.MetadataKey, entries, uint64(strings), false},
		{"metadata_value", w.MetadataValue, entries, uint64(strings), false},
		{"metadata_json", w.MetadataJson, entries, 2, false},
		{"resource_id", w.ResourceId, resources, uint64(strings), false},
		{"resource_project", w.ResourceProject, resources, uint64(strings), false},
		{"resource_user", w.ResourceUser, resources, uint64(strings), false},
		{"resource_source", w.ResourceSource, resources, uint64(strings), false},
		{"resource_metadata", w.ResourceMetadata, resources, uint64(sets), false},
		{"meter", w.Meter, count, uint64(meters), false},
		{"resource", w.Resource, count, uint64(resources), false},
		{"row", w.Row, count, any32, true},
		{"sample_id", w.SampleId, count, uint64(strings), true},
		{"event_id", w.EventId, events, uint64(strings), false},
		{"event_type", w.EventType, events, uint64(strings), false},
		{"event_traits", w.EventTraits, events, any32, false},
		{"trait_name", w.TraitName, traits, uint64(strings), false},
		{"trait_type", w.TraitType, traits, uint64(Datetime) + 1, false},
		{"trait_value", w.TraitValue, traits, uint64(strings), false},
	} {
		if err := lengthOf(c.name, len(c.column), c.length, c.optional); err != nil {
			return err
		}
		for i, v := range c.column {
			if uint64(v) >= c.below {
				return fmt.Errorf("%s[%d] is %d, beyond the %d entries it points into", c.name, i, v, c.below)
			}
		}
	}
	for _, c := range []struct {
		name           string
		length, should int
		optional       bool
	}{
		{"volume", len(w.Volume), count, false},
		{"timestamp", len(w.Timestamp), count, false},
		{"monotonic", len(w.Monotonic), count, true},
		{"event_generated", len(w.EventGenerated), events, false},
		{"event_raw", len(w.EventRaw), events, true},
	} {
		if err := lengthOf(c.name, c.length, c.should, c.optional); err != nil {
			return err
		}
	}
	return nil
}

func lengthOf(name string, length, should int, optional bool) error {
	if length == should || optional && length == 0 {
		return nil
	}
	return fmt.Errorf("column %s has %d entries instead of %d", name, length, should)
}

// total adds sizes up without letting a huge one wrap around.
func total(name string, sizes []uint32, entries int) (int, error) {
	var sum uint64
	for _, n := range sizes {
		sum += uint64(n)
	}
	if sum != uint64(entries) {
		return 0, fmt.Errorf("%s adds up to %d, but there are %d entries", name, sum, entries)
	}
	return entries, nil
}
