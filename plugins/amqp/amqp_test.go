package amqp

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/nephoscope/nepho/integration/parts"
	output "github.com/nephoscope/nepho/outputs/amqp"
	"github.com/nephoscope/nepho/outputs/amqp/message"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }

// TestRabbitMQ runs all tests that need a broker, on one; the last one kills it.
func TestRabbitMQ(t *testing.T) {
	b := parts.RabbitMQ(t, parts.RabbitMQOptions{TLS: true})
	for _, test := range []struct {
		name string
		f    func(*testing.T, *parts.Broker)
	}{
		{"forms", testForms}, {"TLS", testTLS}, {"prefetch", testPrefetch}, {"kept", testKept}, {"full", testFull}, {"rejected", testRejected},
		{"trial", testTrial}, {"not taken", testNotTaken}, {"unsettled", testUnsettled}, {"single active", testSingleActive},
		{"consistent hash", testConsistentHash}, {"queue deleted", testQueueDeleted}, {"asked", testAsked}, {"killed", testKilled},
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

// log collects what is logged.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), s)
}

func decode(t testing.TB, into any, toml string) {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	if problems = append(problems, table.Decode(into)...); len(problems) > 0 {
		t.Fatal(config.Join(problems))
	}
}

// sink takes deliveries as the host does.
type sink struct {
	log log

	mu      sync.Mutex
	samples []sdk.Sample
	events  []sdk.Event
	taken   int               // deliveries
	waiting []func(error)     // settlements, when manual
	manual  bool              // the test settles
	fate    func(n int) error // of delivery n, unless manual
}

func (s *sink) deliver(ctx context.Context, fill func(*sdk.Builder) error, settled func(error)) error {
	batches, err := sdk.Build("notification", fill)
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken++
	if s.manual {
		s.waiting = append(s.waiting, settled)
		s.keep(batches)
		return nil
	}
	var fate error
	if s.fate != nil {
		fate = s.fate(s.taken)
	}
	if fate == nil {
		s.keep(batches)
	}
	go settled(fate)
	return nil
}

func (s *sink) keep(batches []*sdk.Batch) {
	for _, b := range batches {
		for _, sample := range b.Samples() {
			s.samples = append(s.samples, sample)
		}
		for e := range b.Events() {
			s.events = append(s.events, b.Event(e))
		}
	}
}

// get gives what was taken so far.
func (s *sink) get() ([]sdk.Sample, []sdk.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples, s.events
}

func (s *sink) deliveries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// volumes lists the volumes of the samples of a resource in their order.
func (s *sink) volumes(resource string) []float64 {
	samples, _ := s.get()
	var list []float64
	for _, s := range samples {
		if s.ResourceID == resource {
			list = append(list, s.Volume)
		}
	}
	return list
}

// listen runs a notification in the test's own process until stop is called or
// the test ends.
func listen(t testing.TB, s *sink, stateDir, toml string) (stop func()) {
	t.Helper()
	n := &notification{}
	decode(t, n, toml)
	env := sdk.Env{Instance: "test", StateDir: stateDir, Log: slog.New(slog.NewTextHandler(&s.log, nil))}
	if err := n.Start(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.Listen(ctx, s.deliver) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Error("Listen doesn't return")
		}
		if err := n.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", s.log.text.String())
		}
	})
	t.Cleanup(stop)
	return stop
}

// publisher makes one in the test's own process.
func publisher(t testing.TB, toml string) sdk.Publisher {
	t.Helper()
	p := output.Plugin().New().(sdk.Publisher)
	decode(t, p, toml)
	if err := p.(sdk.Starter).Start(t.Context(), sdk.Env{Instance: "test", Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.(sdk.Stopper).Stop(context.Background()) })
	return p
}

func urls(b *parts.Broker) string { return `urls = ["` + b.URL() + `"]` + "\n" }

func channel(t testing.TB, b *parts.Broker) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// send publishes messages to a queue, without confirms.
func send(t testing.TB, ch *amqp091.Channel, queue string, messages ...message.Message) {
	t.Helper()
	for _, m := range messages {
		err := ch.PublishWithContext(t.Context(), "", queue, false, false, amqp091.Publishing{
			ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Headers: m.Headers, Body: m.Body, DeliveryMode: amqp091.Persistent,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// batch makes a batch of numbered samples, an equal number for each resource.
func batch(t testing.TB, first, n int, resources ...string) *sdk.Batch {
	t.Helper()
	batches, err := sdk.Build("origin", func(out *sdk.Builder) error {
		for i := range n {
			for _, r := range resources {
				out.Add(sdk.Sample{
					Name: "meter", Type: sdk.Cumulative, Unit: "B", Volume: float64(first + i), ResourceID: r, ProjectID: "p",
					Timestamp: at, Monotonic: time.Hour, Metadata: sdk.Metadata{"name": "of " + r, "n": int64(1)},
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

func encode(t testing.TB, b *sdk.Batch) []byte {
	t.Helper()
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// eventually waits for something.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// inspect asks for the waiting messages and the consumers of a queue; both are -1
// when it doesn't exist. It is much faster than asking rabbitmqctl.
func inspect(t testing.TB, b *parts.Broker, queue string) (ready, consumers int) {
	t.Helper()
	conn, err := amqp091.Dial(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return -1, -1
	}
	return q.Messages, q.Consumers
}

// expectConsumers waits until so many consume from a queue, which is bound then.
func expectConsumers(t testing.TB, b *parts.Broker, queue string, want int) {
	t.Helper()
	eventually(t, "consumers of "+queue, func() bool {
		_, consumers := inspect(t, b, queue)
		return consumers == want
	})
}

// expectReady waits until so many messages of a queue are with no consumer.
func expectReady(t testing.TB, b *parts.Broker, queue string, want int) {
	t.Helper()
	eventually(t, "waiting messages of "+queue, func() bool {
		ready, _ := inspect(t, b, queue)
		return ready == want
	})
}

// expectEmpty waits until a queue has no messages, also none unacknowledged: what a
// sink has may still come back otherwise, when its notification ends.
func expectEmpty(t testing.TB, b *parts.Broker, queue string) {
	t.Helper()
	expectReady(t, b, queue, 0)
	eventually(t, "queue "+queue+" gets empty", func() bool {
		ready, unacknowledged := b.QueueLength(queue)
		return ready+unacknowledged == 0
	})
}

func numbers(first, n int) []float64 {
	var list []float64
	for i := range n {
		list = append(list, float64(first+i))
	}
	return list
}

func expectVolumes(t testing.TB, s *sink, resource string, want []float64) {
	t.Helper()
	eventually(t, "samples of "+resource, func() bool { return len(s.volumes(resource)) >= len(want) })
	if got := s.volumes(resource); !reflect.DeepEqual(got, want) {
		t.Fatalf("samples of %s: got %v, want %v", resource, got, want)
	}
}
