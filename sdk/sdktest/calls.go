package sdktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/figure"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Describe asks the plugin what it is.
func (p *Plugin) Describe(ctx context.Context) (*wire.Description, error) {
	return p.calls.Describe(ctx, &wire.DescribeRequest{})
}

// Check validates options through the protocol.
func (p *Plugin) Check(ctx context.Context, toml string) ([]config.Problem, error) {
	table, problems := config.Parse("test.toml", []byte(toml))
	if len(problems) > 0 {
		return problems, nil
	}
	r, err := p.calls.Check(ctx, &wire.CheckRequest{Instance: p.o.Instance, Options: protocol.EncodeTable(table)})
	return protocol.DecodeProblems(r.GetProblems()), err
}

// Poll polls once. The samples are those that arrived, also when an error did.
func (p *Plugin) Poll(ctx context.Context) ([]sdk.Sample, error) {
	batches, err := p.PollBatches(ctx)
	return samples(batches), err
}

// PollBatches is Poll for tests that look at batches or events.
func (p *Plugin) PollBatches(ctx context.Context) ([]*sdk.Batch, error) {
	stream, err := p.calls.Pollster.Poll(ctx, &wire.PollRequest{Instance: p.o.Instance})
	if err != nil {
		return nil, err
	}
	var batches []*sdk.Batch
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return batches, errors.New("the poll ended without a summary")
		}
		if err != nil {
			return batches, err
		}
		if len(r.Batch) > 0 {
			b, err := sdk.DecodeBatch(r.Batch)
			if err != nil {
				return batches, err
			}
			batches = append(batches, b)
		}
		if r.Summary != nil {
			if r.Summary.Error != "" {
				return batches, errors.New(r.Summary.Error)
			}
			return batches, nil
		}
	}
}

// Measure asks for the figures that the plugin tells about itself, as the host would
// show them. An error says what the host would leave out as well.
func (p *Plugin) Measure(ctx context.Context) ([]figure.Figure, error) {
	d, err := p.Describe(ctx)
	if err != nil {
		return nil, err
	}
	r, err := p.calls.Measure(ctx, &wire.MeasureRequest{Instance: p.o.Instance})
	if err != nil {
		return nil, err
	}
	return figure.Declare(d.Name, d.Own).Read(r)
}

// Transform gives the samples to the plugin as one batch.
func (p *Plugin) Transform(ctx context.Context, in ...sdk.Sample) ([]sdk.Sample, error) {
	data, err := encode(in)
	if err != nil {
		return nil, err
	}
	return p.TransformBatch(ctx, data)
}

// TransformBatch gives an encoded batch to the plugin; nil has it flush what is
// due by time.
func (p *Plugin) TransformBatch(ctx context.Context, data []byte) ([]sdk.Sample, error) {
	r, err := p.calls.Transformer.Transform(ctx, &wire.TransformRequest{Instance: p.o.Instance, Batch: data})
	if err != nil {
		return nil, err
	}
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	var batches []*sdk.Batch
	for _, data := range r.Batches {
		b, err := sdk.DecodeBatch(data)
		if err != nil {
			return nil, err
		}
		batches = append(batches, b)
	}
	return samples(batches), nil
}

// Query asks a storage, and gives the samples of its answer.
func (p *Plugin) Query(ctx context.Context, q sdk.Query) ([]sdk.Sample, error) {
	stream, err := p.calls.Storage.Query(ctx, &wire.QueryRequest{
		Storage: p.o.Instance, Meters: q.Meters, Resources: q.Resources, From: q.From.UnixNano(), To: q.To.UnixNano(),
		GranularityNs: int64(q.Granularity), Aggregation: q.Aggregation,
	})
	if err != nil {
		return nil, err
	}
	var batches []*sdk.Batch
	for {
		r, err := stream.Recv()
		if err != nil {
			return samples(batches), err
		}
		if r.Error != "" {
			return samples(batches), errors.New(r.Error)
		}
		if len(r.Batch) > 0 {
			b, err := sdk.DecodeBatch(r.Batch)
			if err != nil {
				return samples(batches), err
			}
			batches = append(batches, b)
		}
		if r.Last {
			return samples(batches), nil
		}
	}
}

// Publish gives the samples to the plugin as one batch. The error is nil, an
// *sdk.Refused, an *sdk.Later, or any other that asks for a retry.
func (p *Plugin) Publish(ctx context.Context, in ...sdk.Sample) error {
	data, err := encode(in)
	if err != nil {
		return err
	}
	return p.PublishBatch(ctx, data)
}

// PublishBatch gives an encoded batch to the plugin.
func (p *Plugin) PublishBatch(ctx context.Context, data []byte) error {
	r, err := p.calls.Publisher.Publish(ctx, &wire.PublishRequest{Instance: p.o.Instance, Batch: data})
	if err != nil {
		return err
	}
	switch reason := errors.New(r.Reason); r.Outcome {
	case wire.PublishReply_DONE:
		return nil
	case wire.PublishReply_REFUSED:
		if len(r.Rows) == 0 {
			return sdk.Refuse(reason)
		}
		rows := make([]int, len(r.Rows))
		for i, row := range r.Rows {
			rows[i] = int(row)
		}
		return sdk.RefuseRows(reason, rows)
	default:
		if r.RetryAfterNs > 0 {
			return sdk.RetryAfter(reason, time.Duration(r.RetryAfterNs))
		}
		return reason
	}
}

func samples(batches []*sdk.Batch) []sdk.Sample {
	var out []sdk.Sample
	for _, b := range batches {
		for _, s := range b.Samples() {
			out = append(out, s)
		}
	}
	return out
}

func encode(in []sdk.Sample) ([]byte, error) {
	batches, err := sdk.Build("sdktest", func(out *sdk.Builder) error {
		for _, s := range in {
			out.Add(s)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(batches) != 1 {
		return nil, fmt.Errorf("%d samples make %d batches; a call takes one", len(in), len(batches))
	}
	return batches[0].Encode()
}
