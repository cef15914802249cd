package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk/wire"
)

func TestProcessIsKeptAlive(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "")
	p := start(t, spec)
	for n := range 3 {
		life := lifeOf(t, p)
		d, err := life.Describe(t.Context(), &wire.DescribeRequest{})
		if err != nil || d.Name != "test" {
			t.Fatalf("it describes itself as %v, %v", d, err)
		}
		s := p.Status()
		if s.State != Ready || s.PID != life.PID() || s.Restarts != n || s.RSS < 1<<20 || s.Kind != "pollster" || s.Name != "test" {
			t.Errorf("its status is %+v", s)
		}
		begun := time.Now()
		syscall.Kill(life.PID(), syscall.SIGKILL)
		<-life.Done()
		eventually(t, "the next life begins", func() bool { return lifeOf(t, p) != life })
		t.Logf("it ran again after %v", time.Since(begun))
		if e := p.Status().LastError; e == nil || !strings.Contains(e.Error(), "killed") {
			t.Errorf("it ended because of %v", e)
		}
	}
	pid := p.Status().PID
	p.Stop()
	if !gone(pid) {
		t.Error("it runs after Stop")
	}
	if s := p.Status(); s.State != Stopped || s.PID != 0 {
		t.Errorf("its status is %+v", s)
	}
	if _, err := p.Wait(t.Context()); !errors.Is(err, errStopped) {
		t.Errorf("waiting for it gives %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(spec.SocketDir, "*")); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	eventually(t, "what it says is in the log", func() bool { return strings.Contains(log.String(), "the process begins") })
}

func TestReasonsOfTheSupervisor(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, "")
	p := start(t, spec)
	life := lifeOf(t, p)
	why := errors.New("it is a test")
	life.Kill(why)
	life.Kill(errors.New("too late"))
	<-life.Done()
	eventually(t, "the reason is known", func() bool { return errors.Is(p.Status().LastError, why) })
}

func TestCrashLoop(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "die")
	p := start(t, spec)
	eventually(t, "it has failed", func() bool { return p.Status().State == Failed })
	s := p.Status()
	if s.LastError == nil || !strings.Contains(s.LastError.Error(), "it ended before the handshake (exit status 7)") {
		t.Errorf("its error is %v", s.LastError)
	}
	eventually(t, "all its ends are logged", func() bool { return strings.Count(log.String(), "plugin ended") == crashes })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for it gives %v", err)
	}
	begun := time.Now()
	p.Stop()
	if took := time.Since(begun); took > maxPause/2 { // it waits for its next start
		t.Errorf("stopping it took %v", took)
	}
	eventually(t, "nothing is left", func() bool {
		left, _ := filepath.Glob(filepath.Join(spec.SocketDir, "*"))
		return len(left) == 0
	})
}

func TestOnce(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, "die")
	spec.Once = true
	p := start(t, spec)
	eventually(t, "it has failed", func() bool { return p.Status().State == Failed })
	time.Sleep(300 * time.Millisecond)
	if s := p.Status(); s.Restarts > 0 || s.State != Failed {
		t.Errorf("its status is %+v", s)
	}
}

// A process that does not even begin to talk is stopped without waiting for it.
func TestStopDuringStart(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "silent")
	p := start(t, spec)
	eventually(t, "it runs", func() bool { return strings.Contains(log.String(), "the process begins") })
	p.Stop()
	if !strings.Contains(log.String(), "it ended before the handshake (signal: killed)") {
		t.Errorf("it was not ended, but waited for:\n%s", log)
	}
}

// Nor does one that is frozen.
func TestStopOfFrozenProcess(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, "")
	p := start(t, spec)
	pid := lifeOf(t, p).PID()
	syscall.Kill(pid, syscall.SIGSTOP)
	begun := time.Now()
	p.Stop()
	if took := time.Since(begun); took > time.Minute || !gone(pid) {
		t.Errorf("stopping it took %v, it is gone: %v", took, gone(pid))
	}
}

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, "grow")
	spec.MemoryLimit = 200 << 20
	p := start(t, spec)
	eventually(t, "it is ended", func() bool { return p.Status().Restarts > 0 })
	if e := p.Status().LastError; !strings.Contains(e.Error(), "200 are allowed (plugin_memory_limit)") {
		t.Errorf("its error is %v", e)
	}
}

// What a plugin started ends with it, and holding its output delays nothing.
func TestGrandchildren(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "grandchild")
	p := start(t, spec)
	life := lifeOf(t, p)
	var grandchild int
	eventually(t, "it has a grandchild", func() bool {
		_, after, has := strings.Cut(log.String(), "grandchild ")
		if has {
			fmt.Sscanf(after, "%d", &grandchild)
		}
		return grandchild > 0
	})
	syscall.Kill(life.PID(), syscall.SIGKILL)
	<-life.Done()
	eventually(t, "the grandchild is gone", func() bool { return gone(grandchild) })
	eventually(t, "it runs again", func() bool { return p.Status().State == Ready })
}

func TestAsk(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, "")
	pid := 0
	err := Ask(t.Context(), spec, func(ctx context.Context, life *Life) error {
		pid = life.PID()
		_, err := life.Describe(ctx, &wire.DescribeRequest{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its process is gone", func() bool { return gone(pid) })

	silent, _ := newSpec(t, "silent")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := Ask(ctx, silent, nil); err == nil || time.Since(begun) > startTimeout {
		t.Errorf("asking one that is silent gives %v after %v", err, time.Since(begun))
	}
}

func TestExecutables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("plugin"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f := func(path, checksum, want string) {
		t.Helper()
		s := Spec{Path: path, Checksum: checksum}
		err := s.check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	good := write("good", 0o755)
	sum, err := Checksum(good)
	if err != nil {
		t.Fatal(err)
	}
	f(good, "", "")
	f(good, "sha256:"+sum, "")
	f(good, "sha256:"+strings.ToUpper(sum), "")
	f(good, sum, "")
	f(good, "sha256:"+strings.Repeat("0", 64), "refused because its SHA-256 is "+sum)
	f(write("group", 0o775), "", "")
	f(write("all", 0o757), "", "everybody may write to it")
	f(write("plain", 0o644), "", "not an executable file")
	f(dir, "", "not an executable file")
	f(filepath.Join(dir, "none"), "", "cannot find plugin")
	open := write("open/plugin", 0o755)
	if err := os.Chmod(filepath.Dir(open), 0o777); err != nil {
		t.Fatal(err)
	}
	f(open, "", "everybody may write to its folder")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	f(link, "", "everybody may write to its folder")
	if err := os.Chmod(filepath.Dir(open), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	f(open, "", "")
	if _, err := Checksum(filepath.Join(dir, "none")); err == nil {
		t.Error("a file that is not there has a checksum")
	}
}
