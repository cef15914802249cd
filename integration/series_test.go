package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// seen is a line of the watcher's report.
type seen struct {
	What                       string
	Items                      int
	Wall, CPU, Median, Highest time.Duration
	Error                      string
}

// watcher is an agent with an aggregator and an alarm that asks it, see
// integration/watcher.
type watcher struct{ *Agent }

func startWatcher(tb parts.TB, options string) *watcher {
	tb.Helper()
	a := NewAgent(tb, "[[storage.aggregator]]\npath = '${DIR}/aggregator'\nlisten = ''\n[[alarm.watcher]]\nreport = '${DIR}/report'\n"+options+
		"[[pipeline]]\nname = 'watched'\nsources = ['watcher']\npublishers = ['aggregator']\n")
	build := exec.Command("go", "build", "-o", a.Path("plugins", "nepho-alarm-watcher"), "./watcher")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("cannot build the alarm: %v\n%s", err, out)
	}
	a.Start()
	a.AwaitReady()
	return &watcher{a}
}

func (w *watcher) report() []seen {
	w.tb.Helper()
	f, err := os.Open(w.Path("report"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		w.tb.Fatalf("cannot read the report: %v", err)
	}
	defer f.Close()
	var all []seen
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var s seen
		if json.Unmarshal(lines.Bytes(), &s) == nil { // else it is being written
			all = append(all, s)
		}
	}
	return all
}

// await waits for lines of a kind, so many in all, and gives the last of them.
func (w *watcher) await(what string, n int) seen {
	w.tb.Helper()
	var last seen
	Eventually(w.tb, fmt.Sprintf("%d times: %s", n, what), func() error {
		count := 0
		for _, s := range w.report() {
			if s.What == what {
				count, last = count+1, s
			}
		}
		if count < n {
			return fmt.Errorf("%d times in %+v; the log says\n%s", count, w.report(), w.Log())
		}
		return nil
	})
	return last
}

// An alarm's samples come back to it as windows, through the host and the
// aggregator; and it goes on when the aggregator was killed.
func TestAlarmAsksAggregator(t *testing.T) {
	w := startWatcher(t, "series = 500\nrounds = 2\nminutes = 6\n")
	w.await("measured", 1)
	w.await("told", 1)
	if err := syscall.Kill(w.Plugin("storage/aggregator").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s := w.await("broke off", 1); !strings.Contains(s.Error, `storage "aggregator"`) {
		t.Errorf("it broke off with %q", s.Error)
	}
	if s := w.await("told", 2); s.Items != 0 {
		t.Errorf("the first is of %d series", s.Items)
	}
}

// What it costs to watch 10,000 series, in the processor time of all processes.
func BenchmarkAlarmAsks(b *testing.B) {
	w := startWatcher(b, "series = 10000\nrounds = 50\nminutes = 6\n")
	w.await("measured", 1)
	for b.Loop() { // the watcher has measured
	}
	var text strings.Builder
	for _, s := range w.report() {
		fmt.Fprintf(&text, "%-34s %8d items, wall %v, CPU %v", s.What, s.Items, s.Wall, s.CPU)
		if s.Items > 0 {
			fmt.Fprintf(&text, " (%v an item)", s.CPU/time.Duration(s.Items))
		}
		if s.Median > 0 {
			fmt.Fprintf(&text, ", median %v, 99 %% below %v", s.Median, s.Highest)
		}
		text.WriteByte('\n')
		if strings.HasPrefix(s.What, "windows, ") {
			unit := strings.NewReplacer(" ", "-", ",", "").Replace(s.What)
			b.ReportMetric(float64(s.CPU.Nanoseconds())/float64(s.Items), "cpu-ns/"+unit)
		}
	}
	b.Log(text.String())
}
