package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"

	"github.com/nephoscope/nepho/sdk"
)

// process runs one executable for go-plugin. go-plugin's own runner would hide
// the moment of its end, share standard input, and let a line of JSON on
// standard error crash the host.
type process struct {
	cmd    *exec.Cmd
	stdout *os.File
	stderr *os.File
	mute   chan struct{} // closed when nothing can come on standard output any more
	// printed is written to with what go-plugin takes from the plugin's os.Stdout
	// and os.Stderr once it serves.
	printed *io.PipeWriter
	exited  chan struct{} // closed when the process is gone
	err     error         // why it ended, once exited is closed

	mu     sync.Mutex // held while the process is started, reaped or killed
	killed bool
}

var _ runner.Runner = (*process)(nil)

// newProcess prepares spec's executable with the environment that the protocol
// wants. It must be started from a locked thread that outlives it: that thread's
// end is what Pdeathsig stands for.
func newProcess(spec *Spec, env []string, printed *io.PipeWriter) (*process, error) {
	p := &process{cmd: exec.Command(spec.Path, spec.Args...), printed: printed, mute: make(chan struct{}), exited: make(chan struct{})}
	p.cmd.Env = append(append([]string(nil), spec.Env...), env...)
	if limit := collectAt(spec); limit != "" {
		p.cmd.Env = append(p.cmd.Env, limit)
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if spec.Stdout != nil {
		p.cmd.ExtraFiles = []*os.File{spec.Stdout}
		p.cmd.Env = append(p.cmd.Env, sdk.StdoutFDVariable+"=3")
	}
	out, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, out.Close(), outW.Close())
	}
	p.stdout, p.stderr = out, errR
	p.cmd.Stdout, p.cmd.Stderr = outW, errW
	return p, nil
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	err := p.start()
	// The plugin has its own ends now; ours would keep the pipes open.
	p.cmd.Stdout.(*os.File).Close()
	p.cmd.Stderr.(*os.File).Close()
	if err != nil {
		p.closeOutput()
		return fmt.Errorf("cannot start %q: %w", p.cmd.Path, err)
	}
	go func() {
		p.reap()
		// A process that left the group may hold the pipes open for ever; what it
		// still says within this time is read.
		time.Sleep(2 * time.Second)
		p.closeOutput()
	}()
	return nil
}

func (p *process) closeOutput() {
	p.stdout.Close()
	p.stderr.Close()
	p.printed.Close()
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errors.New("it was stopped before")
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	preferToHost(p.cmd.Process.Pid)
	return nil
}

// reap waits for the end of the process and ends what it leaves behind. As long
// as it is not reaped, its id, which is its group's too, is no other's.
func (p *process) reap() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.err = p.cmd.Wait()
	close(p.exited)
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return &output{File: p.stdout, process: p} }

// output is standard output, which one goroutine reads.
type output struct {
	*os.File
	process *process
	ended   bool
}

func (o *output) Read(b []byte) (int, error) {
	n, err := o.File.Read(b)
	if err != nil && !o.ended {
		o.ended = true
		close(o.process.mute)
	}
	return n, err
}

// Stderr implements runner.Runner. The supervisor reads the real one.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Wait implements runner.Runner.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return p.err
}

// Kill implements runner.Runner: it ends the process and all it started, and
// keeps it from being started if it is not yet.
func (p *process) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.cmd.Process == nil {
		return nil
	}
	select {
	case <-p.exited: // its id may be another's by now
		return nil
	default:
	}
	return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}

// ID implements runner.Runner.
func (p *process) ID() string {
	if p.cmd.Process == nil {
		return ""
	}
	return fmt.Sprint(p.cmd.Process.Pid)
}

// Name implements runner.Runner.
func (p *process) Name() string { return p.cmd.Path }

// Diagnose implements runner.Runner. go-plugin asks when what the process says is no
// handshake. One that says nothing any more is ending, which a busy machine may be
// slow to tell.
func (p *process) Diagnose(context.Context) string {
	patience := 100 * time.Millisecond
	select {
	case <-p.mute:
		patience = startTimeout
	default:
	}
	select {
	case <-p.exited:
		return fmt.Sprintf("the process ended: %v", p.err)
	case <-time.After(patience):
		return "the process is running: is it a Nepho plugin?"
	}
}

// PluginToHost implements runner.Runner.
func (p *process) PluginToHost(n, a string) (string, string, error) { return n, a, nil }

// HostToPlugin implements runner.Runner.
func (p *process) HostToPlugin(n, a string) (string, string, error) { return n, a, nil }
