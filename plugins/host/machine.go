package host

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"golang.org/x/sys/unix"

	"github.com/nephoscope/nepho/sdk"
)

func (h *host) cpu(ctx context.Context, out *sdk.Builder) error {
	// The kernel's own sum: summing up the CPUs here would go backwards whenever
	// one is taken offline.
	all, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("the kernel's statistics have no line on the processors") // the library swallows why
	}
	each, err := cpu.TimesWithContext(ctx, true)
	if err != nil {
		return err
	}
	// A rate of time is a share of one CPU; by their number it becomes one of the machine.
	machine := out.On(sdk.Resource{ID: h.name, Metadata: sdk.Metadata{"host": h.name, "cpus": len(each)}})
	machine.Gauge("host.cpu.count", "cpu", float64(len(each)))
	cpuTimes(machine, "host.cpu.", all[0])
	if h.PerCPU {
		for _, t := range each {
			cpuTimes(h.part(out, t.CPU, sdk.Metadata{"cpu": t.CPU}), "host.cpu.core.", t)
		}
	}
	return nil
}

func cpuTimes(s *sdk.Subject, prefix string, t cpu.TimesStat) {
	for _, m := range []struct {
		mode    string
		seconds float64
	}{
		{"user", t.User}, {"nice", t.Nice}, {"system", t.System}, {"idle", t.Idle}, {"iowait", t.Iowait}, {"irq", t.Irq},
		{"softirq", t.Softirq}, {"steal", t.Steal}, {"guest", t.Guest}, {"guest_nice", t.GuestNice},
		// The kernel counts guests' time as user time already.
		{"busy", t.User + t.Nice + t.System + t.Irq + t.Softirq + t.Steal},
	} {
		s.Cumulative(prefix+m.mode, "ns", math.Round(m.seconds*1e9))
	}
}

func (h *host) memory(ctx context.Context, out *sdk.Builder) error {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return err
	}
	s := h.self(out)
	s.Gauge("host.memory.total", "B", float64(m.Total))
	s.Gauge("host.memory.used", "B", float64(m.Used))
	s.Gauge("host.memory.available", "B", float64(m.Available))
	s.Gauge("host.memory.free", "B", float64(m.Free))
	s.Gauge("host.memory.buffers", "B", float64(m.Buffers))
	s.Gauge("host.memory.cached", "B", float64(m.Cached))
	s.Gauge("host.memory.slab", "B", float64(m.Slab))
	s.Gauge("host.memory.dirty", "B", float64(m.Dirty))
	s.Gauge("host.memory.util", "%", percent(m.Used, m.Total))
	return nil
}

func (h *host) swap(ctx context.Context, out *sdk.Builder) error {
	m, err := mem.SwapMemoryWithContext(ctx)
	if err != nil {
		return err
	}
	s := h.self(out)
	s.Gauge("host.swap.total", "B", float64(m.Total))
	s.Gauge("host.swap.used", "B", float64(m.Used))
	s.Gauge("host.swap.free", "B", float64(m.Free))
	s.Gauge("host.swap.util", "%", percent(m.Used, m.Total))
	s.Cumulative("host.swap.in.bytes", "B", float64(m.Sin))
	s.Cumulative("host.swap.out.bytes", "B", float64(m.Sout))
	return nil
}

func (h *host) load(ctx context.Context, out *sdk.Builder) error {
	l, err := load.AvgWithContext(ctx)
	if err != nil {
		return err
	}
	s := h.self(out)
	s.Gauge("host.load.1min", "process", l.Load1)
	s.Gauge("host.load.5min", "process", l.Load5)
	s.Gauge("host.load.15min", "process", l.Load15)
	return nil
}

func (h *host) system(ctx context.Context, out *sdk.Builder) error {
	s := h.self(out)
	var up unix.Timespec
	errUptime := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up)
	if errUptime == nil {
		s.Gauge("host.system.uptime", "s", float64(up.Nano()/int64(time.Second)))
	}
	if !h.processes {
		return errUptime
	}
	m, err := load.MiscWithContext(ctx)
	if err == nil {
		s.Gauge("host.system.processes.total", "process", float64(m.ProcsTotal))
		s.Gauge("host.system.processes.running", "process", float64(m.ProcsRunning))
		s.Gauge("host.system.processes.blocked", "process", float64(m.ProcsBlocked))
		s.Cumulative("host.system.processes.created", "process", float64(m.ProcsCreated))
		s.Cumulative("host.system.context_switches", "switch", float64(m.Ctxt))
	}
	return errors.Join(errUptime, err)
}

// percent of a whole that may be empty.
func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}
