package libvirt

import (
	"math"
	"testing"
	"time"

	lv "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket"
)

type param struct {
	name string
	kind uint32
	v    uint64
	text string
}

func appendParam(b []byte, p param) []byte {
	b = appendUint32(appendString(b, p.name), p.kind)
	switch p.kind {
	case paramInt, paramUint, paramBoolean:
		return appendUint32(b, uint32(p.v))
	case paramString:
		return appendString(b, p.text)
	default:
		return appendUint32(appendUint32(b, uint32(p.v>>32)), uint32(p.v))
	}
}

// qemuParams are the statistics of a QEMU guest with the given numbers of disks,
// interfaces and vCPUs.
func qemuParams(disks, nics, vcpus int) []param {
	params := []param{
		{"state.state", paramInt, 1, ""}, {"state.reason", paramInt, 1, ""},
		{"cpu.time", paramUllong, 5e9, ""}, {"cpu.user", paramUllong, 1e9, ""}, {"cpu.system", paramUllong, 1e9, ""},
		{"balloon.current", paramUllong, 1 << 20, ""}, {"balloon.maximum", paramUllong, 1 << 20, ""},
		{"balloon.swap_in", paramUllong, 2048, ""}, {"balloon.swap_out", paramUllong, 1024, ""},
		{"balloon.unused", paramUllong, 300 << 10, ""}, {"balloon.available", paramUllong, 1000 << 10, ""},
		{"balloon.usable", paramUllong, 600 << 10, ""}, {"balloon.rss", paramUllong, 800 << 10, ""},
		{"vcpu.current", paramUint, uint64(vcpus), ""}, {"vcpu.maximum", paramUint, uint64(vcpus), ""},
		{"perf.cmt", paramUllong, 7, ""}, {"perf.instructions", paramUllong, 8, ""}, {"perf.mbmt", paramUllong, 9, ""},
		{"something.new", paramDouble, math.Float64bits(1.5), ""},
		{"net.count", paramUint, uint64(nics), ""}, {"block.count", paramUint, uint64(disks), ""},
	}
	number := func(prefix string, i int, name string, v uint64) {
		params = append(params, param{prefix + "." + string(rune('0'+i)) + "." + name, paramUllong, v, ""})
	}
	for i := range vcpus {
		number("vcpu", i, "time", 1e9)
		number("vcpu", i, "wait", 5e8)
		number("vcpu", i, "delay", 5)
	}
	for i := range nics {
		params = append(params, param{"net." + string(rune('0'+i)) + ".name", paramString, 0, "tap" + string(rune('0'+i))})
		for n, name := range []string{"rx.bytes", "rx.pkts", "rx.errs", "rx.drop", "tx.bytes", "tx.pkts", "tx.errs", "tx.drop"} {
			number("net", i, name, uint64(100*i+n))
		}
	}
	for i := range disks {
		params = append(params, param{"block." + string(rune('0'+i)) + ".name", paramString, 0, "vd" + string(rune('a'+i))})
		for n, name := range []string{"rd.reqs", "rd.bytes", "rd.times", "wr.reqs", "wr.bytes", "wr.times", "fl.reqs", "fl.times", "allocation", "capacity", "physical"} {
			number("block", i, name, uint64(100*i+n))
		}
	}
	return params
}

func encodeStats(domains int, params []param) []byte {
	b := appendUint32(nil, uint32(domains))
	for i := range domains {
		b = appendDomain(b, &lv.Domain{Name: "instance", UUID: lv.UUID{byte(i >> 8), byte(i)}, ID: int32(i + 1)})
		b = appendUint32(b, uint32(len(params)))
		for _, p := range params {
			b = appendParam(b, p)
		}
	}
	return b
}

