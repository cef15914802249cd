// Package amqp is the publisher to RabbitMQ.
package amqp

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nephoscope/nepho/outputs/amqp/broker"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// The values of option form.
const (
	formNepho      = "nepho"
	formCeilometer = "ceilometer"
)

// maxMargin is how long before its deadline Publish returns at most.
const maxMargin = 500 * time.Millisecond

const consistentHash = "x-consistent-hash"

// Plugin describes the publisher.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:      "amqp",
		Summary:   "Publishes to RabbitMQ, confirmed, as batches or as Ceilometer's signed notifications",
		Sample:    sample,
		Publisher: func() sdk.Publisher { return &publisher{} },
	}
}

type publisher struct {
	broker.Options
	Exchange          string        `toml:"exchange" default:"nepho" doc:"Exchange to publish to; empty is the default exchange, whose routing keys are names of queues."`
	ExchangeType      string        `toml:"exchange_type" default:"topic" enum:"topic|direct|fanout|x-consistent-hash" doc:"Type of the exchange."`
	ExchangeDurable   bool          `toml:"exchange_durable" default:"true" doc:"Declares an exchange that outlives a restart of RabbitMQ. Ceilometer's own is not durable."`
	Declare           bool          `toml:"declare" default:"true" doc:"Declares the exchange when connecting."`
	Form              string        `toml:"form" default:"nepho" enum:"nepho|ceilometer" doc:"Form of the messages."`
	RoutingKey        string        `toml:"routing_key" doc:"Template of the routing key."`
	EventRoutingKey   string        `toml:"event_routing_key" doc:"Template of the routing key of events, with form ceilometer."`
	HashHeader        string        `toml:"hash_header" doc:"Header that the exchange hashes instead of the routing key; it gets the routing key's value."`
	Partitions        int           `toml:"partitions" default:"32" min:"1" max:"1024" doc:"Number of values of {partition} in a routing key."`
	Secret            string        `toml:"secret" secret:"true" doc:"Signs what is published; empty does not."`
	Gzip              bool          `toml:"gzip" default:"false" doc:"Compresses the messages of form nepho."`
	Persistent        bool          `toml:"persistent" default:"true" doc:"Has RabbitMQ keep the messages on disk."`
	Mandatory         bool          `toml:"mandatory" default:"true" doc:"A message that no queue gets is an error and published again."`
	MaxMessageSize    config.Size   `toml:"max_message_size" default:"4MiB" min:"1KiB" max:"64MiB" doc:"Larger messages are split."`
	MaxMessageSamples int           `toml:"max_message_samples" default:"100" min:"1" max:"20000" doc:"Most samples of one message of form ceilometer."`
	PublisherID       string        `toml:"publisher_id" default:"nepho.polling" doc:"Sender named in messages of form ceilometer."`
	PublishTimeout    time.Duration `toml:"publish_timeout" default:"30s" min:"1s" max:"1h" doc:"How long RabbitMQ may take to confirm a batch."`

	key, eventKey      template
	instance, hostname string
	log                *slog.Logger
	session            *session
}

// Validate implements the configuration's check.
func (p *publisher) Validate() error {
	errs := []error{p.Options.Validate()}
	p.setDefaults()
	var err error
	if p.key, err = parseTemplate(p.RoutingKey); err != nil {
		errs = append(errs, config.KeyError("routing_key", "%w", err))
	}
	if p.eventKey, err = parseTemplate(p.EventRoutingKey); err != nil && p.EventRoutingKey != p.RoutingKey {
		errs = append(errs, config.KeyError("event_routing_key", "%w", err))
	}
	if p.Gzip && p.Form == formCeilometer {
		errs = append(errs, config.KeyError("gzip", "Ceilometer reads no compressed messages"))
	}
	if p.HashHeader != "" && p.ExchangeType != consistentHash {
		errs = append(errs, config.KeyError("hash_header", "only exchanges of type %s hash a header", consistentHash))
	}
	if p.ExchangeType == consistentHash && p.key != nil && !p.key.uses("partition", "resource_id") {
		errs = append(errs, config.KeyError("routing_key", "it must hold {partition} or {resource_id}, by which a consistent-hash exchange spreads the messages"))
	}
	return errors.Join(errs...)
}

// setDefaults fills in what depends on other options.
func (p *publisher) setDefaults() {
	if p.RoutingKey == "" {
		switch {
		case p.ExchangeType == consistentHash:
			p.RoutingKey = "{partition}"
		case p.Form == formCeilometer:
			p.RoutingKey = "notifications.sample"
		default:
			p.RoutingKey = "telemetry"
		}
	}
	if p.EventRoutingKey == "" {
		p.EventRoutingKey = p.RoutingKey
		if p.Form == formCeilometer && p.ExchangeType != consistentHash {
			p.EventRoutingKey = "event.sample"
		}
	}
}

// Start prepares publishing; the first batch connects.
func (p *publisher) Start(_ context.Context, env sdk.Env) error {
	p.log, p.instance, p.hostname = env.Log, env.Instance, hostname()
	if err := p.Options.Check(); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	return nil
}

// Stop closes the connection.
func (p *publisher) Stop(ctx context.Context) error {
	p.disconnect(ctx)
	return nil
}

// Publish publishes the batch as one message or more and waits until RabbitMQ has
// confirmed all of them. After an error some of them may have been taken.
func (p *publisher) Publish(ctx context.Context, batch *sdk.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout(ctx))
	defer cancel()
	messages, refused, why, err := p.encode(batch)
	if err != nil {
		return sdk.Refuse(err)
	}
	if len(messages) > 0 {
		s, err := p.connect(ctx)
		if err != nil {
			return err
		}
		if err := s.publish(ctx, messages); err != nil {
			// What RabbitMQ has not confirmed in time it may never confirm over this
			// channel. While it is blocked, though, a new connection would only
			// publish the same once more.
			if !s.usable() || ctx.Err() != nil && s.conn.Blocked() == nil {
				p.disconnect(ctx)
			}
			return err
		}
	}
	if len(refused) > 0 {
		return sdk.RefuseRows(why, refused)
	}
	return nil
}

// timeout gives the time that publishing may take. It ends a little before ctx,
// whose owner takes a publisher that is still busy then for one that hangs.
func (p *publisher) timeout(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return p.PublishTimeout
	}
	left := time.Until(deadline)
	return min(p.PublishTimeout, left-min(left/20, maxMargin))
}

// connect gives the open session or makes one.
func (p *publisher) connect(ctx context.Context) (*session, error) {
	if p.session != nil {
		if p.session.usable() {
			return p.session, nil
		}
		p.log.Warn("lost the connection to RabbitMQ", "address", p.session.conn.Address, "error", p.session.reason(ctx))
		p.disconnect(ctx)
	}
	conn, err := p.Dial(ctx, "nepho publisher "+p.instance+" on "+p.hostname)
	if err != nil {
		return nil, err
	}
	s, err := p.open(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	p.log.Info("connected to RabbitMQ", "address", conn.Address)
	p.session = s
	return s, nil
}

// disconnect says goodbye unless ctx has ended, and does not wait beyond that.
func (p *publisher) disconnect(ctx context.Context) {
	if p.session != nil {
		defer context.AfterFunc(ctx, p.session.conn.Abort)()
		p.session.conn.Close()
		p.session = nil
	}
}
