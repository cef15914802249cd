package libvirt

import (
	lv "github.com/digitalocean/go-libvirt"

	"github.com/nephoscope/nepho/sdk"
)

// stat numbers a statistic of a domain, of one of its disks or one of its
// network interfaces.
type stat uint8

// Of a domain. The last ones are made of others, see [domain.derive].
const (
	statState stat = iota
	statCPUTime
	statVCPUTime // running and waiting to run, over all vCPUs
	statVCPUs
	statBalloon // kibibytes from here
	statAvailable
	statUnused
	statUsable
	statRSS
	statSwapIn
	statSwapOut
	statCMT
	statMBMT
	statMBML
	statCycles
	statInstructions
	statCacheReferences
	statCacheMisses
	statCPU
	statUsed
	statRootSize // gibibytes
	statEphemeralSize
	numDomainStats
)

// Of a disk.
const (
	diskReadBytes stat = iota
	diskReadRequests
	diskWriteBytes
	diskWriteRequests
	diskCapacity
	diskAllocation
	diskPhysical
	diskReadTime
	diskWriteTime
	numDiskStats
)

// Of a network interface.
const (
	nicReceivedBytes stat = iota
	nicReceivedPackets
	nicReceivedErrors
	nicReceivedDrops
	nicSentBytes
	nicSentPackets
	nicSentErrors
	nicSentDrops
	numNICStats
)

// scope says what a meter's resource is.
type scope uint8

const (
	ofInstance      scope = iota
	ofInstanceDisks       // the instance: a sum over its disks
	ofDisk
	ofNIC
)

// off says when a meter has a value though the domain is shut off.
type off uint8

const (
	offNever off = iota
	offOnRequest
	offAlways
)

// meter is what a statistic is published as.
type meter struct {
	sdk.MeterInfo
	scope   scope
	stat    stat
	divisor float64
	groups  lv.DomainStatsTypes // statistics that libvirt must be asked for
	off     off
}

const kibPerMiB = 1024

