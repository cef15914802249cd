package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// writer writes batches to metrics of its own until it is told to stop. What was not
// answered it writes again: that must not change anything.
type writer struct {
	g      *aggregator
	series []*series
	now    time.Time // of its metrics
	random *rand.Rand
	acks   *atomic.Int64
	again  int
}

// batch is the points of the next request: most of them new, some of which replace
// others, some late but in time, and some too late.
func (w *writer) batch() map[*series][]point {
	all := map[*series][]point{}
	for _, s := range w.series {
		var points []point
		for range 10 {
			t := w.now.Add(time.Duration(w.random.IntN(30_000)) * time.Millisecond)
			switch w.random.IntN(10) {
			case 0:
				t = t.Add(-45 * time.Second)
			case 1:
				t = t.Add(-time.Hour)
			case 2:
				if len(points) > 0 {
					t = points[0].Timestamp
				}
			}
			points = append(points, point{t, float64(w.random.IntN(1_000_000) - 500_000)})
		}
		all[s] = points
	}
	w.now = w.now.Add(20 * time.Second)
	return all
}

func (w *writer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		batch := w.batch()
		for {
			err := w.g.tryWrite(batch)
			if err == nil {
				break
			}
			if r, ok := err.(*refused); ok && r.code != http.StatusServiceUnavailable {
				return err
			}
			w.again++
			time.Sleep(20 * time.Millisecond)
		}
		w.acks.Add(1)
	}
	return nil
}

// writers are some that write at the same time.
type writers struct {
	t    *testing.T
	all  []*writer
	acks atomic.Int64
	stop context.CancelFunc
	done sync.WaitGroup
	errs []error
}

// startWriters has n writers write to their share of the metrics.
func startWriters(t *testing.T, g *aggregator, n int, series []*series) *writers {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	all := &writers{t: t, stop: stop, errs: make([]error, n)}
	// However many requests there are, at 20 s each, they don't reach the future, which is
	// refused.
	begin := yesterday().Add(-100 * 24 * time.Hour)
	for i := range n {
		w := &writer{
			g: g, series: series[i*len(series)/n : (i+1)*len(series)/n], now: begin,
			random: rand.New(rand.NewPCG(uint64(i), 1)), acks: &all.acks,
		}
		all.all = append(all.all, w)
		all.done.Go(func() { all.errs[i] = w.run(ctx) })
	}
	t.Cleanup(stop)
	return all
}

// await waits until n more requests were acknowledged.
func (w *writers) await(n int64) {
	w.t.Helper()
	before := w.acks.Load()
	Eventually(w.t, "writes are acknowledged", func() error {
		if now := w.acks.Load(); now < before+n {
			return fmt.Errorf("%d", now-before)
		}
		return nil
	})
}

// end waits until the last requests were acknowledged.
func (w *writers) end() {
	w.t.Helper()
	w.stop()
	w.done.Wait()
	again := 0
	for i, err := range w.errs {
		if again += w.all[i].again; err != nil {
			w.t.Errorf("writer %d: %v", i, err)
		}
	}
	w.t.Logf("%d requests acknowledged, %d tried again", w.acks.Load(), again)
}

// blocks are the block files that there are.
func (g *aggregator) blocks() string { return strings.Join(g.objects("blocks/*"), " ") }

// awaitBlocks waits until there are other block files than before: a checkpoint was
// made.
func (g *aggregator) awaitBlocks(t *testing.T, before string) {
	t.Helper()
	Eventually(t, "a checkpoint is made", func() error {
		if now := g.blocks(); now == before || now == "" {
			return errNot
		}
		return nil
	})
}

// verify reads all that is stored, of which nothing may be damaged.
func (g *aggregator) verify(t *testing.T) {
	t.Helper()
	out, log, code := g.Run("aggregator", "verify")
	if code != 0 {
		t.Errorf("verify ended with %d: %s%s", code, out, log)
	}
	t.Log(strings.TrimSpace(out))
}

// Whatever is killed, what was acknowledged is there, and once.
func TestAggregatorKilledWhileWritten(t *testing.T) {
	t.Parallel()
	g := newAggregator(t, "checkpoint = '1s'").start()
	all := g.makeMetrics(24)
	w := startWriters(t, g, 4, all)
	for range 3 {
		before := g.blocks()
		w.await(20)
		g.awaitBlocks(t, before)
		end9(t, g.Agent, "storage/aggregator")
	}
	w.await(20)
	g.Kill9()
	g.start()
	w.await(20)
	w.end()
	g.expect(all)
	g.Stop()
	g.verify(t)
	g.start()
	g.expect(all)
	if r := g.Plugin("storage/aggregator").Restarts; r > 0 {
		t.Errorf("%d restarts in the last run", r)
	}
	g.Stop()
}

// counting are the samples 1, 2, 3 and so on.
const counting = `
checkpoint = '1s'
[[pollster.generator]]
numbered = true
samples = 500
interval = '50ms'
timeout = '60s'
`

