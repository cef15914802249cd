package sdk

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
	"google.golang.org/protobuf/proto"

	"github.com/nephoscope/nepho/sdk/wire"
)

// asks are the questions under way to a storage, any number at once.
type asks struct {
	ctx   context.Context // ends when the instance is stopped
	end   context.CancelFunc
	mu    sync.Mutex
	begun bool // the instance is started
	group sync.WaitGroup
}

func newAsks() *asks {
	a := new(asks)
	a.ctx, a.end = context.WithCancel(context.Background())
	return a
}

// begin lets questions begin.
func (a *asks) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begun = true
}

// enter begins a question, whose context ends when the instance is stopped.
func (a *asks) enter(ctx context.Context) (inside context.Context, leave func(), ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.begun || a.ctx.Err() != nil {
		return nil, nil, false
	}
	a.group.Add(1)
	inside, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(a.ctx, cancel)
	return inside, func() { stop(); cancel(); a.group.Done() }, true
}

// close ends the questions under way and waits for them, as long as ctx lasts. It lets
// no other begin.
func (a *asks) close(ctx context.Context) {
	a.mu.Lock()
	a.end()
	a.mu.Unlock()
	all := make(chan struct{})
	go func() {
		a.group.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-ctx.Done():
	}
}

// asked finds the instance that is asked, and begins a question to it.
func (s *server) asked(name string, ctx context.Context) (*instance, context.Context, func()) {
	in := s.find(name)
	if in == nil {
		return nil, nil, nil
	}
	inside, leave, ok := in.asks.enter(ctx)
	if !ok {
		return nil, nil, nil
	}
	return in, inside, leave
}

// Query implements the service Storage.
func (s *server) Query(r *wire.QueryRequest, stream grpc.ServerStreamingServer[wire.QueryReply]) error {
	in, ctx, leave := s.asked(r.Storage, stream.Context())
	if in == nil {
		return stream.Send(&wire.QueryReply{Id: r.Id, Last: true, Error: fmt.Sprintf("instance %q is not running", r.Storage)})
	}
	defer leave()
	err := s.safely(in, func() error {
		for batch, err := range in.impl.(Storage).Query(ctx, decodeQuery(r)) {
			if err != nil {
				return err
			}
			data, err := batch.Encode()
			if err == nil {
				err = stream.Send(&wire.QueryReply{Id: r.Id, Batch: data})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return stream.Send(&wire.QueryReply{Id: r.Id, Last: true, Error: describeError(err)})
}

func decodeQuery(r *wire.QueryRequest) Query {
	return Query{
		Meters: r.Meters, Resources: r.Resources, From: time.Unix(0, r.From).UTC(), To: time.Unix(0, r.To).UTC(),
		Granularity: time.Duration(r.GranularityNs), Aggregation: r.Aggregation,
	}
}

// Find implements the service SeriesStorage.
func (s *server) Find(r *wire.FindRequest, stream grpc.ServerStreamingServer[wire.SeriesTable]) error {
	return s.answerSeries(r.Instance, stream, r)
}

// Windows implements the service SeriesStorage.
func (s *server) Windows(r *wire.WindowsRequest, stream grpc.ServerStreamingServer[wire.WindowsReply]) error {
	return s.answerSeries(r.Instance, stream, r)
}

// Compute implements the service SeriesStorage.
func (s *server) Compute(r *wire.ComputeRequest, stream grpc.ServerStreamingServer[wire.ComputeReply]) error {
	return s.answerSeries(r.Instance, stream, r)
}

// Follow implements the service SeriesStorage.
func (s *server) Follow(stream grpc.BidiStreamingServer[wire.FollowRequest, wire.AdvanceReply]) error {
	r, err := stream.Recv()
	if err != nil {
		return err
	}
	return s.answerSeries(r.Instance, stream, r)
}

func (s *server) answerSeries(name string, stream grpc.ServerStream, r proto.Message) error {
	in, ctx, leave := s.asked(name, stream.Context())
	if in == nil {
		return notRunning(name)
	}
	defer leave()
	storage, ok := in.impl.(SeriesStorage)
	if !ok {
		return status.Errorf(codes.Unimplemented, "storage %q does not number its series: it can be asked for samples only", name)
	}
	err := s.safely(in, func() error {
		return answerSeries(ctx, storage, r, func() error { return stream.RecvMsg(new(wire.FollowRequest)) }, func(m proto.Message) error { return stream.SendMsg(m) })
	})
	if err != nil && in.asks.ctx.Err() != nil {
		return status.Errorf(codes.Unavailable, "storage %q is stopping", name)
	}
	return answerError(err)
}

// answerError gives the status that an error of a [SeriesReader] travels as.
func answerError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*Refused)):
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, errors.ErrUnsupported):
		return status.Error(codes.Unimplemented, err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Unknown, err.Error())
}

