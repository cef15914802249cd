package amqp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/outputs/amqp/broker"
	"github.com/nephoscope/nepho/sdk"
)

// Pauses before connecting or consuming again.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
)

// Listen consumes from all queues until ctx ends, and connects again whenever
// that becomes necessary.
func (n *notification) Listen(ctx context.Context, deliver sdk.Deliver) error {
	defer n.refusals.report()
	var pause pause
	var told string // the trouble that the log has
	for {
		conn, err := n.Dial(ctx, "nepho notification "+n.env.Instance+" on "+n.hostname)
		if err == nil {
			n.env.Log.Info("connected to RabbitMQ", "address", conn.Address)
			told = ""
			pause.reset()
			err = n.consumeAll(ctx, conn, deliver)
			conn.Close()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err.Error() != told {
			told = err.Error()
			n.env.Log.Warn("not connected to RabbitMQ, trying again", "error", err)
		}
		pause.wait(ctx)
	}
}

// consumeAll runs the consumers of all queues until the connection or ctx ends.
func (n *notification) consumeAll(ctx context.Context, conn *broker.Connection, deliver sdk.Deliver) error {
	closes := conn.NotifyClose(make(chan *amqp.Error, 1))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var consumers sync.WaitGroup
	for _, queue := range n.Queues {
		for range n.Consumers {
			consumers.Go(func() { n.consumeAgain(ctx, conn, queue, deliver) })
		}
	}
	select {
	case <-ctx.Done():
	case e := <-closes:
		// nil when it was closed before anybody listened.
		cancel(fmt.Errorf("lost the connection to RabbitMQ at %s: %w", conn.Address, orClosed(e)))
	}
	stop := context.AfterFunc(ctx, func() {
		// The consumers say goodbye before the connection is cut.
		time.AfterFunc(goodbye, conn.Abort)
	})
	defer stop()
	consumers.Wait()
	return context.Cause(ctx)
}

// consumeAgain consumes from one queue, and begins again after every trouble.
func (n *notification) consumeAgain(ctx context.Context, conn *broker.Connection, queue string, deliver sdk.Deliver) {
	var pause pause
	var told string
	for {
		c := &consumer{n: n, queue: queue, deliver: deliver, failed: make(chan error, 1)}
		err := c.consume(ctx, conn)
		if c.progress.Load() {
			told = ""
			pause.reset()
		}
		// The log has been told of a full file.
		if ctx.Err() == nil && !conn.IsClosed() && !errors.Is(err, errFull) && err.Error() != told {
			told = err.Error()
			n.env.Log.Warn("consuming was interrupted and begins again", "queue", queue, "error", err)
		}
		// What was taken and is not settled may still be, in this pause; the rest
		// goes back to the queue in its old order when the channel is closed.
		pause.wait(ctx)
		c.close()
		if ctx.Err() != nil {
			return
		}
	}
}

func orClosed(e *amqp.Error) error {
	if e == nil {
		return errors.New("it was closed")
	}
	return e
}

// pause grows from one trouble to the next.
type pause struct {
	last time.Duration
}

func (p *pause) reset() { p.last = 0 }

// wait waits for a time with jitter, so that many agents don't come back as one.
func (p *pause) wait(ctx context.Context) {
	p.last = min(max(2*p.last, firstPause), lastPause)
	timer := time.NewTimer(p.last/2 + rand.N(p.last/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
