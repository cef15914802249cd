package sdk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/nephoscope/nepho/sdk/wire"
)

// errCallOver is what a builder hears that outlives its call.
var errCallOver = errors.New("the call that the samples belong to is over")

// Poll implements the service Pollster. The call is over before the summary is
// sent, for the host may poll again as soon as it has that.
func (s *server) Poll(r *wire.PollRequest, stream grpc.ServerStreamingServer[wire.PollReply]) error {
	summary, err := s.poll(r.Instance, stream)
	if err != nil {
		return err
	}
	return stream.Send(&wire.PollReply{Summary: summary})
}

func (s *server) poll(name string, stream grpc.ServerStreamingServer[wire.PollReply]) (*wire.PollSummary, error) {
	in, leave, err := s.call(name)
	if err != nil {
		return nil, err
	}
	defer leave()
	o := in.output(func(data []byte) error { return stream.Send(&wire.PollReply{Batch: data}) })
	defer o.close(errCallOver)
	b := newBuilder(o)
	ctx, cancel := shortly(stream.Context())
	defer cancel()
	ctx = context.WithValue(ctx, eachKey{}, &eachCall{in: in, s: s})
	err = s.safely(in, func() error { return poll(ctx, in.impl, b) })
	b.Flush()
	summary := &wire.PollSummary{Error: describeError(errors.Join(err, b.Err()))}
	summary.Resources, summary.Failed = in.each.counts()
	return summary, nil
}

// shortly ends a call's context a little before the host stops listening, so that
// what was measured by then still gets there, and a plugin that keeps to its
// context is not taken for one that hangs.
func shortly(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/10, time.Second)))
}

func poll(ctx context.Context, impl any, b *Builder) error {
	if p, ok := impl.(Pollster); ok {
		return p.Poll(ctx, b)
	}
	p := impl.(ResourcePollster)
	resources, err := p.Discover(ctx)
	if err != nil {
		return fmt.Errorf("cannot discover resources: %w", err)
	}
	return PollEach(ctx, resources, b, p.PollResource)
}

// Transform implements the service Transformer.
func (s *server) Transform(ctx context.Context, r *wire.TransformRequest) (*wire.TransformReply, error) {
	in, leave, err := s.call(r.Instance)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := shortly(ctx)
	defer cancel()
	reply := new(wire.TransformReply)
	emit := func(data []byte) error {
		reply.Batches = append(reply.Batches, data)
		return nil
	}
	if len(r.Batch) == 0 {
		err = s.flush(ctx, in, r.Flush, emit)
	} else {
		err = s.transform(ctx, in, r.Batch, emit)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		reply.Batches, reply.Error = nil, err.Error()
	}
	return reply, nil
}

// flush emits what is due by time. A name that the host gave the flush is for it
// what a batch's id is for transform; without one it never comes again.
func (s *server) flush(ctx context.Context, in *instance, name []byte, emit func([]byte) error) error {
	f, ok := in.impl.(Flusher)
	if !ok {
		return nil
	}
	var id [16]byte
	var ids idSource = &in.ids
	if len(name) == len(id) {
		id = [16]byte(name)
		ids = &derivedIDs{of: id, instance: in.env.Instance}
	}
	b := newBuilder(in.results(ids, emit))
	return s.inStates(in, id, func() error {
		err := s.safely(in, func() error { return f.Flush(ctx, time.Now(), b) })
		b.Flush()
		return errors.Join(err, b.Err())
	})
}

func (s *server) transform(ctx context.Context, in *instance, data []byte, emit func([]byte) error) error {
	batch, err := DecodeBatch(data)
	if err != nil {
		return err
	}
	id := batch.ID()
	chosen := in.choose(batch)
	if chosen == 0 {
		return emit(data)
	}
	var rest *Batch
	if chosen < batch.Meters() || batch.Events() > 0 {
		// What the instance is not asked for goes on as it is.
		if rest, err = DecodeBatch(data); err != nil {
			return err
		}
		rest.Keep(func(i int) bool { return !in.env.Wants(rest.Meter(rest.MeterOf(i)).Name) })
		batch.Keep(func(i int) bool { return in.env.Wants(batch.Meter(batch.MeterOf(i)).Name) })
		batch.KeepEvents(func(int) bool { return false })
	}
	// The ids depend on the batch and the instance alone: transforming it again
	// gives its samples the same ones.
	b := newBuilder(in.results(&derivedIDs{of: id, instance: in.env.Instance}, emit))
	return s.inStates(in, id, func() error {
		err := s.safely(in, func() error { return in.impl.(Transformer).Transform(ctx, batch, b) })
		if err != nil {
			return err
		}
		b.Flush()
		if rest != nil && rest.Len()+rest.Events() > 0 {
			rest, err := rest.Encode()
			if err != nil {
				return err
			}
			if err := emit(rest); err != nil {
				return err
			}
		}
		if b.drops > 0 {
			in.env.Log.Warn("some results are no samples and were left out", "error", b.Err())
			return nil
		}
		return b.Err()
	})
}

// choose counts the entries of the meter table that the instance is asked for.
func (in *instance) choose(b *Batch) int {
	n := 0
	for m := range b.Meters() {
		if in.env.Wants(b.Meter(m).Name) {
			n++
		}
	}
	return n
}

// inStates makes what call changes in the instance's states whole: all of it is
// kept, or nothing.
func (s *server) inStates(in *instance, batch [16]byte, call func() error) error {
	for _, state := range in.states {
		state.begin(batch)
	}
	err := call()
	for _, state := range in.states {
		if err != nil {
			state.rollback()
		}
		if e := state.commit(); e != nil {
			in.env.Log.Error("the state is safe from restarts again when its file can be written", "error", e)
		}
	}
	return err
}

// Publish implements the service Publisher.
func (s *server) Publish(ctx context.Context, r *wire.PublishRequest) (*wire.PublishReply, error) {
	in, leave, err := s.call(r.Instance)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := shortly(ctx)
	defer cancel()
	batch, err := DecodeBatch(r.Batch)
	if err != nil {
		return &wire.PublishReply{Outcome: wire.PublishReply_REFUSED, Reason: err.Error()}, nil
	}
	err = s.safely(in, func() error { return in.impl.(Publisher).Publish(ctx, batch) })
	if err == nil {
		return &wire.PublishReply{Outcome: wire.PublishReply_DONE}, nil
	}
	reply := &wire.PublishReply{Outcome: wire.PublishReply_RETRY, Reason: err.Error()}
	if _, failed := err.(*panicked); failed {
		// It may well panic whenever it is given this batch.
		reply.Outcome = wire.PublishReply_PANICKED
		return reply, nil
	}
	refused, later := split(err)
	if refused != nil {
		reply.Outcome = wire.PublishReply_REFUSED
		if refused.Rows != nil && len(refused.Rows) == 0 {
			reply.Outcome = wire.PublishReply_DONE // none of the rows
		}
		for _, row := range refused.Rows {
			reply.Rows = append(reply.Rows, uint32(row))
		}
	} else if later != nil {
		reply.RetryAfterNs = int64(later.After)
	}
	return reply, nil
}