// catalogue lists every meter, in the order of the documentation.
func catalogue() []meter {
	return []meter{
		{info("cpu", sdk.Cumulative, "ns", "CPU time that the domain used, all its vCPUs together"), ofInstance, statCPU, 1, lv.DomainStatsCPUTotal, offNever},
		{info("vcpus", sdk.Gauge, "vcpu", "vCPUs that are plugged in"), ofInstance, statVCPUs, 1, lv.DomainStatsVCPU, offOnRequest},
		{info("power.state", sdk.Gauge, "", "libvirt's number of the domain's state: 0 none, 1 running, 2 blocked, 3 paused, 4 shutting down, 5 shut off, 6 crashed, 7 suspended"), ofInstance, statState, 1, lv.DomainStatsState, offAlways},
		{info("memory", sdk.Gauge, "MiB", "memory that the balloon leaves to the guest"), ofInstance, statBalloon, kibPerMiB, lv.DomainStatsBalloon, offOnRequest},
		{info("memory.available", sdk.Gauge, "MiB", "memory that the guest's system sees (needs its balloon driver)"), ofInstance, statAvailable, kibPerMiB, lv.DomainStatsBalloon, offNever},
		{info("memory.usage", sdk.Gauge, "MiB", "memory that the guest uses: available less usable, or else less unused (needs its balloon driver)"), ofInstance, statUsed, kibPerMiB, lv.DomainStatsBalloon, offNever},
		{info("memory.resident", sdk.Gauge, "MiB", "memory of the host that the domain's process occupies"), ofInstance, statRSS, kibPerMiB, lv.DomainStatsBalloon, offNever},
		{info("memory.swap.in", sdk.Cumulative, "MiB", "memory that the guest swapped in (needs its balloon driver)"), ofInstance, statSwapIn, kibPerMiB, lv.DomainStatsBalloon, offNever},
		{info("memory.swap.out", sdk.Cumulative, "MiB", "memory that the guest swapped out (needs its balloon driver)"), ofInstance, statSwapOut, kibPerMiB, lv.DomainStatsBalloon, offNever},
		{info("memory.bandwidth.total", sdk.Gauge, "B/s", "memory traffic of the domain (perf event mbmt)"), ofInstance, statMBMT, 1, lv.DomainStatsPerf, offNever},
		{info("memory.bandwidth.local", sdk.Gauge, "B/s", "memory traffic of the domain within its socket (perf event mbml)"), ofInstance, statMBML, 1, lv.DomainStatsPerf, offNever},
		{info("cpu_l3_cache", sdk.Gauge, "B", "third-level cache that the domain occupies (perf event cmt)"), ofInstance, statCMT, 1, lv.DomainStatsPerf, offNever},
		{info("perf.cpu.cycles", sdk.Gauge, "cycle", "CPU cycles since the perf event cpu_cycles was enabled"), ofInstance, statCycles, 1, lv.DomainStatsPerf, offNever},
		{info("perf.instructions", sdk.Gauge, "instruction", "instructions since the perf event instructions was enabled"), ofInstance, statInstructions, 1, lv.DomainStatsPerf, offNever},
		{info("perf.cache.references", sdk.Gauge, "count", "cache hits since the perf event cache_references was enabled"), ofInstance, statCacheReferences, 1, lv.DomainStatsPerf, offNever},
		{info("perf.cache.misses", sdk.Gauge, "count", "cache misses since the perf event cache_misses was enabled"), ofInstance, statCacheMisses, 1, lv.DomainStatsPerf, offNever},
		{info("disk.root.size", sdk.Gauge, "GiB", "root disk of the flavor (nova's domains only)"), ofInstance, statRootSize, 1, 0, offOnRequest},
		{info("disk.ephemeral.size", sdk.Gauge, "GiB", "ephemeral disk of the flavor (nova's domains only)"), ofInstance, statEphemeralSize, 1, 0, offOnRequest},

		{info("disk.device.read.bytes", sdk.Cumulative, "B", "read from the disk"), ofDisk, diskReadBytes, 1, lv.DomainStatsBlock, offNever},
		{info("disk.device.read.requests", sdk.Cumulative, "request", "read requests to the disk"), ofDisk, diskReadRequests, 1, lv.DomainStatsBlock, offNever},
		{info("disk.device.read.latency", sdk.Cumulative, "ns", "time spent on reads, all together"), ofDisk, diskReadTime, 1, lv.DomainStatsBlock, offNever},
		{info("disk.device.write.bytes", sdk.Cumulative, "B", "written to the disk"), ofDisk, diskWriteBytes, 1, lv.DomainStatsBlock, offNever},
		{info("disk.device.write.requests", sdk.Cumulative, "request", "write requests to the disk"), ofDisk, diskWriteRequests, 1, lv.DomainStatsBlock, offNever},
		{info("disk.device.write.latency", sdk.Cumulative, "ns", "time spent on writes, all together"), ofDisk, diskWriteTime, 1, lv.DomainStatsBlock, offNever},
		{info("disk.device.capacity", sdk.Gauge, "B", "size of the disk as the guest sees it, or on the host where that is larger"), ofDisk, diskCapacity, 1, lv.DomainStatsBlock, offOnRequest},
		{info("disk.device.allocation", sdk.Gauge, "B", "space of the host that the disk's data takes"), ofDisk, diskAllocation, 1, lv.DomainStatsBlock, offOnRequest},
		{info("disk.device.usage", sdk.Gauge, "B", "size of the disk's file or device on the host"), ofDisk, diskPhysical, 1, lv.DomainStatsBlock, offOnRequest},

		{info("network.incoming.bytes", sdk.Cumulative, "B", "received by the guest"), ofNIC, nicReceivedBytes, 1, lv.DomainStatsInterface, offNever},
		{info("network.incoming.packets", sdk.Cumulative, "packet", "received by the guest"), ofNIC, nicReceivedPackets, 1, lv.DomainStatsInterface, offNever},
		{info("network.incoming.packets.drop", sdk.Cumulative, "packet", "not delivered to the guest"), ofNIC, nicReceivedDrops, 1, lv.DomainStatsInterface, offNever},
		{info("network.incoming.packets.error", sdk.Cumulative, "packet", "received with errors"), ofNIC, nicReceivedErrors, 1, lv.DomainStatsInterface, offNever},
		{info("network.outgoing.bytes", sdk.Cumulative, "B", "sent by the guest"), ofNIC, nicSentBytes, 1, lv.DomainStatsInterface, offNever},
		{info("network.outgoing.packets", sdk.Cumulative, "packet", "sent by the guest"), ofNIC, nicSentPackets, 1, lv.DomainStatsInterface, offNever},
		{info("network.outgoing.packets.drop", sdk.Cumulative, "packet", "sent by the guest and dropped"), ofNIC, nicSentDrops, 1, lv.DomainStatsInterface, offNever},
		{info("network.outgoing.packets.error", sdk.Cumulative, "packet", "sent with errors"), ofNIC, nicSentErrors, 1, lv.DomainStatsInterface, offNever},

		{info("disk.read.bytes", sdk.Cumulative, "B", "sum over the disks (option disk_totals)"), ofInstanceDisks, diskReadBytes, 1, lv.DomainStatsBlock, offNever},
		{info("disk.read.requests", sdk.Cumulative, "request", "sum over the disks (option disk_totals)"), ofInstanceDisks, diskReadRequests, 1, lv.DomainStatsBlock, offNever},
		{info("disk.write.bytes", sdk.Cumulative, "B", "sum over the disks (option disk_totals)"), ofInstanceDisks, diskWriteBytes, 1, lv.DomainStatsBlock, offNever},
		{info("disk.write.requests", sdk.Cumulative, "request", "sum over the disks (option disk_totals)"), ofInstanceDisks, diskWriteRequests, 1, lv.DomainStatsBlock, offNever},
		{info("disk.capacity", sdk.Gauge, "B", "sum over the disks (option disk_totals)"), ofInstanceDisks, diskCapacity, 1, lv.DomainStatsBlock, offOnRequest},
		{info("disk.allocation", sdk.Gauge, "B", "sum over the disks (option disk_totals)"), ofInstanceDisks, diskAllocation, 1, lv.DomainStatsBlock, offOnRequest},
		{info("disk.usage", sdk.Gauge, "B", "sum over the disks (option disk_totals)"), ofInstanceDisks, diskPhysical, 1, lv.DomainStatsBlock, offOnRequest},
	}
}

