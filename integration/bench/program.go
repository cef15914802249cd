package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// program is a peer that runs, in a process group of its own.
type program struct {
	pid  int
	log  string
	done chan struct{}
}

// scratch makes a folder that is removed at the end of the scenario.
func (b *bench) scratch(tb parts.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp(b.dir, "run-")
	if err != nil {
		tb.Fatalf("cannot make a folder: %v", err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start runs a program until the scenario ends, at most.
func (b *bench) start(tb parts.TB, env []string, path string, args ...string) *program {
	tb.Helper()
	p := &program{log: filepath.Join(b.scratch(tb), "log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		tb.Fatalf("cannot make a log: %v", err)
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		// Pdeathsig stands for the end of the thread that started the process.
		runtime.LockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() //nolint:errcheck // peers end as they like
		}
	}()
	if err := <-started; err != nil {
		tb.Fatalf("cannot start %s: %v", path, err)
	}
	p.pid = cmd.Process.Pid
	tb.Cleanup(func() {
		if tb.Failed() {
			text, _ := os.ReadFile(p.log)
			tb.Logf("%s said:\n%.4000s", path, text)
		}
		syscall.Kill(-p.pid, syscall.SIGKILL) //nolint:errcheck // gone already
		<-p.done
	})
	return p
}

// stop ends a program in order.
func (p *program) stop(tb parts.TB) {
	tb.Helper()
	syscall.Kill(p.pid, syscall.SIGTERM) //nolint:errcheck // gone already
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		syscall.Kill(-p.pid, syscall.SIGKILL) //nolint:errcheck // gone already
		<-p.done
	}
}

// processes are the program and its descendants.
func (p *program) processes() []int {
	all := []int{p.pid}
	for i := 0; i < len(all); i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i])) // none if it ended
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for field := range strings.FieldsSeq(string(text)) {
				var pid int
				if _, err := fmt.Sscan(field, &pid); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

func (p *program) processorTime(tb parts.TB) (sum time.Duration) {
	tb.Helper()
	for _, pid := range p.processes() {
		d, err := processorTime(pid)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			tb.Fatalf("cannot measure process %d: %v", pid, err)
		}
		sum += d
	}
	return sum
}