// Samples that come again, because it is not known whether they were stored, are not
// counted again.
func TestAggregatorKilledWhileSampled(t *testing.T) {
	t.Parallel()
	g := newAggregator(t, counting).start()
	for n := 1; n <= 3; n++ {
		awaitNumber(t, g.Agent, "generator", n*5_000)
		end9(t, g.Agent, "storage/aggregator")
	}
	awaitNumber(t, g.Agent, "generator", 20_000)
	addsUp(t, g.Agent)
	g.Stop()
	n := last(t, g.Agent, "generator")
	// Without the generator, so that what waits in the spool comes to an end.
	g.options("")
	g.start()
	var count, sum float64
	allDone(t, fmt.Sprintf("all %d samples arrive", n), func() (int, error) {
		code, text, err := g.ask("GET", "/v1/resource/generic/generator/metric/generator.number/measures?granularity=300&aggregation=count", nil)
		if err != nil || code != http.StatusOK {
			return 0, fmt.Errorf("%d: %s %v", code, text, err)
		}
		count, err = total(text)
		return n - int(count), err
	})
	_, text, err := g.ask("GET", "/v1/resource/generic/generator/metric/generator.number/measures?granularity=300&aggregation=sum", nil)
	if err == nil {
		sum, err = total(text)
	}
	if want := float64(n) * float64(n+1) / 2; err != nil || count != float64(n) || sum != want {
		t.Errorf("%g samples of %d, their sum is %g, not %g: %v", count, n, sum, want, err)
	}
	t.Logf("%d samples", n)
	if k := deadLetters(t, g.Agent, "default/aggregator.jsonl"); len(k) > 0 {
		t.Errorf("%d dead letters, the first: %+v", len(k), k[0])
	}
	g.Stop()
	g.verify(t)
}

// total sums measures.
func total(text string) (sum float64, err error) {
	var all measured
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return 0, fmt.Errorf("%w: %s", err, text)
	}
	for _, m := range all {
		v, _ := m[2].(float64)
		sum += v
	}
	return sum, nil
}

// smallStore makes a file system of the given size the aggregator's path.
func (g *aggregator) smallStore(t *testing.T, size string) {
	t.Helper()
	dir := g.Path("aggregator")
	g.mkdir("aggregator")
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("cannot mount a small file system, which needs root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// On a full disk writes are refused, and nothing else; with space they go on by
// themselves.
func TestAggregatorDiskFull(t *testing.T) {
	t.Parallel()
	g := newAggregator(t, "checkpoint = '1s'")
	g.smallStore(t, "4m")
	g.start()
	all := g.makeMetrics(4)
	points := map[*series][]point{}
	for i, s := range all {
		points[s] = row(yesterday(), 1000, float64(i))
	}
	g.write(points)

	filler := g.Path("aggregator", "filler")
	if err := fill(filler); err != nil {
		t.Fatal(err)
	}
	var refusal *refused
	at := yesterday().Add(time.Hour)
	batch := map[*series][]point{}
	Eventually(t, "writes are refused", func() error {
		for _, s := range all {
			batch[s] = row(at, 3000, 1) // many, for the log has up to a MiB of room that it took before
		}
		at = at.Add(20 * time.Second)
		err := g.tryWrite(batch)
		if errors.As(err, &refusal) {
			return nil
		}
		return errors.Join(errNot, err, fill(filler))
	})
	if refusal.code != http.StatusServiceUnavailable || !strings.Contains(refusal.text, "space") {
		t.Errorf("a write is refused with %v", refusal)
	}
	g.AwaitLog(`level=ERROR .*no space left on device.*free some space`)
	g.AwaitLog(`level=ERROR msg="points stay in memory and in the log"`) // no checkpoint either
	g.expect(all)
	Eventually(t, "a write to one metric is refused as well", func() error {
		if err := fill(filler); err != nil {
			return err
		}
		code, text, err := g.ask("POST", "/v1/metric/"+all[0].id+"/measures", batch[all[0]])
		if err == nil && code == http.StatusAccepted { // it is smaller, and there was room for it
			all[0].takes(batch[all[0]])
		}
		return want(err == nil && code == http.StatusServiceUnavailable, "%d: %s %v", code, text, err)
	})

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	// What was refused may be on disk: only if it is written again it is known what must be there.
	Eventually(t, "writes go on", func() error { return g.tryWrite(batch) })
	for _, s := range all {
		batch[s] = row(at.Add(10*time.Minute), 100, 5)
	}
	before := g.blocks()
	g.write(batch)
	g.expect(all)
	g.awaitBlocks(t, before)
	g.expect(all)
	end9(t, g.Agent, "storage/aggregator")
	Eventually(t, "all is there", func() error { return g.compare(all) })
	if r := g.Plugin("storage/aggregator").Restarts; r != 1 {
		t.Errorf("%d restarts, of which one was asked for", r)
	}
	g.Stop()
	g.verify(t)
}

// fill takes what space there is.
func fill(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for size := 1 << 20; size > 0 && err == nil; {
		if _, e := f.Write(make([]byte, size)); e != nil {
			size /= 2
		}
	}
	return f.Close()
}

// flip changes a byte of a file.
func flip(t *testing.T, file string, at int64) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 || at >= int64(len(data)) {
		t.Fatalf("%s has %d bytes, not %d", filepath.Base(file), len(data), at)
	}
	data[at] ^= 0x10
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
