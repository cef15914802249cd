package main

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

// crashConfig polls often, so that the time until something is asked of a plugin
// that is there again is small.
const crashConfig = `
[[pollster.generator]]
interval = "5ms"
timeout  = "10s"
samples  = 10

[[transformer.rate_of_change]]

[[publisher.file]]
path = "${DIR}/samples.json"

[[pipeline]]
name         = "all"
sources      = ["generator"]
transformers = ["rate_of_change"]
publishers   = ["file"]
`

// crash kills each plugin of a fresh agent once.
func crash(b *bench, tb parts.TB) {
	var pollster, transformer, publisher []float64
	for range 2*b.runs + 1 {
		a := integration.StartAgent(tb, crashConfig)
		b.pause(tb, 500*time.Millisecond)
		// A sample that is younger than the kill is of the new process.
		pollster = append(pollster, b.serving(tb, a, "pollster/generator", func(killed time.Time) bool {
			return newest(tb, a.Path("samples.json")).After(killed)
		}))
		transformer = append(transformer, b.serving(tb, a, "transformer/rate_of_change", b.grown(a.Path("samples.json"))))
		publisher = append(publisher, b.serving(tb, a, "publisher/file", b.grown(a.Path("samples.json"))))
		a.Stop()
	}
	g := goal{150, 50}
	b.report("crash.pollster", "ms", g, pollster)
	b.report("crash.transformer", "ms", g, transformer)
	b.report("crash.publisher", "ms", g, publisher)
}

// serving kills a plugin and gives the milliseconds until it serves.
func (b *bench) serving(tb parts.TB, a *integration.Agent, plugin string, serves func(killed time.Time) bool) float64 {
	tb.Helper()
	pid := a.Plugin(plugin).PID
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		tb.Fatalf("cannot kill %s: %v", plugin, err)
	}
	// Its parent reaps it: from then on nothing more comes of it.
	b.await(tb, 100*time.Microsecond, 10*time.Second, plugin+" to end", func() bool {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	})
	b.await(tb, 500*time.Microsecond, 30*time.Second, plugin+" to serve again", func() bool { return serves(killed) })
	took := time.Since(killed)
	b.pause(tb, 300*time.Millisecond)
	return took.Seconds() * 1e3
}

// grown tells whether a file grew by more than what was under way when it was
// first asked: half a second's worth of samples comes at once after a stop.
func (b *bench) grown(path string) func(time.Time) bool {
	first := int64(-1)
	return func(time.Time) bool {
		info, err := os.Stat(path)
		if err != nil {
			return false
		}
		if first < 0 {
			first = info.Size()
		}
		return info.Size() > first
	}
}

// newest is the time of the last sample in a file.
func newest(tb parts.TB, path string) time.Time {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatalf("cannot read samples: %v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		tb.Fatalf("cannot read samples: %v", err)
	}
	end := make([]byte, min(info.Size(), 8<<10))
	if _, err := f.ReadAt(end, info.Size()-int64(len(end))); err != nil {
		tb.Fatalf("cannot read samples: %v", err)
	}
	lines := strings.Split(string(end), "\n")
	if len(lines) < 2 {
		return time.Time{}
	}
	var sample struct{ Timestamp time.Time }
	if err := json.Unmarshal([]byte(lines[len(lines)-2]), &sample); err != nil {
		return time.Time{} // its beginning is further up
	}
	return sample.Timestamp
}
