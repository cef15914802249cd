// Package integration tests the built binary: it starts nepho on a configuration,
// looks at it from outside, and does to it what happens to programs.
//
// The binary is the one that the environment variable NEPHO_BIN names; the tests
// build it when it names none.
package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// patience is how long something that must happen may take on a machine that is
// busy with other things.
const patience = 60 * time.Second

// stopTimeout is the agents' stop_timeout where a test sets none: with the default a
// busy machine leaves in the spools, and cuts off, what tests look for behind a stop.
const stopTimeout = 90 * time.Second

// Agent is a nepho with a folder, a configuration and a port of its own. Its
// methods fail the test when they cannot do what they say; call them from the
// test's own goroutine.
type Agent struct {
	// Dir is the agent's folder, short enough for sockets below it, and removed
	// when the test ends. Configurations may call it ${DIR}. It holds nepho.toml,
	// conf.d/test.toml (the test's own part), data (data_dir), plugins (plugin_dir),
	// tmp (TMPDIR), stdout and stderr.
	Dir string
	// Listen is the address of the status page.
	Listen string
	// Env is added to the environment, from the next start on.
	Env []string

	tb   parts.TB
	bin  string
	pid  int           // 0: not started, or its end was waited for
	done chan struct{} // closed when the process was reaped
	end  *os.ProcessState
}

