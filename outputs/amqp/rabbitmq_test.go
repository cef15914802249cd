package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/sdktest"
)

func testForms(t *testing.T, b *parts.Broker) {
	f := func(name, options, sampleKey, eventKey, contentType string, messages int, secrets ...string) {
		t.Helper()
		ch := bind(t, b, "forms", "forms", "topic", "#", nil)
		p := start(t, urls(b)+"exchange = 'forms'\n"+options)
		want := withEvents(t)
		publish(t, p, want)
		got := drain(t, ch, "forms")
		if len(got) != messages {
			t.Fatalf("%s: got %d messages, want %d", name, len(got), messages)
		}
		for i, d := range got {
			key := sampleKey
			if i == len(got)-1 {
				key = eventKey
			}
			if d.RoutingKey != key || d.ContentType != contentType || d.DeliveryMode != amqp091.Persistent || d.AppId != "nepho" || d.MessageId == "" {
				t.Errorf("%s: got message %+v", name, d)
			}
		}
		expectBatch(t, open(t, got, secrets...), want)
	}
	const ours, json = "application/vnd.nepho.batch", "application/json"
	f("batch", ``, "telemetry", "telemetry", ours, 1)
	f("signed batch", `secret = "s"`, "telemetry", "telemetry", ours, 1, "s")
	f("compressed batch", "secret = 's'\ngzip = true", "telemetry", "telemetry", ours, 1, "s")
	f("keys", "routing_key = 'x.{instance}.{project_id}'\nexchange_type = 'topic'", "x.test.p", "x.test.", ours, 2)
	f("telemetry", "form = 'ceilometer'\nsecret = 's'", "notifications.sample", "event.sample", json, 2, "s")
	f("short telemetry", "form = 'ceilometer'\nmax_message_samples = 2", "notifications.sample", "event.sample", json, 4)
}

func testMandatory(t *testing.T, b *parts.Broker) {
	p := start(t, urls(b)+"exchange = 'unbound'")
	for range 2 {
		expectRetry(t, p.Publish(t.Context(), batch(t, 0, 1, "a")), `no queue is bound to exchange "unbound" for routing key "telemetry": NO_ROUTE (312)`)
	}
	publish(t, start(t, urls(b)+"exchange = 'unbound'\nmandatory = false"), batch(t, 0, 1, "a"))
	// One of two messages is returned.
	ch := bind(t, b, "bound", "unbound", "topic", "a", nil)
	p = start(t, urls(b)+"exchange = 'unbound'\nrouting_key = '{resource_id}'")
	expectRetry(t, p.Publish(t.Context(), batch(t, 0, 1, "a", "b")), `routing key "b"`)
	publish(t, p, batch(t, 0, 1, "a"))
	if got := drain(t, ch, "bound"); len(got) != 2 {
		t.Errorf("got %d messages, want 2", len(got))
	}
}

func testUndeclared(t *testing.T, b *parts.Broker) {
	p := start(t, urls(b)+"exchange = 'later'\ndeclare = false")
	expectRetry(t, p.Publish(t.Context(), batch(t, 0, 1, "a")), "no exchange 'later'")
	// Of many messages the first has the channel closed while the others are sent.
	many := start(t, urls(b)+"exchange = 'later'\ndeclare = false\nform = 'ceilometer'\nmax_message_samples = 1")
	for range 5 {
		expectRetry(t, many.Publish(t.Context(), batch(t, 0, 500, "a")), "no exchange 'later'")
	}
	ch := bind(t, b, "later", "later", "topic", "#", nil)
	publish(t, p, batch(t, 0, 1, "a"))
	if got := drain(t, ch, "later"); len(got) != 1 {
		t.Errorf("got %d messages, want 1", len(got))
	}
	// An exchange of another type.
	p = start(t, urls(b)+"exchange = 'later'\nexchange_type = 'fanout'")
	expectRetry(t, p.Publish(t.Context(), batch(t, 0, 1, "a")), "cannot declare exchange")
	// The default exchange.
	publish(t, start(t, urls(b)+"exchange = ''\nrouting_key = 'later'"), batch(t, 0, 1, "a"))
}

