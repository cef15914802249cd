package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
)

var methods = policy.SetOf(policy.Mean, policy.Min, policy.Max, policy.Sum, policy.Std, policy.Count)

func define(id uint32, back int, definitions ...policy.Definition) *policy.Policy {
	return &policy.Policy{ID: id, Name: fmt.Sprint("policy ", id), BackWindow: back, Definitions: definitions, Methods: methods}
}

var (
	low    = define(1, 0, policy.Definition{Granularity: 5 * time.Minute, Points: 30 * 288})
	medium = define(2, 0, policy.Definition{Granularity: time.Minute, Points: 7 * 1440}, policy.Definition{Granularity: time.Hour, Points: 365 * 24})
	high   = define(3, 0, policy.Definition{Granularity: time.Second, Points: 3600},
		policy.Definition{Granularity: time.Minute, Points: 7 * 1440}, policy.Definition{Granularity: time.Hour, Points: 365 * 24})
)

func known(all ...*policy.Policy) policies {
	m := policies{}
	for _, p := range all {
		m[p.ID] = p
	}
	return m
}

// points are all points of a metric in the head.
func (h *head) points(ref Ref) (times []int64, values []float64) {
	var c copyOf
	if s := h.of(ref); s.copy(ref, &c) {
		return c.appendPoints(nil, nil)
	}
	return nil, nil
}

// plainMetric is what the head should hold of a metric when nothing was moved to blocks.
type plainMetric struct {
	points map[int64]float64
	newest int64
}

func (m *plainMetric) write(p *policy.Policy, b *Batch, ref Ref) (late int) {
	from := int64(MinTime)
	if len(m.points) > 0 {
		from = p.WritableFrom(m.newest)
	}
	for i := range b.metrics {
		if b.metrics[i].ref != ref {
			continue
		}
		for _, point := range b.of(i) {
			if point.Time < from {
				late++
				continue
			}
			if len(m.points) == 0 || point.Time > m.newest {
				m.newest = point.Time
			}
			m.points[point.Time] = point.Value
		}
	}
	return late
}

func TestHeadHoldsWhatWasWritten(t *testing.T) {
	back := define(4, 3, policy.Definition{Granularity: time.Minute})
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		h := &head{}
		a := &applier{head: h, stamps: uint32(r.Uint64())}
		want := map[Ref]*plainMetric{}
		now := int64(1.7e18)
		var b Batch
		for range 200 {
			b.Reset()
			now += r.Int64N(20e9)
			for range r.IntN(8) {
				ref := Ref(r.IntN(4)) * shards / 2 * Ref(r.IntN(40))
				b.Metric(ref, 4)
				at := now - r.Int64N(1+r.Int64N(400e9))
				for range r.IntN(1 + r.IntN(100)) {
					b.Point(at, float64(r.IntN(1000)))
					switch r.IntN(10) {
					case 0:
						at -= r.Int64N(100e9)
					case 1: // the same time again
					default:
						at += r.Int64N(2e9)
					}
				}
			}
			late := 0
			seen := map[Ref]bool{}
			for i, m := range b.metrics {
				if seen[m.ref] {
					continue
				}
				seen[m.ref] = true
				if want[m.ref] == nil {
					want[m.ref] = &plainMetric{points: map[int64]float64{}}
				}
				_ = i
				late += want[m.ref].write(back, &b, m.ref)
			}
			var out Outcome
			a.apply(&b, known(back), &out)
			if out.Late != late || out.Accepted != b.Points()-late {
				t.Fatalf("seed %d: %+v of %d points, want %d late", seed, out, b.Points(), late)
			}
		}
		bytes := int64(0)
		for ref, m := range want {
			times, values := h.points(ref)
			if wanted := slices.Sorted(maps.Keys(m.points)); !slices.Equal(times, wanted) {
				t.Fatalf("seed %d, metric %d: times %v, want %v", seed, ref, times, wanted)
			}
			for i, at := range times {
				if values[i] != m.points[at] {
					t.Fatalf("seed %d, metric %d at %d: %v, want %v", seed, ref, at, values[i], m.points[at])
				}
			}
		}
		for i := range h.shards {
			bytes += h.shards[i].bytes()
		}
		if h.bytes.Load() != bytes {
			t.Fatalf("seed %d: %d bytes counted, %d used", seed, h.bytes.Load(), bytes)
		}
		for ref := range want {
			h.of(ref).forget(h.of(ref).metric(ref), 0)
		}
		for i := range h.shards {
			if n := h.shards[i].bytes(); n != 0 || h.shards[i].metrics != 0 {
				t.Fatalf("seed %d: %d bytes are left when all metrics are forgotten", seed, n)
			}
		}
	}
}

func TestLateIsMeasuredByTheNewestPointBeforeTheWrite(t *testing.T) {
	h := &head{}
	a := &applier{head: h}
	var b Batch
	b.Metric(7, 1)
	b.Point(1000e9, 1)
	b.Metric(8, 1)
	b.Point(5000e9, 1)
	b.Metric(7, 1)
	b.Point(0, 1) // the first write of a metric takes any span, also when it is in the batch twice
	var out Outcome
	a.apply(&b, known(low), &out)
	if out.Accepted != 3 {
		t.Fatalf("%+v", out)
	}
	b.Reset()
	b.Metric(7, 1)
	b.Point(9000e9, 2)
	b.Point(899e9, 3) // late: the window of the newest point began at 900
	b.Point(901e9, 4)
	b.Metric(7, 1)
	b.Point(902e9, 5)
	b.Point(898e9, 6)
	out = Outcome{}
	a.apply(&b, known(low), &out)
	want := []Refusal{{0, b.points[1], true}, {1, b.points[4], true}}
	if out.Accepted != 3 || out.Late != 2 || !slices.Equal(out.Refused, want) {
		t.Fatalf("%+v", out)
	}
}

func BenchmarkApply(b *testing.B) {
	f := func(name string, metrics, points int, policyID uint32) {
		b.Run(name, func(b *testing.B) {
			h := &head{}
			a := &applier{head: h}
			r := rand.New(rand.NewPCG(1, 2))
			all := known(low, medium, high)
			now := int64(1.7e18)
			var batch Batch
			next := func() {
				batch.Reset()
				for m := range metrics {
					batch.Metric(Ref(m), policyID)
					for i := range points {
						batch.Point(now+int64(i)*10e9, float64(r.IntN(10000))/100)
					}
				}
				now += int64(points) * 10e9
			}
			perHead := 1080 / points
			var used time.Duration
			for i := range b.N {
				if i%perHead == 0 {
					*h = head{}
				}
				next()
				before := cpu()
				a.apply(&batch, all, new(Outcome))
				used += cpu() - before
			}
			b.ReportMetric(float64(b.N*metrics*points)/used.Seconds()/1e6, "Mpoints/CPU-s")
			b.ReportMetric(float64(h.bytes.Load())/float64(metrics), "B/metric")
		})
	}
	f("10000x1", 10000, 1, 2)
	f("100x60", 100, 60, 2)
	f("10000x60", 10000, 60, 2)
	f("100000x1", 100000, 1, 2)
}
