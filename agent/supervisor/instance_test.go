package supervisor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/sdk/wire"
)

// ready waits for the instance and polls it once.
func ready(t *testing.T, i *Instance) *Life {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	life, err := i.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := life.Pollster.Poll(ctx, &wire.PollRequest{Instance: i.Name()})
	if err != nil {
		t.Fatal(err)
	}
	polled := false
	for { // to its end: a poll that goes on is not joined by the next
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("a poll gives %v", err)
		}
		polled = polled || len(m.Batch) > 0
		if m.Summary != nil {
			break
		}
	}
	if !polled {
		t.Fatal("a poll gives nothing")
	}
	return life
}

func stop(t *testing.T, i *Instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := i.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// Instances share the process, are started again in each of its lives, and what
// they print is in the log.
func TestInstances(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "")
	p := start(t, spec)
	a, b := p.Add(request(t, "a", "")), p.Add(request(t, "b", ""))
	life := ready(t, a)
	if ready(t, b) != life {
		t.Error("they are in different processes")
	}
	syscall.Kill(life.PID(), syscall.SIGKILL)
	<-life.Done()
	if next := ready(t, a); next == life || ready(t, b) != next {
		t.Error("they are not in the next life")
	}
	for _, says := range []string{"said on stdout", "said on stderr"} {
		eventually(t, "the log has "+says, func() bool { return strings.Contains(log.String(), says) })
	}
	stop(t, a)
	if s, err := a.Status(); s != Stopped || err != nil {
		t.Errorf("it is %s, %v", s, err)
	}
	if _, err := a.Ready(t.Context()); !errors.Is(err, errStopped) {
		t.Errorf("waiting for it gives %v", err)
	}
	ready(t, b)
	stop(t, b)
}

func TestRefusedOptions(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "")
	p := start(t, spec)
	i := p.Add(request(t, "i", "\nunknwon = 1"))
	eventually(t, "it is refused", func() bool { s, _ := i.Status(); return s == Failed })
	if _, err := i.Status(); !strings.Contains(err.Error(), "test.toml:2:1: unknwon: unknown option") {
		t.Errorf("its error is %v", err)
	}
	// It is not tried again, even in another life, until it is configured anew.
	stop(t, i)
	if n := strings.Count(log.String(), "instance is refused"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

func TestInstanceThatCannotStartYet(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "")
	p := start(t, spec)
	file := filepath.Join(t.TempDir(), "now")
	i := p.Add(request(t, "i", "until = '"+file+"'"))
	eventually(t, "it waits", func() bool { s, err := i.Status(); return s == Backoff && err != nil })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := i.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for it gives %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ready(t, i)
	if n := strings.Count(log.String(), "instance cannot start"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	stop(t, i)
}

// Stopping does not wait for a plugin that hangs longer than it is allowed to.
func TestInstancesThatHang(t *testing.T) {
	t.Parallel()
	spec, log := newSpec(t, "")
	p := start(t, spec)
	stopping := p.Add(request(t, "stopping", "mode = 'hang-stop'"))
	ready(t, stopping)
	starting := p.Add(request(t, "starting", "mode = 'hang-start'"))
	eventually(t, "it hangs", func() bool { return strings.Contains(log.String(), "it hangs in its start") })
	for _, i := range []*Instance{starting, stopping} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		begun := time.Now()
		err := i.Stop(ctx)
		cancel()
		if took := time.Since(begun); took > startTimeout-time.Second { // when the start would be given up anyway
			t.Errorf("stopping %s took %v", i.Name(), took)
		}
		// Either end may be the first to notice that its time is over.
		if i == stopping && status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("stopping it gives %v", err)
		}
	}
}

// An instance may be stopped while its process does not run.
func TestStopWithoutProcess(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, "die")
	p := start(t, spec)
	i := p.Add(request(t, "i", ""))
	eventually(t, "it has failed", func() bool { return p.Status().State == Failed })
	stop(t, i)
	// Nor does one added to a process that is stopped keep anybody waiting.
	p.Stop()
	late := p.Add(request(t, "late", ""))
	if _, err := late.Ready(t.Context()); !errors.Is(err, errStopped) {
		t.Errorf("waiting for it gives %v", err)
	}
	stop(t, late)
}

func TestEnter(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, "die")
	spec.Once = true
	p := start(t, spec)
	a, b := p.Add(request(t, "a", "")), p.Add(request(t, "b", ""))
	defer stop(t, a)
	defer stop(t, b)
	enter := func(i *Instance, alone bool) (func(), error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return i.Enter(ctx, alone)
	}
	waits := func(i *Instance, alone bool) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := i.Enter(ctx, alone)
		return err != nil
	}
	leaveA, err := enter(a, false)
	if err != nil {
		t.Fatal(err)
	}
	leaveB, err := enter(b, false)
	if err != nil {
		t.Fatal("calls do not go side by side")
	}
	if !waits(a, true) {
		t.Fatal("a call is alone beside others")
	}
	leaveA()
	leaveB()
	leaveA, err = enter(a, true)
	if err != nil {
		t.Fatal(err)
	}
	if !waits(b, false) {
		t.Fatal("another call goes beside one that is alone")
	}
	leaveA()
	if leaveB, err = enter(b, false); err != nil {
		t.Fatal(err)
	}
	leaveB()
}
