package amqp

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/outputs/amqp/message"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

// maxMessageSize is what the tests' broker takes at most.
const maxMessageSize = 1 << 20

// TestRabbitMQ runs all tests that need a broker, on one; the last ones hurt it.
func TestRabbitMQ(t *testing.T) {
	b := parts.RabbitMQ(t, parts.RabbitMQOptions{TLS: true, ClientCertificate: true, Config: []string{"max_message_size = 1048576"}})
	for _, test := range []struct {
		name string
		f    func(*testing.T, *parts.Broker)
	}{
		{"forms", testForms}, {"mandatory", testMandatory}, {"undeclared", testUndeclared}, {"nack", testNack}, {"TLS", testTLS},
		{"order", testOrder}, {"hash header", testHashHeader}, {"sizes", testSizes}, {"refused events", testRefusedEvents},
		{"fail-over", testFailOver}, {"process", testProcess}, {"alarm", testAlarm}, {"restart", testRestart},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() {
				// A broker that was started again has somebody waiting for its end.
				parts.NoGoroutinesLeft(t, before, goleak.IgnoreAnyFunction("github.com/nephoscope/nepho/integration/parts.(*Process).launch.func1"))
			})
			test.f(t, b)
		})
	}
}

var at = time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)

// start makes a publisher in the test's own process.
func start(t testing.TB, toml string) *publisher {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	p := &publisher{}
	if problems = append(problems, table.Decode(p)...); len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
	if err := p.Start(t.Context(), sdk.Env{Instance: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(context.Background()) })
	return p
}

func urls(b *parts.Broker) string { return `urls = ["` + b.URL() + `"]` + "\n" }

// bind makes a queue for an exchange, which it declares, and a channel to use it.
func bind(t testing.TB, b *parts.Broker, queue, exchange, kind, key string, args amqp091.Table) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err == nil && exchange != "" {
		err = ch.ExchangeDeclare(exchange, kind, true, false, false, false, nil)
	}
	if err == nil {
		_, err = ch.QueueDeclare(queue, true, false, false, false, args)
	}
	if err == nil && exchange != "" {
		err = ch.QueueBind(queue, key, exchange, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// drain takes and acknowledges all messages that are in the queue.
func drain(t testing.TB, ch *amqp091.Channel, queue string) []amqp091.Delivery {
	t.Helper()
	var all []amqp091.Delivery
	for {
		d, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		all = append(all, d)
	}
}

// open decodes messages and gives what they hold as one batch.
func open(t testing.TB, deliveries []amqp091.Delivery, secrets ...string) *sdk.Batch {
	t.Helper()
	var parts []*message.Content
	for _, d := range deliveries {
		c, err := message.NewDecoder(secrets...).Decode(message.Message{
			ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Headers: d.Headers, Body: d.Body,
		})
		if err != nil || len(c.Refused) > 0 {
			t.Fatalf("cannot decode %q: %v, %v", d.Body, c, err)
		}
		parts = append(parts, c)
	}
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		for _, c := range parts {
			if c.Batch == nil {
				c.AddTo(out)
				continue
			}
			for _, s := range c.Batch.Samples() {
				out.Add(s)
			}
			for e := range c.Batch.Events() {
				out.AddEvent(c.Batch.Event(e))
			}
		}
		return nil
	})
	if err != nil || len(batches) > 1 {
		t.Fatalf("got %d batches, %v", len(batches), err)
	}
	if len(batches) == 0 {
		return nil
	}
	return batches[0]
}

// batch makes a batch of n samples of each of some resources, numbered from first
// by their volumes.
func batch(t testing.TB, first, n int, resources ...string) *sdk.Batch {
	t.Helper()
	batches, err := sdk.Build("origin", func(out *sdk.Builder) error {
		for i := range n {
			for _, r := range resources {
				out.Add(sdk.Sample{
					Name: "meter", Type: sdk.Gauge, Unit: "B", Volume: float64(first + i), ResourceID: r, ProjectID: "p", Timestamp: at,
					Monotonic: time.Hour, Metadata: sdk.Metadata{"name": "of " + r, "n": int64(1)},
				})
			}
		}
		return nil
	})
	if err != nil || len(batches) != 1 {
		t.Fatalf("got %d batches, %v", len(batches), err)
	}
	return batches[0]
}

func withEvents(t testing.TB) *sdk.Batch {
	t.Helper()
	batches, err := sdk.Build("origin", func(out *sdk.Builder) error {
		for i, s := range batch(t, 0, 3, "a", "b").Samples() {
			if i > 0 {
				out.Add(s)
			}
		}
		for _, id := range []string{"e1", "e2"} {
			out.AddEvent(sdk.Event{MessageID: id, EventType: "x", Generated: at, Traits: []sdk.Trait{{Name: "resource_id", Type: sdk.Text, Value: "a"}}})
		}
		return nil
	})
	if err != nil || len(batches) != 1 {
		t.Fatalf("got %d batches, %v", len(batches), err)
	}
	return batches[0]
}

func expectBatch(t testing.TB, got, want *sdk.Batch) {
	t.Helper()
	if got == nil || got.Len() != want.Len() || got.Events() != want.Events() {
		t.Fatalf("got %v, want %d samples and %d events", got, want.Len(), want.Events())
	}
	for i, s := range want.Samples() {
		if g := got.Sample(i); !reflect.DeepEqual(g, s) {
			t.Fatalf("sample %d:\n got %+v\nwant %+v", i, g, s)
		}
	}
	for e := range want.Events() {
		if g, w := got.Event(e), want.Event(e); !reflect.DeepEqual(g, w) {
			t.Fatalf("event %d:\n got %+v\nwant %+v", e, g, w)
		}
	}
}

func publish(t testing.TB, p *publisher, b *sdk.Batch) {
	t.Helper()
	if err := p.Publish(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// expectRetry expects an error after which the host publishes again.
func expectRetry(t testing.TB, err error, want string) {
	t.Helper()
	var refused *sdk.Refused
	if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "guest:guest") {
		t.Fatalf("got %v, want an error to try again with %q", err, want)
	}
}
