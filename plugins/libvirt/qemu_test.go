package libvirt

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
)

// TestQEMUGuests follows two real guests through what happens to guests. It is
// one test because starting the hypervisor takes longer than all the rest.
func TestQEMUGuests(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtQEMU(t, 2)
	p := start(t, h.Hypervisor, "")
	first, second := h.Domains[0], h.Domains[1]

	poll(t, p)
	expectLines(t, "qemu", poll(t, p))

	t.Run("counters move", func(t *testing.T) {
		before := poll(t, p)
		time.Sleep(3 * time.Second)
		after := poll(t, p)
		for _, d := range h.Domains {
			// The boot sector reads 4 KiB and writes 2 KiB about four times a second;
			// on a busy machine it gets around to less.
			disk, nic := d.UUID+"-vda", d.Name+"-"+d.UUID+"-"+d.Tap
			expectRate(t, before, after, d.UUID, "cpu", 1e6, 1.5e9)
			expectRate(t, before, after, disk, "disk.device.read.bytes", 512, 64<<10)
			expectRate(t, before, after, disk, "disk.device.read.requests", 0.1, 64)
			expectRate(t, before, after, disk, "disk.device.write.bytes", 256, 32<<10)
			expectRate(t, before, after, disk, "disk.device.read.latency", 1, 1e9)
			expectRate(t, before, after, nic, "network.outgoing.bytes", 0, 1e6)
			expectVolume(t, after, d.UUID, "memory", 64, 64)
			expectVolume(t, after, d.UUID, "memory.resident", 8, 1024)
			expectVolume(t, after, d.UUID, "vcpus", 1, 1)
			expectVolume(t, after, d.UUID, "power.state", 1, 1)
			expectVolume(t, after, disk, "disk.device.capacity", 1<<20, 1<<20)
			if got := of(after, d.UUID)["cpu"]; got.ProjectID != d.Project || got.Metadata["display_name"] != d.NovaName {
				t.Errorf("got project %q and metadata %v of %s", got.ProjectID, got.Metadata, d.Name)
			}
		}
	})

	t.Run("libvirtd restarts", func(t *testing.T) {
		before := poll(t, p)
		h.Kill9()
		h.Start()
		after := poll(t, p)
		expectRate(t, before, after, first.UUID, "cpu", 0, 1.5e9)
		expectRate(t, before, after, second.UUID+"-vda", "disk.device.read.bytes", 0, 64<<10)
	})

	t.Run("metadata changes", func(t *testing.T) {
		h.Virsh("metadata", first.Name, "--live", "--config", "--uri", novaSpace+"1.1", "--key", "nova",
			"--set", `<instance><name>renamed</name><flavor name="m1.huge"><disk>40</disk></flavor></instance>`)
		await(t, "the new name", func() bool {
			return of(poll(t, p), first.UUID)["cpu"].Metadata["display_name"] == "renamed"
		})
		expectVolume(t, poll(t, p), first.UUID, "disk.root.size", 40, 40)
	})

	t.Run("a guest hangs", func(t *testing.T) {
		pid := emulator(t, h, first.Name)
		signal(t, pid, syscall.SIGSTOP)
		defer signal(t, pid, syscall.SIGCONT)
		for range 3 {
			samples, err := pollFor(p, 4*time.Second)
			if err != nil {
				t.Fatalf("%v\n%s", err, p.Stderr())
			}
			expectVolume(t, samples, first.UUID, "power.state", 1, 1)
			expectVolume(t, samples, second.UUID+"-vda", "disk.device.read.bytes", 512, 1e12)
		}
		if n := strings.Count(p.Stderr(), "holds up"); n != 1 {
			t.Errorf("the log tells %d times of the hanging guest:\n%s", n, p.Stderr())
		}
		signal(t, pid, syscall.SIGCONT)
		await(t, "the hanging guest's disk", func() bool {
			_, ok := of(poll(t, p), first.UUID+"-vda")["disk.device.read.bytes"]
			return ok && strings.Contains(p.Stderr(), "any longer")
		})
	})

	t.Run("guests come and go", func(t *testing.T) {
		h.Destroy(first.Name)
		samples := poll(t, p)
		expectVolume(t, samples, first.UUID, "power.state", 5, 5)
		if n := len(of(samples, first.UUID)) + len(of(samples, first.UUID+"-vda")); n != 1 {
			t.Errorf("a destroyed guest has %d samples, want 1", n)
		}
		h.StartDomain(first.Name)
		added := parts.Domains(3)[2]
		h.Define(added)
		h.StartDomain(added.Name)
		samples = poll(t, p)
		expectVolume(t, samples, first.UUID, "power.state", 1, 1)
		if got := of(samples, added.UUID)["cpu"].Metadata["display_name"]; got != added.NovaName {
			t.Errorf("got name %v of a new guest, want %s", got, added.NovaName)
		}
		h.Destroy(added.Name)
		h.Undefine(added.Name)
		if got := of(poll(t, p), added.UUID); len(got) > 0 {
			t.Errorf("an undefined guest has samples %v", got)
		}
	})

	t.Run("Ceilometer's CPU time", func(t *testing.T) {
		p := start(t, h.Hypervisor, `cpu_time = "vcpu+wait"`, "cpu")
		samples := poll(t, p)
		expectVolume(t, samples, second.UUID, "cpu", 1e6, 1e13)
	})

	t.Run("suspended", func(t *testing.T) {
		h.Virsh("suspend", first.Name)
		samples := poll(t, p)
		expectVolume(t, samples, first.UUID, "power.state", 3, 3)
		expectVolume(t, samples, first.UUID+"-vda", "disk.device.read.bytes", 512, 1e12)
		if got := of(samples, first.UUID)["cpu"].Metadata["state"]; got != "paused" {
			t.Errorf("got state %v of a suspended guest", got)
		}
	})
}

// expectRate checks a counter's growth per second.
func expectRate(t *testing.T, before, after []sdk.Sample, resource, meter string, low, high float64) {
	t.Helper()
	a, ok := of(before, resource)[meter]
	b, ok2 := of(after, resource)[meter]
	if !ok || !ok2 {
		t.Errorf("no sample of %s of %s", meter, resource)
		return
	}
	rate := (b.Volume - a.Volume) / (b.Monotonic - a.Monotonic).Seconds()
	if rate < low || rate > high {
		t.Errorf("%s of %s grows by %g a second, want %g to %g", meter, resource, rate, low, high)
	}
}

func expectVolume(t *testing.T, samples []sdk.Sample, resource, meter string, low, high float64) {
	t.Helper()
	if s, ok := of(samples, resource)[meter]; !ok || s.Volume < low || s.Volume > high {
		t.Errorf("%s of %s is %g (there: %v), want %g to %g", meter, resource, s.Volume, ok, low, high)
	}
}

func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !there() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// emulator finds the process of a guest that this test started.
func emulator(t *testing.T, h *parts.QEMUHypervisor, name string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		args, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(args, fmt.Appendf(nil, "guest=%s,", name)) || !bytes.Contains(args, []byte(h.Dir)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	t.Fatalf("cannot find the process of guest %s", name)
	return 0
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("cannot send %v to process %d: %v", s, pid, err)
	}
}
