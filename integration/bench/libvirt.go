package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

const libvirtDomains = 500

// libvirtMeters are those that Ceilometer's compute agent is measured with.
func libvirtMeters() []string {
	return []string{
		"cpu", "memory.usage", "memory.resident",
		"disk.device.read.bytes", "disk.device.read.requests", "disk.device.write.bytes", "disk.device.write.requests",
		"disk.device.capacity", "disk.device.allocation", "disk.device.usage",
		"network.incoming.bytes", "network.incoming.packets", "network.incoming.packets.drop", "network.incoming.packets.error",
		"network.outgoing.bytes", "network.outgoing.packets", "network.outgoing.packets.drop", "network.outgoing.packets.error",
	}
}

const libvirtConfig = `
[[pollster.libvirt]]
interval    = "1s"
timeout     = "30s"
uri         = "%s"
socket      = "%s"
concurrency = 16
meters      = ["%s"]

[[publisher.discard]]
spool = "memory"
`

// libvirt polls domains of libvirt's test driver, which has no bulk statistics:
// each is asked for what it has, five calls a domain.
func libvirt(b *bench, tb parts.TB) {
	h := parts.LibvirtTest(tb, libvirtDomains)
	meters := libvirtMeters()
	a := integration.StartAgent(tb, fmt.Sprintf(libvirtConfig, h.URI, h.Socket, strings.Join(meters, `", "`)))
	source := func() (polls uint64, took time.Duration) {
		s := a.Source("libvirt")
		return s.Polls, s.Duration
	}
	next := func(after uint64) (polls uint64, took time.Duration) {
		b.await(tb, 50*time.Millisecond, time.Minute, "a poll", func() bool {
			polls, took = source()
			return polls > after
		})
		return polls, took
	}
	first, _ := next(1) // the first read the definitions
	before := a.Source("libvirt").Samples
	cpu := agentUsage(tb, a)
	var walls []float64
	polls := first
	for range 10 * b.runs {
		var took time.Duration
		polls, took = next(polls)
		walls = append(walls, took.Seconds())
	}
	cpu = agentUsage(tb, a).since(cpu)
	cycles := float64(polls - first)
	if got, want := float64(a.Source("libvirt").Samples-before)/cycles, float64(libvirtDomains*len(meters)); got != want {
		tb.Fatalf("%.1f samples a cycle, want %.0f", got, want)
	}
	nothingLost(tb, a)
	a.Stop()
	cpuPeers, wallPeers := []peer(nil), []peer(nil)
	if b.peers {
		cpus, walls, err := b.ceilometerPolls(tb, h, meters)
		cpuPeers = []peer{newPeer(ceilometerName, err, cpus)}
		wallPeers = []peer{newPeer(ceilometerName, err, walls)}
	}
	b.report("libvirt.cpu", "CPU-s/cycle", goal{0.10, 0.05}, []float64{cpu.total().Seconds() / cycles}, cpuPeers...)
	b.report("libvirt.wall", "s", goal{must: 0.4}, walls, wallPeers...)
}
