// Package amqp is the notification that consumes samples and events from
// RabbitMQ.
package amqp

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/outputs/amqp/broker"
	"github.com/nephoscope/nepho/outputs/amqp/message"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// The values of option refused.
const (
	keepRefused   = "keep"
	rejectRefused = "reject"
)

// Plugin describes the notification.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:         "amqp",
		Summary:      "Consumes from RabbitMQ what Nepho's or Ceilometer's agents publish, and loses none of it",
		Sample:       sample,
		Notification: func() sdk.Notification { return &notification{} },
	}
}

type notification struct {
	broker.Options
	Queues               []string       `toml:"queues" default:"nepho" doc:"Queues to consume from."`
	Declare              bool           `toml:"declare" default:"true" doc:"Declares the queues, the exchanges of the bindings, and binds them."`
	QueueType            string         `toml:"queue_type" default:"classic" enum:"classic|quorum" doc:"Type of queues that are declared; quorum is for clusters of three nodes or more."`
	Durable              bool           `toml:"durable" default:"true" doc:"Declares queues that outlive a restart of RabbitMQ; quorum queues always do."`
	SingleActiveConsumer bool           `toml:"single_active_consumer" default:"false" doc:"Of several agents one consumes from a queue, and the next when that one is gone."`
	Arguments            map[string]any `toml:"arguments" doc:"Further arguments of queues that are declared, such as x-dead-letter-exchange."`
	Bindings             []binding      `toml:"bindings" doc:"Where the queues get their messages from."`
	Prefetch             int            `toml:"prefetch" default:"100" min:"1" max:"65535" doc:"Most messages that a consumer has taken and not yet acknowledged."`
	Consumers            int            `toml:"consumers" default:"1" min:"1" max:"64" doc:"Consumers of each queue; with more than one the order of messages is lost."`
	Secrets              []string       `toml:"secrets" secret:"true" doc:"Takes only what is signed with one of these; none takes all."`
	Refused              string         `toml:"refused" default:"keep" enum:"keep|reject" doc:"What becomes of messages that are refused."`
	RefusedMaxSize       config.Size    `toml:"refused_max_size" default:"64MiB" min:"1KiB" doc:"Size at which the file of refused messages is full."`

	env      sdk.Env
	hostname string
	decoder  *message.Decoder
	refusals *refusals
}

// binding has all queues, or one, get the messages of an exchange.
type binding struct {
	Exchange   string `toml:"exchange" required:"true" doc:"Exchange to bind to."`
	Type       string `toml:"type" default:"topic" enum:"topic|direct|fanout|headers|x-consistent-hash" doc:"Type of the exchange."`
	Durable    bool   `toml:"durable" default:"true" doc:"Declares an exchange that outlives a restart of RabbitMQ."`
	RoutingKey string `toml:"routing_key" default:"#" doc:"Routing key to bind with; of x-consistent-hash exchanges the weight of the queue."`
	HashHeader string `toml:"hash_header" doc:"Header that an x-consistent-hash exchange hashes."`
	Queue      string `toml:"queue" doc:"The queue to bind; all if empty."`
}

// Validate implements the configuration's check.
func (n *notification) Validate() error {
	errs := []error{n.Options.Validate()}
	if len(n.Queues) == 0 {
		errs = append(errs, config.KeyError("queues", "at least one queue is needed"))
	}
	known := map[string]bool{"": true}
	for i, q := range n.Queues {
		if known[q] {
			errs = append(errs, config.KeyError(fmt.Sprintf("queues[%d]", i), "queue %q is empty or there twice", q))
		}
		known[q] = true
	}
	for i, b := range n.Bindings {
		at := func(key string) string { return fmt.Sprintf("bindings[%d].%s", i, key) }
		if !known[b.Queue] {
			errs = append(errs, config.KeyError(at("queue"), "%q is not among the queues", b.Queue))
		}
		if b.Type == consistentHash {
			if !isWeight(b.RoutingKey) {
				errs = append(errs, config.KeyError(at("routing_key"), "with %s it is the weight of the queue, a number such as \"10\"", consistentHash))
			}
		} else if b.HashHeader != "" {
			errs = append(errs, config.KeyError(at("hash_header"), "only exchanges of type %s hash a header", consistentHash))
		}
	}
	if err := amqp.Table(n.Arguments).Validate(); err != nil {
		errs = append(errs, config.KeyError("arguments", "%w", err))
	}
	if n.QueueType == "quorum" && !n.Durable {
		errs = append(errs, config.KeyError("durable", "quorum queues are durable"))
	}
	return errors.Join(errs...)
}

// Start prepares listening.
func (n *notification) Start(_ context.Context, env sdk.Env) error {
	n.env = env
	n.decoder = message.NewDecoder(n.Secrets...)
	n.hostname, _ = os.Hostname() // it only tells people who is connected
	if err := n.Options.Check(); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	var err error
	n.refusals, err = newRefusals(n, env)
	return err
}

// Stop closes the file of refused messages.
func (n *notification) Stop(context.Context) error {
	if n.refusals == nil {
		return nil
	}
	return n.refusals.close()
}
