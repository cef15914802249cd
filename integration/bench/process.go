package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

// tick is the unit of times in /proc, the same on every Linux that Go runs on.
const tick = time.Second / 100

// usage is the processor time of processes by what they do: "host", or the kind
// and name of a plugin.
type usage map[string]time.Duration

func (u usage) total() (sum time.Duration) {
	for _, d := range u {
		sum += d
	}
	return sum
}

func (u usage) since(before usage) usage {
	diff := usage{}
	for role, d := range u {
		diff[role] = d - before[role]
	}
	return diff
}

// agentUsage adds up the processor time of an agent's processes, those included
// that ended and were waited for.
func agentUsage(tb parts.TB, a *integration.Agent) usage {
	tb.Helper()
	u := usage{}
	for _, pid := range a.Processes() {
		d, err := processorTime(pid)
		if os.IsNotExist(err) {
			continue // ended since; its parent has its time
		}
		if err != nil {
			tb.Fatalf("cannot measure process %d: %v", pid, err)
		}
		u[role(pid)] += d
	}
	return u
}

// processorTime of a process and its children that were waited for.
func processorTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// PID (NAME) STATE ...: the name may hold spaces and brackets. Fields 14 to 17
	// are user and system time, own and of children.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return 0, fmt.Errorf("cannot read /proc/%d/stat", pid)
	}
	var ticks int64
	for _, f := range fields[11:15] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cannot read /proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// role tells what a process of an agent does.
func role(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // empty if it ended
	args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	if len(args) > 2 && args[1] == "plugin" {
		return args[2]
	}
	return "host"
}

// memory is the proportional set size of processes in MiB: what they share is
// counted once.
func memory(tb parts.TB, pids []int) float64 {
	tb.Helper()
	return smaps(tb, pids, "Pss:")
}

// anonymous is their memory without files, in MiB: how much of the program's file is
// mapped depends on which processes ran through it last.
func anonymous(tb parts.TB, pids []int) float64 {
	tb.Helper()
	return smaps(tb, pids, "Pss_Anon:")
}

func smaps(tb parts.TB, pids []int, field string) float64 {
	tb.Helper()
	sum := 0.0
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			tb.Fatalf("cannot measure process %d: %v", pid, err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, field); ok {
				kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				if err != nil {
					tb.Fatalf("cannot read /proc/%d/smaps_rollup: %v", pid, err)
				}
				sum += kib / 1024
			}
		}
	}
	return sum
}
