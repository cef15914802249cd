package host

import "github.com/nephoscope/nepho/sdk"

// meters lists all that the pollster can give; the README has the same list.
func meters() []sdk.MeterInfo {
	g := func(name, unit, doc string) sdk.MeterInfo {
		return sdk.MeterInfo{Meter: sdk.Meter{Name: name, Type: sdk.Gauge, Unit: unit}, Doc: doc}
	}
	c := func(name, unit, doc string) sdk.MeterInfo {
		return sdk.MeterInfo{Meter: sdk.Meter{Name: name, Type: sdk.Cumulative, Unit: unit}, Doc: doc}
	}
	list := []sdk.MeterInfo{g("host.cpu.count", "cpu", "Logical CPUs that are online")}
	for _, prefix := range []string{"host.cpu.", "host.cpu.core."} {
		of := "the machine"
		if prefix == "host.cpu.core." {
			of = "one logical CPU, with `per_cpu`"
		}
		list = append(list,
			c(prefix+"user", "ns", "CPU time of "+of+" in user mode, guests included"),
			c(prefix+"nice", "ns", "CPU time of "+of+" in user mode at low priority"),
			c(prefix+"system", "ns", "CPU time of "+of+" in the kernel"),
			c(prefix+"idle", "ns", "CPU time of "+of+" with nothing to do"),
			c(prefix+"iowait", "ns", "CPU time of "+of+" with nothing to do but wait for I/O; may go back a little"),
			c(prefix+"irq", "ns", "CPU time of "+of+" in interrupts"),
			c(prefix+"softirq", "ns", "CPU time of "+of+" in soft interrupts"),
			c(prefix+"steal", "ns", "CPU time that the hypervisor gave to others than "+of),
			c(prefix+"guest", "ns", "CPU time of "+of+" running guests; part of user"),
			c(prefix+"guest_nice", "ns", "CPU time of "+of+" running guests at low priority; part of nice"),
			c(prefix+"busy", "ns", "CPU time of "+of+" in all modes but idle and iowait"),
		)
	}
	return append(list,
		g("host.memory.total", "B", "Memory of the machine"),
		g("host.memory.used", "B", "Memory in use: total less available"),
		g("host.memory.available", "B", "Memory that can be had without swapping"),
		g("host.memory.free", "B", "Memory that is used for nothing, not even as a cache"),
		g("host.memory.buffers", "B", "Memory that caches block devices"),
		g("host.memory.cached", "B", "Memory that caches files"),
		g("host.memory.slab", "B", "Memory of the kernel's objects"),
		g("host.memory.dirty", "B", "Memory that waits to be written to disks"),
		g("host.memory.util", "%", "used / total"),
		g("host.swap.total", "B", "Swap space"),
		g("host.swap.used", "B", "Swap space in use"),
		g("host.swap.free", "B", "Swap space not in use"),
		g("host.swap.util", "%", "used / total; 0 without swap space"),
		c("host.swap.in.bytes", "B", "Read from swap space"),
		c("host.swap.out.bytes", "B", "Written to swap space"),
		g("host.load.1min", "process", "Processes that ran or waited for CPU or disk, mean of about 1 minute"),
		g("host.load.5min", "process", "The same of about 5 minutes"),
		g("host.load.15min", "process", "The same of about 15 minutes"),
		c("host.disk.read.bytes", "B", "Read from the device"),
		c("host.disk.read.requests", "request", "Reads that completed"),
		c("host.disk.read.time", "ns", "Time that reads took, summed up over reads"),
		c("host.disk.write.bytes", "B", "Written to the device"),
		c("host.disk.write.requests", "request", "Writes that completed"),
		c("host.disk.write.time", "ns", "Time that writes took, summed up over writes"),
		c("host.disk.io.time", "ns", "Time during which the device had something to do"),
		c("host.disk.io.weighted_time", "ns", "The same times the requests in progress"),
		g("host.disk.io.in_progress", "request", "Requests in progress"),
		g("host.filesystem.total", "B", "Size of the file system"),
		g("host.filesystem.used", "B", "Space in use"),
		g("host.filesystem.free", "B", "Space that users other than root can still use"),
		g("host.filesystem.util", "%", "used / (used + free), as df has it"),
		g("host.filesystem.inodes.total", "inode", "Inodes, where their number is fixed"),
		g("host.filesystem.inodes.used", "inode", "Inodes in use"),
		g("host.filesystem.inodes.free", "inode", "Inodes not in use"),
		g("host.filesystem.inodes.util", "%", "Share of the inodes in use"),
		c("host.network.incoming.bytes", "B", "Received by the interface"),
		c("host.network.incoming.packets", "packet", "Packets received"),
		c("host.network.incoming.packets.error", "packet", "Packets received in error"),
		c("host.network.incoming.packets.drop", "packet", "Packets received and dropped"),
		c("host.network.outgoing.bytes", "B", "Sent by the interface"),
		c("host.network.outgoing.packets", "packet", "Packets sent"),
		c("host.network.outgoing.packets.error", "packet", "Packets that could not be sent for an error"),
		c("host.network.outgoing.packets.drop", "packet", "Packets dropped instead of sent"),
		g("host.system.uptime", "s", "Time since the machine was booted"),
		g("host.system.processes.total", "process", "Processes that there are"),
		g("host.system.processes.running", "process", "Threads that run or could run"),
		g("host.system.processes.blocked", "process", "Threads that wait for disks"),
		c("host.system.processes.created", "process", "Processes and threads created since boot"),
		c("host.system.context_switches", "switch", "Context switches since boot"),
	)
}