// NewAgent makes an agent that is not started yet. The configuration is all but
// the options data_dir, listen and plugin_dir of [agent], which are set, as is
// stop_timeout unless the configuration has it.
func NewAgent(tb parts.TB, config string) *Agent {
	tb.Helper()
	bin, err := filepath.Abs(os.Getenv("NEPHO_BIN"))
	if _, e := os.Stat(bin); err != nil || e != nil || os.Getenv("NEPHO_BIN") == "" {
		tb.Fatalf("NEPHO_BIN=%q names no binary: run make build", os.Getenv("NEPHO_BIN"))
	}
	dir, err := os.MkdirTemp("/tmp", "nepho-it-")
	if err != nil {
		tb.Fatalf("cannot make a directory: %v", err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	a := &Agent{Dir: dir, Listen: fmt.Sprintf("127.0.0.1:%d", parts.FreePort(tb)), tb: tb, bin: bin}
	for _, sub := range []string{"conf.d", "plugins", "tmp"} {
		if err := os.Mkdir(a.Path(sub), 0o750); err != nil {
			tb.Fatalf("cannot make a directory: %v", err)
		}
	}
	own := fmt.Sprintf("[agent]\ndata_dir = '%s'\nplugin_dir = '%s'\nlisten = '%s'\n", a.Path("data"), a.Path("plugins"), a.Listen)
	if !strings.Contains(config, "stop_timeout") {
		own += fmt.Sprintf("stop_timeout = '%v'\n", stopTimeout)
	}
	a.write("nepho.toml", own)
	a.Configure(config)
	tb.Cleanup(a.cleanUp)
	return a
}

// StartAgent makes an agent and returns when all its instances are started.
func StartAgent(tb parts.TB, config string) *Agent {
	tb.Helper()
	a := NewAgent(tb, config)
	a.Start()
	a.AwaitReady()
	return a
}

// Path gives the path of something in the agent's folder.
func (a *Agent) Path(names ...string) string {
	return filepath.Join(append([]string{a.Dir}, names...)...)
}

func (a *Agent) write(name, text string) {
	a.tb.Helper()
	if err := os.WriteFile(a.Path(name), []byte(text), 0o640); err != nil {
		a.tb.Fatalf("cannot write: %v", err)
	}
}

// Configure replaces the test's part of the configuration. A running agent learns
// of it by Reload.
func (a *Agent) Configure(config string) {
	a.tb.Helper()
	a.write("conf.d/test.toml", config)
}

func (a *Agent) command(args ...string) *exec.Cmd {
	cmd := exec.Command(a.bin, args...)
	cmd.Dir = a.Dir
	// TMPDIR reaches the plugins as well, and so marks all that is this agent's.
	cmd.Env = append(os.Environ(), "TMPDIR="+a.Path("tmp"), "DIR="+a.Dir, "NEPHO_CONFIG="+a.Path("nepho.toml"))
	cmd.Env = append(cmd.Env, a.Env...)
	return cmd
}

// Start starts the agent and returns when it says that it runs, which is before
// its plugins do. See AwaitReady.
func (a *Agent) Start() {
	a.tb.Helper()
	before := strings.Count(a.Log(), "msg=running")
	a.Launch()
	Eventually(a.tb, "the agent runs", func() error {
		select {
		case <-a.done:
			a.tb.Fatalf("the agent ended: %v", a.end)
		default:
		}
		if strings.Count(a.Log(), "msg=running") == before {
			return errors.New("it does not say so")
		}
		return nil
	})
}

// Launch starts the agent and waits for nothing.
func (a *Agent) Launch() {
	a.tb.Helper()
	if a.pid != 0 {
		a.tb.Fatalf("the agent is running already")
	}
	cmd := a.command("run")
	for _, to := range []struct {
		name string
		w    *io.Writer
	}{{"stdout", &cmd.Stdout}, {"stderr", &cmd.Stderr}} {
		f, err := os.OpenFile(a.Path(to.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			a.tb.Fatalf("cannot open: %v", err)
		}
		defer f.Close()
		*to.w = f
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		// Pdeathsig stands for the end of the thread that started the process.
		runtime.LockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			a.end = cmd.ProcessState
		}
	}()
	if err := <-started; err != nil {
		a.tb.Fatalf("cannot start nepho: %v", err)
	}
	a.pid, a.done = cmd.Process.Pid, done
}

// PID is the process id of the running agent.
func (a *Agent) PID() int { return a.pid }

// Signal sends a signal to the agent, and to none of its plugins.
func (a *Agent) Signal(s syscall.Signal) {
	a.tb.Helper()
	if a.pid == 0 {
		a.tb.Fatalf("the agent is not running")
	}
	if err := syscall.Kill(a.pid, s); err != nil {
		a.tb.Fatalf("cannot send %v: %v", s, err)
	}
}

// Reload has the agent read its configuration again and returns what it logged on
// that, when it is done.
func (a *Agent) Reload() string {
	a.tb.Helper()
	before := len(a.Log())
	a.Signal(syscall.SIGHUP)
	return a.AwaitLogAfter(before, `msg="the configuration (was changed|was not changed|is the same as before)"`)
}

// Wait waits for the agent's end, for at most the given time, and gives its exit
// code; -1 stands for a signal. No process of it may be left a moment later.
func (a *Agent) Wait(within time.Duration) int {
	a.tb.Helper()
	select {
	case <-a.done:
	case <-time.After(within):
		a.tb.Fatalf("the agent did not end within %v; its log ends:\n%s", within, a.LogTail())
	}
	a.pid = 0
	a.awaitNoProcesses()
	return a.end.ExitCode()
}

// Stop stops the agent as a service manager does. It must end in order.
func (a *Agent) Stop() {
	a.tb.Helper()
	a.Signal(syscall.SIGTERM)
	if code := a.Wait(stopTimeout + patience); code != 0 {
		a.tb.Fatalf("the agent ended with code %d; its log ends:\n%s", code, a.LogTail())
	}
}

// CPU is the processor time, user and system, of the agent that ended last, with
// that of its plugins.
func (a *Agent) CPU() time.Duration { return a.end.UserTime() + a.end.SystemTime() }

// Kill9 ends the agent without its cooperation.
func (a *Agent) Kill9() {
	a.tb.Helper()
	a.Signal(syscall.SIGKILL)
	a.Wait(patience)
}

// orphanGrace is how long after the agent's end its plugins may be there: they are
// killed, and then the machine has to come round to ending them.
const orphanGrace = 30 * time.Second

func (a *Agent) awaitNoProcesses() {
	a.tb.Helper()
	var left []int
	for begun := time.Now(); time.Since(begun) < orphanGrace; time.Sleep(20 * time.Millisecond) {
		if left = a.Processes(); len(left) == 0 {
			return
		}
	}
	for _, pid := range left {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		a.tb.Logf("left: %d %s", pid, bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
		syscall.Kill(pid, syscall.SIGKILL)
	}
	a.tb.Fatalf("%d processes of the agent are left %v after its end", len(left), orphanGrace)
}

// Processes lists the agent's process, its plugins and what those started, apart
// from zombies.
func (a *Agent) Processes() []int {
	mark := []byte("TMPDIR=" + a.Path("tmp") + "\x00")
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		if env, err := os.ReadFile(file); err == nil && bytes.Contains(env, mark) {
			var pid int
			fmt.Sscanf(file, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

func (a *Agent) cleanUp() {
	if a.tb.Failed() {
		a.tb.Logf("the log of the agent in %s ends:\n%s", a.Dir, a.LogTail())
	}
	if a.pid != 0 {
		syscall.Kill(a.pid, syscall.SIGKILL)
		a.Wait(patience)
	}
}

// Log gives what the agent printed on standard error in all its runs.
func (a *Agent) Log() string { return a.read("stderr") }

// Stdout gives what the agent printed on standard output in all its runs.
func (a *Agent) Stdout() string { return a.read("stdout") }

func (a *Agent) read(name string) string {
	a.tb.Helper()
	text, err := os.ReadFile(a.Path(name))
	if err != nil && !os.IsNotExist(err) {
		a.tb.Fatalf("cannot read: %v", err)
	}
	return string(text)
}

// LogTail gives the last lines of the log.
func (a *Agent) LogTail() string {
	const lines = 60
	all := strings.Split(strings.TrimRight(a.Log(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// AwaitLog waits for a line that the pattern matches and returns it.
func (a *Agent) AwaitLog(pattern string) string {
	a.tb.Helper()
	log := a.AwaitLogAfter(0, pattern)
	lines := strings.Split(log, "\n")
	return lines[len(lines)-1]
}

// AwaitLogAfter waits for a match beyond the given length of the log, and returns
// the log from there to the end of the line that matches.
func (a *Agent) AwaitLogAfter(length int, pattern string) string {
	a.tb.Helper()
	line := regexp.MustCompile(pattern)
	var text string
	Eventually(a.tb, "the log has "+pattern, func() error {
		text = a.Log()[length:]
		at := line.FindStringIndex(text)
		if at == nil {
			return errors.New("it does not")
		}
		end := strings.IndexByte(text[at[1]:], '\n')
		if end < 0 {
			return errors.New("its line is not complete")
		}
		text = text[:at[1]+end]
		return nil
	})
	return text
}

// Run runs another command of nepho on the agent's configuration.
func (a *Agent) Run(args ...string) (stdout, stderr string, code int) {
	a.tb.Helper()
	var out, log bytes.Buffer
	cmd := a.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &log
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		a.tb.Fatalf("cannot run nepho %q: %v", args, err)
	}
	return out.String(), log.String(), cmd.ProcessState.ExitCode()
}

// Eventually waits until check gives nil, and fails the test with its last error
// when that takes too long.
func Eventually(tb parts.TB, what string, check func() error) {
	tb.Helper()
	begun := time.Now()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Since(begun) > patience {
			tb.Fatalf("waited %v until %s: %v", patience, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