func testNack(t *testing.T, b *parts.Broker) {
	ch := bind(t, b, "small", "small", "topic", "#", amqp091.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	p := start(t, urls(b)+"exchange = 'small'\nform = 'ceilometer'\nmax_message_samples = 1")
	expectRetry(t, p.Publish(t.Context(), batch(t, 0, 10, "a")), "could not take")
	drain(t, ch, "small")
	publish(t, p, batch(t, 0, 1, "a"))
}

func testTLS(t *testing.T, b *parts.Broker) {
	c := b.Certificates
	ch := bind(t, b, "tls", "tls", "topic", "#", nil)
	address := `urls = ["` + strings.Replace(b.TLSURL(), "guest:guest", "other:wrong", 1) + `"]
		username = "guest"
		password = "guest"
		exchange = "tls"
	`
	client := fmt.Sprintf("cert = %q, key = %q", c.ClientCert, c.ClientKey)
	publish(t, start(t, address+fmt.Sprintf("tls = {ca = %q, %s}", c.CA, client)), batch(t, 0, 1, "a"))
	publish(t, start(t, address+fmt.Sprintf("tls = {insecure_skip_verify = true, %s}", client)), batch(t, 0, 1, "a"))
	if got := drain(t, ch, "tls"); len(got) != 2 {
		t.Errorf("got %d messages, want 2", len(got))
	}
	f := func(options, want string) {
		t.Helper()
		expectRetry(t, start(t, options).Publish(t.Context(), batch(t, 0, 1, "a")), want)
	}
	f(address+fmt.Sprintf("tls = {%s}", client), "unknown authority")
	f(address+fmt.Sprintf("tls = {ca = %q, server_name = 'elsewhere', %s}", c.CA, client), "not elsewhere")
	f(strings.Replace(address, `"guest"`, `"nobody"`, 1)+fmt.Sprintf("tls = {ca = %q, %s}", c.CA, client), "username or password not allowed")
}

// testOrder publishes numbered samples of many resources to several queues.
func testOrder(t *testing.T, b *parts.Broker) {
	for _, form := range []string{"nepho", "ceilometer"} {
		var queues []*amqp091.Channel
		name := func(q int) string { return fmt.Sprintf("order.%s.%d", form, q) }
		for q := range 4 {
			queues = append(queues, bind(t, b, name(q), "order."+form, consistentHash, "10", nil))
		}
		p := start(t, urls(b)+fmt.Sprintf("form = %q\nexchange = 'order.%s'\nexchange_type = %q", form, form, consistentHash))
		var resources []string
		for r := range 50 {
			resources = append(resources, "vm-"+strconv.Itoa(r))
		}
		for i := range 10 {
			publish(t, p, batch(t, 3*i, 3, resources...))
		}
		home := map[string]int{}
		next := map[string]float64{}
		for q, ch := range queues {
			got := open(t, drain(t, ch, name(q)))
			if got == nil {
				t.Fatalf("%s: queue %d got nothing", form, q)
			}
			for _, s := range got.Samples() {
				if h, seen := home[s.ResourceID]; seen && h != q {
					t.Fatalf("%s: %s is in queues %d and %d", form, s.ResourceID, h, q)
				}
				home[s.ResourceID] = q
				if s.Volume != next[s.ResourceID] {
					t.Fatalf("%s: %s: got sample %v, want %v", form, s.ResourceID, s.Volume, next[s.ResourceID])
				}
				next[s.ResourceID]++
			}
		}
		for _, r := range resources {
			if next[r] != 30 {
				t.Errorf("%s: got %v samples of %s, want 30", form, next[r], r)
			}
		}
	}
}

func testHashHeader(t *testing.T, b *parts.Broker) {
	p := start(t, urls(b)+`
		exchange      = "header"
		exchange_type = "x-consistent-hash"
		hash_header   = "resource"
		routing_key   = "{resource_id}"
		secret        = "s"
	`)
	// Connecting declares the exchange with its header.
	expectRetry(t, p.Publish(t.Context(), batch(t, 0, 1, "a")), "no queue")
	ch := bind(t, b, "header", "", "", "", nil)
	if err := ch.QueueBind("header", "1", "header", false, nil); err != nil {
		t.Fatal(err)
	}
	publish(t, p, batch(t, 0, 1, "a", "b"))
	got := drain(t, ch, "header")
	if len(got) != 2 || got[0].Headers["resource"] != "a" || got[1].Headers["resource"] != "b" {
		t.Fatalf("got %+v", got)
	}
	open(t, got, "s")
}

func testSizes(t *testing.T, b *parts.Broker) {
	ch := bind(t, b, "sizes", "sizes", "topic", "#", nil)
	want := batch(t, 0, 100, "a", "b", "c")
	for _, form := range []string{"nepho", "ceilometer"} {
		p := start(t, urls(b)+"exchange = 'sizes'\nmax_message_size = '1KiB'\nform = '"+form+"'")
		publish(t, p, want)
		got := drain(t, ch, "sizes")
		if len(got) < 4 {
			t.Errorf("%s: got %d messages", form, len(got))
		}
		for _, d := range got {
			if len(d.Body) > 3<<10 {
				t.Errorf("%s: got a message of %d bytes", form, len(d.Body))
			}
		}
		expectBatch(t, open(t, got), want)
	}
	// A message that RabbitMQ will never take.
	var refused *sdk.Refused
	large := batch(t, 0, 1, strings.Repeat("x", maxMessageSize-100))
	err := start(t, urls(b)+"exchange = 'sizes'").Publish(t.Context(), large)
	if !errors.As(err, &refused) || refused.Rows != nil || !strings.Contains(err.Error(), "lower max_message_size") {
		t.Fatalf("got %v, want the batch refused", err)
	}
}

func testRefusedEvents(t *testing.T, b *parts.Broker) {
	ch := bind(t, b, "events", "events", "topic", "#", nil)
	batches, err := sdk.Build("origin", func(out *sdk.Builder) error {
		out.Add(sdk.Sample{Name: "m", ResourceID: "r", Timestamp: at})
		out.AddEvent(sdk.Event{MessageID: "1", EventType: "x", Generated: at, Raw: []byte(`no JSON`)})
		out.AddEvent(sdk.Event{MessageID: "2", EventType: "x", Generated: at})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var refused *sdk.Refused
	err = start(t, urls(b)+"exchange = 'events'\nform = 'ceilometer'").Publish(t.Context(), batches[0])
	if !errors.As(err, &refused) || !reflect.DeepEqual(refused.Rows, []int{1}) {
		t.Fatalf("got %v, want row 1 refused", err)
	}
	if got := open(t, drain(t, ch, "events")); got.Len() != 1 || got.Events() != 1 || got.Event(0).MessageID != "2" {
		t.Errorf("got %+v", got)
	}
}

func testFailOver(t *testing.T, b *parts.Broker) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	bind(t, b, "failover", "failover", "topic", "#", nil)
	publish(t, start(t, fmt.Sprintf("urls = ['amqp://%s', %q]\nexchange = 'failover'", gone.Addr(), b.URL())), batch(t, 0, 1, "a"))
	expectRetry(t, start(t, fmt.Sprintf("urls = ['amqp://guest:guest@%s']", gone.Addr())).Publish(t.Context(), batch(t, 0, 1, "a")),
		"cannot connect to RabbitMQ at "+gone.Addr().String())
}

// testProcess publishes through the plugin's protocol.
func testProcess(t *testing.T, b *parts.Broker) {
	ch := bind(t, b, "process", "process", "topic", "#", nil)
	want := batch(t, 0, 5, "a", "b")
	p := sdktest.Start(t, urls(b)+"exchange = 'process'\nform = 'ceilometer'")
	var samples []sdk.Sample
	for _, s := range want.Samples() {
		samples = append(samples, s)
	}
	if err := p.Publish(t.Context(), samples...); err != nil {
		t.Fatal(err)
	}
	expectBatch(t, open(t, drain(t, ch, "process")), want)
}

func testAlarm(t *testing.T, b *parts.Broker) {
	ch := bind(t, b, "alarm", "alarm", "topic", "#", nil)
	p := start(t, urls(b)+"exchange = 'alarm'")
	publish(t, p, batch(t, 0, 1, "a"))
	b.Ctl("set_vm_memory_high_watermark", "0.0000001")
	restored := false
	restore := func() {
		if !restored {
			restored = true
			b.Ctl("set_vm_memory_high_watermark", "0.4")
		}
	}
	defer restore()
	const blocks = "blocks publishers until its alarm is over: low on memory"
	// The first learns of the alarm by publishing, when RabbitMQ itself knows of it
	// and has got around to telling.
	one := batch(t, 1, 1, "a")
	for deadline := time.Now().Add(2 * time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err := p.Publish(ctx, one)
		cancel()
		if err != nil && strings.Contains(err.Error(), blocks) || time.Now().After(deadline) {
			expectRetry(t, err, blocks)
			break
		}
	}
	// The second knows, and does not wait for its time to be over.
	p.PublishTimeout = 5 * time.Minute
	begin := time.Now()
	expectRetry(t, p.Publish(t.Context(), one), blocks)
	if d := time.Since(begin); d > 4*time.Minute {
		t.Errorf("a publisher that knows of the alarm took %v", d)
	}
	p.PublishTimeout = 30 * time.Second
	// Writing hangs when buffers are full; the next connection does so again.
	hanging := start(t, urls(b)+"exchange = 'alarm'\nform = 'ceilometer'\nmax_message_samples = 1")
	var resources []string
	for i := range 30 {
		resources = append(resources, strconv.Itoa(i)+strings.Repeat("x", 5_000))
	}
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		begin := time.Now()
		if err := hanging.Publish(ctx, batch(t, 0, 50, resources...)); err == nil {
			t.Error("published in spite of the alarm")
		}
		cancel()
		if d := time.Since(begin); d > time.Minute {
			t.Errorf("it took %v", d)
		}
	}
	restore()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := p.Publish(t.Context(), batch(t, 2, 1, "a"))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	var seen []float64
	for _, d := range drain(t, ch, "alarm") {
		if d.ContentType == "application/json" {
			continue
		}
		for _, s := range open(t, []amqp091.Delivery{d}).Samples() {
			seen = append(seen, s.Volume)
		}
	}
	if !slices.Contains(seen, 0) || !slices.Contains(seen, 2) {
		t.Errorf("got samples %v", seen)
	}
}

func testRestart(t *testing.T, b *parts.Broker) {
	bind(t, b, "restart", "restart", "topic", "#", nil)
	p := start(t, urls(b)+"exchange = 'restart'")
	publish(t, p, batch(t, 0, 1, "a"))
	b.Kill9()
	expectRetry(t, p.Publish(t.Context(), batch(t, 1, 1, "a")), "RabbitMQ")
	b.Start()
	publish(t, p, batch(t, 1, 1, "a"))
	// Two that are there, of which the first survived.
	if ready, _ := b.QueueLength("restart"); ready != 2 {
		t.Errorf("got %d messages, want 2", ready)
	}
}
