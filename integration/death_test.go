package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nephoscope/nepho/agent/supervisor"
)

// everyKind runs a plugin of each kind in a process of its own, with an instance
// that is as bad at ending as can be.
const everyKind = `
[agent]
stop_timeout = "2s"
[[pollster.rogue]]
name = "fine"
interval = "100ms"
[[pollster.rogue]]
name = "hangs"
mode = "hang"
interval = "10s"
[[notification.rogue]]
[[transformer.rogue]]
name = "hangs-in-stop"
mode = "hang-stop"
[[publisher.rogue]]
name = "holds"
mode = "hang"
timeout = "60s"
[[pipeline]]
name = "p"
sources = ["fine", "hangs", "rogue"]
transformers = ["hangs-in-stop"]
publishers = ["holds"]
`

func startEveryKind(t *testing.T) *Agent {
	t.Helper()
	a := NewAgent(t, everyKind)
	a.installRogue("pollster", "notification", "transformer", "publisher")
	a.Start()
	a.AwaitReady()
	Eventually(t, "samples flow", func() error {
		return want(a.Sink("p", "holds").Waiting > 3, "%d wait", a.Sink("p", "holds").Waiting)
	})
	return a
}

// inTime is when a stop with a stop_timeout of some seconds must be over on a busy
// machine, and one that waits for what hangs is not.
const inTime = 30 * time.Second

// However the host ends, its plugins end with it; Wait looks at that.
func TestEndOfTheHost(t *testing.T) {
	t.Run("kill9", func(t *testing.T) {
		t.Parallel()
		startEveryKind(t).Kill9()
	})
	t.Run("kill9_while_plugins_start", func(t *testing.T) {
		t.Parallel()
		a := NewAgent(t, everyKind)
		a.installRogue("pollster", "notification", "transformer", "publisher")
		for i := range 10 {
			a.Launch()
			time.Sleep(time.Duration(i) * 20 * time.Millisecond)
			a.Kill9()
		}
	})
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			a := startEveryKind(t)
			begun := time.Now()
			a.Signal(s)
			if code := a.Wait(patience); code != 0 {
				t.Errorf("it ended with code %d", code)
			}
			t.Logf("stopped after %v with a stop_timeout of 2s", time.Since(begun))
			if took := time.Since(begun); took > inTime {
				t.Errorf("it took %v", took)
			}
		})
	}
	t.Run("Ctrl-C", func(t *testing.T) { // the terminal tells all of the group
		t.Parallel()
		a := StartAgent(t, healthy)
		awaitFlow(t, a, "healthy.json", 3)
		syscall.Kill(-a.PID(), syscall.SIGINT)
		if code := a.Wait(patience); code != 0 {
			t.Errorf("it ended with code %d", code)
		}
		if s := a.Log(); !regexpMatch(`msg=stopped`, s) || regexpMatch("level=ERROR", s) {
			t.Errorf("it did not stop in order:\n%s", s)
		}
	})
	t.Run("during_a_start_that_hangs", func(t *testing.T) {
		t.Parallel()
		a := NewAgent(t, "[agent]\nstop_timeout = '2s'\n[[pollster.rogue]]\nenv = { ROGUE = 'no-handshake' }\n[[publisher.file]]\npath = '${DIR}/x'\n")
		a.installRogue("pollster")
		a.Start()
		a.Stop()
		if _, said, _ := strings.Cut(a.Log(), "msg=stopping"); said == "" || strings.Contains(said, "timeout while waiting") {
			t.Errorf("the plugin was not killed, but waited for: %s", said)
		}
	})
	t.Run("with_a_frozen_plugin", func(t *testing.T) {
		t.Parallel()
		a := NewAgent(t, "[agent]\nstop_timeout = '2s'\n"+healthy)
		a.Start()
		awaitFlow(t, a, "healthy.json", 3)
		syscall.Kill(a.Plugin("pollster/host").PID, syscall.SIGSTOP)
		syscall.Kill(a.Plugin("publisher/file").PID, syscall.SIGSTOP)
		begun := time.Now()
		a.Stop()
		if took := time.Since(begun); took > inTime {
			t.Errorf("it took %v", took)
		}
	})
	t.Run("second_signal", func(t *testing.T) {
		t.Parallel()
		a := NewAgent(t, everyKind)
		a.Configure(regexpReplace(`stop_timeout = "2s"`, everyKind, `stop_timeout = "5m"`))
		a.installRogue("pollster", "notification", "transformer", "publisher")
		a.Start()
		a.AwaitReady()
		a.Signal(syscall.SIGTERM)
		a.AwaitLog("msg=stopping")
		time.Sleep(1500 * time.Millisecond) // one Ctrl-C may arrive twice
		a.Signal(syscall.SIGTERM)
		a.Wait(patience)
	})
}

// What killed hosts leave in the folder for sockets does not stay, and does not
// keep a next one from starting, though it has the same process id.
func TestLeftoversOfKilledHosts(t *testing.T) {
	t.Parallel()
	a := StartAgent(t, healthy)
	a.Kill9()
	left, err := filepath.Glob(a.Path("tmp", "nepho-*.sockets"))
	if err != nil || len(left) != 1 {
		t.Fatalf("left are %v, %v", left, err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(left[0], old, old); err != nil {
		t.Fatal(err)
	}
	a.Start()
	a.AwaitReady()
	if _, err := os.Stat(left[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there still: %v", left[0], err)
	}
	a.Stop()
	if rest, _ := filepath.Glob(a.Path("tmp", "*")); len(rest) > 0 {
		t.Errorf("after an orderly stop there are %v", rest)
	}
}

// A plugin that is killed is started again at once, with the instances it had.
func TestRestartAfterACrash(t *testing.T) {
	t.Parallel()
	a := StartAgent(t, healthy)
	awaitFlow(t, a, "healthy.json", 3)
	for _, name := range []string{"pollster/host", "publisher/file"} {
		was := a.Plugin(name)
		syscall.Kill(was.PID, syscall.SIGKILL)
		Eventually(t, name+" runs again", func() error {
			p := a.Plugin(name)
			return want(p.State == supervisor.Ready && p.PID != was.PID, "it is %s", p.State)
		})
		if line := a.AwaitLog(`msg="plugin ended" .*plugin=` + name + ` .*killed`); !strings.Contains(line, "state=backoff again_in=0s") {
			t.Errorf("%s is not started at once: %s", name, line)
		}
		if p := a.Plugin(name); p.Restarts != was.Restarts+1 || !regexpMatch("killed", p.Error) {
			t.Errorf("the status says %+v", p)
		}
	}
	awaitFlow(t, a, "healthy.json", 5)
	if n := a.Metric("nepho_plugin_restarts_total"); n != 2 {
		t.Errorf("/metrics counts %g restarts", n)
	}
	a.Stop()
}

// A plugin that keeps dying is tried less and less often, and at last now and then.
func TestBackOffGrows(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, healthy+"[[pollster.rogue]]\nenv = { ROGUE = 'die-at-start' }\n[[pipeline]]\nname = 'r'\nsources = ['rogue']\npublishers = ['file']\n")
	a.installRogue("pollster")
	a.Start()
	a.AwaitLog("state=failed again_in=1m0s")
	for _, pause := range []string{"0s", "100ms", "200ms", "400ms"} {
		if !regexpMatch(fmt.Sprintf("state=backoff again_in=%s\n", pause), a.Log()) {
			t.Errorf("no pause of %s", pause)
		}
	}
	a.Stop()
}
