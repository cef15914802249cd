package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// rawServer answers the host without the SDK, and so need not keep the protocol.
type rawServer struct {
	wire.UnimplementedPluginServer
	wire.UnimplementedPollsterServer
	wire.UnimplementedTransformerServer
	wire.UnimplementedPublisherServer
	kind, what string
}

func serveRaw(kind, what string) {
	s := &rawServer{kind: kind, what: what}
	os.Stdout = os.NewFile(1, "stdout") // for the handshake; the SDK keeps it for itself
	plugin.Serve(&plugin.ServeConfig{
		TLSProvider: func() (*tls.Config, error) {
			return protocol.TLSConfig([]byte(os.Getenv(protocol.IdentityVariable)))
		},
		HandshakeConfig: protocol.Handshake,
		VersionedPlugins: protocol.PluginSet(&protocol.Adapter{Register: func(g *grpc.Server) {
			wire.RegisterPluginServer(g, s)
			wire.RegisterPollsterServer(g, s)
			wire.RegisterTransformerServer(g, s)
			wire.RegisterPublisherServer(g, s)
		}}),
		Logger: hclog.NewNullLogger(),
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.MaxSendMsgSize(math.MaxInt32), grpc.MaxRecvMsgSize(math.MaxInt32))...)
		},
	})
}

func (s *rawServer) Describe(context.Context, *wire.DescribeRequest) (*wire.Description, error) {
	d := &wire.Description{Kind: s.kind, Name: "rogue", Version: "raw"}
	switch s.what {
	case "other-kind":
		d.Kind = "storage"
	case "huge-description":
		d.Summary = string(make([]byte, 100<<20))
	}
	return d, nil
}

func (s *rawServer) Check(context.Context, *wire.CheckRequest) (*wire.CheckReply, error) {
	return &wire.CheckReply{}, nil
}

func (s *rawServer) Start(context.Context, *wire.StartRequest) (*wire.StartReply, error) {
	return &wire.StartReply{}, nil
}

func (s *rawServer) Stop(context.Context, *wire.StopRequest) (*wire.StopReply, error) {
	return &wire.StopReply{}, nil
}

// batches are what a pollster or a transformer answers with.
func (s *rawServer) batches() [][]byte {
	switch s.what {
	case "huge": // more than any message may hold
		return [][]byte{make([]byte, 100<<20)}
	case "large": // more than a batch may hold, and a true one otherwise
		var all [][]byte
		b := good(5000)
		for len(b.Strings) < 200 {
			b.Strings = append(b.Strings, string(make([]byte, 60<<10)))
		}
		return append(all, encode(b))
	case "garbage":
		return [][]byte{[]byte("\x0a\xff\xff\xff\xff\x0f garbage"), []byte("garbage"), {0xff}}
	case "lies":
		more, fewer, none, outside := good(3), good(3), good(3), good(3)
		more.Count, fewer.Count, none.Count = 4999, 1, 0
		outside.Meter[1] = 77
		return [][]byte{encode(more), encode(fewer), encode(none), encode(outside)}
	default:
		return [][]byte{encode(good(3))}
	}
}

// good is a right batch of n samples.
func good(n int) *wire.Batch {
	made, err := sdk.Build("rogue", func(out *sdk.Builder) error {
		on := out.On(sdk.Resource{ID: "r"})
		for i := range n {
			on.Gauge("number", "1", float64(i))
		}
		return nil
	})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	all := new(wire.Batch)
	for i, b := range made {
		data, err := b.Encode()
		if err != nil {
			panic("BUG: " + err.Error())
		}
		if i == 0 {
			if err := proto.Unmarshal(data, all); err != nil {
				panic("BUG: " + err.Error())
			}
		}
	}
	return all
}

func encode(b *wire.Batch) []byte {
	data, err := proto.Marshal(b)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return data
}

// Poll implements the service Pollster.
func (s *rawServer) Poll(_ *wire.PollRequest, stream grpc.ServerStreamingServer[wire.PollReply]) error {
	for _, data := range s.batches() {
		if err := stream.Send(&wire.PollReply{Batch: data}); err != nil {
			return err
		}
	}
	switch s.what {
	case "no-summary":
		return nil
	case "flood": // batches without end
		data := encode(good(2000))
		for {
			if err := stream.Send(&wire.PollReply{Batch: data}); err != nil {
				return err
			}
		}
	case "long-error":
		return stream.Send(&wire.PollReply{Summary: &wire.PollSummary{Error: string(make([]byte, 20<<20))}})
	}
	return stream.Send(&wire.PollReply{Summary: &wire.PollSummary{}})
}

// Transform implements the service Transformer.
func (s *rawServer) Transform(context.Context, *wire.TransformRequest) (*wire.TransformReply, error) {
	return &wire.TransformReply{Batches: s.batches()}, nil
}

// Publish implements the service Publisher.
func (s *rawServer) Publish(context.Context, *wire.PublishRequest) (*wire.PublishReply, error) {
	switch s.what {
	case "unknown-outcome":
		return &wire.PublishReply{Outcome: 42, Reason: "who knows"}, nil
	case "refuses-lies":
		rows := []uint32{0, 0, 0, 7000, math.MaxUint32}
		return &wire.PublishReply{Outcome: wire.PublishReply_REFUSED, Reason: "some are refused", Rows: rows}, nil
	case "retry-never":
		return &wire.PublishReply{Outcome: wire.PublishReply_RETRY, Reason: "come back later", RetryAfterNs: int64(1000 * time.Hour)}, nil
	case "huge-reason":
		return &wire.PublishReply{Outcome: wire.PublishReply_REFUSED, Reason: string(make([]byte, 40<<20))}, nil
	default:
		fmt.Fprintf(os.Stderr, "a raw publisher knows no %q\n", s.what)
		return &wire.PublishReply{}, nil
	}
}
