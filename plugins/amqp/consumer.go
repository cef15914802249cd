package amqp

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/outputs/amqp/broker"
	"github.com/nephoscope/nepho/outputs/amqp/message"
	"github.com/nephoscope/nepho/sdk"
)

// goodbye bounds the closing of channels.
const goodbye = 2 * time.Second

// consumer consumes from one queue over one channel.
type consumer struct {
	n       *notification
	queue   string
	deliver sdk.Deliver

	ch       *amqp.Channel
	failed   chan error  // the first failed settlement
	progress atomic.Bool // something was acknowledged
}

// consume takes messages until something fails or ctx ends. The channel is left
// open, so that what is still unsettled can be acknowledged until close.
func (c *consumer) consume(ctx context.Context, conn *broker.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("cannot open channel: %w", err)
	}
	c.ch = ch
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	// Here rather than once for the connection, for somebody may delete the queue.
	if c.n.Declare {
		if err := c.n.declare(ch, c.queue); err != nil {
			return err
		}
	}
	if err := ch.Qos(c.n.Prefetch, 0, false); err != nil {
		return fmt.Errorf("cannot set prefetch: %w", err)
	}
	const tag = "nepho"
	deliveries, err := ch.Consume(c.queue, tag, false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("cannot consume: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-c.failed:
			// No more are taken; those under way are not cut off.
			return errors.Join(err, ch.Cancel(tag, true))
		case d, open := <-deliveries:
			if open {
				if err := c.take(ctx, d); err != nil {
					return err
				}
				continue
			}
			select {
			case e := <-closes:
				return orClosed(e)
			default:
				return errors.New("RabbitMQ cancelled the consumer: was the queue deleted?")
			}
		}
	}
}

func (c *consumer) close() {
	if c.ch != nil {
		c.ch.Close() // a channel that is closed already will do as well
	}
}

// take hands a message's content on and settles the message with it. An error
// means that the host takes nothing any more.
func (c *consumer) take(ctx context.Context, d amqp.Delivery) error {
	content, err := c.n.decoder.Decode(message.Message{
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Headers: d.Headers, Body: d.Body,
	})
	if err != nil {
		c.settle(d, c.n.refusals.whole(d, c.queue, err))
		return nil
	}
	fate := accept
	if len(content.Refused) > 0 {
		fate = c.n.refusals.parts(d, c.queue, content.Refused)
		content.Refused = nil
	}
	if fate.err != nil || fate.hold {
		c.settle(d, fate)
		return nil
	}
	d.Body = nil // not needed any more, while settling may take long
	fill := func(out *sdk.Builder) error {
		content.AddTo(out)
		return nil
	}
	return c.deliver(ctx, fill, func(err error) {
		if err != nil {
			c.fail(fmt.Errorf("message was not taken, it goes back to the queue: %w", err))
			return
		}
		c.settle(d, fate)
	})
}

// fate is what becomes of a message.
type fate struct {
	reject bool  // without coming back
	hold   bool  // neither: it comes back when the channel is closed
	err    error // it comes back soon
}

var accept fate

// settle acknowledges or rejects. A failure to do so means that the channel is
// closed and the message comes back.
func (c *consumer) settle(d amqp.Delivery, f fate) {
	var err error
	switch {
	case f.err != nil:
		c.fail(f.err)
		return
	case f.hold:
		return
	case f.reject:
		err = d.Reject(false)
	default:
		err = d.Ack(false)
	}
	if err == nil {
		c.progress.Store(true)
	}
}

// fail has the channel closed, which gives back what it holds.
func (c *consumer) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}
