package protocol

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/nephoscope/nepho/sdk/wire"
)

// methods of the calls of a question.
var methods = map[wire.Question_Call]string{
	wire.Question_FIND:    wire.SeriesStorage_Find_FullMethodName,
	wire.Question_WINDOWS: wire.SeriesStorage_Windows_FullMethodName,
	wire.Question_FOLLOW:  wire.SeriesStorage_Follow_FullMethodName,
	wire.Question_COMPUTE: wire.SeriesStorage_Compute_FullMethodName,
}

// Pipe is an open call of the service SeriesStorage whose messages pass as bytes. It
// ends with its context.
type Pipe struct{ stream grpc.ClientStream }

// Pipe begins a call.
func (c *Client) Pipe(ctx context.Context, call wire.Question_Call) (*Pipe, error) {
	method, ok := methods[call]
	if !ok {
		return nil, fmt.Errorf("there is no call %v", call)
	}
	stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodec(bytesCodec{}))
	if err != nil {
		return nil, err
	}
	return &Pipe{stream}, nil
}

// Send sends an encoded request. The last one of a call is followed by CloseSend.
func (p *Pipe) Send(message []byte) error { return p.stream.SendMsg(message) }

// CloseSend says that no request follows.
func (p *Pipe) CloseSend() error { return p.stream.CloseSend() }

// Recv gives the next encoded reply, and io.EOF after the last.
func (p *Pipe) Recv() ([]byte, error) {
	var message []byte
	err := p.stream.RecvMsg(&message)
	return message, err
}

// bytesCodec passes encoded messages.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }

// Unmarshal keeps data, which gRPC gives away.
func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}

// Name is that of the codec at the other end.
func (bytesCodec) Name() string { return "proto" }