func info(name string, t sdk.Type, unit, doc string) sdk.MeterInfo {
	return sdk.MeterInfo{Meter: sdk.Meter{Name: name, Type: t, Unit: unit}, Doc: doc}
}

// selection is the part of the catalogue that an instance is asked for.
type selection struct {
	instance, totals, disk, nic []meter
	groups                      lv.DomainStatsTypes
	// What a driver without bulk statistics must be asked one by one.
	info, memory, diskIO, diskSize bool
}

// choose selects what wants says.
func choose(wants func(meter string) bool, totals, vcpuWait bool) selection {
	// The state is always asked for: it says what the other statistics mean.
	s := selection{groups: lv.DomainStatsState}
	for _, m := range catalogue() {
		if !wants(m.Name) || m.scope == ofInstanceDisks && !totals {
			continue
		}
		s.groups |= m.groups
		switch m.scope {
		case ofInstance:
			s.instance = append(s.instance, m)
			s.info = s.info || m.stat == statCPU || m.stat == statVCPUs || m.stat == statBalloon
			s.memory = s.memory || m.groups == lv.DomainStatsBalloon
			if m.stat == statCPU && vcpuWait {
				s.groups |= lv.DomainStatsVCPU
			}
		case ofNIC:
			s.nic = append(s.nic, m)
		case ofDisk:
			s.disk = append(s.disk, m)
		case ofInstanceDisks:
			s.totals = append(s.totals, m)
		}
		if m.scope == ofDisk || m.scope == ofInstanceDisks {
			switch m.stat {
			case diskCapacity, diskAllocation, diskPhysical:
				s.diskSize = true
			case diskReadTime, diskWriteTime:
				// Only the bulk statistics have them.
			default:
				s.diskIO = true
			}
		}
	}
	return s
}
