package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// What peers do at rest: less than Nepho in the same scenario, as they have no
// libvirt pollster, no spool on disk and one output each.
const (
	telegrafIdle = `
[agent]
interval       = "1s"
flush_interval = "1s"
[[inputs.cpu]]
[[inputs.mem]]
[[inputs.disk]]
[[inputs.net]]
ignore_protocol_stats = true
[[inputs.system]]
[[outputs.file]]
files = ["%s"]
`
	collectdIdle = collectdBase + `
LoadPlugin cpu
LoadPlugin memory
LoadPlugin df
LoadPlugin interface
LoadPlugin load
LoadPlugin csv
<Plugin csv>
  DataDir "%[1]s/csv"
</Plugin>
`
)

// idlePeers gives the milliseconds to the first sample, and the memory, of
// Telegraf and collectd at rest.
func (b *bench) idlePeers() (first, size []peer) {
	if !b.peers {
		return nil, nil
	}
	t, err := b.buildTelegraf()
	ms, mib, err := b.rest(err, func(tb parts.TB, dir string) (*program, string) {
		out, config := filepath.Join(dir, "out"), filepath.Join(dir, "telegraf.conf")
		if err := os.WriteFile(config, fmt.Appendf(nil, telegrafIdle, out), 0o600); err != nil {
			tb.Fatalf("cannot write: %v", err)
		}
		return b.start(tb, nil, t.agent, "--config", config), out
	})
	name := "Telegraf " + telegrafVersion
	first, size = append(first, newPeer(name, err, ms)), append(size, newPeer(name, err, mib))

	err = b.install("collectd-core", collectd)
	ms, mib, err = b.rest(err, func(tb parts.TB, dir string) (*program, string) {
		return b.startCollectd(tb, dir, fmt.Sprintf(collectdIdle, dir)), filepath.Join(dir, "csv/bench/load/load-*")
	})
	return append(first, newPeer(collectdName, err, ms)), append(size, newPeer(collectdName, err, mib))
}

// rest starts a peer several times, and looks at its memory in the last run. The
// first sample is there when a file that the pattern matches is not empty.
func (b *bench) rest(missing error, start func(tb parts.TB, dir string) (*program, string)) (first, size []float64, err error) {
	err = b.attempt(missing, func(tb parts.TB) {
		for run := range b.runs {
			begun := time.Now()
			p, pattern := start(tb, b.scratch(tb))
			b.await(tb, 500*time.Microsecond, time.Minute, "the first sample", func() bool { return notEmpty(pattern) })
			first = append(first, time.Since(begun).Seconds()*1e3)
			if run == b.runs-1 {
				b.pause(tb, 10*time.Second)
				for range 5 {
					b.pause(tb, time.Second)
					size = append(size, memory(tb, p.processes()))
				}
			}
			p.stop(tb)
		}
	})
	return first, size, err
}

// notEmpty tells whether a file that the pattern matches has something in it.
func notEmpty(pattern string) bool {
	files, _ := filepath.Glob(pattern) // the patterns are right
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			return true
		}
	}
	return false
}
