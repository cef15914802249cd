package sdk

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk/wire"
)

// errManyFigures is what a builder hears that has a batch of figures already.
var errManyFigures = errors.New("an instance tells a thousand figures at most")

// Measure implements the service Plugin. It goes beside all other calls.
func (s *server) Measure(ctx context.Context, r *wire.MeasureRequest) (*wire.MeasureReply, error) {
	in := s.find(r.Instance)
	if in == nil {
		return nil, notRunning(r.Instance)
	}
	m, ok := in.impl.(Measurer)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the plugin tells no figures about itself")
	}
	leave, err := in.looks.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := shortly(ctx)
	defer cancel()
	reply := new(wire.MeasureReply)
	// Not in.results: the numbers of a source's batches have no gaps.
	o := &output{instance: r.Instance, ids: &in.ids, sequence: new(sequence), emit: func(data []byte) error {
		if reply.Batch != nil {
			return errManyFigures
		}
		reply.Batch = data
		return nil
	}}
	defer o.close(errCallOver)
	b := newBuilder(o)
	b.t.anonymous = true
	err = s.safely(in, func() error { return m.Measure(ctx, b) })
	b.Flush()
	reply.Error = describeError(errors.Join(err, b.Err()))
	return reply, nil
}
