package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// The file publisher of these tests is down until its folder is made.

// A full spool drops the oldest polled samples, and counts exactly these.
func TestSpoolLimitDropsOldestPolled(t *testing.T) {
	t.Parallel()
	f := func(name, spool string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := NewAgent(t, `
[[pollster.generator]]
numbered = true
samples = 1_000
interval = "20ms"
timeout = "60s"
[[publisher.file]]
path = "${DIR}/there/out.json"
`+spool)
			a.Start()
			awaitNumber(t, a, "generator", 10_000)
			Eventually(t, "samples are dropped", func() error {
				if k := a.Sink("default", "file"); k.DroppedFull < 50_000 {
					return fmt.Errorf("%+v", k)
				}
				return nil
			})
			addsUp(t, a)
			if n := strings.Count(a.Log(), "spool is full"); n != 1 {
				t.Errorf("that the spool is full was logged %d times", n)
			}
			a.mkdir("there")
			a.awaitSink("default", "file", false)
			awaitArrival(t, a, "there/out.json", last(t, a, "generator"))
			dry(t, a)
			dropped := a.Sink("default", "file").DroppedFull
			addsUp(t, a)
			a.Stop()
			got := arrived(a.Samples("there/out.json"))
			if ranges, lost := missing(got, last(t, a, "generator")); uint64(lost) != dropped {
				t.Errorf("%d samples are missing (%v), %d were counted", lost, ranges, dropped)
			}
			if n := repeated(got); n > 0 {
				t.Errorf("%d samples arrived again", n)
			}
		})
	}
	f("disk", `spool_limit = "1MiB"`)
	f("memory", `
spool = "memory"
queue_limit = "1MiB"`)
}

// held is a notification's numbers; the rogue one gives 0, 1, 2 and so on.
func held(samples []sdk.Sample) map[int]int {
	n := map[int]int{}
	for _, s := range samples {
		if s.Name == "number" {
			n[int(s.Volume)]++
		}
	}
	return n
}

// awaitHeldBack waits until a notification delivers nothing more because a sink's
// spool is full, and gives the number of its deliveries.
func awaitHeldBack(t *testing.T, a *Agent, source, pipeline, publisher string) (before uint64) {
	t.Helper()
	Eventually(t, "the notification is held back", func() error {
		s, k := a.Source(source), a.Sink(pipeline, publisher)
		if s.Batches == 0 || s.Batches != before || s.Unsettled == 0 || !k.SpoolFull && k.DiskError == "" {
			was := before
			before = s.Batches
			time.Sleep(300 * time.Millisecond)
			return fmt.Errorf("%d deliveries, %d before, %d not settled, %+v", before, was, s.Unsettled, k)
		}
		return nil
	})
	return before
}

// A full spool holds back what waits for our word and drops none of it. Polled
// samples go on to the other sink of the same pipeline meanwhile, and so does each
// notification that was taken.
func TestDeadSinkDelaysNoOther(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, `
[[pollster.generator]]
numbered = true
samples = 100
interval = "20ms"
timeout = "60s"
[[notification.rogue]]
every = "1ms"
[[publisher.file]]
name = "down"
path = "${DIR}/there/down.json"
sync = "none"
spool = "memory" # may be smaller than one on disk
queue_limit = "64KiB"
[[publisher.file]]
name = "up"
path = "${DIR}/up.json"
sync = "none"
[[publisher.file]]
name = "other"
path = "${DIR}/other.json"
sync = "none"
[[pipeline]]
name = "both"
sources = ["generator", "rogue"]
publishers = ["down", "up"]
[[pipeline]]
name = "other"
sources = ["generator", "rogue"]
publishers = ["other"]
`)
	install(t, a, "notification")
	a.Start()
	before := awaitHeldBack(t, a, "rogue", "both", "down")
	addsUp(t, a)
	for range 5 {
		n := last(t, a, "generator") + 500
		awaitNumber(t, a, "generator", n)
		begun := time.Now()
		awaitArrival(t, a, "up.json", n)
		awaitArrival(t, a, "other.json", n)
		if d := time.Since(begun); d > patience/2 {
			t.Errorf("a poll's samples arrived after %v", d)
		}
	}
	if s := a.Source("generator"); s.Timeouts+s.Failures > 0 {
		t.Errorf("%d polls timed out, %d failed", s.Timeouts, s.Failures)
	}
	a.mkdir("there")
	Eventually(t, "the notification goes on", func() error {
		if now := a.Source("rogue").Batches; now < before+300 {
			return fmt.Errorf("%d deliveries, %d before", now, before)
		}
		return nil
	})
	dry(t, a)
	addsUp(t, a)
	dropped := a.Sink("both", "down").DroppedFull
	a.Stop()
	upTo := last(t, a, "generator")
	for _, file := range []string{"up.json", "other.json"} {
		expectAll(t, arrived(a.Samples(file)), upTo, 0)
	}
	if _, n := missing(arrived(a.Samples("there/down.json")), upTo); uint64(n) != dropped {
		t.Errorf("%d polled samples are missing, %d were counted", n, dropped)
	}
	var numbers [3]map[int]int
	for i, file := range []string{"there/down.json", "up.json", "other.json"} {
		numbers[i] = held(a.Samples(file))
		for n := range int(before) {
			if numbers[i][n] == 0 {
				t.Fatalf("notification %d of %d is missing in %s", n, before, file)
			}
		}
	}
}