// AnswerSeries has r answer a question that came as encoded messages, the first of
// which is the request. recv waits for the next with FOLLOW. The error has a gRPC
// status. Plugins have no need of it: the SDK answers for them.
func AnswerSeries(ctx context.Context, r SeriesReader, call wire.Question_Call, recv func() ([]byte, error), send func([]byte) error) error {
	var request proto.Message
	switch call {
	case wire.Question_FIND:
		request = new(wire.FindRequest)
	case wire.Question_WINDOWS:
		request = new(wire.WindowsRequest)
	case wire.Question_FOLLOW:
		request = new(wire.FollowRequest)
	case wire.Question_COMPUTE:
		request = new(wire.ComputeRequest)
	default:
		return status.Errorf(codes.Unimplemented, "there is no call %v", call)
	}
	first, err := recv()
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(first, request); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	more := func() error {
		_, err := recv()
		return err
	}
	return answerError(answerSeries(ctx, r, request, more, func(m proto.Message) error {
		data, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		return send(data)
	}))
}

// answerSeries has r answer. more waits until the next Advance is asked for.
func answerSeries(ctx context.Context, r SeriesReader, request proto.Message, more func() error, send func(proto.Message) error) error {
	switch w := request.(type) {
	case *wire.FindRequest:
		q, err := decodeSeriesQuery(w)
		if err != nil {
			return err
		}
		list, err := r.FindSeries(ctx, q)
		if err != nil {
			return err
		}
		if len(list) > MaxSeries {
			return Refuse(fmt.Errorf("%d series are found, at most %d can be asked for at once", len(list), MaxSeries))
		}
		return encodeFound(list, func(w *wire.SeriesTable) error { return send(w) })
	case *wire.WindowsRequest:
		qs, rows, err := decodeWindowQueries(w)
		if err != nil {
			return err
		}
		all, err := r.Windows(ctx, qs)
		if err != nil {
			return err
		}
		return encodeWindows(all, rows, func(w *wire.WindowsReply) error { return send(w) })
	case *wire.FollowRequest:
		for a, err := range r.Follow(ctx, FollowQuery{Meters: w.Meters, Undescribed: w.Undescribed}) {
			if err != nil {
				return err
			}
			// The storage goes on when the next one is asked for, so that it tells what has
			// advanced by then.
			err = encodeAdvance(a, func(w *wire.AdvanceReply) error {
				if err := send(w); err != nil {
					return err
				}
				return more()
			})
			if errors.Is(err, io.EOF) {
				return nil // the asker has enough
			}
			if err != nil {
				return err
			}
		}
		return ctx.Err()
	case *wire.ComputeRequest:
		q, err := decodeComputeQuery(w)
		if err != nil {
			return err
		}
		list, err := r.Compute(ctx, q)
		if err != nil {
			return err
		}
		return encodeComputed(list, func(w *wire.ComputeReply) error { return send(w) })
	}
	return fmt.Errorf("BUG: a question of the type %T", request)
}
