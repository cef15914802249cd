package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk/wire"
)

// Query implements [Host].
func (l *listening) Query(ctx context.Context, storage string, q Query) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		id := l.tags.Add(1)
		question := newInbox[*wire.QueryReply]()
		l.mu.Lock()
		l.questions[id] = question
		l.mu.Unlock()
		defer func() {
			l.mu.Lock()
			delete(l.questions, id)
			l.mu.Unlock()
		}()
		if err := l.write(&wire.FromSource{Query: encodeQuery(id, storage, q)}); err != nil {
			yield(nil, err)
			return
		}
		for {
			select {
			case <-question.more:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			case <-l.ctx.Done():
				yield(nil, context.Cause(l.ctx))
				return
			}
			for _, a := range question.take() {
				if a.Error != "" {
					yield(nil, errors.New(a.Error))
					return
				}
				if len(a.Batch) > 0 {
					batch, err := DecodeBatch(a.Batch)
					if !yield(batch, err) || err != nil {
						return
					}
				}
				if a.Last {
					return
				}
			}
		}
	}
}

// Series implements [Host].
func (l *listening) Series(storage string) SeriesReader {
	if !l.asks {
		return noSeries{fmt.Errorf("this version of the host cannot ask storage %q by series: %w", storage, errors.ErrUnsupported)}
	}
	return AskSeries(func(ctx context.Context, call wire.Question_Call) (SeriesExchange, error) {
		return l.in.asker.ask(ctx, l.ctx, storage, call)
	})
}

func encodeQuery(id uint64, storage string, q Query) *wire.QueryRequest {
	return &wire.QueryRequest{
		Id: id, Storage: storage, Meters: q.Meters, Resources: q.Resources, From: q.From.UnixNano(), To: q.To.UnixNano(),
		GranularityNs: int64(q.Granularity), Aggregation: q.Aggregation,
	}
}

// inbox holds the answers that an asker has not read yet. Their number is not
// bounded here: an asker that waits for a settlement must not hold it up.
type inbox[A any] struct {
	more chan struct{}

	mu      sync.Mutex
	answers []A
}

func newInbox[A any]() *inbox[A] { return &inbox[A]{more: make(chan struct{}, 1)} }

func (q *inbox[A]) add(a A) {
	q.mu.Lock()
	q.answers = append(q.answers, a)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (q *inbox[A]) take() []A {
	q.mu.Lock()
	defer q.mu.Unlock()
	answers := q.answers
	q.answers = nil
	return answers
}

// Ask implements the service Asker.
func (s *server) Ask(stream grpc.BidiStreamingServer[wire.ToAsker, wire.Question]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	in := s.find(first.Instance)
	if in == nil {
		return notRunning(first.Instance)
	}
	leave, err := in.asker.gate.await()
	if err != nil {
		return err
	}
	defer leave()
	in.asker.begin(stream)
	defer in.asker.end()
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.Answer != nil {
			in.asker.answer(m.Answer)
		}
	}
}

// asker is an instance's way to ask storages, while the host has a stream for it open.
type asker struct {
	gate gate // of streams

	sending sync.Mutex // also held while stream changes

	mu     sync.Mutex
	stream grpc.BidiStreamingServer[wire.ToAsker, wire.Question]
	opened chan struct{} // closed when there is a stream
	last   uint64        // id that was given
	open   map[uint64]*inbox[*wire.Answer]
}

func newAsker() *asker {
	return &asker{opened: make(chan struct{}), open: map[uint64]*inbox[*wire.Answer]{}}
}

func (a *asker) begin(stream grpc.BidiStreamingServer[wire.ToAsker, wire.Question]) {
	a.sending.Lock()
	defer a.sending.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream = stream
	close(a.opened)
}

// end gives up what is asked; nothing is sent afterwards.
func (a *asker) end() {
	a.sending.Lock()
	defer a.sending.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream, a.opened = nil, make(chan struct{})
	for id, q := range a.open {
		q.add(&wire.Answer{Id: id, Last: true, Status: uint32(codes.Unavailable), Error: errHostGone.Error()})
	}
	clear(a.open)
}

// errHostGone says that there is nobody to ask any more.
var errHostGone = errors.New("the connection to the host ended")

func (a *asker) answer(m *wire.Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q := a.open[m.Id]; q != nil {
		q.add(m)
		if m.Last {
			delete(a.open, m.Id)
		}
	}
}

// ask opens an exchange that ends with ctx, or when there is no stream before
// listening ends.
func (a *asker) ask(ctx, listening context.Context, storage string, call wire.Question_Call) (*exchange, error) {
	for {
		a.mu.Lock()
		opened, id := a.opened, a.last+1
		if a.stream != nil {
			x := &exchange{asker: a, ctx: ctx, id: id, storage: storage, call: call, answers: newInbox[*wire.Answer]()}
			a.last, a.open[id] = id, x.answers
			a.mu.Unlock()
			context.AfterFunc(ctx, x.cancel)
			return x, nil
		}
		a.mu.Unlock()
		select {
		case <-opened:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-listening.Done():
			return nil, context.Cause(listening)
		}
	}
}

func (a *asker) send(q *wire.Question) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	if a.stream == nil {
		return errHostGone
	}
	return a.stream.Send(q)
}

// exchange is a question on the way. One goroutine uses it.
type exchange struct {
	asker   *asker
	ctx     context.Context
	id      uint64
	storage string
	call    wire.Question_Call
	answers *inbox[*wire.Answer]
	took    []*wire.Answer
	asked   bool
}

// Send implements [SeriesExchange].
func (x *exchange) Send(message []byte) error {
	q := &wire.Question{Id: x.id, Message: message}
	if !x.asked {
		q.Storage, q.Call, x.asked = x.storage, x.call, true
	}
	return x.asker.send(q)
}

// Recv implements [SeriesExchange].
func (x *exchange) Recv() ([]byte, error) {
	for len(x.took) == 0 {
		select {
		case <-x.answers.more:
			x.took = x.answers.take()
		case <-x.ctx.Done():
			return nil, x.ctx.Err()
		}
	}
	a := x.took[0]
	x.took = x.took[1:]
	switch {
	case !a.Last:
		return a.Message, nil
	case a.Status == uint32(codes.OK):
		return nil, io.EOF
	}
	return nil, status.Error(codes.Code(a.Status), a.Error)
}

// cancel lets the storage know that nobody waits for the answer any more, if it has
// not all been given.
func (x *exchange) cancel() {
	x.asker.mu.Lock()
	_, open := x.asker.open[x.id]
	delete(x.asker.open, x.id)
	x.asker.mu.Unlock()
	if open {
		// Where it can't be sent, all questions have ended with the stream.
		_ = x.asker.send(&wire.Question{Id: x.id, Cancel: true})
	}
}
