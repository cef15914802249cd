package sdk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"

	"github.com/nephoscope/nepho/sdk/idle"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// StdoutFDVariable is the environment variable that tells a plugin which of its
// file descriptors is the host's standard output.
const StdoutFDVariable = "NEPHO_STDOUT_FD"

// handshakeOut is the process's real standard output while the host waits for
// the handshake there. Anything else that is printed, as early as it may be,
// goes to standard error instead, for it would break the handshake.
var handshakeOut *os.File

func init() {
	if os.Getenv(protocol.CookieKey) == protocol.Handshake.MagicCookieValue {
		handshakeOut, os.Stdout = os.Stdout, os.Stderr
	}
}

// Serve runs the plugin; it is all that main has to do. Started by the host, the
// process serves instances of p until the host tells it to end or is gone itself.
// Started by a person, it says what p is and polls once, see --help.
func Serve(p Plugin) {
	if handshakeOut == nil {
		os.Exit(byHand(p, os.Args[1:], os.Stdout, os.Stderr))
	}
	s, err := newServer(p, slog.New(newHandler(os.Stderr)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	outliveSignals()
	go dieWithParent(os.Getppid())
	go idle.Trim(context.Background())
	var secure func() (*tls.Config, error)
	if identity := os.Getenv(protocol.IdentityVariable); identity != "" {
		// The plugin's own children have no business with it.
		os.Unsetenv(protocol.IdentityVariable)
		secure = func() (*tls.Config, error) { return protocol.TLSConfig([]byte(identity)) }
	}
	os.Stdout = handshakeOut
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  protocol.Handshake,
		VersionedPlugins: protocol.PluginSet(&protocol.Adapter{Register: s.register}),
		Logger:           hclog.NewNullLogger(),
		TLSProvider:      secure,
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, experimental.BufferPool(protocol.Buffers()), grpc.ReadBufferSize(protocol.ReadBufferBytes),
				grpc.MaxRecvMsgSize(protocol.MaxMessageBytes), grpc.MaxSendMsgSize(protocol.MaxMessageBytes))...)
		},
	})
}

// HostStdout gives the host's standard output, for plugins that print for the
// operator: a plugin's own is not the operator's terminal. The caller may close
// it, except when it is the process's own os.Stdout.
func HostStdout() (*os.File, error) {
	fd, err := strconv.Atoi(os.Getenv(StdoutFDVariable))
	if err != nil {
		if handshakeOut == nil {
			return os.Stdout, nil // started by hand
		}
		return nil, errors.New("the host has not handed down its standard output")
	}
	// A copy, for the caller may close it or leave it to the garbage collector.
	own, err := syscall.Dup(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot use the host's standard output: %w", err)
	}
	syscall.CloseOnExec(own)
	return os.NewFile(uintptr(own), "stdout"), nil
}

// outliveSignals keeps the signals that a whole process group or service gets
// from ending the plugin: the host asks it to stop once its samples are safe.
func outliveSignals() {
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	go func() {
		for range c {
		}
	}()
}

// dieWithParent ends the process when its host is gone, however that came.
func dieWithParent(parent int) {
	for os.Getppid() == parent {
		time.Sleep(time.Second)
	}
	os.Exit(3)
}

// register adds the services of the plugin's kind.
func (s *server) register(g *grpc.Server) {
	wire.RegisterPluginServer(g, s)
	switch s.kind {
	case KindPollster:
		wire.RegisterPollsterServer(g, s)
	case KindNotification:
		wire.RegisterSourceServer(g, s)
	case KindTransformer:
		wire.RegisterTransformerServer(g, s)
	case KindPublisher:
		wire.RegisterPublisherServer(g, s)
	case KindStorage:
		wire.RegisterPublisherServer(g, s)
		wire.RegisterStorageServer(g, s)
		wire.RegisterSeriesStorageServer(g, s)
	case KindAlarm:
		wire.RegisterPublisherServer(g, s)
		wire.RegisterSourceServer(g, s)
		wire.RegisterAskerServer(g, s)
	}
}
