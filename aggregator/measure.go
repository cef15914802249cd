package aggregator

import (
	"context"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// Meters of what the plugin tells about itself.
var (
	measures      = sdk.Meter{Name: "measures", Type: sdk.Cumulative, Unit: "measure"}
	late          = sdk.Meter{Name: "measures.late", Type: sdk.Cumulative, Unit: "measure"}
	future        = sdk.Meter{Name: "measures.future", Type: sdk.Cumulative, Unit: "measure"}
	metrics       = sdk.Meter{Name: "metrics", Type: sdk.Gauge, Unit: "metric"}
	headSize      = sdk.Meter{Name: "head", Type: sdk.Gauge, Unit: "B"}
	blocks        = sdk.Meter{Name: "blocks", Type: sdk.Gauge, Unit: "block"}
	blockSize     = sdk.Meter{Name: "blocks.size", Type: sdk.Gauge, Unit: "B"}
	logSize       = sdk.Meter{Name: "log", Type: sdk.Gauge, Unit: "B"}
	logCopyAge    = sdk.Meter{Name: "log.copy.age", Type: sdk.Gauge, Unit: "s"}
	checkpointAge = sdk.Meter{Name: "checkpoint.age", Type: sdk.Gauge, Unit: "s"}
	damaged       = sdk.Meter{Name: "damaged", Type: sdk.Cumulative, Unit: "chunk"}
)

func own() []sdk.MeterInfo {
	return []sdk.MeterInfo{
		{Meter: measures, Doc: "Measures that were taken."},
		{Meter: late, Doc: "Measures that came too late for their archive policy, and were left out."},
		{Meter: future, Doc: "Measures that came by the API too far ahead of the clock, and were refused."},
		{Meter: metrics, Doc: "Metrics with points in memory."},
		{Meter: headSize, Doc: "Size of the points in memory."},
		{Meter: blocks, Doc: "Block files."},
		{Meter: blockSize, Doc: "Size of the block files."},
		{Meter: logSize, Doc: "Size of the log, which has what is in no block file yet."},
		{Meter: logCopyAge, Doc: "Time since all of the log was in the bucket; with S3, after the first copy since the start."},
		{Meter: checkpointAge, Doc: "Time since the last checkpoint; after the first one since the start."},
		{Meter: damaged, Doc: "Chunks and records that could not be read."},
	}
}

// Measure implements sdk.Measurer.
func (s *store) Measure(_ context.Context, out *sdk.Builder) error {
	st := s.engine.Stats()
	all := out.On(sdk.Resource{})
	all.Add(measures, float64(st.Accepted))
	all.Add(late, float64(st.Late))
	all.Add(future, float64(st.Future))
	all.Add(metrics, float64(st.Metrics))
	all.Add(headSize, float64(st.HeadBytes))
	all.Add(blocks, float64(st.Blocks))
	all.Add(blockSize, float64(st.BlockBytes))
	all.Add(logSize, float64(st.LogBytes))
	all.Add(damaged, float64(st.Damaged))
	for m, at := range map[sdk.Meter]time.Time{logCopyAge: st.LastShip, checkpointAge: st.LastCheckpoint} {
		if !at.IsZero() {
			all.Add(m, max(0, time.Since(at)).Seconds())
		}
	}
	return nil
}
