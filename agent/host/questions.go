package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// storage gives the instance of a storage.
func (h *Host) storage(name string) (*supervisor.Instance, error) {
	h.mu.Lock()
	in, i := h.instances[name], h.config.Instance(name)
	h.mu.Unlock()
	if in == nil || i == nil || i.Kind != string(sdk.KindStorage) {
		return nil, fmt.Errorf("there is no storage %q", name)
	}
	return in, nil
}

// answer has a storage answer an alarm's question for samples.
func (h *Host) answer(ctx context.Context, q *wire.QueryRequest, reply func(*wire.QueryReply) error) {
	fail := func(err error) { reply(&wire.QueryReply{Id: q.Id, Last: true, Error: err.Error()}) }
	in, err := h.storage(q.Storage)
	if err != nil {
		fail(err)
		return
	}
	life, err := in.Ready(ctx)
	if err != nil {
		fail(err)
		return
	}
	stream, err := life.Storage.Query(ctx, q)
	if err != nil {
		fail(err)
		return
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			fail(fmt.Errorf("the storage's answer broke off: %w", err))
			return
		}
		if reply(m) != nil || m.Last {
			return
		}
	}
}

// takeQuestions has storages answer what an alarm asks them by series, until ctx
// ends. Plugins of older SDKs don't ask.
func (h *Host) takeQuestions(ctx context.Context, life *supervisor.Life, alarm string) {
	pause := backoff{min: 100 * time.Millisecond, max: 10 * time.Second}
	for {
		err := h.takeStream(ctx, life, alarm)
		if status.Code(err) == codes.Unimplemented || pause.wait(ctx, 0) != nil {
			return
		}
	}
}

// takeStream opens a stream for questions and answers them until it ends.
func (h *Host) takeStream(ctx context.Context, life *supervisor.Life, alarm string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := life.Asker.Ask(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&wire.ToAsker{Instance: alarm}); err != nil && !errors.Is(err, io.EOF) { // else Recv tells more
		return err
	}
	a := &answering{host: h, ctx: ctx, stream: stream, open: map[uint64]*question{}}
	defer a.questions.Wait()
	defer cancel()
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		a.take(m)
	}
}

// answering is an open stream of an alarm's questions.
type answering struct {
	host      *Host
	ctx       context.Context
	questions sync.WaitGroup

	sending sync.Mutex
	stream  grpc.BidiStreamingClient[wire.ToAsker, wire.Question]

	mu   sync.Mutex
	open map[uint64]*question
}

// question is one that a storage is answering.
type question struct {
	cancel context.CancelFunc
	next   chan []byte // requests that follow the first
}

// take begins a question, or passes on what is said of one.
func (a *answering) take(m *wire.Question) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.open[m.Id]
	switch {
	case q == nil && m.Call != wire.Question_NONE && !m.Cancel:
		ctx, cancel := context.WithCancel(a.ctx)
		q = &question{cancel: cancel, next: make(chan []byte, 1)}
		a.open[m.Id] = q
		a.questions.Go(func() {
			defer cancel()
			err := a.ask(ctx, q, m)
			a.mu.Lock()
			delete(a.open, m.Id)
			a.mu.Unlock()
			s := status.Convert(err)
			a.send(&wire.Answer{Id: m.Id, Last: true, Status: uint32(s.Code()), Error: s.Message()})
		})
	case q == nil: // it was answered meanwhile
	case m.Cancel:
		q.cancel()
	default:
		select {
		case q.next <- m.Message:
		default:
			q.cancel() // it asks for more than one at a time
		}
	}
}

// ask asks the storage and passes on its answer. The error has a status.
func (a *answering) ask(ctx context.Context, q *question, m *wire.Question) error {
	in, err := a.host.storage(m.Storage)
	if err != nil {
		return status.Error(codes.NotFound, err.Error())
	}
	life, err := in.Ready(ctx)
	if err != nil {
		return status.Error(codes.Unavailable, fmt.Sprintf("storage %q is not ready: %v", m.Storage, err))
	}
	pipe, err := life.Pipe(ctx, m.Call)
	if err != nil {
		return err
	}
	// The instance is the first field of all requests, and of a field that comes twice
	// the last one counts.
	request := protowire.AppendString(protowire.AppendTag(m.Message, 1, protowire.BytesType), in.Name())
	if err := pass(pipe, request, m.Call != wire.Question_FOLLOW); err != nil {
		return err
	}
	for {
		answer, err := pipe.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case status.Code(err) == codes.Unimplemented:
			return status.Error(codes.Unimplemented, fmt.Sprintf("storage %q does not number its series: it can be asked for samples only", m.Storage))
		case status.Code(err) == codes.Unavailable:
			return status.Error(codes.Unavailable, fmt.Sprintf("the answer of storage %q broke off: %v", m.Storage, status.Convert(err).Message()))
		case err != nil:
			return err
		}
		if err := a.send(&wire.Answer{Id: m.Id, Message: answer}); err != nil {
			return err
		}
		if m.Call != wire.Question_FOLLOW {
			continue
		}
		select {
		case request = <-q.next:
			err = pass(pipe, request, false)
		case <-ctx.Done():
			err = status.FromContextError(ctx.Err()).Err()
		}
		if err != nil {
			return err
		}
	}
}

// pass passes a request on; where it can't be sent, Recv says why.
func pass(pipe *protocol.Pipe, request []byte, last bool) error {
	err := pipe.Send(request)
	if err == nil && last {
		err = pipe.CloseSend()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (a *answering) send(m *wire.Answer) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	return a.stream.Send(&wire.ToAsker{Answer: m})
}
