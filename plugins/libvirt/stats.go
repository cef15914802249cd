package libvirt

import (
	"bytes"
	"time"

	lv "github.com/digitalocean/go-libvirt"
)

// values holds statistics by number, and which of them are known.
type values struct {
	known uint32
	v     [numDomainStats]uint64
}

func (s *values) put(i stat, v uint64) {
	s.known |= 1 << i
	s.v[i] = v
}

// add counts v in, to nothing where the statistic is not known.
func (s *values) add(i stat, v uint64) {
	if s.has(i) {
		v += s.v[i]
	}
	s.put(i, v)
}

func (s *values) get(i stat) (uint64, bool) { return s.v[i], s.known&(1<<i) != 0 }

func (s *values) has(i stat) bool { return s.known&(1<<i) != 0 }

// device is a disk or a network interface of a domain.
type device struct {
	name   string // as the guest or the host knows it: vda, tap1
	source bool   // a disk that is not an empty drive
	values
}

// domain is what one poll learns of a domain.
type domain struct {
	id    lv.Domain
	at    time.Time // when the statistics were taken
	bulk  bool      // libvirt gave more than the state in its bulk statistics
	gone  bool      // it vanished meanwhile
	disks []device
	nics  []device
	values
}

// active tells whether the domain has a process, or whatever it runs in.
func (d *domain) active() bool { return d.id.ID >= 0 }

func (d *domain) reset(at time.Time) {
	d.at, d.bulk, d.gone, d.known = at, false, false, 0
	d.disks, d.nics = d.disks[:0], d.nics[:0]
}

// grow gives the device with the given number, and those before it.
func grow(devices []device, n int) []device {
	for len(devices) <= n {
		if len(devices) < cap(devices) {
			devices = devices[:len(devices)+1]
			d := &devices[len(devices)-1]
			d.known, d.source = 0, false // the name is likely the same again
			continue
		}
		devices = append(devices, device{})
	}
	return devices
}

// decodeStats reads bulk statistics into domains, whose memory it uses again.
func decodeStats(reply []byte, at time.Time, domains []domain) ([]domain, error) {
	r := decoder{b: reply}
	n := r.count(minDomain + 4)
	domains = resize(domains, n)
	for i := range domains {
		d := &domains[i]
		d.reset(at)
		r.domain(&d.id)
		for range r.count(minParam) {
			name, number, text := r.param()
			d.param(name, number, text)
		}
	}
	return domains, r.err()
}

// decodeDomains reads a list of domains.
func decodeDomains(reply []byte, at time.Time, domains []domain) ([]domain, error) {
	r := decoder{b: reply}
	domains = resize(domains, r.count(minDomain))
	for i := range domains {
		domains[i].reset(at)
		r.domain(&domains[i].id)
	}
	return domains, r.err()
}

func resize(domains []domain, n int) []domain {
	for cap(domains) < n {
		domains = append(domains[:cap(domains)], domain{})
	}
	return domains[:n]
}

// maxDevices bounds the numbers of disks and interfaces taken from a reply.
const maxDevices = 1024

// param takes one of the bulk statistics. Names are such as balloon.rss,
// vcpu.0.time, net.1.rx.bytes.
func (d *domain) param(name []byte, number uint64, text []byte) {
	group, rest, _ := bytes.Cut(name, dot)
	if string(group) != "state" {
		d.bulk = true
	}
	switch string(group) {
	case "state":
		if string(rest) == "state" {
			d.put(statState, number)
		}
	case "cpu":
		if string(rest) == "time" {
			d.put(statCPUTime, number)
		}
	case "balloon":
		d.balloon(rest, number)
	case "perf":
		d.perf(rest, number)
	case "vcpu":
		if string(rest) == "current" {
			d.put(statVCPUs, number)
		} else if _, what, ok := index(rest); ok && (string(what) == "time" || string(what) == "wait") {
			d.add(statVCPUTime, number)
		}
	case "net":
		if i, what, ok := index(rest); ok {
			d.nics = grow(d.nics, i)
			d.nics[i].nic(what, number, text)
		}
	case "block":
		if i, what, ok := index(rest); ok {
			d.disks = grow(d.disks, i)
			d.disks[i].disk(what, number, text)
		}
	}
}

