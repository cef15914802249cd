package integration

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An executable that may not be trusted is not run, which the check, the log and
// the status say, and nothing else suffers.
func TestExecutablesThatAreRefused(t *testing.T) {
	f := func(name, options string, spoil func(a *Agent, path string), why string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := NewAgent(t, healthy+"[[pollster.rogue]]\n"+options+"\n[[pipeline]]\nname = 'r'\nsources = ['rogue']\npublishers = ['file']\n")
			path := a.installRogue("pollster")[0]
			spoil(a, path)
			_, stderr, code := a.Run("check")
			if code != 1 || !regexpMatch(`conf.d/test.toml:\d+:\d+: pollster.rogue: .*`+why, stderr) {
				t.Errorf("check gives code %d and says:\n%s", code, stderr)
			}
			a.Start()
			a.AwaitLog("level=ERROR.*" + why)
			Eventually(t, "the status says it", func() error {
				p := a.Plugin("pollster/rogue")
				return want(p.PID == 0 && regexpMatch(why, p.Error), "%+v", p)
			})
			awaitFlow(t, a, "healthy.json", 5)
			a.Stop()
			if s := a.Log(); strings.Contains(s, "instance=rogue") && regexpMatch(`instance started.*instance=rogue`, s) {
				t.Error("it was started")
			}
		})
	}
	nothing := func(*Agent, string) {}
	f("wrong_checksum", "checksum = 'sha256:"+strings.Repeat("00", 32)+"'", nothing, "refused because its SHA-256 is")
	f("writable_by_all", "", func(a *Agent, path string) { chmod(a, path, 0o757) }, "refused because everybody may write to it")
	f("folder_writable_by_all", "", func(a *Agent, path string) { chmod(a, filepath.Dir(path), 0o777) }, "refused because everybody may write to its folder")
	f("folder_of_a_link_writable_by_all", "command = '${DIR}/plugins/link'", func(a *Agent, path string) {
		open := a.Path("open")
		if err := os.Mkdir(open, 0o750); err != nil {
			a.tb.Fatalf("%v", err)
		}
		chmod(a, open, 0o777)
		if err := os.Rename(path, filepath.Join(open, "nepho-pollster-rogue")); err != nil {
			a.tb.Fatalf("%v", err)
		}
		if err := os.Symlink(filepath.Join(open, "nepho-pollster-rogue"), a.Path("plugins", "link")); err != nil {
			a.tb.Fatalf("%v", err)
		}
	}, "refused because everybody may write to its folder")
	f("not_executable", "", func(a *Agent, path string) { chmod(a, path, 0o640) }, "is not an executable file")
	f("command_that_is_not_there", "command = '${DIR}/nowhere/plugin'", nothing, "no such file")
	f("no_program", "", func(a *Agent, path string) {
		if err := writeExecutable(path, []byte("not a program\n")); err != nil {
			a.tb.Fatalf("%v", err)
		}
	}, "exec format error")
}

// writeExecutable writes a program. No process may be forked meanwhile: until it executes
// something itself it has the file open for writing, too, and so the program is busy.
func writeExecutable(path string, content []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, 0o755)
}

func chmod(a *Agent, path string, mode os.FileMode) {
	a.tb.Helper()
	if err := os.Chmod(path, mode); err != nil {
		a.tb.Fatalf("cannot change the mode: %v", err)
	}
}

// A plugin that is not bundled runs from the plugin folder as well as by command,
// with a checksum, in processes of their own, and one that is put right is taken
// without a restart of the host.
func TestPluginsFromOutside(t *testing.T) {
	t.Parallel()
	binary, err := os.ReadFile(os.Getenv("NEPHO_ROGUE"))
	if err != nil {
		t.Fatal(err)
	}
	a := NewAgent(t, fmt.Sprintf(`
[agent]
interval = "50ms"
timeout = "20s"
[[pollster.rogue]]
name = "found"
[[pollster.rogue]]
name = "named"
command = "${DIR}/elsewhere/nepho-pollster-mine"
checksum = "sha256:%x"
[[publisher.file]]
path = "${DIR}/out.json"
`, sha256.Sum256(binary)))
	a.installRogue("pollster")
	elsewhere := a.Path("elsewhere", "nepho-pollster-mine")
	if err := os.Mkdir(filepath.Dir(elsewhere), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeExecutable(elsewhere, binary); err != nil {
		t.Fatal(err)
	}
	if out, stderr, code := a.Run("check"); code != 0 || !strings.Contains(out, "3 instances, 1 pipeline") {
		t.Errorf("check gives code %d and says:\n%s%s", code, out, stderr)
	}
	a.Start()
	a.AwaitReady()
	Eventually(t, "both give samples", func() error {
		all := a.Samples("out.json")
		return want(len(numbers(all, "found")) > 3 && len(numbers(all, "named")) > 3, "%d samples", len(all))
	})
	processes := map[int]bool{}
	for _, p := range a.Status().Plugins {
		processes[p.PID] = true
	}
	if len(processes) != 3 {
		t.Errorf("there are %d processes", len(processes))
	}
	a.Stop()
}
