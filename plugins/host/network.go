package host

import (
	"context"
	"os"

	"github.com/shirou/gopsutil/v4/net"

	"github.com/nephoscope/nepho/sdk"
)

func (h *host) network(ctx context.Context, out *sdk.Builder) error {
	// net/dev is the reader's network namespace; in a container the machine's is
	// that of its first process.
	file := h.path("proc/net/dev")
	if h.Root != "/" {
		if first := h.path("proc/1/net/dev"); readable(first) {
			file = first
		}
	}
	stats, err := net.IOCountersByFileWithContext(ctx, true, file)
	for _, c := range stats {
		if !h.interfaces.Match(c.Name) {
			continue
		}
		s := h.part(out, c.Name, sdk.Metadata{"interface": c.Name})
		s.Cumulative("host.network.incoming.bytes", "B", float64(c.BytesRecv))
		s.Cumulative("host.network.incoming.packets", "packet", float64(c.PacketsRecv))
		s.Cumulative("host.network.incoming.packets.error", "packet", float64(c.Errin))
		s.Cumulative("host.network.incoming.packets.drop", "packet", float64(c.Dropin))
		s.Cumulative("host.network.outgoing.bytes", "B", float64(c.BytesSent))
		s.Cumulative("host.network.outgoing.packets", "packet", float64(c.PacketsSent))
		s.Cumulative("host.network.outgoing.packets.error", "packet", float64(c.Errout))
		s.Cumulative("host.network.outgoing.packets.drop", "packet", float64(c.Dropout))
	}
	return err
}

func readable(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	f.Close()
	return true
}
