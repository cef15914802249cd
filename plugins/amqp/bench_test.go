package amqp

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/outputs/amqp/message"
	"github.com/nephoscope/nepho/sdk"
)

// BenchmarkConsume takes, verifies and builds anew messages that wait in a queue
// on the same machine, and acknowledges each.
func BenchmarkConsume(b *testing.B) {
	broker := parts.RabbitMQ(b, parts.RabbitMQOptions{})
	var resources []string
	for i := range 250 {
		resources = append(resources, fmt.Sprintf("5a1d8a1e-1b2c-4d3e-8f4a-%012d", i))
	}
	source := batch(b, 0, 4, resources...)
	var rows []int
	for i := range source.Len() {
		rows = append(rows, i)
	}
	form := message.Telemetry{Secret: "s", MaxItems: 100, MaxBytes: 1 << 20}
	run := func(name string, messages ...message.Message) {
		b.Run(name, func(b *testing.B) {
			ch := channel(b, broker)
			if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
				b.Fatal(err)
			}
			for range b.N {
				send(b, ch, name, messages...)
			}
			n := &notification{}
			decode(b, n, urls(broker)+fmt.Sprintf("queues = [%q]\ndeclare = false\nsecrets = ['s']", name))
			if err := n.Start(b.Context(), sdk.Env{StateDir: b.TempDir(), Log: slog.New(slog.DiscardHandler)}); err != nil {
				b.Fatal(err)
			}
			defer n.Stop(context.Background())
			ctx, cancel := context.WithCancel(b.Context())
			got := 0
			b.ResetTimer()
			n.Listen(ctx, func(ctx context.Context, fill func(*sdk.Builder) error, settled func(error)) error {
				batches, err := sdk.Build("bench", fill)
				for _, batch := range batches {
					got += batch.Len()
				}
				settled(nil)
				if got == b.N*source.Len() {
					cancel()
				}
				return err
			})
			b.ReportMetric(float64(got)/b.Elapsed().Seconds(), "samples/s")
		})
	}
	run("batch", message.EncodeBatch(encode(b, source), "s", false))
	run("telemetry", form.Samples(source, rows)...)
}
