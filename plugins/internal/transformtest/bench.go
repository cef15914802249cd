package transformtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

// Of the benchmark's batches.
const (
	resources = 50
	meters    = 20
	rows      = resources * meters
	interval  = 10 * time.Second
)

// Bench measures a transformer on batches of 1,000 samples: 50 virtual machines
// with 20 meters each. Handing the result on is part of a call, and costs the
// same for all; "own-ns/sample" is the time without it.
func Bench(b *testing.B, p sdk.Plugin, toml string) {
	in := Start(b, p, toml, nil)
	data, err := benchBatch(b).Encode()
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	build := func(fill func(*sdk.Builder) error) time.Duration {
		began := time.Now()
		if _, err := sdk.Build("bench", fill); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	var all, handing time.Duration
	round := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		round++
		batch, untouched := nthBatch(b, data, round), nthBatch(b, data, round)
		forward := func() { handing += build(func(out *sdk.Builder) error { out.Forward(untouched); return nil }) }
		if round%2 == 0 { // neither always finds the other's warm caches
			forward()
		}
		b.StartTimer()
		all += build(func(out *sdk.Builder) error { return in.impl.Transform(ctx, batch, out) })
		b.StopTimer()
		if round%2 == 1 {
			forward()
		}
		b.StartTimer()
	}
	per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(round) / rows }
	b.ReportMetric(per(all), "ns/sample")
	b.ReportMetric(per(all-handing), "own-ns/sample")
}

// BenchProcess measures a transformer that holds samples, in a process of its own
// and with a state file, on the batches of [Bench]. "cpu-ns/sample" is the
// processor time of that process: receiving, decoding, transforming, storing,
// encoding and sending back.
func BenchProcess(b *testing.B, toml string) {
	p := sdktest.Start(b, toml)
	data, err := benchBatch(b).Encode()
	if err != nil {
		b.Fatal(err)
	}
	before := cpuTime(b, p.PID())
	round := 0
	for b.Loop() {
		b.StopTimer()
		round++
		// A batch that is given twice would be a redelivery: each gets an id.
		batches, err := sdk.Build("bench", func(out *sdk.Builder) error { out.Forward(nthBatch(b, data, round)); return nil })
		if err != nil {
			b.Fatal(err)
		}
		fresh, err := batches[0].Encode()
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := p.TransformBatch(b.Context(), fresh); err != nil {
			b.Fatal(err)
		}
	}
	spent := cpuTime(b, p.PID()) - before
	b.ReportMetric(float64(spent.Nanoseconds())/float64(round)/rows, "cpu-ns/sample")
}

// cpuTime is what a process used so far, in steps of a hundredth of a second.
func cpuTime(tb testing.TB, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks time.Duration
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * time.Second / 100
}

// nthBatch gives what the same machines show n intervals later.
func nthBatch(tb testing.TB, data []byte, n int) *sdk.Batch {
	b, err := sdk.DecodeBatch(data)
	if err != nil {
		tb.Fatal(err)
	}
	later := time.Duration(n) * interval
	for i := range b.Len() {
		b.SetTime(i, b.Time(i).Add(later), b.Monotonic(i)+later)
		b.SetVolume(i, b.Volume(i)+float64(n)*1e6)
	}
	return b
}

func benchBatch(tb testing.TB) *sdk.Batch {
	samples := make([]sdk.Sample, 0, rows)
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for r := range resources {
		metadata := sdk.Metadata{
			"display_name": fmt.Sprintf("vm-%d", r), "host": "compute-17", "vcpus": int64(r%8 + 1), "memory_mb": int64(4096),
			"status": "active", "flavor": map[string]any{"name": "m1.large", "ram": int64(4096), "disk": int64(40)},
		}
		for m := range meters {
			samples = append(samples, sdk.Sample{
				Name: fmt.Sprintf("disk.device.counter.%d", m), Type: sdk.Cumulative, Unit: "B", Volume: float64(1000*r + m),
				ResourceID: fmt.Sprintf("4a5c1f1e-0000-4000-8000-%012d", r), ProjectID: "8e1c4a5c1f1e40008000000000000001",
				UserID: "9e1c4a5c1f1e40008000000000000002", Source: "openstack", Metadata: metadata, Timestamp: at, Monotonic: time.Hour,
			})
		}
	}
	return Batch(tb, samples...)
}
