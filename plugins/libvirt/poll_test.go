package libvirt

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// start starts the plugin on a hypervisor.
func start(t testing.TB, h *parts.Hypervisor, more string, meters ...string) *sdktest.Plugin {
	t.Helper()
	p := sdktest.StartWith(t, sdktest.Options{
		Config: options(h) + "host = \"compute-1\"\n" + more, Meters: meters, Concurrency: 8, ResourceTimeout: time.Minute,
	})
	t.Cleanup(func() {
		if log := p.Stderr(); strings.Contains(log, "DATA RACE") {
			t.Errorf("%s", log)
		}
	})
	return p
}

// poll polls once and fails the test on an error.
func poll(t testing.TB, p *sdktest.Plugin) []sdk.Sample {
	t.Helper()
	samples, err := pollFor(p, 2*time.Minute)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Stderr())
	}
	return samples
}

func pollFor(p *sdktest.Plugin, timeout time.Duration) ([]sdk.Sample, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		samples, err := p.Poll(ctx)
		// The call before may take a moment to end after it gave its answer.
		if status.Code(err) != codes.Aborted {
			return samples, err
		}
		time.Sleep(time.Millisecond)
	}
}

// line is what of a sample does not change from run to run.
func line(s sdk.Sample) string {
	return fmt.Sprintf("%s\t%s\t%v\t%s", s.ResourceID, s.Name, s.Type, s.Unit)
}

// of gives a resource's samples by meter.
func of(samples []sdk.Sample, resource string) map[string]sdk.Sample {
	m := map[string]sdk.Sample{}
	for _, s := range samples {
		if s.ResourceID == resource {
			m[s.Name] = s
		}
	}
	return m
}

// fourDomains are one of each sort: running, paused, shut off, without nova.
func fourDomains() []parts.Domain {
	domains := parts.Domains(4)
	domains[1].State = parts.Paused
	domains[2].State = parts.ShutOff
	domains[3].WithoutNova = true
	return domains
}

func TestTestDriverSamples(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTestDomains(t, fourDomains())
	f := func(golden, options string) {
		t.Helper()
		p := start(t, h, options)
		poll(t, p) // all is the same from the first poll on
		expectLines(t, golden, poll(t, p))
	}
	f("test-driver", "")
	f("test-driver-everything", "report_shutoff = true\ndisk_totals = true\n")
	f("test-driver-no-metadata", "metadata = \"none\"\n")
}

var update = flag.Bool("update", false, "write the golden files anew")

