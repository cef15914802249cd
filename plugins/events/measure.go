package events

import (
	"context"

	"github.com/nephoscope/nepho/sdk"
)

// Meters of what the plugin tells about itself.
var (
	added    = sdk.Meter{Name: "stored", Type: sdk.Cumulative, Unit: "event"}
	repeated = sdk.Meter{Name: "duplicates", Type: sdk.Cumulative, Unit: "event"}
	expired  = sdk.Meter{Name: "expired", Type: sdk.Cumulative, Unit: "event"}
	retained = sdk.Meter{Name: "retained", Type: sdk.Gauge, Unit: "event"}
	chunks   = sdk.Meter{Name: "chunks", Type: sdk.Gauge, Unit: "chunk"}
	size     = sdk.Meter{Name: "size", Type: sdk.Gauge, Unit: "B"}
)

func own() []sdk.MeterInfo {
	return []sdk.MeterInfo{
		{Meter: added, Doc: "Events that were stored."},
		{Meter: repeated, Doc: "Events that came again, and were there already."},
		{Meter: expired, Doc: "Events that were deleted since they were older than the retention."},
		{Meter: retained, Doc: "Events that are stored at present."},
		{Meter: chunks, Doc: "Chunks that events are stored in."},
		{Meter: size, Doc: "Size of the chunks, compressed, without what the database adds."},
	}
}

// Measure implements sdk.Measurer.
func (s *storage) Measure(ctx context.Context, out *sdk.Builder) error {
	all := out.On(sdk.Resource{})
	c := s.store.Counters()
	all.Add(added, float64(c.Added))
	all.Add(repeated, float64(c.Repeated))
	all.Add(expired, float64(c.Expired))
	now, err := s.store.Size(ctx)
	if err != nil {
		return err
	}
	all.Add(retained, float64(now.Events))
	all.Add(chunks, float64(now.Chunks))
	all.Add(size, float64(now.Bytes))
	return nil
}
