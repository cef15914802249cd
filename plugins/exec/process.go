package exec

import (
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// linger is how long output is waited for when the command has ended: what it
// left running in the background may hold its standard output open.
const linger = time.Second

// command is what to run.
type command struct {
	argv []string
	env  []string
	dir  string
	max  int // bytes of output in a poll

	complaints *complaints
}

// process is a command that runs, leader of a process group of its own.
type process struct {
	cmd    *osexec.Cmd
	stdout *os.File
	stderr *stderr
	exited chan struct{} // closed when it exited; it is not reaped by then
	reap   sync.Mutex
	reaped bool
}

func (c *command) start() (*process, error) {
	p := &process{cmd: osexec.Command(c.argv[0], c.argv[1:]...), exited: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir = c.env, c.dir
	// The group is what is signalled later; the second is for when this process is
	// killed and can signal nobody.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdout, stdoutEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stderrFile, stderrEnd, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, stdout.Close(), stdoutEnd.Close())
	}
	p.stdout, p.cmd.Stdout, p.cmd.Stderr = stdout, stdoutEnd, stderrEnd
	err = p.cmd.Start()
	stdoutEnd.Close()
	stderrEnd.Close()
	if err != nil {
		stdout.Close()
		stderrFile.Close()
		return nil, fmt.Errorf("cannot run the command: %w", err)
	}
	p.stderr = readStderr(stderrFile, c.complaints)
	go p.watch()
	return p, nil
}

// watch waits for the leader's exit without reaping it. Until it is reaped its
// number is nobody else's, so the group can be signalled safely.
func (p *process) watch() {
	defer close(p.exited)
	for errors.Is(unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}

// signal sends a signal to the whole group.
func (p *process) signal(s syscall.Signal) {
	p.reap.Lock()
	defer p.reap.Unlock()
	if !p.reaped {
		syscall.Kill(-p.cmd.Process.Pid, s)
	}
}

// terminate asks the group to end, and gives its leader time to.
func (p *process) terminate(grace time.Duration) {
	p.signal(syscall.SIGTERM)
	p.hasExited(grace)
}

// hasExited waits for the leader's exit.
func (p *process) hasExited(within time.Duration) bool { return wait(p.exited, within) }

// wait waits for done to be closed, and tells whether it was in time.
func wait(done <-chan struct{}, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// finish kills what is left of the group, reaps the leader and tells how it
// ended. read is closed by whoever reads standard output, at its end; all that
// was written is read before finish returns, unless somebody outside of the group
// holds the pipe open. Each of the things that finish waits for is given patience,
// but for what comes by itself.
func (p *process) finish(read <-chan struct{}, patience time.Duration) error {
	p.signal(syscall.SIGKILL)
	var err error
	if p.hasExited(patience) {
		p.reap.Lock()
		err = p.cmd.Wait()
		p.reaped = true
		p.reap.Unlock()
	} else {
		err = errors.New("the command cannot be killed: it hangs in the kernel")
		go func() {
			<-p.exited
			p.cmd.Wait()
		}()
	}
	drain(p.stdout, read, patience)
	last := p.stderr.close(patience)
	var exit *osexec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("the command ended with %v", exit)
		if last != "" {
			err = fmt.Errorf("%w: %s", err, last)
		}
	}
	return err
}

// drain waits until a pipe was read to its end, and closes it. One that somebody
// holds open is read for no longer than patience; of any other the end is there
// already, and it is only a busy machine that has yet to read it.
func drain(pipe *os.File, read <-chan struct{}, patience time.Duration) {
	if !wait(read, patience) && !hungUp(pipe) {
		pipe.Close()
	}
	<-read
	pipe.Close()
}

// hungUp tells whether nobody can write to a pipe any more.
func hungUp(pipe *os.File) bool {
	var hungUp bool
	raw, err := pipe.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		hungUp = err == nil && n == 1 && fds[0].Revents&unix.POLLHUP != 0
	})
	return err == nil && hungUp
}
