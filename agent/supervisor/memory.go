package supervisor

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// collectAt gives the variable that has a plugin's garbage collector work harder
// before the process is ended for its memory: at four fifths of what it may use,
// for not all of that is the collector's. It is empty where there is no limit or
// the operator has set another.
func collectAt(spec *Spec) string {
	if spec.MemoryLimit <= 0 {
		return ""
	}
	for _, v := range spec.Env {
		if strings.HasPrefix(v, "GOMEMLIMIT=") {
			return ""
		}
	}
	return fmt.Sprintf("GOMEMLIMIT=%d", spec.MemoryLimit/5*4)
}

// noHugePages has the kernel use small pages for the memory of this process and of
// those that it starts from now on. Where the system gives huge ones to all, as
// Debian and Red Hat do, a process pays for 2 MiB wherever it uses a few pages of
// that, and Go's runtime uses a few in many places: an agent with seven plugins at
// rest then takes 26 MiB more.
func noHugePages() {
	unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0) //nolint:errcheck // it is a wish
}

// How much sooner than the host the kernel is to end a plugin when memory runs
// out, of at most oomMax. The host holds what is not yet published; a plugin is
// started again.
const (
	oomMore = 200
	oomMax  = 1000
)

// preferToHost has the kernel rather end the process than the host. Where that
// cannot be had, nothing is worse than before.
func preferToHost(pid int) {
	own := 0
	if text, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
		own, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	adj := strconv.Itoa(min(oomMax, own+oomMore))
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(adj), 0)
}

// residentBytes reads a process's resident memory; 0 where it cannot.
func residentBytes(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	if fields := strings.Fields(string(text)); len(fields) > 1 {
		pages, _ := strconv.ParseInt(fields[1], 10, 64)
		return pages * int64(os.Getpagesize())
	}
	return 0
}
