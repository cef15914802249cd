package amqp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/outputs/amqp/broker"
	"github.com/nephoscope/nepho/sdk"
)

// session is a connection with a channel in confirm mode.
type session struct {
	p      *publisher
	conn   *broker.Connection
	ch     *amqp.Channel
	closes chan *amqp.Error
	id     string // begins the ids of its messages
	next   uint64 // number of the next one

	collected chan struct{} // unbuffered: taken between two returns
	ended     chan struct{} // closed with the channel

	mu       sync.Mutex
	returned map[string]amqp.Return // by message id
	why      error                  // why the channel was closed
}

// open makes the channel and the exchange.
func (p *publisher) open(ctx context.Context, conn *broker.Connection) (*session, error) {
	// Calls of the library end with the connection only.
	defer context.AfterFunc(ctx, conn.Abort)()
	ch, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("cannot open channel: %w", err)
	}
	if p.Declare && p.Exchange != "" {
		var args amqp.Table
		if p.HashHeader != "" {
			args = amqp.Table{"hash-header": p.HashHeader}
		}
		if err := ch.ExchangeDeclare(p.Exchange, p.ExchangeType, p.ExchangeDurable, false, false, false, args); err != nil {
			return nil, fmt.Errorf("cannot declare exchange %q: %w (set declare = false to use it as it is)", p.Exchange, err)
		}
	}
	if err := ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("cannot ask for confirms: %w", err)
	}
	s := &session{
		p: p, conn: conn, ch: ch,
		closes:    ch.NotifyClose(make(chan *amqp.Error, 1)),
		id:        rand.Text(),
		collected: make(chan struct{}), ended: make(chan struct{}),
		returned: map[string]amqp.Return{},
	}
	go s.collectReturns(ch.NotifyReturn(make(chan amqp.Return)))
	return s, nil
}

// collectReturns keeps the messages that come back. The library hands a return
// over before it handles the confirm that follows it.
func (s *session) collectReturns(returns <-chan amqp.Return) {
	defer close(s.ended)
	for {
		select {
		case r, open := <-returns:
			if !open {
				return
			}
			r.Body = nil
			s.mu.Lock()
			s.returned[r.MessageId] = r
			s.mu.Unlock()
		case s.collected <- struct{}{}:
		}
	}
}

// returns gives the messages that came back since the last call, among them all
// that came back before a confirm that the caller knows of.
func (s *session) returns() map[string]amqp.Return {
	select {
	case <-s.collected:
	case <-s.ended:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	returned := s.returned
	s.returned = map[string]amqp.Return{}
	return returned
}

// usable tells whether more can be published.
func (s *session) usable() bool { return !s.ch.IsClosed() && !s.conn.IsClosed() }

// reason tells why the channel was closed, of which usable has told.
func (s *session) reason(ctx context.Context) error {
	// The library marks the channel closed first and tells the reason then, at the
	// latest by closing closes. Between these it writes, which may hang.
	var e *amqp.Error
	select {
	case e = <-s.closes:
	case <-ctx.Done():
		return errors.New("channel closed, and no time was left to learn why")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e != nil {
		s.why = e
	}
	if s.why == nil {
		return errors.New("connection closed")
	}
	return s.why
}

// publish sends all messages and waits for their confirms.
func (s *session) publish(ctx context.Context, messages []outgoing) error {
	if err := s.conn.Blocked(); err != nil {
		return err
	}
	confirms, ids, err := s.send(ctx, messages)
	if err != nil {
		return s.explain(ctx, err)
	}
	refused := 0
	for _, c := range confirms {
		acked, err := c.WaitContext(ctx)
		switch {
		case err != nil:
			return s.explain(ctx, errors.New("RabbitMQ has not confirmed the messages in time"))
		case !acked && !s.usable():
			return s.explain(ctx, s.reason(ctx))
		case !acked:
			refused++
		}
	}
	if refused > 0 {
		return fmt.Errorf("RabbitMQ could not take %d of %d messages (basic.nack): see its log and the limits of the queues", refused, len(messages))
	}
	for _, r := range s.returns() {
		if ids[r.MessageId] {
			return fmt.Errorf("no queue is bound to exchange %q for routing key %q: %s (%d)", r.Exchange, r.RoutingKey, r.ReplyText, r.ReplyCode)
		}
	}
	return nil
}

// send writes the messages. A write can hang when RabbitMQ doesn't read; the end
// of ctx cuts the connection then.
func (s *session) send(ctx context.Context, messages []outgoing) ([]*amqp.DeferredConfirmation, map[string]bool, error) {
	defer context.AfterFunc(ctx, s.conn.Abort)()
	mode := amqp.Transient
	if s.p.Persistent {
		mode = amqp.Persistent
	}
	confirms := make([]*amqp.DeferredConfirmation, 0, len(messages))
	ids := make(map[string]bool, len(messages))
	for _, m := range messages {
		headers := amqp.Table(m.Headers)
		if s.p.HashHeader != "" {
			headers = amqp.Table{s.p.HashHeader: m.key}
			for k, v := range m.Headers {
				headers[k] = v
			}
		}
		s.next++
		id := s.id + "-" + strconv.FormatUint(s.next, 10)
		c, err := s.ch.PublishWithDeferredConfirmWithContext(ctx, s.p.Exchange, m.key, s.p.Mandatory, false, amqp.Publishing{
			ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Headers: headers, Body: m.Body,
			DeliveryMode: mode, MessageId: id, AppId: "nepho",
		})
		if err != nil {
			return nil, nil, err
		}
		confirms = append(confirms, c)
		ids[id] = true
	}
	return confirms, ids, nil
}

// explain makes the error of a failed publication.
func (s *session) explain(ctx context.Context, err error) error {
	if blocked := s.conn.Blocked(); blocked != nil {
		return blocked
	}
	if !s.usable() && ctx.Err() == nil {
		err = s.reason(ctx)
	}
	var e *amqp.Error
	if errors.As(err, &e) {
		switch {
		case e.Code == amqp.NotFound:
			err = fmt.Errorf("%w (declare = true makes the exchange)", err)
		case e.Code == amqp.PreconditionFailed && strings.Contains(e.Reason, "max size"):
			return sdk.Refuse(fmt.Errorf("RabbitMQ at %s takes no messages of this size: lower max_message_size: %w", s.conn.Address, err))
		}
	}
	return fmt.Errorf("cannot publish to RabbitMQ at %s: %w", s.conn.Address, err)
}
