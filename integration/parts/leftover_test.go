package parts

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// expectNothingLeft fails when a process still names dir in its command line or
// environment, or when dir is still there. It is for the time after clean-up.
func expectNothingLeft(t *testing.T, dir string) {
	t.Helper()
	if dir == "" {
		t.Fatal("the part did not start")
	}
	var left []string
	// Children of a part that notice its end by themselves need a moment.
	for deadline := time.Now().Add(stopTimeout); time.Now().Before(deadline); time.Sleep(readyPoll) {
		if left = processesNaming(t, dir); len(left) == 0 {
			break
		}
	}
	for _, l := range left {
		t.Errorf("left running: %s", l)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("left behind: %s (%v)", dir, err)
	}
}

func processesNaming(t *testing.T, dir string) []string {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, proc := range procs {
		cmdline, err := os.ReadFile(proc + "/cmdline")
		if err != nil || len(cmdline) == 0 {
			continue // ended since, or a zombie
		}
		environ, err := os.ReadFile(proc + "/environ")
		if err != nil {
			continue
		}
		if bytes.Contains(cmdline, []byte(dir)) || bytes.Contains(environ, []byte(dir)) {
			found = append(found, proc+": "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// awaitTrue fails with complaint when f does not become true in time.
func awaitTrue(t *testing.T, complaint string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(readyTimeout); !f(); time.Sleep(readyPoll) {
		if time.Now().After(deadline) {
			t.Fatal(complaint)
		}
	}
}