var dot = []byte(".")

// index splits "3.rx.bytes".
func index(rest []byte) (i int, what []byte, ok bool) {
	n := 0
	for n < len(rest) && '0' <= rest[n] && rest[n] <= '9' && i < maxDevices {
		i = i*10 + int(rest[n]-'0')
		n++
	}
	if n == 0 || n == len(rest) || rest[n] != '.' || i >= maxDevices {
		return 0, nil, false
	}
	return i, rest[n+1:], true
}

func (d *domain) balloon(what []byte, number uint64) {
	switch string(what) {
	case "current":
		d.put(statBalloon, number)
	case "available":
		d.put(statAvailable, number)
	case "unused":
		d.put(statUnused, number)
	case "usable":
		d.put(statUsable, number)
	case "rss":
		d.put(statRSS, number)
	case "swap_in":
		d.put(statSwapIn, number)
	case "swap_out":
		d.put(statSwapOut, number)
	}
}

func (d *domain) perf(what []byte, number uint64) {
	switch string(what) {
	case "cmt":
		d.put(statCMT, number)
	case "mbmt":
		d.put(statMBMT, number)
	case "mbml":
		d.put(statMBML, number)
	case "cpu_cycles":
		d.put(statCycles, number)
	case "instructions":
		d.put(statInstructions, number)
	case "cache_references":
		d.put(statCacheReferences, number)
	case "cache_misses":
		d.put(statCacheMisses, number)
	}
}

func (d *device) rename(name []byte) {
	if string(name) != d.name {
		d.name = string(name)
	}
}

func (d *device) nic(what []byte, number uint64, text []byte) {
	switch string(what) {
	case "name":
		d.rename(text)
	case "rx.bytes":
		d.put(nicReceivedBytes, number)
	case "rx.pkts":
		d.put(nicReceivedPackets, number)
	case "rx.errs":
		d.put(nicReceivedErrors, number)
	case "rx.drop":
		d.put(nicReceivedDrops, number)
	case "tx.bytes":
		d.put(nicSentBytes, number)
	case "tx.pkts":
		d.put(nicSentPackets, number)
	case "tx.errs":
		d.put(nicSentErrors, number)
	case "tx.drop":
		d.put(nicSentDrops, number)
	}
}

func (d *device) disk(what []byte, number uint64, text []byte) {
	switch string(what) {
	case "name":
		d.rename(text)
	case "path":
		d.source = true
	case "rd.bytes":
		d.put(diskReadBytes, number)
	case "rd.reqs":
		d.put(diskReadRequests, number)
	case "rd.times":
		d.put(diskReadTime, number)
	case "wr.bytes":
		d.put(diskWriteBytes, number)
	case "wr.reqs":
		d.put(diskWriteRequests, number)
	case "wr.times":
		d.put(diskWriteTime, number)
	case "capacity":
		d.source = true
		d.put(diskCapacity, number)
	case "allocation":
		d.source = true
		d.put(diskAllocation, number)
	case "physical":
		d.source = true
		d.put(diskPhysical, number)
	}
}

// derive computes what is made of other statistics.
func (d *domain) derive(vcpuWait bool) {
	if v, ok := d.get(statVCPUTime); ok && vcpuWait {
		d.put(statCPU, v)
	} else if v, ok := d.get(statCPUTime); ok {
		d.put(statCPU, v)
	}
	available, ok := d.get(statAvailable)
	free, usable := d.get(statUsable)
	if !usable {
		free, usable = d.get(statUnused)
	}
	if ok && usable && free <= available {
		d.put(statUsed, available-free)
	}
	for i := range d.disks {
		if disk := &d.disks[i]; disk.has(diskCapacity) && disk.has(diskPhysical) {
			disk.put(diskCapacity, max(disk.v[diskCapacity], disk.v[diskPhysical]))
		}
	}
}
