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
		below    int
		optional bool
	}{
		{"meter_name", w.MeterName, meters, strings, false},
		{"meter_type", w.MeterType, meters, int(Cumulative) + 1, false},
		{"meter_unit", w.MeterUnit, meters, strings, false},
		{"metadata_key", w.MetadataKey, entries, strings, false},
		{"metadata_value", w.MetadataValue, entries, strings, false},
		{"metadata_json", w.MetadataJson, entries, 2, false},
		{"resource_id", w.ResourceId, resources, strings, false},
		{"resource_project", w.ResourceProject, resources, strings, false},
		{"resource_user", w.ResourceUser, resources, strings, false},
		{"resource_source", w.ResourceSource, resources, strings, false},
		{"resource_metadata", w.ResourceMetadata, resources, sets, false},
		{"meter", w.Meter, count, meters, false},
		{"resource", w.Resource, count, resources, false},
		{"row", w.Row, count, 1 << 32, true},
		{"sample_id", w.SampleId, count, strings, true},
		{"event_id", w.EventId, events, strings, false},
		{"event_type", w.EventType, events, strings, false},
		{"event_traits", w.EventTraits, events, 1 << 32, false},
		{"trait_name", w.TraitName, traits, strings, false},
		{"trait_type", w.TraitType, traits, int(Datetime) + 1, false},
		{"trait_value", w.TraitValue, traits, strings, false},
	} {
		if err := lengthOf(c.name, len(c.column), c.length, c.optional); err != nil {
			return err
		}
		for i, v := range c.column {
			if int(v) >= c.below {
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
