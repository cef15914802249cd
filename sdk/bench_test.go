package sdk

import (
	"fmt"
	"testing"
)

// fillNova adds 2,000 samples as a compute node's pollster does: 20 meters of
// 100 resources, with 8 strings and 6 metadata entries each.
func fillNova(out *Builder, resources []Resource, meters []string) {
	volume := 0.0
	for _, r := range resources {
		on := out.On(r)
		for _, m := range meters {
			volume++
			on.Cumulative(m, "B", volume)
		}
	}
}

func novaLoad() (resources []Resource, meters []string) {
	for i := range 100 {
		resources = append(resources, Resource{
			ID: fmt.Sprintf("6695eb01-f6a4-8304-79aa-%012d", i), ProjectID: "6695eb01f6a4830479aa97f2502e193f",
			UserID: "aa95eb01f6a4830479aa97f2502e193f", Source: "openstack",
			Metadata: Metadata{
				"display_name": fmt.Sprintf("vm-%d", i), "host": "compute-1", "flavor": "m1.tiny", "image": "cirros", "status": "active", "vcpus": 4},
		})
	}
	for i := range 20 {
		meters = append(meters, fmt.Sprintf("disk.device.meter.%d", i))
	}
	return resources, meters
}

func novaBatch(tb testing.TB) []byte {
	resources, meters := novaLoad()
	batches, err := Build("bench", func(out *Builder) error {
		fillNova(out, resources, meters)
		return nil
	})
	if err != nil || len(batches) != 1 {
		tb.Fatal(len(batches), err)
	}
	data, err := batches[0].Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func perSample(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/sample")
}

// BenchmarkBuild is what a pollster pays: adding samples and encoding them.
func BenchmarkBuild(b *testing.B) {
	resources, meters := novaLoad()
	bytes := 0
	out := newBuilder(&output{instance: "bench", ids: new(randomIDs), sequence: new(sequence), emit: func(data []byte) error {
		bytes = len(data)
		return nil
	}})
	for b.Loop() {
		fillNova(out, resources, meters)
	}
	perSample(b, 2000)
	b.ReportMetric(float64(bytes)/2000, "B/sample")
}

func BenchmarkDecode(b *testing.B) {
	data := novaBatch(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeBatch(data); err != nil {
			b.Fatal(err)
		}
	}
	perSample(b, 2000)
}

func BenchmarkEncode(b *testing.B) {
	batch, err := DecodeBatch(novaBatch(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := batch.Encode(); err != nil {
			b.Fatal(err)
		}
	}
	perSample(b, 2000)
}
