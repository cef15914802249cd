package parts

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestRunCleansUpAndReportsFailure(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		f    func(TB)
		want string
	}{
		"success": {func(TB) {}, ""},
		"failure": {func(tb TB) { tb.Fatalf("no %s", "luck"); panic("BUG: Fatalf returned") }, "no luck"},
		"panic":   {func(TB) { panic("oh") }, "panic: oh"},
	} {
		t.Run(name, func(t *testing.T) {
			var order []string
			var log strings.Builder
			err := Run(&log, func(tb TB) {
				tb.Cleanup(func() { order = append(order, "first") })
				tb.Cleanup(func() {
					tb.Cleanup(func() { order = append(order, "third") })
					order = append(order, "second")
				})
				tb.Logf("hello %d", 1)
				test.f(tb)
			})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
			if want := []string{"second", "third", "first"}; !slices.Equal(order, want) {
				t.Errorf("got clean-up order %v, want %v", order, want)
			}
			if log.String() != "hello 1\n" {
				t.Errorf("got log %q", log.String())
			}
		})
	}
}

func TestStartFailureSaysWhy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		argv []string
		want string
	}{
		"ends early": {[]string{"/bin/sh", "-c", "echo no such thing; exit 1"}, "no such thing"},
		"no program": {[]string{"/nonexistent"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := Run(io.Discard, func(tb TB) {
				never := answers("http://127.0.0.1:1/")
				newProcess(tb, newDir(tb), spec{name: "part", argv: test.argv, ready: never}).Start()
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestMissingProgramNamesTheInstaller(t *testing.T) {
	t.Parallel()
	err := Run(io.Discard, func(tb TB) { program(tb, "no-such-program", "/nor/this") })
	if err == nil || !strings.Contains(err.Error(), "scripts/install-parts.sh") {
		t.Errorf("got error %v", err)
	}
}

func TestFreePortsAreFreeAndDistinct(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 20 {
		ports := FreePorts(t, 5)
		for i, port := range ports {
			if seen[port] || port != ports[0]+i {
				t.Fatalf("got ports %v after %v", ports, seen)
			}
			seen[port] = true
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			if markPort(port) != nil {
				t.Errorf("port %d can be had twice", port)
			}
		}
	}
}

// TestPartsDieWithTheirTest runs this test program a second time and kills it
// while it has a part.
func TestPartsDieWithTheirTest(t *testing.T) {
	t.Parallel()
	const role = "NEPHO_PARTS_TEST_ROLE"
	if os.Getenv(role) == "victim" {
		s := InfluxDB(t)
		fmt.Printf("dir %s\n", s.Dir)
		os.Stdout.Sync()
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPartsDieWithTheirTest$")
	cmd.Env = append(os.Environ(), role+"=victim")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("got %v from the victim, want death by SIGKILL:\n%s", err, out)
	}
	_, line, found := strings.Cut(string(out), "dir ")
	if !found {
		t.Fatalf("the victim started no part:\n%s", out)
	}
	dir, _, _ := strings.Cut(line, "\n")
	defer os.RemoveAll(dir)
	awaitTrue(t, "the part outlives its test", func() bool { return len(processesNaming(t, dir)) == 0 })
}
