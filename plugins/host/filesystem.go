package host

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"

	"github.com/nephoscope/nepho/sdk"
)

func (h *host) filesystem(ctx context.Context, out *sdk.Builder) error {
	all, err := disk.PartitionsWithContext(ctx, true)
	if err != nil {
		return err
	}
	mounts := h.selectMounts(all)
	paths := make([]string, len(mounts))
	for i, m := range mounts {
		paths[i] = filepath.Join(h.Root, m.Mountpoint)
	}
	return h.prober.each(ctx, paths, func(i int, u *disk.UsageStat) {
		m := mounts[i]
		s := h.part(out, m.Mountpoint, sdk.Metadata{"mountpoint": m.Mountpoint, "device": m.Device, "fstype": m.Fstype})
		s.Gauge("host.filesystem.total", "B", float64(u.Total))
		s.Gauge("host.filesystem.used", "B", float64(u.Used))
		s.Gauge("host.filesystem.free", "B", float64(u.Free))
		s.Gauge("host.filesystem.util", "%", percent(u.Used, u.Used+u.Free))
		if u.InodesTotal > 0 { // some types have no fixed number of them
			s.Gauge("host.filesystem.inodes.total", "inode", float64(u.InodesTotal))
			s.Gauge("host.filesystem.inodes.used", "inode", float64(u.InodesUsed))
			s.Gauge("host.filesystem.inodes.free", "inode", float64(u.InodesFree))
			s.Gauge("host.filesystem.inodes.util", "%", percent(u.InodesUsed, u.InodesTotal))
		}
	})
}

// selectMounts leaves each wanted file system once: where several are mounted at
// one point the last, which hides the others, and of one that is mounted at
// several points the first.
func (h *host) selectMounts(all []disk.PartitionStat) []disk.PartitionStat {
	top := make(map[string]int, len(all))
	for i, m := range all {
		top[m.Mountpoint] = i
	}
	var mounts []disk.PartitionStat
	seen := map[string]bool{}
	for i, m := range all {
		if top[m.Mountpoint] != i || !h.mounts.Match(m.Mountpoint) || slices.Contains(m.Opts, "bind") {
			continue
		}
		// / counts whatever it is made of: in containers and live systems it is an overlay.
		if m.Mountpoint != "/" && !h.fstypes.Match(m.Fstype) {
			continue
		}
		if strings.Contains(m.Device, "/") { // a block device or a server's export
			if seen[m.Device] {
				continue
			}
			seen[m.Device] = true
		}
		mounts = append(mounts, m)
	}
	return mounts
}
