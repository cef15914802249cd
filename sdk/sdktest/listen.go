package sdktest

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Listener is an open stream of a notification or an alarm.
type Listener struct {
	stream  grpc.BidiStreamingClient[wire.ToSource, wire.FromSource]
	storage func(storage string, q sdk.Query) iter.Seq2[*sdk.Batch, error]
	mu      sync.Mutex
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
	l := &Listener{stream: stream, storage: p.o.Storage}
	if err := l.send(&wire.ToSource{Instance: p.o.Instance, Credit: uint32(credit), Questions: true}); err != nil {
		return nil, err
	}
	return l, p.answerQuestions(ctx)
}

// Next waits for the next delivery. Meanwhile it answers what an alarm asks, see
// [Options].Storage; questions by series are answered all the time, see
// [Options].Series.
func (l *Listener) Next() (Delivery, error) {
	for {
		m, err := l.stream.Recv()
		if err != nil {
			return Delivery{}, err
		}
		if m.Query == nil {
			b, err := sdk.DecodeBatch(m.Batch)
			return Delivery{b, m.Tag}, err
		}
		if err := l.answer(m.Query); err != nil {
			return Delivery{}, err
		}
	}
}

func (l *Listener) answer(r *wire.QueryRequest) error {
	last := &wire.QueryReply{Id: r.Id, Last: true}
	if l.storage == nil {
		last.Error = fmt.Sprintf("there is no storage %q in this test", r.Storage)
		return l.send(&wire.ToSource{Answer: last})
	}
	q := sdk.Query{
		Meters: r.Meters, Resources: r.Resources, From: time.Unix(0, r.From).UTC(), To: time.Unix(0, r.To).UTC(),
		Granularity: time.Duration(r.GranularityNs), Aggregation: r.Aggregation,
	}
	for b, err := range l.storage(r.Storage, q) {
		var data []byte
		if err == nil {
			data, err = b.Encode()
		}
		if err != nil {
			last.Error = err.Error()
			break
		}
		if err := l.send(&wire.ToSource{Answer: &wire.QueryReply{Id: r.Id, Batch: data}}); err != nil {
			return err
		}
	}
	return l.send(&wire.ToSource{Answer: last})
}

// Settle tells the plugin a delivery's fate: nil is durable.
func (l *Listener) Settle(d Delivery, fate error) error {
	s := &wire.Settlement{Tag: d.Tag}
	if fate != nil {
		s.Error = fate.Error()
	}
	return l.send(&wire.ToSource{Settlements: []*wire.Settlement{s}})
}

func (l *Listener) send(m *wire.ToSource) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream.Send(m)
}
