package amqp

import (
	"fmt"
	"maps"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"
)

const consistentHash = "x-consistent-hash"

func isWeight(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0
}

// declare makes a queue, the exchanges it is bound to and the bindings, or finds
// them there.
func (n *notification) declare(ch *amqp.Channel, queue string) error {
	args := amqp.Table{}
	// Classic is what a queue is without the argument, which others leave out.
	if n.QueueType != "classic" {
		args["x-queue-type"] = n.QueueType
	}
	if n.SingleActiveConsumer {
		args["x-single-active-consumer"] = true
	}
	maps.Copy(args, n.Arguments)
	if _, err := ch.QueueDeclare(queue, n.Durable, false, false, false, args); err != nil {
		return fmt.Errorf("cannot declare queue %q: %w (declare = false uses it as it is)", queue, err)
	}
	for _, b := range n.Bindings {
		if b.Queue != "" && b.Queue != queue {
			continue
		}
		var args amqp.Table
		if b.HashHeader != "" {
			args = amqp.Table{"hash-header": b.HashHeader}
		}
		if err := ch.ExchangeDeclare(b.Exchange, b.Type, b.Durable, false, false, false, args); err != nil {
			return fmt.Errorf("cannot declare exchange %q: %w (declare = false uses it as it is)", b.Exchange, err)
		}
		if err := ch.QueueBind(queue, b.RoutingKey, b.Exchange, false, nil); err != nil {
			return fmt.Errorf("cannot bind queue %q to exchange %q: %w", queue, b.Exchange, err)
		}
	}
	return nil
}
