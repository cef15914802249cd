package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// cpu is the processor time of this process, user and system.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// plant is metrics with random walks of two decimals.
type plant struct {
	r      *rand.Rand
	walks  []float64
	now    int64
	policy uint32
	batch  Batch
}

func newPlant(metrics int, policyID uint32) *plant {
	p := &plant{r: rand.New(rand.NewPCG(1, 2)), walks: make([]float64, metrics), now: 1.764e18, policy: policyID}
	for i := range p.walks {
		p.walks[i] = 5000
	}
	return p
}

// next is a batch of the next points of all metrics, ten seconds each from the other.
func (p *plant) next(points int) *Batch {
	p.batch.Reset()
	for i := range p.walks {
		p.batch.Metric(Ref(i), p.policy)
		for j := range points {
			p.walks[i] = min(max(p.walks[i]+float64(p.r.IntN(401)-200), 0), 10000)
			p.batch.Point(p.now+int64(j)*10e9, math.Round(p.walks[i])/100)
		}
	}
	p.now += int64(points) * 10e9
	return &p.batch
}

func openBench(b *testing.B, all ...*policy.Policy) *Engine {
	dir := b.TempDir()
	store, err := objects.Local(filepath.Join(dir, "objects"))
	if err != nil {
		b.Fatal(err)
	}
	e, err := Open(b.Context(), Options{Dir: filepath.Join(dir, "local"), Objects: store, Sync: time.Second,
		MaxFuture: 1000 * 24 * time.Hour}, all)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		e.free() //nolint:errcheck // it may be freed already
	})
	return e
}

// BenchmarkAggregate is six hours of points of 10,000 metrics, ten seconds each from
// the other, and a checkpoint every two hours: from points in memory to windows in
// block files. The first runs without the log, so they are what aggregation alone costs.
func BenchmarkAggregate(b *testing.B) {
	const metrics, hours, points = 10000, 6, 6
	for _, p := range []*policy.Policy{low, medium, high} {
		for _, logged := range []bool{false, true} {
			name := map[uint32]string{1: "low", 2: "medium", 3: "high"}[p.ID]
			if logged {
				name += " logged"
			}
			b.Run(name, func(b *testing.B) {
				var used, checkpoints time.Duration
				n := 0
				for range b.N {
					b.StopTimer()
					e := openBench(b, p)
					plant := newPlant(metrics, p.ID)
					b.StartTimer()
					for i := range hours * 360 / points {
						batch := plant.next(points)
						before := cpu()
						if logged {
							if _, err := e.Write(b.Context(), batch); err != nil {
								b.Fatal(err)
							}
						} else {
							e.apply(batch, nil, new(Outcome))
						}
						used += cpu() - before
						n += batch.Points()
						if (i+1)*points%720 == 0 {
							before := cpu()
							if err := e.Checkpoint(b.Context()); err != nil {
								b.Fatal(err)
							}
							checkpoints += cpu() - before
						}
					}
				}
				b.ReportMetric(float64(n)/(used+checkpoints).Seconds()/1e6, "Mpoints/CPU-s")
				b.ReportMetric(float64(checkpoints.Nanoseconds())/float64(n), "ns-checkpoint/point")
			})
		}
	}
}

// BenchmarkWrite is the whole way of a batch, log included.
func BenchmarkWrite(b *testing.B) {
	f := func(name string, metrics, points int) {
		b.Run(name, func(b *testing.B) {
			e := openBench(b, medium)
			plant := newPlant(metrics, medium.ID)
			var used time.Duration
			for i := range b.N {
				if i*points%1080 == 1079 {
					for i := range e.head.shards {
						e.head.shards[i] = shard{}
					}
				}
				batch := plant.next(points)
				before := cpu()
				if _, err := e.Write(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				used += cpu() - before
			}
			b.ReportMetric(float64(b.N*metrics*points)/used.Seconds()/1e6, "Mpoints/CPU-s")
		})
	}
	f("10000x1", 10000, 1)
	f("100x1", 100, 1)
	f("100x60", 100, 60)
}

// BenchmarkMemory is what a live metric takes in memory at most: just before a checkpoint.
func BenchmarkMemory(b *testing.B) {
	for _, metrics := range []int{10000, 100000} {
		b.Run(fmt.Sprint(metrics), func(b *testing.B) {
			for range b.N {
				h := &head{}
				a := &applier{head: h}
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				plant := newPlant(metrics, medium.ID)
				for range 1080 / 12 {
					a.apply(plant.next(12), known(medium), new(Outcome))
				}
				plant.batch = Batch{}
				a.order, a.lasts, a.advanced = nil, nil, nil
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(metrics), "B/metric")
				runtime.KeepAlive(h)
			}
		})
	}
}

// BenchmarkRestart is the start with an hour of log behind it, written live.
func BenchmarkRestart(b *testing.B) {
	for _, metrics := range []int{10000, 100000} {
		b.Run(fmt.Sprint(metrics), func(b *testing.B) {
			e := openBench(b, medium)
			plant := newPlant(metrics, medium.ID)
			for range 360 {
				if _, err := e.Write(b.Context(), plant.next(1)); err != nil {
					b.Fatal(err)
				}
			}
			bytes := e.Stats().LogBytes
			var used time.Duration
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				if err := e.free(); err != nil {
					b.Fatal(err)
				}
				runtime.GC()
				before := cpu()
				b.StartTimer()
				again, err := Open(b.Context(), e.o, []*policy.Policy{medium})
				if err != nil {
					b.Fatal(err)
				}
				used += cpu() - before
				e = again
			}
			if err := e.free(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(bytes)/float64(360*metrics), "log-B/point")
			b.ReportMetric(used.Seconds()/float64(b.N), "CPU-s/op")
		})
	}
}

// BenchmarkFrame is queries of a week of points: seven days of blocks, and the head.
func BenchmarkFrame(b *testing.B) {
	e := openBench(b, medium)
	const metrics = 100
	plant := newPlant(metrics, medium.ID)
	for range 7 * 12 {
		for range 4 {
			e.apply(plant.next(180), nil, new(Outcome))
		}
		if err := e.Checkpoint(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	e.apply(plant.next(90), nil, new(Outcome))
	if err := e.maintain(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Log(e.Stats().Blocks, "blocks")
	f := func(name string, metrics int, span time.Duration, methods policy.Set) {
		b.Run(name, func(b *testing.B) {
			queries := make([]Query, metrics)
			for i := range queries {
				queries[i] = Query{Ref(i), time.Minute, methods, plant.now - int64(span), plant.now}
			}
			windows := 0
			b.ReportAllocs()
			before := cpu()
			for b.Loop() {
				err := e.Frames(b.Context(), queries, func(_ int, f *window.Frame) error {
					windows = f.Len()
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(windows), "windows")
		})
	}
	day := 24 * time.Hour
	f("1 metric, mean, 1 day", 1, day, policy.SetOf(policy.Mean))
	f("1 metric, mean, 7 days", 1, 7*day, policy.SetOf(policy.Mean))
	f("1 metric, mean, 1 hour", 1, time.Hour, policy.SetOf(policy.Mean))
	f("1 metric, all, 1 day", 1, day, methods)
	f("100 metrics, mean, 1 day", 100, day, policy.SetOf(policy.Mean))
	f("100 metrics, all, 1 day", 100, day, methods)
}
