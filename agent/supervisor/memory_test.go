package supervisor

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestCollectAt(t *testing.T) {
	f := func(limit int64, want string, env ...string) {
		t.Helper()
		if got := collectAt(&Spec{MemoryLimit: limit, Env: env}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(0, "")
	f(500<<20, "GOMEMLIMIT=419430400", "GOGC=50")
	f(500<<20, "", "A=b", "GOMEMLIMIT=off")
}

// A plugin's process is told to keep below its limit, is the kernel's choice before
// the host is, and gets no huge pages.
func TestMemoryOfTheProcess(t *testing.T) {
	t.Parallel()
	spec, _ := newSpec(t, "")
	spec.MemoryLimit = 1 << 30
	pid := lifeOf(t, start(t, spec)).PID()
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if want := fmt.Sprintf("GOMEMLIMIT=%d", 1<<30/5*4); err != nil || !slices.Contains(strings.Split(string(env), "\x00"), want) {
		t.Errorf("no %s, error %v, in %q", want, err, env)
	}
	score := func(process string) int {
		text, err := os.ReadFile("/proc/" + process + "/oom_score_adj")
		n, e := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || e != nil {
			t.Fatal(err, e)
		}
		return n
	}
	if got, want := score(fmt.Sprint(pid)), min(1000, score("self")+200); got != want {
		t.Errorf("oom_score_adj is %d, want %d", got, want)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || strings.Contains(string(status), "THP_enabled:\t1") {
		t.Errorf("it gets huge pages, or %v", err)
	}
}
