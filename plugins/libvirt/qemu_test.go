package libvirt

import (
	"bytes"
	"errors"
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
		// The boot sector reads 4 KiB and writes 2 KiB about four times a second; on a
		// busy machine it gets around to less, and for a while to nothing.
		rates := func(before, after []sdk.Sample) error {
			var errs []error
			for _, d := range h.Domains {
				disk, nic := d.UUID+"-vda", d.Name+"-"+d.UUID+"-"+d.Tap
				errs = append(errs,
					checkRate(before, after, d.UUID, "cpu", 1e6, 1.5e9),
					checkRate(before, after, disk, "disk.device.read.bytes", 512, 64<<10),
					checkRate(before, after, disk, "disk.device.read.requests", 0.1, 64),
					checkRate(before, after, disk, "disk.device.write.bytes", 256, 32<<10),
					checkRate(before, after, disk, "disk.device.read.latency", 1, 1e9),
					checkRate(before, after, nic, "network.outgoing.bytes", 0, 1e6))
			}
			return errors.Join(errs...)
		}
		after := poll(t, p)
		for deadline := time.Now().Add(2 * time.Minute); ; {
			before := after
			time.Sleep(3 * time.Second)
			after = poll(t, p)
			err := rates(before, after)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		for _, d := range h.Domains {
			disk := d.UUID + "-vda"
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
		await(t, "the end of all that the guest does", func() bool { return stopped(t, pid) })
		// The first waits for the guest for half of its time, the others not at all.
		var samples []sdk.Sample
		await(t, "a poll that the guest does not fail", func() (there bool) {
			var err error
			samples, err = pollFor(p, 4*time.Second)
			return err == nil
		})
		for i := range 3 {
			if i > 0 {
				samples = poll(t, p)
			}
			expectVolume(t, samples, first.UUID, "power.state", 1, 1)
			expectVolume(t, samples, second.UUID+"-vda", "disk.device.read.bytes", 512, 1e12)
		}
		p.AwaitStderr("holds up")
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
	if err := checkRate(before, after, resource, meter, low, high); err != nil {
		t.Error(err)
	}
}

func checkRate(before, after []sdk.Sample, resource, meter string, low, high float64) error {
	a, ok := of(before, resource)[meter]
	b, ok2 := of(after, resource)[meter]
	if !ok || !ok2 {
		return fmt.Errorf("no sample of %s of %s", meter, resource)
	}
	rate := (b.Volume - a.Volume) / (b.Monotonic - a.Monotonic).Seconds()
	if rate < low || rate > high {
		return fmt.Errorf("%s of %s grows by %g a second, want %g to %g", meter, resource, rate, low, high)
	}
	return nil
}

func expectVolume(t *testing.T, samples []sdk.Sample, resource, meter string, low, high float64) {
	t.Helper()
	if s, ok := of(samples, resource)[meter]; !ok || s.Volume < low || s.Volume > high {
		t.Errorf("%s of %s is %g (there: %v), want %g to %g", meter, resource, s.Volume, ok, low, high)
	}
}

func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
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

// stopped tells whether all threads of a process obey SIGSTOP.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(stats) == 0 {
		t.Fatalf("process %d is gone, %v", pid, err)
	}
	for _, file := range stats {
		if stat, err := os.ReadFile(file); err == nil && !bytes.Contains(stat, []byte(") T ")) {
			return false
		}
	}
	return true
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("cannot send %v to process %d: %v", s, pid, err)
	}
}
