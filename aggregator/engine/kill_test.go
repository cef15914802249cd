package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/wal"
	"github.com/nephoscope/nepho/aggregator/window"
)

const killMetrics = 40

// killBatch is the n-th batch of the process that is killed.
func killBatch(n int) *Batch {
	r := rand.New(rand.NewPCG(uint64(n), 9))
	b := &Batch{}
	at := testNow.Add(time.Duration(n) * 17 * time.Second).UnixNano()
	for range 1 + r.IntN(killMetrics) {
		ref := Ref(r.IntN(killMetrics))
		b.Metric(ref, uint32(1+ref%3))
		for range r.IntN(12) {
			b.Point(at-r.Int64N(120e9), float64(r.IntN(10000))/100)
		}
	}
	return b
}

// openChild opens the engine of a process that does not end well.
func openChild(dir string) *Engine {
	store, err := objects.Local(filepath.Join(dir, "objects"))
	if err != nil {
		panic(err)
	}
	o := Options{Dir: filepath.Join(dir, "local"), Objects: store, MaxFuture: 1e6 * time.Hour, Now: func() time.Time { return testNow }}
	if os.Getenv("NEPHO_ENGINE_TO_KILL") != "" {
		o.Checkpoint, o.Ship = time.Millisecond, 2*time.Millisecond
	}
	e, err := Open(context.Background(), o, []*policy.Policy{low, medium, high})
	if err != nil {
		panic(err)
	}
	return e
}

// toKill writes batches, tells of each when it is acknowledged, and makes checkpoints and merges all
// the time, until it is killed.
func toKill(dir string) {
	e := openChild(dir)
	var first int
	if _, err := fmt.Sscan(os.Getenv("NEPHO_ENGINE_FIRST"), &first); err != nil {
		panic(err)
	}
	for n := first; ; n++ {
		if _, err := e.Write(context.Background(), killBatch(n)); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

// TestKilledEngineHasWhatItAcknowledged kills a process with kill -9, again and again. What
// it had acknowledged is there; of the batch that it was at all or nothing.
func TestKilledEngineHasWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	m := newModel(1e6*time.Hour, low, medium, high)
	next := 0
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "NEPHO_ENGINE_TO_KILL="+dir, fmt.Sprint("NEPHO_ENGINE_FIRST=", next))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		stop := next + 20 + 13*round
		for next < stop && lines.Scan() {
			m.write(testNow, killBatch(next))
			next++
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it acknowledged until then
			m.write(testNow, killBatch(next))
			next++
		}
		io.Copy(io.Discard, out) //nolint:errcheck // it is killed
		cmd.Wait()               //nolint:errcheck // it was killed
		if next < stop {
			t.Fatalf("the process ended by itself after %d batches", next)
		}

		store, err := objects.Local(filepath.Join(dir, "objects"))
		if err != nil {
			t.Fatal(err)
		}
		e := node(t, filepath.Join(dir, "local"), store)
		// The batch that was not acknowledged may be there, as a whole.
		if first := differs(t, e, m); first != "" {
			m.write(testNow, killBatch(next))
			if second := differs(t, e, m); second != "" {
				t.Fatalf("after %d batches: %s; with one more: %s", next, first, second)
			}
			next++
		}
		if err := e.free(); err != nil {
			t.Fatal(err)
		}
	}
}

// toFill writes batches to a log of which no file may be longer than a limit, tells which
// were acknowledged, and ends when some were not and others were again.
func toFill(dir string) {
	signal.Ignore(syscall.SIGXFSZ)
	const limit = 100 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		panic(err)
	}
	e := openChild(dir)
	failed, after := 0, 0
	for n := 0; after < 20; n++ {
		_, err := e.Write(context.Background(), killBatch(n))
		switch {
		case err == nil:
			fmt.Println(n)
			if failed > 0 {
				after++
			}
		case !errors.Is(err, wal.ErrFailed):
			panic(err)
		default:
			failed++
			time.Sleep(time.Millisecond) // the log goes on by itself
		}
	}
	fmt.Println("failed", failed)
	os.Exit(0)
}

// TestWhatAFullDiskRefusedIsNotThere fills what the log may take. What is refused is not visible, neither
// then nor after a restart.
func TestWhatAFullDiskRefusedIsNotThere(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NEPHO_ENGINE_TO_FILL="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(1e6*time.Hour, low, medium, high)
	failed := false
	for line := range strings.Lines(string(out)) {
		var n int
		if _, err := fmt.Sscan(line, &n); err == nil {
			m.write(testNow, killBatch(n))
		} else {
			failed = strings.HasPrefix(line, "failed")
		}
	}
	if !failed {
		t.Fatalf("the log never failed: %s", out)
	}
	store, err := objects.Local(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	if text := differs(t, node(t, filepath.Join(dir, "local"), store), m); text != "" {
		t.Fatal(text)
	}
}

// differs tells of the first answer that is not that of the model.
func differs(t *testing.T, e *Engine, m *model) string {
	t.Helper()
	for ref := range Ref(killMetrics) {
		p := []*policy.Policy{low, medium, high}[ref%3]
		for _, d := range p.Definitions {
			q := Query{ref, d.Granularity, p.Methods, math.MinInt64, math.MaxInt64}
			var f window.Frame
			if err := e.Frame(t.Context(), q, &f); err != nil {
				t.Fatal(err)
			}
			want := m.frame(q)
			if c, i, ok := same(&f, want); !ok {
				return fmt.Sprintf("metric %d, %v: %d windows, want %d; column %v, window %d", ref, d.Granularity, f.Len(), want.Len(), c, i)
			}
		}
	}
	return ""
}