// expectLines compares samples with a golden file.
func expectLines(t *testing.T, golden string, samples []sdk.Sample) {
	t.Helper()
	var lines []string
	for _, s := range samples {
		lines = append(lines, line(s))
	}
	slices.Sort(lines)
	path := filepath.Join("testdata", golden+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines, "\n") + "\n"; got != string(want) {
		t.Errorf("samples differ from %s; got:\n%s", path, got)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTestDomains(t, fourDomains())
	p := start(t, h, "", "power.state", "cpu", "disk.root.size", "disk.device.capacity", "network.incoming.bytes")
	samples := poll(t, p)
	f := func(resource, meter, want string) {
		t.Helper()
		s, ok := of(samples, resource)[meter]
		if !ok {
			t.Fatalf("no sample of %s", resource)
		}
		got := s.AppendJSON(nil)
		for _, part := range strings.Split(want, "\n") {
			if !strings.Contains(string(got), strings.TrimSpace(part)) {
				t.Errorf("%s lacks %s\n%s", resource, part, got)
			}
		}
	}
	d := h.Domains[0]
	f(d.UUID, "cpu", `"project_id":"`+d.Project+`"
		"user_id":"`+d.User+`"
		"display_name":"vm-1"
		"name":"instance-00000001"
		"instance_id":"`+d.UUID+`"
		"instance_host":"compute-1"
		"host":"`+hostID(d.Project, "compute-1")+`"
		"flavor":{"disk":1,"ephemeral":0,"name":"m1.tiny","ram":64,"swap":0,"vcpus":1}
		"instance_type":"m1.tiny"
		"image":{"id":"`+d.Image+`"}
		"image_ref":"`+d.Image+`"
		"vcpus":1
		"memory_mb":64
		"disk_gb":1
		"state":"active"
		"status":"active"
		"architecture":"i686"`)
	f(d.UUID+"-vda", "disk.device.capacity", `"disk_name":"vda"
		"instance_id":"`+d.UUID+`"
		"display_name":"vm-1"`)
	f("instance-00000001-"+d.UUID+"-"+d.Tap, "network.incoming.bytes", `"mac":"`+d.MAC+`"
		"vnic_name":"`+d.Tap+`"
		"name":"`+d.Tap+`"
		"instance_id":"`+d.UUID+`"`)
	f(h.Domains[1].UUID, "power.state", `"state":"paused"`)
	f(h.Domains[2].UUID, "power.state", `"state":"stopped"
		"status":"shutoff"
		"project_id":"`+h.Domains[2].Project+`"`)
	f(h.Domains[3].UUID, "power.state", `"display_name":"instance-00000004"
		"vcpus":1`)
	if got := of(samples, d.UUID)["disk.root.size"].Volume; got != 1 {
		t.Errorf("the flavor's root disk has %v GiB, want 1", got)
	}
	if _, ok := of(samples, h.Domains[3].UUID)["disk.root.size"]; ok {
		t.Error("a domain without flavor has a root disk size")
	}
}

func TestPowerStates(t *testing.T) {
	t.Parallel()
	domains := parts.Domains(4)
	for i, state := range []parts.RunState{parts.Running, parts.Paused, parts.ShutOff, parts.Crashed} {
		domains[i].State = state
	}
	h := parts.LibvirtTestDomains(t, domains)
	samples := poll(t, start(t, h, "", "power.state"))
	for _, d := range domains {
		s := of(samples, d.UUID)["power.state"]
		if s.Volume != float64(d.State) {
			t.Errorf("got state %v of %s, want %d", s.Volume, d.Name, d.State)
		}
	}
}

func TestUnwantedMetersAreNotAskedFor(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTest(t, 2)
	samples := poll(t, start(t, h, "", "memory*", "!memory.usage"))
	var names []string
	for _, s := range samples {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	if got, want := strings.Join(slices.Compact(names), " "), "memory memory.available memory.resident memory.swap.in memory.swap.out"; got != want {
		t.Errorf("got meters %s, want %s", got, want)
	}
}

func TestLibvirtdRestarts(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTest(t, 20)
	p := start(t, h, "")
	n := len(poll(t, p))
	for _, restart := range []func(){h.Restart, func() { h.Kill9(); h.Start() }} {
		restart()
		if got := len(poll(t, p)); got != n {
			t.Errorf("got %d samples after a restart, want %d", got, n)
		}
	}
	h.Stop()
	if _, err := pollFor(p, time.Minute); err == nil {
		t.Error("polling without libvirtd is no error")
	}
	h.Start()
	if got := len(poll(t, p)); got != n {
		t.Errorf("got %d samples when libvirtd was back, want %d", got, n)
	}
}

func TestLibvirtdHangs(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTest(t, 20)
	p := start(t, h, "")
	n := len(poll(t, p))
	h.Pause()
	// The plugin says so before the time for the poll is over, or gRPC would say only
	// that. A busy machine may need more of it.
	for timeout := 2 * time.Second; ; timeout *= 4 {
		_, err := pollFor(p, timeout)
		if err != nil && strings.Contains(err.Error(), "libvirtd") {
			break
		}
		if err == nil || timeout > time.Minute {
			t.Fatalf("polling a hanging libvirtd gives %v", err)
		}
	}
	// It cannot be connected to either.
	if _, err := pollFor(p, time.Second); err == nil {
		t.Error("polling a hanging libvirtd is no error")
	}
	h.Resume()
	if got := len(poll(t, p)); got != n {
		t.Errorf("got %d samples when libvirtd went on, want %d", got, n)
	}
}

func TestFiveHundredDomains(t *testing.T) {
	t.Parallel()
	h := parts.LibvirtTest(t, 500)
	p := start(t, h, "", compared...)
	for range 3 {
		samples := poll(t, p)
		if len(samples) != 500*len(compared) {
			t.Fatalf("got %d samples, want %d", len(samples), 500*len(compared))
		}
		seen := map[string]bool{}
		for _, s := range samples {
			if seen[line(s)] {
				t.Fatalf("%s twice", line(s))
			}
			seen[line(s)] = true
			if s.Monotonic == 0 {
				t.Fatal("a sample has no monotonic time")
			}
		}
	}
}