// A transformer that does not answer costs its own pipeline samples, counted, and
// delays nothing else.
func TestHungTransformerDelaysNoOther(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, `
[[pollster.generator]]
numbered = true
samples = 1_000
interval = "50ms"
timeout = "60s"
[[transformer.rogue]]
mode = "hang"
timeout = "2s"
[[publisher.file]]
name = "a"
path = "${DIR}/a.json"
[[publisher.file]]
name = "b"
path = "${DIR}/b.json"
[[pipeline]]
name = "a"
sources = ["generator"]
transformers = ["rogue"]
publishers = ["a"]
[[pipeline]]
name = "b"
sources = ["generator"]
publishers = ["b"]
`)
	install(t, a, "transformer")
	a.queueLimit("64KiB")
	a.Start()
	Eventually(t, "samples are dropped", func() error {
		if p := a.Pipeline("a"); p.Dropped < 10_000 {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	addsUp(t, a)
	dry(t, a)
	a.Kill9() // a stop would wait for the transformer
	samples := a.Samples("b.json")
	expectAll(t, arrived(samples), last(t, a, "generator"), 0)
	longest := time.Duration(0)
	for i := 1; i < len(samples); i++ {
		longest = max(longest, samples[i].Timestamp.Sub(samples[i-1].Timestamp))
	}
	if longest > patience/2 { // half of what a poll may wait
		t.Errorf("polls were %v apart", longest)
	}
	t.Logf("polls were at most %v apart", longest)
}

// A stop with the sink down leaves everything on disk for the next start.
func TestStopWithSinkDown(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, `
[[pollster.generator]]
numbered = true
samples = 500
interval = "20ms"
timeout = "60s"
[[publisher.file]]
path = "${DIR}/there/out.json"
`)
	for n := 1; n <= 2; n++ {
		a.Start()
		awaitNumber(t, a, "generator", n*10_000)
		a.Stop()
	}
	at := last(t, a, "generator")
	a.mkdir("there")
	a.Start()
	if k := a.Sink("default", "file"); k.Recovered != uint64(at) {
		t.Errorf("%d recovered of %d", k.Recovered, at)
	}
	awaitArrival(t, a, "there/out.json", at+1)
	addsUp(t, a)
	dry(t, a)
	a.Stop()
	expectAll(t, arrived(a.Samples("there/out.json")), last(t, a, "generator"), 0)
}

// A memory spool cannot do that, and says how much is lost.
func TestStopWithMemorySpoolTellsLoss(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, `
[[pollster.generator]]
numbered = true
samples = 500
interval = "20ms"
timeout = "60s"
[[publisher.file]]
path = "${DIR}/there/out.json"
spool = "memory"
`)
	a.Start()
	awaitNumber(t, a, "generator", 10_000)
	addsUp(t, a)
	a.Stop()
	line := a.AwaitLog("samples are lost with the memory spool")
	_, rows, _ := strings.Cut(line, "rows=")
	if n, err := strconv.Atoi(strings.TrimSpace(rows)); err != nil || n != last(t, a, "generator") {
		t.Errorf("%d were given, the log says: %s", last(t, a, "generator"), line)
	}
}
