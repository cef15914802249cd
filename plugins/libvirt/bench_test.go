package libvirt

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// compared are the meters with which Ceilometer's compute agent was measured.
var compared = []string{
	"cpu", "memory.usage", "memory.resident",
	"disk.device.read.bytes", "disk.device.read.requests", "disk.device.write.bytes", "disk.device.write.requests",
	"disk.device.capacity", "disk.device.allocation", "disk.device.usage",
	"network.incoming.bytes", "network.incoming.packets", "network.incoming.packets.drop", "network.incoming.packets.error",
	"network.outgoing.bytes", "network.outgoing.packets", "network.outgoing.packets.drop", "network.outgoing.packets.error",
}

// BenchmarkPoll500 polls 500 domains of the test driver, which has no bulk
// statistics. It counts the CPU time of the plugin's process and of this one,
// which stands for the host; "cpu-s/op" is their sum.
func BenchmarkPoll500(b *testing.B) {
	h := parts.LibvirtTest(b, 500)
	p := sdktest.StartWith(b, sdktest.Options{
		Config: options(h), Meters: compared, Concurrency: 16, ResourceTimeout: 10 * time.Second,
	})
	ctx := b.Context()
	poll := func() int {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		batches, err := p.PollBatches(ctx)
		for status.Code(err) == codes.Aborted { // the call before is just ending
			batches, err = p.PollBatches(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for _, batch := range batches {
			n += batch.Len()
		}
		return n
	}
	poll() // reads the definitions
	if n := poll(); n != 500*len(compared) {
		b.Fatalf("got %d samples", n)
	}
	plugin, host := processCPU(b, p.PID()), ownCPU()
	for b.Loop() {
		poll()
	}
	plugin, host = processCPU(b, p.PID())-plugin, ownCPU()-host
	b.ReportMetric((plugin+host).Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(plugin.Seconds()/float64(b.N), "plugin-cpu-s/op")
}

func options(h *parts.Hypervisor) string {
	return fmt.Sprintf("uri = %q\nsocket = %q\n", h.URI, h.Socket)
}

// processCPU reads the CPU time of a process's threads in nanoseconds' precision.
func processCPU(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		tb.Fatal(err)
	}
	var sum time.Duration
	for _, t := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, t.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

func ownCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
