package sdktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Series asks a storage by series, as alarms do.
func (p *Plugin) Series() sdk.SeriesReader {
	return sdk.AskSeries(func(ctx context.Context, call wire.Question_Call) (sdk.SeriesExchange, error) {
		pipe, err := p.calls.Pipe(ctx, call)
		if err != nil {
			return nil, err
		}
		return &exchange{Pipe: pipe, instance: p.o.Instance, follows: call == wire.Question_FOLLOW}, nil
	})
}

// exchange is a question to a storage.
type exchange struct {
	*protocol.Pipe
	instance string
	follows  bool
}

// Send implements [sdk.SeriesExchange].
func (x *exchange) Send(message []byte) error {
	err := x.Pipe.Send(protowire.AppendString(protowire.AppendTag(message, 1, protowire.BytesType), x.instance))
	if err == nil && !x.follows {
		err = x.CloseSend()
	}
	return err
}

// answering answers what an alarm asks by series.
type answering struct {
	ctx    context.Context
	series func(storage string) sdk.SeriesReader

	sending sync.Mutex
	stream  grpc.BidiStreamingClient[wire.ToAsker, wire.Question]
}

// serve answers until the stream ends.
func (a *answering) serve() {
	open := map[uint64]*question{}
	for {
		m, err := a.stream.Recv()
		if err != nil {
			return
		}
		switch q := open[m.Id]; {
		case q == nil:
			q = &question{requests: make(chan []byte, 2)}
			q.ctx, q.cancel = context.WithCancel(a.ctx)
			open[m.Id] = q
			q.requests <- m.Message
			go a.answer(q, m)
		case m.Cancel:
			q.cancel()
		default:
			select {
			case q.requests <- m.Message:
			case <-q.ctx.Done(): // it was answered meanwhile
			}
		}
	}
}

// question is one of an alarm.
type question struct {
	ctx      context.Context
	cancel   context.CancelFunc
	requests chan []byte
}

func (a *answering) answer(q *question, m *wire.Question) {
	defer q.cancel()
	var storage sdk.SeriesReader
	if a.series != nil {
		storage = a.series(m.Storage)
	}
	err := error(status.Error(codes.Unimplemented, fmt.Sprintf("no storage %q of this test can be asked by series", m.Storage)))
	if storage != nil {
		err = sdk.AnswerSeries(q.ctx, storage, m.Call, func() ([]byte, error) {
			select {
			case request := <-q.requests:
				return request, nil
			case <-q.ctx.Done():
				return nil, io.EOF
			}
		}, func(message []byte) error { return a.send(&wire.Answer{Id: m.Id, Message: message}) })
	}
	s := status.Convert(err)
	// Where it can't be sent, the stream has ended.
	_ = a.send(&wire.Answer{Id: m.Id, Last: true, Status: uint32(s.Code()), Error: s.Message()})
}

func (a *answering) send(m *wire.Answer) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	return a.stream.Send(&wire.ToAsker{Answer: m})
}

// answerQuestions opens the stream for questions by series of an alarm.
func (p *Plugin) answerQuestions(ctx context.Context) error {
	stream, err := p.calls.Asker.Ask(ctx)
	if err == nil {
		err = stream.Send(&wire.ToAsker{Instance: p.o.Instance})
	}
	if err != nil && !errors.Is(err, io.EOF) { // Listen has told why, or the plugin never asks
		return err
	}
	a := &answering{ctx: ctx, series: p.o.Series, stream: stream}
	go a.serve()
	return nil
}
