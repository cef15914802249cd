package aggregator

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/sdk"
)

// What thresholds of 10,000 metrics read, in the process of the store: from memory, and
// from blocks just after a checkpoint.
func BenchmarkWindows(b *testing.B) {
	const metrics, minutes = 10_000, 90
	s := start(b, "listen = ''")
	begin := time.Now().Add(-2 * time.Hour).Truncate(time.Hour)
	for minute := range minutes {
		for first := 0; first < metrics; first += 2000 {
			batch := build(b, func(out *sdk.Builder) {
				out.At(begin.Add(time.Duration(minute) * time.Minute))
				for i := first; i < first+2000; i++ {
					out.On(sdk.Resource{ID: fmt.Sprint("vm", i)}).Gauge("cpu_util", "%", float64(i%100))
				}
			})
			if err := s.Publish(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	found, err := s.FindSeries(b.Context(), sdk.SeriesQuery{Scope: everything, Search: &sdk.ResourceSearch{Type: "generic"}})
	if err != nil || len(found) != metrics {
		b.Fatal(len(found), err)
	}
	var numbers []uint64
	for _, f := range found {
		numbers = append(numbers, f.Number)
	}
	read := func(b *testing.B, windows int) {
		b.ReportAllocs()
		q := []sdk.WindowQuery{{
			Series: numbers, Granularity: time.Minute, Aggregation: "mean",
			From: begin.Add(time.Duration(minutes-windows) * time.Minute), To: begin.Add(minutes * time.Minute),
		}}
		before := used(b)
		for b.Loop() {
			w, err := s.Windows(b.Context(), q)
			if err != nil || len(w.Values) != metrics*windows {
				b.Fatal(len(w.Values), err)
			}
		}
		b.ReportMetric(float64(used(b)-before)/float64(b.N)/metrics, "cpu-ns/series")
	}
	for _, where := range []string{"memory", "blocks"} {
		for _, windows := range []int{1, 5, 60} {
			b.Run(fmt.Sprint(where, "/", windows), func(b *testing.B) { read(b, windows) })
		}
		if err := s.engine.Checkpoint(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// used is the processor time of the process.
func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFindSeries finds what 1,000 alarms are about, each a metric of an instance.
func BenchmarkFindSeries(b *testing.B) {
	const metrics = 1000
	s := start(b, "listen = ''")
	q := sdk.SeriesQuery{Scope: everything}
	batch := build(b, func(out *sdk.Builder) {
		for range metrics {
			id := uuid.NewString()
			q.Names = append(q.Names, sdk.SeriesName{Resource: id, Meter: "cpu_util"})
			out.On(sdk.Resource{ID: id}).Gauge("cpu_util", "%", 1)
		}
	})
	if err := s.Publish(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{metrics, 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			q := q
			q.Names = q.Names[:n]
			b.ReportAllocs()
			before := used(b)
			for b.Loop() {
				if found, err := s.FindSeries(b.Context(), q); err != nil || len(found) != n {
					b.Fatal(len(found), err)
				}
			}
			b.ReportMetric(float64(used(b)-before)/float64(b.N)/float64(n), "cpu-ns/series")
		})
	}
}
