package amqp

import (
	"fmt"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
)

// instances makes a batch as an agent has it of 250 instances of nova.
func instances(b *testing.B) *sdk.Batch {
	batches, err := sdk.Build("libvirt", func(out *sdk.Builder) error {
		for i := range 250 {
			id := fmt.Sprintf("5a1d8a1e-1b2c-4d3e-8f4a-%012d", i)
			vm := out.On(sdk.Resource{
				ID: id, ProjectID: "1f3b5d7f9a1b3c5d7e9f1a3b5c7d9e1f", UserID: "0a2c4e6a8c0e2a4c6e8a0c2e4a6c8e0a", Source: "openstack",
				Metadata: sdk.Metadata{
					"display_name": fmt.Sprint("vm-", i), "name": fmt.Sprintf("instance-%08x", i), "instance_id": id, "status": "active", "vcpus": 2,
					"memory_mb": 2048, "disk_gb": 20, "instance_host": "compute-1", "instance_type": "m1.small", "state": "running", "architecture": "x86_64",
					"flavor": map[string]any{"id": "1", "name": "m1.small", "vcpus": 2, "ram": 2048, "disk": 20, "ephemeral": 0, "swap": 0},
				},
			})
			for _, m := range []string{"cpu", "disk.read.bytes", "disk.write.bytes", "network.in.bytes"} {
				vm.Cumulative(m, "B", float64(i)*1e9+float64(time.Now().Nanosecond()))
			}
		}
		return nil
	})
	if err != nil || len(batches) != 1 {
		b.Fatal(batches, err)
	}
	return batches[0]
}

// BenchmarkPublish publishes to a broker on the same machine and waits for each
// batch's confirms, as the host does.
func BenchmarkPublish(b *testing.B) {
	broker := parts.RabbitMQ(b, parts.RabbitMQOptions{})
	batch := instances(b)
	run := func(name, options string) {
		b.Run(name, func(b *testing.B) {
			// A short queue, for the disk is not what is measured.
			bind(b, broker, name, name, "fanout", "", map[string]any{"x-max-length": 10})
			p := start(b, urls(broker)+fmt.Sprintf("exchange = %q\nexchange_type = 'fanout'\nsecret = 's'\n", name)+options)
			for b.Loop() {
				publish(b, p, batch)
			}
			b.ReportMetric(float64(batch.Len()*b.N)/b.Elapsed().Seconds(), "samples/s")
		})
	}
	run("batch", "")
	run("partitions", "routing_key = '{partition}'")
	run("telemetry", "form = 'ceilometer'")
}
