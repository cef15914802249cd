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
		pollster = append(pollster, b.serving(tb, a, "pollster/generator"))
		transformer = append(transformer, b.serving(tb, a, "transformer/rate_of_change"))
		publisher = append(publisher, b.serving(tb, a, "publisher/file"))
		a.Stop()
	}
	g := goal{150, 50}
	b.report("crash.pollster", "ms", g, pollster)
	b.report("crash.transformer", "ms", g, transformer)
	b.report("crash.publisher", "ms", g, publisher)
}

// serving kills a plugin and gives the milliseconds until a sample that was
// polled after that is in the publisher's file.
func (b *bench) serving(tb parts.TB, a *integration.Agent, plugin string) float64 {
	tb.Helper()
	pid := a.Plugin(plugin).PID
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		tb.Fatalf("cannot kill %s: %v", plugin, err)
	}
	// Until it is reaped it may still serve.
	b.await(tb, 100*time.Microsecond, 10*time.Second, plugin+" to end", func() bool {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	})
	ended := time.Now()
	b.await(tb, 500*time.Microsecond, 30*time.Second, plugin+" to serve again", func() bool {
		return newest(tb, a.Path("samples.json")).After(ended)
	})
	took := time.Since(killed)
	b.pause(tb, 300*time.Millisecond)
	return took.Seconds() * 1e3
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
