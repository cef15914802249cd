package supervisor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/protocol"
)

// startTimeout is how long a plugin may take from its start to its handshake.
const startTimeout = 10 * time.Second

// stopTimeout is how long it may take to end when it is asked to.
const stopTimeout = 2 * time.Second

// Life is a plugin's process from its start to its end, with the connection to it.
type Life struct {
	*protocol.Client
	process *process
	client  *plugin.Client
	own     own

	once   sync.Once
	mu     sync.Mutex
	reason error // why the supervisor ended it, if it did
}

// begin starts the process and connects to it. When ctx ends meanwhile, so does
// the process.
func begin(ctx context.Context, spec *Spec) (*Life, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	var identity string
	var secure *tls.Config
	if spec.MTLS {
		pem, err := protocol.NewIdentity()
		if err != nil {
			return nil, fmt.Errorf("cannot make an identity for plugin %s/%s: %w", spec.Kind, spec.Name, err)
		}
		if secure, err = protocol.TLSConfig(pem); err != nil {
			return nil, err
		}
		identity = string(pem)
	}
	l := &Life{own: own{plugin: spec.Name}}
	folder := "" // of the socket
	connected := func() bool { return true }
	read, printed := io.Pipe()
	l.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake,
		VersionedPlugins: protocol.PluginSet(&protocol.Adapter{}),
		SkipHostEnv:      true,
		TLSConfig:        secure,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       printed,
		SyncStderr:       printed,
		StartTimeout:     startTimeout,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: spec.SocketDir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			folder = dir
			if identity != "" {
				cmd.Env = append(cmd.Env, protocol.IdentityVariable+"="+identity)
			}
			p, err := newProcess(spec, cmd.Env, printed)
			if err != nil {
				return nil, err
			}
			l.process = p
			connected = context.AfterFunc(ctx, func() { p.Kill(ctx) })
			go bridge(p.stderr, spec.Log)
			go bridge(read, spec.Log)
			return p, nil
		},
		GRPCDialOptions: []grpc.DialOption{
			experimental.WithBufferPool(protocol.Buffers()),
			grpc.WithReadBufferSize(protocol.ReadBufferBytes),
			// A batch is at most MaxBatchBytes; replies of transformers hold several.
			grpc.WithDefaultCallOptions(
				grpc.MaxCallRecvMsgSize(4*sdk.MaxBatchBytes), grpc.MaxCallSendMsgSize(protocol.MaxMessageBytes)),
		},
	})
	conn, err := l.client.Client()
	connected()
	if err == nil {
		var set any
		if set, err = conn.Dispense(protocol.Set); err == nil {
			l.Client = set.(*protocol.Client)
			return l, nil
		}
	}
	// go-plugin explains by way of the handshake line; the process's own end says
	// more where there was one.
	if l.process != nil && l.process.ID() != "" {
		select {
		case <-l.process.exited:
			err = fmt.Errorf("it ended before the handshake (%w): %w", exitError(l.process.err), err)
		default:
		}
		l.process.Kill(ctx)
	}
	go func() {
		l.client.Kill()
		os.RemoveAll(folder) // go-plugin leaves it where nothing was started
	}()
	return nil, fmt.Errorf("cannot start plugin %s/%s: %w", spec.Kind, spec.Name, brief{err})
}

// brief is an error that may quote what a plugin printed, however long.
type brief struct{ error }

func (b brief) Unwrap() error { return b.error }

func (b brief) Error() string {
	const longest = 500
	text := strings.Join(strings.Fields(strings.ToValidUTF8(b.error.Error(), "\uFFFD")), " ")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + " ..."
	}
	return text
}

func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// Done is closed when the process is gone.
func (l *Life) Done() <-chan struct{} { return l.process.exited }

// PID of the process.
func (l *Life) PID() int { return l.process.cmd.Process.Pid }

// end says, once Done is closed, why the life ended.
func (l *Life) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason != nil {
		return l.reason
	}
	return fmt.Errorf("the process ended: %w", exitError(l.process.err))
}

// Kill ends the process at once, for the given reason.
func (l *Life) Kill(reason error) {
	l.mu.Lock()
	if l.reason == nil {
		l.reason = reason
	}
	l.mu.Unlock()
	l.process.Kill(context.Background())
}

// close ends the process if it runs, asking first, and frees the connection.
func (l *Life) close() {
	l.once.Do(func() {
		// go-plugin waits for ever for an answer to its asking.
		late := time.AfterFunc(stopTimeout, func() { l.process.Kill(context.Background()) })
		defer late.Stop()
		l.client.Kill()
	})
}
