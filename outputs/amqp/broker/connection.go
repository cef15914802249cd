package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// closeTimeout bounds a polite goodbye.
const closeTimeout = 2 * time.Second

// Connection is an open connection to RabbitMQ. It is safe for concurrent use.
type Connection struct {
	*amqp.Connection
	// Address is the host and port it leads to.
	Address string

	raw net.Conn

	mu      sync.Mutex
	blocked string // why the server takes nothing; empty when it does
}

// Dial connects to the first address that answers. Name tells people in
// RabbitMQ's list of connections whose it is. It gives up when ctx ends, and
// leaves each address its share of the time until then.
func (o *Options) Dial(ctx context.Context, name string) (*Connection, error) {
	var errs []error
	for i := range o.URLs {
		c, err := o.dial(ctx, i, name)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (o *Options) dial(ctx context.Context, i int, name string) (*Connection, error) {
	uri, err := parse(o.URLs[i])
	if err != nil {
		return nil, err
	}
	c := &Connection{Address: net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))}
	tlsConfig, err := o.TLS.config()
	if err != nil {
		return nil, err
	}
	timeout := o.ConnectionTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline)/time.Duration(len(o.URLs)-i))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stop := func() bool { return true }
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(name)
	c.Connection, err = amqp.DialConfig(o.URLs[i], amqp.Config{
		SASL:            o.login(uri),
		Heartbeat:       o.Heartbeat,
		TLSClientConfig: tlsConfig,
		Properties:      properties,
		// The library's own dialler neither knows the context nor hands out the
		// connection, without which a write that hangs could not be ended.
		Dial: func(network, address string) (net.Conn, error) {
			var d net.Dialer
			raw, err := d.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			c.raw = raw
			stop = context.AfterFunc(ctx, c.Abort)
			return raw, nil
		},
	})
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Abort()
		// The dialler's own timer may be the first to see the end of the time.
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer in time: %w", err)
		}
		return nil, fmt.Errorf("cannot connect to RabbitMQ at %s: %w", c.Address, err)
	}
	// The channel is closed when the connection ends, and must be read until then.
	blockings := c.NotifyBlocked(make(chan amqp.Blocking))
	go func() {
		for b := range blockings {
			c.mu.Lock()
			c.blocked = b.Reason
			if b.Active && b.Reason == "" {
				c.blocked = "no reason given"
			}
			c.mu.Unlock()
		}
	}()
	return c, nil
}

// Blocked gives the error that says that the server takes no messages because it
// is short of memory or disk, and nil when it takes them.
func (c *Connection) Blocked() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocked == "" {
		return nil
	}
	return fmt.Errorf("RabbitMQ at %s blocks publishers until its alarm is over: %s", c.Address, c.blocked)
}

// Abort cuts the connection; calls that hang in it return.
func (c *Connection) Abort() {
	if c.raw != nil {
		c.raw.Close()
	}
}

// Close says goodbye, but not for long.
func (c *Connection) Close() {
	// A write that hangs would hold the lock that closing needs.
	timer := time.AfterFunc(closeTimeout, c.Abort)
	defer timer.Stop()
	c.Connection.Close() // the answer makes no difference any more
	c.Abort()
}
