package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

// idleConfig is a compute node's agent: five pollsters, a transformer, two
// publishers.
const idleConfig = `
[agent]
interval = "%s"
timeout  = "10s"

[[pollster.libvirt]]
uri    = "%s"
socket = "%s"

[[pollster.host]]

[[pollster.exec]]
run = ["/bin/echo", "room temperature=21.5"]

[[pollster.generator]]
samples = 20

[[pollster.internal]]

[[transformer.rate_of_change]]
name   = "cpu_util"
meters = ["cpu"]
target = { name = "cpu_util", unit = "%%", scale = "100.0 / (1e9 * (resource_metadata.vcpus ?? 1))" }

[[publisher.file]]
path        = "${DIR}/samples.json"
rotate_size = "8MiB"
rotate_keep = 1

[[publisher.influxdb]]
url      = "%s"
database = "nepho"

[[pipeline]]
name         = "all"
sources      = ["libvirt", "host", "exec", "generator", "internal"]
transformers = ["cpu_util"]
publishers   = ["file", "influxdb"]
`

// idleDomains is a compute node with some guests.
const idleDomains = 10

func idle(b *bench, tb parts.TB) {
	h := parts.LibvirtTest(tb, idleDomains)
	influx := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // whatever it was
		w.WriteHeader(http.StatusNoContent)
	}))
	tb.Cleanup(influx.Close)
	config := func(interval string) string {
		return fmt.Sprintf(idleConfig, interval, h.URI, h.Socket, influx.URL)
	}
	firstPeers, memoryPeers := b.idlePeers()
	b.report("idle.first_sample", "ms", goal{500, 200}, b.firstSamples(tb, config("10s")), firstPeers...)

	a := integration.StartAgent(tb, config("10s"))
	b.pause(tb, 25*time.Second)
	cpu, begun := agentUsage(tb, a), time.Now()
	var sizes []float64
	for range 10 {
		b.pause(tb, 2*time.Second)
		sizes = append(sizes, memory(tb, a.Processes()))
	}
	cpu = agentUsage(tb, a).since(cpu)
	b.report("idle.memory", "MiB PSS", goal{60, 45}, sizes, memoryPeers...)
	b.report("idle.processes", "processes", goal{}, []float64{float64(len(a.Processes()))})
	b.report("idle.cpu", "CPU-ms a second", goal{}, []float64{cpu.total().Seconds() * 1e3 / time.Since(begun).Seconds()})
	a.Stop()
	b.growth(tb, config("50ms"))
}

// firstSamples starts agents and gives the milliseconds from exec to the first
// line in the publisher's file.
func (b *bench) firstSamples(tb parts.TB, config string) (took []float64) {
	tb.Helper()
	for range 2*b.runs + 1 {
		a := integration.NewAgent(tb, config)
		begun := time.Now()
		a.Launch()
		b.await(tb, 500*time.Microsecond, time.Minute, "the first sample", func() bool {
			text, err := os.ReadFile(a.Path("samples.json"))
			return err == nil && bytes.IndexByte(text, '\n') >= 0
		})
		took = append(took, time.Since(begun).Seconds()*1e3)
		a.AwaitReady()
		a.Stop()
	}
	return took
}

// growth compares an agent's memory after its first polls with that a thousand
// polls later. Heaps breathe, so it takes the median of several looks each.
func (b *bench) growth(tb parts.TB, config string) {
	tb.Helper()
	a := integration.StartAgent(tb, config)
	polls := func() uint64 { return a.Source("libvirt").Polls }
	size := func(after uint64) float64 {
		b.await(tb, 100*time.Millisecond, 5*time.Minute, fmt.Sprintf("poll %d", after), func() bool { return polls() >= after })
		var sizes []float64
		for range 15 {
			b.pause(tb, 200*time.Millisecond)
			sizes = append(sizes, memory(tb, a.Processes()))
		}
		return median(sizes)
	}
	before := size(300)
	grown := size(polls()+1000) - before
	nothingLost(tb, a)
	a.Stop()
	b.report("idle.growth_1000_polls", "MiB PSS", goal{must: 1}, []float64{grown})
}
