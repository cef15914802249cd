package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// TestMain serves the plugin that the tests supervise, where the supervisor has
// started this binary.
func TestMain(m *testing.M) {
	if os.Getenv(protocol.CookieKey) != "" {
		serve()
		return
	}
	// What a plugin still says is read for a moment after its end.
	parts.Main(m)
}

// hoard is what a plugin keeps that grows.
var hoard [][]byte

// serve is the plugin's process; BEHAVIOUR says what is wrong with it.
func serve() {
	fmt.Fprintln(os.Stderr, "the process begins")
	switch os.Getenv("BEHAVIOUR") {
	case "die":
		os.Exit(7)
	case "silent":
		time.Sleep(time.Hour)
	case "grow":
		go func() {
			for len(hoard) < 50 { // far more than is allowed, and not all that the machine has
				chunk := bytes.Repeat([]byte{1}, 8<<20)
				hoard = append(hoard, chunk)
				time.Sleep(20 * time.Millisecond)
			}
		}()
	case "grandchild":
		cmd := exec.Command("sleep", "300")
		cmd.Stdout, cmd.Stderr = os.NewFile(1, ""), os.Stderr
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		fmt.Fprintf(os.Stderr, "grandchild %d\n", cmd.Process.Pid)
	}
	sdk.Serve(sdk.Plugin{Name: "test", Version: "1", Pollster: func() sdk.Pollster { return new(pollster) }})
}

type pollster struct {
	// Until is a file without which the instance cannot start.
	Until string `toml:"until"`
	Mode  string `toml:"mode" enum:"good|hang-start|hang-stop"`
}

func (p *pollster) Start(context.Context, sdk.Env) error {
	if p.Mode == "hang-start" {
		fmt.Fprintln(os.Stderr, "it hangs in its start")
		select {}
	}
	if p.Until == "" {
		return nil
	}
	_, err := os.Stat(p.Until)
	return err
}

func (p *pollster) Poll(_ context.Context, out *sdk.Builder) error {
	fmt.Fprintln(os.Stdout, "said on stdout")
	fmt.Fprintln(os.Stderr, "said on stderr")
	out.On(sdk.Resource{ID: "r"}).Gauge("one", "1", 1)
	return nil
}

func (p *pollster) Stop(context.Context) error {
	if p.Mode == "hang-stop" {
		select {}
	}
	return nil
}

// journal is a log that tests read.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// newSpec says how to start this binary as a plugin with a behaviour.
func newSpec(t *testing.T, behaviour string) (Spec, *journal) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("/tmp", "nepho-test-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	j := new(journal)
	return Spec{
		Kind: "pollster", Name: "test", Path: self, Bundled: true, MTLS: true, SocketDir: sockets, Log: j.logger(),
		Env: []string{"PATH=" + os.Getenv("PATH"), "BEHAVIOUR=" + behaviour},
	}, j
}

// start starts a process that ends with the test.
func start(t *testing.T, s Spec) *Process {
	t.Helper()
	p := Start(s)
	t.Cleanup(p.Stop)
	return p
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

// lifeOf gives the present life.
func lifeOf(t *testing.T, p *Process) *Life {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	life, err := p.Wait(ctx)
	if err != nil {
		t.Fatalf("%v; the process: %+v", err, p.Status())
	}
	return life
}

// gone tells whether a process has ended.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// request starts an instance with the given options.
func request(t *testing.T, name, toml string) *wire.StartRequest {
	t.Helper()
	table, problems := config.Parse("test.toml", []byte(toml))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return &wire.StartRequest{Instance: name, Options: protocol.EncodeTable(table), LogLevel: "info"}
}