func TestDecodeStats(t *testing.T) {
	t.Parallel()
	reply := encodeStats(3, qemuParams(2, 1, 2))
	domains, err := decodeStats(reply, time.Now(), nil)
	if err != nil || len(domains) != 3 {
		t.Fatalf("got %d domains and error %v", len(domains), err)
	}
	// The memory is used again: nothing of before may show.
	domains, err = decodeStats(encodeStats(2, qemuParams(1, 1, 1)), time.Now(), domains)
	if err != nil || len(domains) != 2 || len(domains[1].disks) != 1 || domains[1].v[statVCPUTime] != 15e8 {
		t.Fatalf("got %+v and error %v", domains, err)
	}
	if domains, err = decodeStats(reply, time.Now(), domains); err != nil {
		t.Fatal(err)
	}
	d := &domains[2]
	d.derive(false)
	f := func(s *values, i stat, want uint64) {
		t.Helper()
		if got, ok := s.get(i); !ok || got != want {
			t.Errorf("statistic %d is %d (known: %v), want %d", i, got, ok, want)
		}
	}
	f(&d.values, statState, 1)
	f(&d.values, statCPU, 5e9)
	f(&d.values, statVCPUs, 2)
	f(&d.values, statUsed, 400<<10)
	f(&d.values, statRSS, 800<<10)
	f(&d.values, statInstructions, 8)
	f(&d.nics[0].values, nicSentDrops, 7)
	f(&d.disks[1].values, diskReadRequests, 100)
	f(&d.disks[1].values, diskCapacity, 110) // not less than the physical size
	d.derive(true)
	f(&d.values, statCPU, 3e9)
	if !d.bulk || d.disks[1].name != "vdb" || !d.disks[1].source || d.id.ID != 3 {
		t.Errorf("got %+v", d)
	}
	if d.has(statCMT) != true || d.has(statMBML) {
		t.Error("perf statistics are mixed up")
	}
}

func TestUsedMemory(t *testing.T) {
	t.Parallel()
	f := func(want uint64, known bool, stats map[stat]uint64) {
		t.Helper()
		var d domain
		for s, v := range stats {
			d.put(s, v)
		}
		d.derive(false)
		if got, ok := d.get(statUsed); ok != known || ok && got != want {
			t.Errorf("%v: got %d, known: %v", stats, got, ok)
		}
	}
	f(60, true, map[stat]uint64{statAvailable: 100, statUsable: 40, statUnused: 20})
	f(80, true, map[stat]uint64{statAvailable: 100, statUnused: 20})
	f(0, false, map[stat]uint64{statAvailable: 100})
	f(0, false, map[stat]uint64{statUsable: 40})
	f(0, false, map[stat]uint64{statAvailable: 100, statUsable: 140})
}

func FuzzDecode(f *testing.F) {
	f.Add(encodeStats(2, qemuParams(1, 1, 1)))
	f.Add(appendUint32(nil, math.MaxUint32))
	f.Add(appendParam(appendUint32(appendDomain(appendUint32(nil, 1), &lv.Domain{}), 1), param{"net.1023.rx.bytes", paramInt, 1, ""}))
	f.Add(appendPresent([]byte{0, 0, 0, 42, 0, 0, 0, 10}, "no domain"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		now := time.Now()
		domains, err := decodeStats(reply, now, nil)
		if len(domains) > len(reply)/minDomain {
			t.Errorf("%d domains out of %d bytes, error %v", len(domains), len(reply), err)
		}
		for i := range domains {
			domains[i].derive(true)
		}
		decodeDomains(reply, now, domains)
		if decodeError(reply) == nil {
			t.Error("an error that is none")
		}
		d := new(domain)
		d.takeInfo(&decoder{b: reply})
		d.takeMemory(&decoder{b: reply})
		new(device).takeTraffic(&decoder{b: reply})
		c := &client{changed: func(lv.UUID) {}}
		c.Route(&socket.Header{Program: program, Type: socket.Message, Procedure: procEventLifecycle}, reply)
		c.Route(&socket.Header{Program: program, Type: socket.Reply}, reply)
	})
}

// BenchmarkDecodeStats decodes the bulk statistics of 500 QEMU guests.
func BenchmarkDecodeStats(b *testing.B) {
	reply := encodeStats(500, qemuParams(2, 2, 4))
	b.SetBytes(int64(len(reply)))
	b.ReportAllocs()
	var domains []domain
	for b.Loop() {
		var err error
		if domains, err = decodeStats(reply, time.Now(), domains); err != nil {
			b.Fatal(err)
		}
	}
}
