package parts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// readyTimeout is generous because a loaded 2-core machine takes many times
	// longer than an idle one, and a part that is slow is not a failure.
	readyTimeout = 120 * time.Second
	readyPoll    = 50 * time.Millisecond
	stopTimeout  = 60 * time.Second
	tailLines    = 40
)

// Process is a running part. Its methods are for one goroutine at a time.
type Process struct {
	// Dir is the part's private directory, removed when the test ends. Its path
	// is short, since a Unix socket's path cannot exceed 107 bytes.
	Dir string

	tb   TB
	spec spec
	pid  int           // process group of the running process, 0 when stopped
	done chan struct{} // closed when the process was reaped
}

// spec says how to run a part.
type spec struct {
	name string
	argv []string
	env  []string // added to this process's environment
	// ready returns nil when the part answers.
	ready func(context.Context) error
	// attr may add namespaces; process group and parent-death signal are set.
	attr syscall.SysProcAttr
	// stop is the signal that asks it to end, SIGTERM if it is 0.
	stop syscall.Signal
}

// newProcess registers the end of the process with tb, but does not start it.
func newProcess(tb TB, dir string, s spec) *Process {
	p := &Process{Dir: dir, tb: tb, spec: s}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("last lines of %s:\n%s", s.name, p.LogTail())
		}
		p.Kill9()
	})
	return p
}

// newDir makes a private directory that is removed when tb ends.
func newDir(tb TB) string {
	tb.Helper()
	parent := os.TempDir()
	if len(parent) > 40 {
		parent = "/tmp"
	}
	return newDirIn(tb, parent)
}

func newDirIn(tb TB, parent string) string {
	tb.Helper()
	dir, err := os.MkdirTemp(parent, "nepho-")
	if err != nil {
		tb.Fatalf("cannot make a directory: %v", err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Logf("cannot remove %q: %v", dir, err)
		}
	})
	return dir
}

// program returns the first of the names that is an executable.
func program(tb TB, names ...string) string {
	tb.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Fatalf("cannot find %s: run scripts/install-parts.sh", names[0])
	return ""
}

// PID returns the process id, which is also the id of its process group, or 0
// when the part is stopped.
func (p *Process) PID() int { return p.pid }

// Start starts a stopped part, on the directory and ports it had before, and
// returns when it is ready.
func (p *Process) Start() {
	p.tb.Helper()
	if p.pid != 0 {
		p.tb.Fatalf("%s is running already", p.spec.name)
	}
	if err := p.launch(); err != nil {
		p.tb.Fatalf("cannot start %s: %v", p.spec.name, err)
	}
	p.waitReady()
}

func (p *Process) launch() error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.spec.argv[0], p.spec.argv[1:]...)
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), p.spec.env...)
	cmd.Stdout, cmd.Stderr = log, log
	attr := p.spec.attr
	attr.Setpgid = true
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = &attr

	started := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		// The kernel sends the parent-death signal when the *thread* that started
		// the process ends, so that thread has to stay until the process is gone.
		runtime.LockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() // how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.pid, p.done = cmd.Process.Pid, done
	return nil
}

func (p *Process) waitReady() {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	for {
		err := p.spec.ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-p.done:
			p.tb.Fatalf("%s ended before it was ready:\n%s", p.spec.name, p.LogTail())
		case <-ctx.Done():
			p.tb.Fatalf("%s is not ready after %v: %v\n%s", p.spec.name, readyTimeout, err, p.LogTail())
		case <-time.After(readyPoll):
		}
	}
}

// Stop asks the part to end and waits for it. Stopping a stopped part does
// nothing.
func (p *Process) Stop() {
	p.tb.Helper()
	if p.spec.stop == 0 {
		p.spec.stop = syscall.SIGTERM
	}
	p.end(p.spec.stop)
}

// Kill9 ends the part at once, without its cooperation.
func (p *Process) Kill9() {
	p.tb.Helper()
	p.end(syscall.SIGKILL)
}

// Restart stops the part and starts it again on the same directory and ports.
func (p *Process) Restart() {
	p.tb.Helper()
	p.Stop()
	p.Start()
}

// Pause freezes the part: connections stay open, nothing answers.
func (p *Process) Pause() {
	p.tb.Helper()
	p.signal(syscall.SIGSTOP)
	// The signal is sent, not yet obeyed: a thread on another processor still
	// answers a request or two.
	deadline := time.Now().Add(stopTimeout)
	for groupHas(p.pid, func(state string) bool { return strings.Contains("RSD", state) }) {
		if time.Now().After(deadline) {
			p.tb.Fatalf("%s still runs %v after SIGSTOP", p.spec.name, stopTimeout)
		}
		time.Sleep(time.Millisecond)
	}
}

// Resume ends a Pause.
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) {
	p.tb.Helper()
	if p.pid == 0 {
		p.tb.Fatalf("%s is not running", p.spec.name)
	}
	if err := syscall.Kill(-p.pid, s); err != nil {
		p.tb.Fatalf("cannot send %v to %s: %v", s, p.spec.name, err)
	}
}

func (p *Process) end(s syscall.Signal) {
	p.tb.Helper()
	if p.pid == 0 {
		return
	}
	group := p.pid
	p.pid = 0
	syscall.Kill(-group, s)
	syscall.Kill(-group, syscall.SIGCONT) // a paused process ends only after this
	if awaitGroup(group, p.done, stopTimeout) {
		return
	}
	p.tb.Logf("%s did not end within %v of %v; killing it", p.spec.name, stopTimeout, s)
	syscall.Kill(-group, syscall.SIGKILL)
	if !awaitGroup(group, p.done, stopTimeout) {
		p.tb.Logf("%s is still there after SIGKILL", p.spec.name)
	}
}

// awaitGroup waits until the leader was reaped and no member of its group runs.
func awaitGroup(group int, done <-chan struct{}, timeout time.Duration) bool {
	deadline := time.After(timeout)
	select {
	case <-done:
	case <-deadline:
		return false
	}
	for groupRuns(group) {
		select {
		case <-deadline:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return true
}

// groupRuns looks in /proc, because kill(2) also finds members that have ended
// and that some parent has yet to reap.
func groupRuns(group int) bool {
	if err := syscall.Kill(-group, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	return groupHas(group, func(state string) bool { return state != "Z" && state != "X" })
}

// groupHas reports whether a thread of the process group is in a state, a
// letter as in proc(5), that is wanted.
func groupHas(group int, wanted func(state string) bool) bool {
	stats, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/stat")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // ended since
		}
		// PID (NAME) STATE PPID PGRP ...; the name may hold spaces and brackets.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 2 && fields[2] == fmt.Sprint(group) && wanted(fields[0]) {
			return true
		}
	}
	return false
}

// LogTail returns the last lines that the part printed.
func (p *Process) LogTail() string {
	data, err := os.ReadFile(p.logPath())
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

func (p *Process) logPath() string { return filepath.Join(p.Dir, "output.log") }

// writeFile writes a configuration file of a part.
func writeFile(tb TB, path, content string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatalf("cannot write %q: %v", path, err)
	}
}

func makeDirs(tb TB, parent string, names ...string) {
	tb.Helper()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(parent, name), 0o700); err != nil {
			tb.Fatalf("cannot make a directory: %v", err)
		}
	}
}
