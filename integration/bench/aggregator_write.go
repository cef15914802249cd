package main

import (
	"fmt"
	"time"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

// benchCheckpoint is far more often than in use, so that windows are closed and
// written to blocks while it is measured.
const benchCheckpoint = 10 * time.Second

// load is a way in which measures come.
type load struct {
	name              string
	metrics, points   int // of a request
	requests          int
	all               int // metrics in turn
	step              time.Duration
	must              float64
	gnocchi, victoria bool // peers that can be asked the same in a time that one waits for
}

var loads = []load{
	{"batch: 100 metrics x 60 points a request", 100, 60, 2400, 10_000, 10 * time.Second, 6e6, true, true},
	{"live: 10,000 metrics x 1 point a request", 10_000, 1, 360, 10_000, 10 * time.Second, 2.5e6, false, true},
	{"live: 100 metrics x 1 point a request", 100, 1, 6000, 10_000, 10 * time.Second, 0.4e6, true, false},
}

// measures writes in several ways; the time counts from the first request until
// windows are made and stored.
func measures(b *bench, tb parts.TB) {
	for _, l := range loads {
		var rates []float64
		for range b.runs {
			s := startAggregator(tb, benchCheckpoint)
			s.makeMetrics(tb, "bench", l.all, "medium")
			rates = append(rates, b.send(tb, s, l))
			s.agent.Stop()
		}
		var peers []peer
		if b.peers && l.victoria {
			var theirs []float64
			err := b.attempt(nil, func(tb parts.TB) {
				for range b.runs {
					theirs = append(theirs, b.startVictoria(tb).send(b, tb, l))
				}
			})
			peers = append(peers, newPeer(victoriaName, err, theirs))
		}
		if b.peers && l.gnocchi {
			// A tenth of the work is enough to wait for.
			few := l
			few.requests, few.all = l.requests/10, l.all/10
			var theirs float64
			err := b.attempt(nil, func(tb parts.TB) {
				s := b.startGnocchi(tb)
				s.makeMetrics(tb, "bench", few.all, "medium")
				theirs = b.send(tb, s, few)
			})
			peers = append(peers, peer{gnocchiName, theirs, err})
		}
		b.report("measures, "+l.name, "measures/CPU-s", goal{must: l.must}, rates, peers...)
	}
}

// send sends a load and gives the measures per second of processor time.
func (b *bench) send(tb parts.TB, s *store, l load) float64 {
	tb.Helper()
	walks := newSeries(hundredths, l.all)
	turns := l.all / l.metrics // requests until a metric's turn comes again
	begin := time.Now().Add(-time.Duration(l.requests/turns*l.points) * l.step).Truncate(time.Hour)
	cpu, begun := s.cpu(), time.Now()
	for i := range l.requests {
		from, at := i%turns*l.metrics, begin.Add(time.Duration(i/turns*l.points)*l.step)
		s.post(tb, walks.body(s.ids, from, from+l.metrics, at, l.step, l.points))
	}
	took := time.Since(begun)
	if s.agent != nil {
		b.pause(tb, benchCheckpoint+5*time.Second) // until all is in blocks that can be
	} else {
		s.drained(b, tb)
	}
	used := s.cpu() - cpu
	n := float64(l.requests * l.metrics * l.points)
	b.say("  %s: %.2f M measures/CPU-s, sent in %.1f s, %.0f MiB (load average %s)", l.name, n/used.Seconds()/1e6, took.Seconds(), s.pss(), loadAverage())
	return n / used.Seconds()
}

// samplesConfig is the way of samples: made by a plugin, carried by the host, kept
// by the aggregator.
const samplesConfig = `
[[pollster.generator]]
interval  = "250ms"  # what the aggregator takes easily: polled samples do not wait
samples   = 50000
resources = 250
payload   = "light"

[[storage.aggregator]]
path       = '${DIR}/aggregator'
listen     = '127.0.0.1:%d'
auth       = 'basic'
checkpoint = '10s'

[[pipeline]]
name       = "all"
sources    = ["generator"]
publishers = ["aggregator"]
`

// samples measures what a sample costs from the pollster to the aggregator's log
// and memory: the host and the aggregator's process, not the generator's.
func samples(b *bench, tb parts.TB) {
	var rates []float64
	for range b.runs {
		a := integration.StartAgent(tb, fmt.Sprintf(samplesConfig, parts.FreePort(tb)))
		kept := func() uint64 { return a.Sink("all", "aggregator").Published }
		b.await(tb, 100*time.Millisecond, 2*time.Minute, "samples to flow", func() bool { return kept() > 500_000 })
		cpu, from := agentUsage(tb, a), kept()
		to := from
		b.await(tb, 200*time.Millisecond, 5*time.Minute, "the samples of a run", func() bool {
			to = kept()
			return to-from >= uint64(b.millions)*1_000_000
		})
		used := agentUsage(tb, a).since(cpu)
		delete(used, "pollster/generator")
		nothingLost(tb, a)
		a.Stop()
		rates = append(rates, float64(to-from)/used.total().Seconds())
		b.say("  %.2f M samples/CPU-s: %v (load average %s)", rates[len(rates)-1]/1e6, used, loadAverage())
	}
	b.report("samples from a pipeline into the aggregator, host and plugin", "samples/CPU-s", goal{must: 0.7e6}, rates)
}
