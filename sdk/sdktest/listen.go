package sdktest

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Listener is an open stream of a notification or an alarm.
type Listener struct {
	stream grpc.BidiStreamingClient[wire.ToSource, wire.FromSource]
	mu     sync.Mutex
}

// Delivery is a batch that waits to be settled.
type Delivery struct {
	*sdk.Batch
	Tag uint64
}

// Listen opens the stream; credit is how many deliveries may wait unsettled. It
// ends with ctx.
func (p *Plugin) Listen(ctx context.Context, credit int) (*Listener, error) {
	stream, err := p.calls.Source.Listen(ctx)
	if err != nil {
		return nil, err
	}
	return &Listener{stream: stream}, stream.Send(&wire.ToSource{Instance: p.o.Instance, Credit: uint32(credit)})
}

// Next waits for the next delivery.
func (l *Listener) Next() (Delivery, error) {
	m, err := l.stream.Recv()
	if err != nil {
		return Delivery{}, err
	}
	if m.Query != nil {
		return Delivery{}, fmt.Errorf("a query of storage %q instead of a delivery", m.Query.Storage)
	}
	b, err := sdk.DecodeBatch(m.Batch)
	return Delivery{b, m.Tag}, err
}

// Settle tells the plugin a delivery's fate: nil is durable.
func (l *Listener) Settle(d Delivery, fate error) error {
	s := &wire.Settlement{Tag: d.Tag}
	if fate != nil {
		s.Error = fate.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream.Send(&wire.ToSource{Settlements: []*wire.Settlement{s}})
}
