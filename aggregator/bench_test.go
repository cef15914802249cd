package aggregator

import (
	"fmt"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// BenchmarkPublish is what the plugin pays for samples whose resources and metrics are
// known: 20 meters of 100 instances with nova's metadata in a batch, a point of each
// every 10 s. Decoding the batch is counted, the engine's write as well; the disk is not.
func BenchmarkPublish(b *testing.B) {
	r := newRig(b, "generic", 100_000)
	r.now = time.Unix(1<<33, 0)
	const meters, instances = 20, 100
	batch := func(n int) []byte {
		made := r.build(func(out *sdk.Builder) {
			out.At(time.Unix(1_700_000_000+int64(n)*10, 0))
			for i := range instances {
				on := out.On(sdk.Resource{
					ID: fmt.Sprintf("6695eb01-f6a4-8304-79aa-%012d", i), ProjectID: "6695eb01f6a4830479aa97f2502e193f", UserID: "aa95eb01f6a4830479aa97f2502e193f", Source: "openstack",
					Metadata: sdk.Metadata{"display_name": fmt.Sprintf("vm-%d", i), "host": "compute-1", "flavor": map[string]any{"name": "m1.tiny", "vcpus": 4}, "image_ref": "cirros", "status": "active", "vcpus": 4},
				})
				for m := range meters {
					on.Gauge(fmt.Sprintf("cpu.%d", m), "ns", float64(n*m)*0.25)
				}
			}
		})
		data, err := made.Encode()
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	var batches [][]byte
	for n := range 64 {
		batches = append(batches, batch(n))
	}
	publish := func(n int) {
		made, err := sdk.DecodeBatch(batches[n%len(batches)])
		if err != nil {
			b.Fatal(err)
		}
		if n >= len(batches) {
			for i := range made.Len() { // no second round of the same times
				made.SetTime(i, made.Time(i).Add(time.Duration(n/len(batches)*len(batches))*10*time.Second), 0)
			}
		}
		if err := r.in.publish(b.Context(), made); err != nil {
			b.Fatal(err)
		}
	}
	publish(0)
	b.ReportAllocs()
	n := 1
	for b.Loop() {
		publish(n)
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(meters*instances), "ns/sample")
}

// BenchmarkIntake is the same without the decoder and without the engine.
func BenchmarkIntake(b *testing.B) {
	r := newRig(b, "generic", 100_000)
	r.now = time.Unix(1<<33, 0)
	made := r.build(func(out *sdk.Builder) {
		out.At(time.Unix(1_700_000_000, 0))
		for i := range 100 {
			on := out.On(sdk.Resource{ID: fmt.Sprintf("6695eb01-f6a4-8304-79aa-%012d", i), Metadata: sdk.Metadata{"display_name": fmt.Sprintf("vm-%d", i), "host": "compute-1", "image_ref": "cirros", "status": "active"}})
			for m := range 20 {
				on.Gauge(fmt.Sprintf("cpu.%d", m), "ns", float64(m))
			}
		}
	})
	if err := r.in.publish(b.Context(), made); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.in.known.begin()
		r.in.look(made)
		if err := r.in.known.current(b.Context(), r.in.resources); err != nil {
			b.Fatal(err)
		}
		r.in.batch.Reset()
		if missing := r.in.add(made, r.in.engine.Latest()); len(missing) > 0 {
			b.Fatal(len(missing))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
}
