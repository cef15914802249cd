package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

// pipelineConfig is three plugin processes and the host: the generator makes
// 5,000 series, each sample becomes a rate, and the publisher reads every one.
const pipelineConfig = `
[[pollster.generator]]
interval  = "1ms"    # always the next poll
timeout   = "60s"
samples   = 1000000
resources = 250
payload   = "%s"

[[transformer.rate_of_change]]

[[publisher.discard]]
spool = "%s"

[[pipeline]]
name         = "all"
sources      = ["generator"]
transformers = ["rate_of_change"]
publishers   = ["discard"]
`

// throughput is the result of a run.
type throughput struct {
	rate float64            // samples a second
	cpu  float64            // CPU seconds per million samples, all processes
	by   map[string]float64 // the same of each process
}

// runPipeline has an agent carry samples, lets it get going, and measures the next
// millions of them.
func (b *bench) runPipeline(tb parts.TB, payload, spool string) throughput {
	tb.Helper()
	a := integration.StartAgent(tb, fmt.Sprintf(pipelineConfig, payload, spool))
	published := func() uint64 { return a.Sink("all", "discard").Published }
	b.await(tb, 100*time.Millisecond, time.Minute, "samples to flow", func() bool { return published() > 500_000 })

	cpu, from, begun := agentUsage(tb, a), published(), time.Now()
	wanted := uint64(b.millions) * 1_000_000
	to := from
	b.await(tb, 200*time.Millisecond, 5*time.Minute, "the samples of a run", func() bool {
		to = published()
		return to-from >= wanted
	})
	took := time.Since(begun)
	cpu = agentUsage(tb, a).since(cpu)

	nothingLost(tb, a)
	a.Stop()
	n := float64(to-from) / 1e6
	t := throughput{rate: n * 1e6 / took.Seconds(), cpu: cpu.total().Seconds() / n, by: map[string]float64{}}
	for role, d := range cpu {
		t.by[role] = round(d.Seconds() / n)
	}
	b.say("  %s, spool %s: %.0f k/s, %.3f CPU-s per million: %s (load average %s)", payload, spool, t.rate/1e3, t.cpu, t.shares(), loadAverage())
	return t
}

// nothingLost fails when a pipeline bought its speed by dropping samples.
func nothingLost(tb parts.TB, a *integration.Agent) {
	tb.Helper()
	s := a.Status()
	for _, p := range s.Pipelines {
		if p.Dropped+p.Refused > 0 {
			tb.Fatalf("pipeline %s lost samples: %+v", p.Name, p)
		}
	}
	for _, k := range s.Sinks {
		if k.DroppedFull+k.DroppedDamage+k.DroppedDisk+k.Refused > 0 {
			tb.Fatalf("sink %s/%s lost samples: %+v", k.Pipeline, k.Publisher, k)
		}
	}
	for _, src := range s.Sources {
		if src.Failures > 0 {
			tb.Fatalf("source %s failed: %+v", src.Name, src)
		}
	}
}

func (t throughput) shares() string {
	var shares []string
	for _, role := range slices.Sorted(maps.Keys(t.by)) {
		shares = append(shares, fmt.Sprintf("%s %.2f", role, t.by[role]))
	}
	return strings.Join(shares, ", ")
}

func rates(runs []throughput) (values []float64) {
	for _, t := range runs {
		values = append(values, t.rate)
	}
	return values
}

func costs(runs []throughput) (values []float64) {
	for _, t := range runs {
		values = append(values, t.cpu)
	}
	return values
}

func hostCosts(runs []throughput) (values []float64) {
	for _, t := range runs {
		values = append(values, t.by["host"])
	}
	return values
}

// ceilometerPayload measures with the spool in memory and on disk in turn, so
// that both see the same weather.
func ceilometerPayload(b *bench, tb parts.TB) {
	var inMemory, onDisk []throughput
	var extra []float64
	for range b.runs {
		inMemory = append(inMemory, b.runPipeline(tb, "ceilometer", "memory"))
		onDisk = append(onDisk, b.runPipeline(tb, "ceilometer", "disk"))
		extra = append(extra, onDisk[len(onDisk)-1].cpu-inMemory[len(inMemory)-1].cpu)
	}
	const unit = "CPU-s/Msample"
	b.report("pipeline.ceilometer.cpu", unit, goal{1.5, 1.2}, costs(inMemory))
	b.report("pipeline.ceilometer.host_cpu", unit, goal{}, hostCosts(inMemory))
	b.report("pipeline.ceilometer.rate", "samples/s", goal{800e3, 0}, rates(inMemory))
	b.report("pipeline.ceilometer.disk.cpu", unit, goal{}, costs(onDisk))
	b.report("pipeline.ceilometer.disk.extra_cpu", unit, goal{0.4, 0.2}, extra)
	b.report("pipeline.ceilometer.disk.rate", "samples/s", goal{}, rates(onDisk))
}

// lightPayload measures what Telegraf and collectd can do as well, in turn with
// them.
func lightPayload(b *bench, tb parts.TB) {
	var own, inside, outside, c []throughput
	var noInside, noOutside, noCollectd error
	var t telegraf
	if b.peers {
		t, noInside = b.buildTelegraf()
		noOutside = noInside
		noCollectd = b.install("collectd-core", collectd)
	}
	for range b.runs {
		own = append(own, b.runPipeline(tb, "light", "memory"))
		if !b.peers {
			continue
		}
		noInside = b.attempt(noInside, func(tb parts.TB) { inside = append(inside, b.telegrafInProcess(tb, t)) })
		noOutside = b.attempt(noOutside, func(tb parts.TB) { outside = append(outside, b.telegrafExternal(tb, t)) })
		noCollectd = b.attempt(noCollectd, func(tb parts.TB) { c = append(c, b.runCollectd(tb)) })
	}
	peers := func(values func([]throughput) []float64) []peer {
		if !b.peers {
			return nil
		}
		return []peer{
			newPeer("Telegraf "+telegrafVersion+", in-process", noInside, values(inside)),
			newPeer("Telegraf "+telegrafVersion+", external plugins", noOutside, values(outside)),
			newPeer(collectdName+", unixsock to write_graphite", noCollectd, values(c)),
		}
	}
	b.report("pipeline.light.cpu", "CPU-s/Msample", goal{2.0, 1.6}, costs(own), peers(costs)...)
	b.report("pipeline.light.rate", "samples/s", goal{}, rates(own), peers(rates)...)
}
