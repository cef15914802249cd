// Package protocol holds what both ends of a plugin's connection must agree on:
// the handshake, the clients of the services, and the wire form of
// configuration. Authors of plugins have no need of it.
package protocol

import (
	"context"
	"errors"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/nephoscope/nepho/sdk/wire"
)

// Version of the protocol. It is raised when an older plugin could not work with
// the host any more; what is only added needs no new one.
const Version = 1

// MaxMessageBytes bounds one message in either direction.
const MaxMessageBytes = 64 << 20

// ReadBufferBytes is how much each end of a connection reads at once: room for the
// small frames around a message. What is longer is read past this buffer, straight
// to where it is used; gRPC's default of 32 KiB would have it copied.
const ReadBufferBytes = 4 << 10

// SDKVersion is reported by plugins built with this SDK.
const SDKVersion = "0.2.0"

// CookieKey is the environment variable that tells a plugin that a host started
// it.
const CookieKey = "NEPHO_PLUGIN"

// Handshake is what go-plugin checks before anything else.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  Version,
	MagicCookieKey:   CookieKey,
	MagicCookieValue: "nephoscope",
}

// Set is the name under which the one service set of a plugin is dispensed.
const Set = "nepho"

// Adapter binds the services to go-plugin.
type Adapter struct {
	plugin.NetRPCUnsupportedPlugin
	// Register adds the services to the server; set in a plugin, nil in a host.
	Register func(*grpc.Server)
}

var _ plugin.GRPCPlugin = (*Adapter)(nil)

// GRPCServer implements plugin.GRPCPlugin.
func (a *Adapter) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if a.Register == nil {
		return errors.New("BUG: a host does not serve")
	}
	a.Register(s)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin; it gives a *[Client].
func (a *Adapter) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return NewClient(c), nil
}

// Client calls a plugin's services.
type Client struct {
	wire.PluginClient
	Pollster    wire.PollsterClient
	Source      wire.SourceClient
	Transformer wire.TransformerClient
	Publisher   wire.PublisherClient
	Storage     wire.StorageClient
	Asker       wire.AskerClient

	conn *grpc.ClientConn
}

// NewClient makes a client of a connection.
func NewClient(c *grpc.ClientConn) *Client {
	return &Client{
		wire.NewPluginClient(c), wire.NewPollsterClient(c), wire.NewSourceClient(c),
		wire.NewTransformerClient(c), wire.NewPublisherClient(c), wire.NewStorageClient(c), wire.NewAskerClient(c), c,
	}
}

// Buffers gives a pool of buffers for one end of a connection. gRPC's own has none
// between 32 KiB and 1 MiB, where batches are: it would clear a megabyte for each.
func Buffers() mem.BufferPool {
	pool, err := mem.NewBinaryTieredBufferPool(8, 12, 14, 15, 16, 17, 18, 20, 22)
	if err != nil {
		return mem.DefaultBufferPool()
	}
	return pool
}

// PluginSet gives go-plugin the version table.
func PluginSet(a *Adapter) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{Version: {Set: a}}
}
