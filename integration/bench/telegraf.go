package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

const telegrafVersion = "v1.37.2"

// telegrafTags leave out of Telegraf what is not measured, which makes it smaller
// than the one that its makers ship.
const telegrafTags = "custom,inputs.execd,inputs.cpu,inputs.mem,inputs.disk,inputs.net,inputs.system," +
	"processors.override,processors.execd,outputs.file,outputs.execd,parsers.influx,serializers.influx"

//go:embed testdata/telegraf/main.go
var telegrafShim []byte

// telegraf holds the paths of two programs: Telegraf, and plugins of it outside.
type telegraf struct{ agent, shim string }

// buildTelegraf builds both, in a module that is thrown away.
func (b *bench) buildTelegraf() (telegraf, error) {
	dir := filepath.Join(b.dir, "telegraf")
	t := telegraf{filepath.Join(dir, "telegraf"), filepath.Join(dir, "shim")}
	if _, err := os.Stat(t.shim); err == nil {
		return t, nil
	}
	b.say("  building Telegraf %s, which takes some minutes the first time", telegrafVersion)
	mod := fmt.Sprintf("module peer\n\ngo 1.25.5\n\nrequire github.com/influxdata/telegraf %s\n", telegrafVersion)
	if err := os.MkdirAll(filepath.Join(dir, "plugin"), 0o750); err != nil {
		return t, err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o600); err != nil {
		return t, err
	}
	if err := os.WriteFile(filepath.Join(dir, "plugin", "main.go"), telegrafShim, 0o600); err != nil {
		return t, err
	}
	for _, args := range [][]string{
		{"-tags", telegrafTags, "-o", t.agent, "github.com/influxdata/telegraf/cmd/telegraf"},
		{"-o", t.shim, "./plugin"},
	} {
		cmd := exec.CommandContext(b.ctx, "go", append([]string{"build", "-mod=mod", "-trimpath", "-ldflags", "-s -w"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return t, fmt.Errorf("go build: %w: %.2000s", err, out)
		}
	}
	return t, nil
}

// The buffer is large, or Telegraf drops what its output does not take at once.
const telegrafAgent = `
[agent]
interval            = "1s"
flush_interval      = "1s"
metric_batch_size   = 5000
metric_buffer_limit = %d
omit_hostname       = true
`

const telegrafInside = telegrafAgent + `
[[inputs.execd]]
command       = ["cat", "%s"]
restart_delay = "1h"
data_format   = "influx"

[[processors.override]]
[processors.override.tags]
region = "one"

[[outputs.file]]
files            = ["%s"]
data_format      = "influx"
use_batch_format = true
`

const telegrafOutside = telegrafAgent + `
[[inputs.execd]]
command       = ["%[2]s", "-config", "%[3]s/source.conf"]
restart_delay = "1h"
data_format   = "influx"

[[processors.execd]]
command       = ["%[2]s", "-config", "%[3]s/override.conf"]
restart_delay = "1h"

[[outputs.execd]]
command       = ["%[2]s", "-config", "%[3]s/sink.conf"]
restart_delay    = "1h"
data_format      = "influx"
use_batch_format = true
`

// How many samples Telegraf gets: it is slower, and keeps them in memory.
const (
	telegrafSamples         = 2_000_000
	telegrafExternalSamples = 1_000_000
)

// telegrafInProcess measures Telegraf with all plugins inside: lines from cat
// through the processor override into a file.
func (b *bench) telegrafInProcess(tb parts.TB, t telegraf) throughput {
	tb.Helper()
	dir := b.scratch(tb)
	lines := filepath.Join(dir, "lines")
	if err := writeLines(lines, telegrafSamples); err != nil {
		tb.Fatalf("cannot write lines: %v", err)
	}
	out := filepath.Join(dir, "out")
	config := fmt.Sprintf(telegrafInside, telegrafSamples, lines, out)
	return b.runTelegraf(tb, "Telegraf in-process", t, dir, config, out, telegrafSamples)
}

// telegrafExternal measures it with a plugin process at each stage.
func (b *bench) telegrafExternal(tb parts.TB, t telegraf) throughput {
	tb.Helper()
	dir := b.scratch(tb)
	out := filepath.Join(dir, "out")
	for name, text := range map[string]string{
		"source.conf":   fmt.Sprintf("[[inputs.source]]\ncount = %d\n", telegrafExternalSamples),
		"override.conf": "[[processors.override]]\n[processors.override.tags]\nregion = \"one\"\n",
		"sink.conf":     fmt.Sprintf("[[outputs.sink]]\npath = %q\n", out),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatalf("cannot write: %v", err)
		}
	}
	config := fmt.Sprintf(telegrafOutside, telegrafExternalSamples, t.shim, dir)
	return b.runTelegraf(tb, "Telegraf with external plugins", t, dir, config, out, telegrafExternalSamples)
}

// runTelegraf measures from the first tenth of what comes out to the last.
func (b *bench) runTelegraf(tb parts.TB, name string, t telegraf, dir, config, out string, samples float64) throughput {
	tb.Helper()
	path := filepath.Join(dir, "telegraf.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		tb.Fatalf("cannot write: %v", err)
	}
	p := b.start(tb, nil, t.agent, "--config", path)
	size := func() float64 {
		info, err := os.Stat(out)
		if err != nil {
			return 0
		}
		return float64(info.Size())
	}
	length := 0.0 // of a line, without which there is no count
	written := func() float64 {
		if length == 0 {
			length = lineLength(out)
		}
		if length == 0 {
			return 0
		}
		return size() / length
	}
	b.await(tb, 50*time.Millisecond, time.Minute, "output", func() bool { return written() >= samples/10 })
	begun, from, cpu := time.Now(), written(), p.processorTime(tb)
	to := from
	b.await(tb, 100*time.Millisecond, 5*time.Minute, "all output", func() bool {
		to = written()
		return to >= samples*9/10
	})
	took := time.Since(begun)
	cpu = p.processorTime(tb) - cpu
	p.stop(tb)
	n := (to - from) / 1e6
	r := throughput{rate: n * 1e6 / took.Seconds(), cpu: cpu.Seconds() / n}
	b.say("  %s: %.0f k/s, %.3f CPU-s per million (load average %s)", name, r.rate/1e3, r.cpu, loadAverage())
	return r
}

// writeLines writes samples in line protocol like those of the generator's light
// payload, all of one length.
func writeLines(path string, n int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	at := time.Now().UnixNano()
	for i := range n {
		r := i / 20 % 250
		fmt.Fprintf(w, `generator.counter.%02d,datacenter=datacenter-00,environment=production,host=host-%06d.0badcafe.example.com,os=Debian\ GNU/Linux\ 12,rack=rack-%04d value=%d.5 %d`+"\n",
			i%20, r, r/40, 1000000000+i%1000000, at+int64(i))
	}
	return w.Flush()
}

// lineLength is that of the first line of a file, 0 if it is not there yet.
func lineLength(path string) float64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		return 0
	}
	return float64(len(line))
}
