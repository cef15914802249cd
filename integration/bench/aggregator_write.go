package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/nephoscope/nepho/integration"
	"github.com/nephoscope/nepho/integration/parts"
)

// load is a way in which measures come.
type load struct {
	name            string
	metrics, points int // of a request
	turns           int // requests with new points of the same metrics
	step            time.Duration
	must            float64
	gnocchi         int  // requests that one waits for; 0: it is not asked
	victoria        bool // is asked the same
}

// allMetrics is those of all requests, in turn.
const allMetrics = 10_000

// requests is how many it takes until all metrics had all turns.
func (l load) requests() int { return allMetrics / l.metrics * l.turns }

// span is how much time the points of a metric cover: whole hours.
func (l load) span() time.Duration { return time.Duration(l.turns*l.points) * l.step }

var loads = []load{
	{"batch: 100 metrics x 60 points a request", 100, 60, 12, 10 * time.Second, 6e6, 240, true},
	{"live: 10,000 metrics x 1 point a request", 10_000, 1, 720, 10 * time.Second, 2.5e6, 0, true},
	{"live: 100 metrics x 1 point a request", 100, 1, 360, 10 * time.Second, 0.4e6, 600, false},
}

// measures writes in several ways; the time counts from the first request until
// windows are made and stored.
func measures(b *bench, tb parts.TB) {
	for _, l := range loads {
		var rates []float64
		for range b.runs {
			rates = append(rates, b.aggregate(tb, l))
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
		if b.peers && l.gnocchi > 0 {
			var theirs float64
			err := b.attempt(nil, func(tb parts.TB) {
				s := b.startGnocchi(tb)
				s.makeMetrics(tb, "bench", allMetrics/10, "medium")
				cpu := s.cpu()
				s.send(tb, l, l.gnocchi)
				s.drained(b, tb)
				theirs = float64(l.gnocchi*l.metrics*l.points) / (s.cpu() - cpu).Seconds()
			})
			peers = append(peers, peer{gnocchiName, theirs, err})
		}
		b.report("measures, "+l.name, "measures/CPU-s", goal{must: l.must}, rates, peers...)
	}
}

// send sends requests of a load, and gives when the points of the last turn end.
func (s *store) send(tb parts.TB, l load, requests int) time.Time {
	tb.Helper()
	walks := newSeries(hundredths, len(s.ids))
	turns := len(s.ids) / l.metrics // requests until a metric's turn comes again
	at := time.Now().Add(-l.span() - time.Hour).Truncate(time.Hour)
	for i := range requests {
		from := i % turns * l.metrics
		s.post(tb, walks.body(s.ids, from, from+l.metrics, at, l.step, l.points))
		if from+l.metrics == len(s.ids) {
			at = at.Add(time.Duration(l.points) * l.step)
		}
	}
	return at
}

// aggregate gives the measures per second of processor time that an aggregator takes until
// the windows of all of them are in block files. It makes these when it is stopped, as
// it does every two hours when it runs: so each run is about as many points as one checkpoint has.
func (b *bench) aggregate(tb parts.TB, l load) float64 {
	tb.Helper()
	s := startAggregator(tb, 24*time.Hour)
	s.makeMetrics(tb, "bench", allMetrics, "medium")
	cpu, begun := s.cpu(), time.Now()
	end := s.send(tb, l, l.requests())
	// The last windows close when points come that are later.
	s.post(tb, newSeries(hundredths, allMetrics).body(s.ids, 0, allMetrics, end, l.step, 1))
	took, pss, taken := time.Since(begun), s.pss(), s.cpu()-cpu
	s.agent.Stop()
	used := s.agent.CPU() - cpu
	windows := allMetrics * int(l.span()/time.Minute+l.span()/time.Hour)
	out, _, code := s.agent.Run("aggregator", "verify")
	if code != 0 || !strings.Contains(out, fmt.Sprintf(" %d windows", windows)) {
		tb.Fatalf("there are not %d windows in block files: %s", windows, out)
	}
	n := float64(l.requests()*l.metrics*l.points + allMetrics)
	b.say("  %s: %.2f M measures/CPU-s, %.2f M before windows are made, sent in %.1f s, %.0f MiB (load average %s)",
		l.name, n/used.Seconds()/1e6, n/taken.Seconds()/1e6, took.Seconds(), pss, loadAverage())
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
