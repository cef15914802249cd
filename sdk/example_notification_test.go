package sdk_test

import (
	"context"
	"fmt"

	"github.com/nephoscope/nepho/sdk"
)

// mailbox listens to messages and forgets one only when all that was made of it
// is durable.
type mailbox struct {
	messages chan string
	forget   func(message string, err error)
}

func (m *mailbox) Listen(ctx context.Context, deliver sdk.Deliver) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case message, open := <-m.messages:
			if !open {
				return nil
			}
			err := deliver(ctx, func(out *sdk.Builder) error {
				out.AddEvent(sdk.Event{
					MessageID: message, EventType: "mail.received",
					Traits: []sdk.Trait{{Name: "size", Type: sdk.Integer, Value: int64(len(message))}},
				})
				return nil
			}, func(err error) { m.forget(message, err) })
			if err != nil {
				return err
			}
		}
	}
}

func ExampleNotification() {
	m := &mailbox{messages: make(chan string, 2), forget: func(message string, err error) {
		if err != nil {
			fmt.Println("keep", message, "because:", err)
			return
		}
		fmt.Println("forget", message)
	}}
	m.messages <- "hello"
	close(m.messages)

	// The host's part: take the batches, make them durable, settle.
	deliver := func(_ context.Context, fill func(*sdk.Builder) error, settled func(error)) error {
		batches, err := sdk.Build("mailbox", fill)
		if err != nil {
			return err
		}
		e := batches[0].Event(0)
		fmt.Println(e.EventType, e.Traits[0].Name, e.Traits[0].Value)
		settled(nil)
		return nil
	}
	if err := m.Listen(context.Background(), deliver); err != nil {
		fmt.Println(err)
	}
	// Output:
	// mail.received size 5
	// forget hello
}
