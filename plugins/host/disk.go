package host

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"

	"github.com/nephoscope/nepho/sdk"
)

const millisecond = 1e6 // in ns

func (h *host) disk(ctx context.Context, out *sdk.Builder) error {
	devices, err := h.blockDevices()
	if err != nil || devices != nil && len(devices) == 0 {
		return err
	}
	stats, err := disk.IOCountersWithContext(ctx, devices...)
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		if !h.devices.Match(name) {
			continue
		}
		c := stats[name]
		metadata := sdk.Metadata{"device": name}
		if c.SerialNumber != "" {
			metadata["serial"] = strings.TrimSpace(c.SerialNumber)
		}
		if c.Label != "" {
			metadata["label"] = c.Label
		}
		s := h.part(out, name, metadata)
		s.Cumulative("host.disk.read.bytes", "B", float64(c.ReadBytes))
		s.Cumulative("host.disk.read.requests", "request", float64(c.ReadCount))
		s.Cumulative("host.disk.read.time", "ns", float64(c.ReadTime)*millisecond)
		s.Cumulative("host.disk.write.bytes", "B", float64(c.WriteBytes))
		s.Cumulative("host.disk.write.requests", "request", float64(c.WriteCount))
		s.Cumulative("host.disk.write.time", "ns", float64(c.WriteTime)*millisecond)
		s.Cumulative("host.disk.io.time", "ns", float64(c.IoTime)*millisecond)
		s.Cumulative("host.disk.io.weighted_time", "ns", float64(c.WeightedIO)*millisecond)
		s.Gauge("host.disk.io.in_progress", "request", float64(c.IopsInProgress))
	}
	return err
}

// blockDevices lists the whole devices that are wanted; nil is all that there
// are, partitions included. Asking for few saves the library looking up the
// others' serial numbers.
func (h *host) blockDevices() ([]string, error) {
	if h.Partitions {
		return nil, nil
	}
	entries, err := os.ReadDir(h.path("sys/block"))
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, e := range entries {
		if h.devices.Match(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
