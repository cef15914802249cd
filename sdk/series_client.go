package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/nephoscope/nepho/sdk/wire"
)

// SeriesExchange is a question to a storage and its answer, as encoded messages of
// the protocol. It ends with the context it was opened with. Plugins have no need
// of it.
type SeriesExchange interface {
	// Send sends the request, or with FOLLOW the next one.
	Send(message []byte) error
	// Recv gives the next part of the answer, and io.EOF after the last; else an error
	// with a gRPC status.
	Recv() ([]byte, error)
}

// AskSeries gives a reader of the storage that open opens exchanges with, for the one
// who asks it over some connection. Plugins have theirs of [Host].Series.
func AskSeries(open func(ctx context.Context, call wire.Question_Call) (SeriesExchange, error)) SeriesReader {
	return seriesClient{open}
}

type seriesClient struct {
	open func(context.Context, wire.Question_Call) (SeriesExchange, error)
}

// message is what an answer consists of.
type message[M any] interface {
	*M
	proto.Message
}

// ask asks, and calls each for each part of the answer. With FOLLOW each part is asked
// for when the one before was dealt with.
func ask[M any, P message[M]](ctx context.Context, c seriesClient, call wire.Question_Call, request proto.Message, each func(P) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	open, cancel := context.WithCancel(ctx)
	defer cancel()
	x, err := c.open(open, call)
	if err != nil {
		return askError(ctx, err)
	}
	next, err := proto.Marshal(request)
	if err != nil {
		return Refuse(fmt.Errorf("cannot ask this: %w", err))
	}
	for sent := false; ; {
		if !sent || call == wire.Question_FOLLOW {
			if err := x.Send(next); err != nil && !errors.Is(err, io.EOF) { // else Recv tells more
				return askError(ctx, err)
			}
			next, sent = nil, true
		}
		data, err := x.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return askError(ctx, err)
		}
		part := P(new(M))
		if err := proto.Unmarshal(data, part); err != nil {
			return badAnswer("%w", err)
		}
		if err := each(part); err != nil {
			return err
		}
	}
}

// askError makes what a [SeriesReader] says of the error of an exchange.
func askError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch text := errors.New(s.Message()); s.Code() {
	case codes.InvalidArgument:
		return Refuse(text)
	case codes.Unimplemented:
		return fmt.Errorf("%w: %w", text, errors.ErrUnsupported)
	default:
		return text
	}
}

// FindSeries implements [SeriesReader].
func (c seriesClient) FindSeries(ctx context.Context, q SeriesQuery) (list []FoundSeries, err error) {
	asked := len(q.IDs) + len(q.Names)
	err = ask(ctx, c, wire.Question_FIND, encodeSeriesQuery(q), func(w *wire.SeriesTable) (err error) {
		list, err = appendFound(list, w, asked)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Windows implements [SeriesReader].
func (c seriesClient) Windows(ctx context.Context, qs []WindowQuery) (*Windows, error) {
	rows := 0
	for _, q := range qs {
		rows += len(q.Series)
	}
	all := new(Windows)
	err := ask(ctx, c, wire.Question_WINDOWS, encodeWindowQueries(qs), func(w *wire.WindowsReply) error {
		return appendWindows(all, w, rows)
	})
	if err == nil && len(all.Counts) != rows {
		err = badAnswer("%d rows of %d", len(all.Counts), rows)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// errEnough ends an exchange that the asker has enough of.
var errEnough = errors.New("enough")

// Follow implements [SeriesReader].
func (c seriesClient) Follow(ctx context.Context, q FollowQuery) iter.Seq2[*Advance, error] {
	return func(yield func(*Advance, error) bool) {
		request := &wire.FollowRequest{Meters: q.Meters, Undescribed: q.Undescribed}
		err := ask(ctx, c, wire.Question_FOLLOW, request, func(w *wire.AdvanceReply) error {
			a, err := decodeAdvance(w)
			if err == nil && !yield(a, nil) {
				err = errEnough
			}
			return err
		})
		switch {
		case err == nil:
			yield(nil, errors.New("the storage does not tell what advances any more"))
		case !errors.Is(err, errEnough):
			yield(nil, err)
		}
	}
}

// Compute implements [SeriesReader].
func (c seriesClient) Compute(ctx context.Context, q ComputeQuery) (list []ComputedSeries, err error) {
	points := 0
	err = ask(ctx, c, wire.Question_COMPUTE, encodeComputeQuery(q), func(w *wire.ComputeReply) (err error) {
		list, err = appendComputed(list, w, points)
		points += len(w.Time)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// noSeries answers for a storage that can't be asked by series.
type noSeries struct{ why error }

// FindSeries implements [SeriesReader].
func (n noSeries) FindSeries(context.Context, SeriesQuery) ([]FoundSeries, error) { return nil, n.why }

// Windows implements [SeriesReader].
func (n noSeries) Windows(context.Context, []WindowQuery) (*Windows, error) { return nil, n.why }

// Follow implements [SeriesReader].
func (n noSeries) Follow(context.Context, FollowQuery) iter.Seq2[*Advance, error] {
	return func(yield func(*Advance, error) bool) { yield(nil, n.why) }
}

// Compute implements [SeriesReader].
func (n noSeries) Compute(context.Context, ComputeQuery) ([]ComputedSeries, error) {
	return nil, n.why
}
