package parts

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestRabbitMQKeepsMessagesOverKill9(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("run", func(t *testing.T) {
		b := RabbitMQ(t, RabbitMQOptions{})
		dir = b.Dir
		publish(t, b.URL(), nil, "durable")
		if ready, unacknowledged := b.QueueLength("durable"); ready != 1 || unacknowledged != 0 {
			t.Fatalf("got %d ready and %d unacknowledged messages, want 1 and 0", ready, unacknowledged)
		}

		b.Kill9()
		if conn, err := amqp.Dial(b.URL()); err == nil {
			conn.Close()
			t.Fatalf("a killed broker still answers")
		}
		b.Start()
		if ready, _ := b.QueueLength("durable"); ready != 1 {
			t.Fatalf("got %d messages after kill -9, want 1", ready)
		}
	})
	expectNothingLeft(t, dir)
}

func TestRabbitMQRestartsGracefully(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("run", func(t *testing.T) {
		b := RabbitMQ(t, RabbitMQOptions{Config: []string{"heartbeat = 7"}})
		dir = b.Dir
		publish(t, b.URL(), nil, "durable")
		b.Restart()
		if ready, _ := b.QueueLength("durable"); ready != 1 {
			t.Fatalf("got %d messages after a restart, want 1", ready)
		}
		if out := b.Ctl("environment"); !strings.Contains(out, "{heartbeat,7}") {
			t.Errorf("the additional configuration is not in force:\n%s", out)
		}
		if out := b.API("GET", "/api/overview", nil); len(out) == 0 {
			t.Errorf("no answer from the management API")
		}
	})
	expectNothingLeft(t, dir)
}

func TestRabbitMQWithTLS(t *testing.T) {
	t.Parallel()
	b := RabbitMQ(t, RabbitMQOptions{ClientCertificate: true})
	pair, err := tls.LoadX509KeyPair(b.Certificates.ClientCert, b.Certificates.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	trusting := &tls.Config{RootCAs: b.Certificates.Pool(t)}
	if conn, err := amqp.DialTLS(b.TLSURL(), trusting); err == nil {
		conn.Close()
		t.Errorf("a client without a certificate was let in")
	}
	trusting.Certificates = []tls.Certificate{pair}
	publish(t, b.TLSURL(), trusting, "secret")
	if ready, _ := b.QueueLength("secret"); ready != 1 {
		t.Errorf("got %d messages, want 1", ready)
	}
}

func TestRabbitMQHasConsistentHashExchange(t *testing.T) {
	t.Parallel()
	b := RabbitMQ(t, RabbitMQOptions{})
	conn, err := amqp.Dial(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare("telemetry", "x-consistent-hash", true, false, false, false, nil); err != nil {
		t.Fatalf("cannot declare exchange: %v", err)
	}
}

func publish(t *testing.T, url string, config *tls.Config, queue string) {
	t.Helper()
	conn, err := amqp.DialTLS(url, config)
	if err != nil {
		t.Fatalf("cannot connect to %s: %v", url, err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("hello")}
	confirmation, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, message)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := confirmation.WaitContext(ctx); err != nil || !ok {
		t.Fatalf("message was not confirmed: %v", err)
	}
}
