// Package sdktest runs a plugin through the real protocol in go test, without a
// host: in a process of its own, over the same handshake, encryption and
// messages that the host uses.
//
// The test binary itself serves as the plugin's executable:
//
//	func TestMain(m *testing.M) { sdktest.Main(m, Plugin()) }
//
//	func TestPoll(t *testing.T) {
//		p := sdktest.Start(t, `greeting = "hello"`)
//		samples, err := p.Poll(t.Context())
//		...
//	}
package sdktest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Main is to be called by TestMain: it runs the tests, or serves the plugin when
// the kit started this binary as one.
func Main(m *testing.M, p sdk.Plugin) {
	if os.Getenv(protocol.CookieKey) != "" {
		sdk.Serve(p)
		return
	}
	os.Exit(m.Run())
}

// Options of a plugin's process and its instance.
type Options struct {
	// Config is the instance's TOML: its options, without a table header.
	Config string
	// Instance is the instance's name; "test" if empty.
	Instance string
	Meters   []string
	Tags     map[string]string
	// StateDir survives restarts; a temporary one if empty.
	StateDir        string
	Interval        time.Duration
	Concurrency     int
	ResourceTimeout time.Duration
	// Env is added to the process's environment, which is empty otherwise but for
	// PATH and HOME.
	Env []string
	// Executable is started instead of the test binary, to try a built plugin.
	Executable string
	// Storage answers what an alarm asks of the storage of the given name.
	Storage func(storage string, q sdk.Query) iter.Seq2[*sdk.Batch, error]
	// Series gives what answers an alarm that asks the storage of the given name by
	// series, such as a [Store]; nil for one that can't be asked so.
	Series func(storage string) sdk.SeriesReader
}

// Plugin is a plugin's process with one instance.
type Plugin struct {
	tb     testing.TB
	o      Options
	client *plugin.Client
	calls  *protocol.Client
	stderr *buffer
}

// Start starts the plugin and an instance of it; it fails the test when that
// fails. The process ends with the test.
func Start(tb testing.TB, toml string) *Plugin {
	tb.Helper()
	return StartWith(tb, Options{Config: toml})
}

// StartWith is Start with all options.
func StartWith(tb testing.TB, o Options) *Plugin {
	tb.Helper()
	p, err := Launch(tb, o)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// Launch is StartWith for tests that expect an error. Mistakes in the options
// come as config.Problem values joined into the error.
func Launch(tb testing.TB, o Options) (*Plugin, error) {
	tb.Helper()
	if o.Instance == "" {
		o.Instance = "test"
	}
	if o.StateDir == "" {
		o.StateDir = filepath.Join(tb.TempDir(), "state")
	}
	p := &Plugin{tb: tb, o: o}
	tb.Cleanup(p.end)
	return p, p.start()
}

func (p *Plugin) start() error {
	executable, err := p.executable()
	if err != nil {
		return err
	}
	p.stderr = &buffer{}
	cmd := exec.Command(executable)
	cmd.Env = p.environment()
	identity, err := protocol.NewIdentity()
	if err != nil {
		return err
	}
	secure, err := protocol.TLSConfig(identity)
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, protocol.IdentityVariable+"="+string(identity))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake,
		VersionedPlugins: protocol.PluginSet(&protocol.Adapter{}),
		Cmd:              cmd,
		SkipHostEnv:      true,
		TLSConfig:        secure,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		Stderr:           p.stderr,
		SyncStdout:       p.stderr,
		SyncStderr:       p.stderr,
		StartTimeout:     time.Minute,
	})
	conn, err := p.client.Client()
	if err != nil {
		return fmt.Errorf("cannot start the plugin: %w\n%s", err, p.Stderr())
	}
	set, err := conn.Dispense(protocol.Set)
	if err != nil {
		return err
	}
	p.calls = set.(*protocol.Client)
	return p.startInstance()
}

func (p *Plugin) executable() (string, error) {
	if p.o.Executable != "" {
		return p.o.Executable, nil
	}
	return os.Executable()
}

func (p *Plugin) environment() []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, p.o.Env...)
}

func (p *Plugin) startInstance() error {
	table, problems := config.Parse("test.toml", []byte(p.o.Config))
	if len(problems) > 0 {
		return config.Join(problems)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := p.calls.Start(ctx, &wire.StartRequest{
		Instance: p.o.Instance, Options: protocol.EncodeTable(table), Meters: p.o.Meters, Tags: p.o.Tags,
		StateDir: p.o.StateDir, IntervalNs: int64(p.o.Interval), Concurrency: uint32(p.o.Concurrency),
		ResourceTimeoutNs: int64(p.o.ResourceTimeout), LogLevel: "debug",
	})
	if err != nil {
		return err
	}
	if len(reply.Problems) > 0 {
		return config.Join(protocol.DecodeProblems(reply.Problems))
	}
	if reply.Error != "" {
		return errors.New(reply.Error)
	}
	return nil
}

// Stop stops the instance as the host does; the process goes on.
func (p *Plugin) Stop(ctx context.Context) error {
	r, err := p.calls.Stop(ctx, &wire.StopRequest{Instance: p.o.Instance})
	if err != nil {
		return err
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return nil
}

// PID is the plugin's process.
func (p *Plugin) PID() int { return p.client.ReattachConfig().Pid }

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Plugin) Kill() {
	syscall.Kill(p.PID(), syscall.SIGKILL)
	p.waitExit()
}

func (p *Plugin) waitExit() {
	for !p.client.Exited() {
		time.Sleep(time.Millisecond)
	}
}

// Restart starts the plugin and its instance anew, after Kill or Stop.
func (p *Plugin) Restart() {
	p.tb.Helper()
	p.client.Kill()
	if err := p.start(); err != nil {
		p.tb.Fatal(err)
	}
}

// Stderr is what the process printed, to whichever output, and logged, as far as it
// has arrived: an answer to a call may overtake it (see AwaitStderr).
func (p *Plugin) Stderr() string { return p.stderr.String() }

// AwaitStderr waits until Stderr has the text. It fails the test when that has
// not come after half a minute.
func (p *Plugin) AwaitStderr(text string) {
	p.tb.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(p.Stderr(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.tb.Fatalf("the process printed no %s, but\n%s", text, p.Stderr())
		}
	}
}

func (p *Plugin) end() {
	if p.client == nil {
		return
	}
	if p.calls != nil && !p.client.Exited() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			p.tb.Logf("stopping the instance: %v", err)
		}
	}
	p.client.Kill()
}

// buffer keeps what the process prints.
type buffer struct {
	mu sync.Mutex
	b  []byte
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.b) < 1<<20 {
		b.b = append(b.b, p...)
	}
	return len(p), nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.b)
}
