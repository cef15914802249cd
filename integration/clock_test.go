package integration

import (
	"math"
	"testing"
	"time"
)

// The wall clock goes back and ahead by an hour again and again: rates are those
// of the monotonic clock, and there is one for every sample but the first.
func TestRatesWhileTheClockIsStepped(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, `
[[pollster.rogue]]
mode = "stepped-clock"
interval = "50ms"
timeout = "60s"
[[transformer.rate_of_change]]
[[publisher.file]]
path = "${DIR}/rates.json"
[[publisher.file]]
name = "raw"
path = "${DIR}/raw.json"
[[pipeline]]
name = "rates"
sources = ["rogue"]
transformers = ["rate_of_change"]
publishers = ["file"]
[[pipeline]]
name = "raw"
sources = ["rogue"]
publishers = ["raw"]
`)
	a.installRogue("pollster")
	a.Start()
	awaitFlow(t, a, "rates.json", 40)
	a.Stop()
	raw, rates := a.Samples("raw.json"), a.Samples("rates.json")
	back := 0
	for i := range raw[1:] {
		if raw[i+1].Timestamp.Before(raw[i].Timestamp) {
			back++
		}
	}
	if back < 3 {
		t.Fatalf("the clock went back %d times", back)
	}
	if len(rates) != len(raw)-1 {
		t.Errorf("%d samples have %d rates", len(raw), len(rates))
	}
	for i, s := range rates {
		if math.Abs(s.Volume-5) > 1e-6 {
			t.Errorf("rate %d is %v", i, s.Volume)
		}
	}
}

// Over a thousand short intervals, every moment of the schedule is polled or
// counted as skipped, however busy the machine is.
func TestScheduleKeepsItsRhythm(t *testing.T) {
	t.Parallel()
	const interval = 5 * time.Millisecond
	a := StartAgent(t, `
[[pollster.host]]
interval = "5ms"
timeout = "60s"
meters = ["host.load.*"]
[[publisher.file]]
path = "${DIR}/out.json"
`)
	look := func() (moments uint64, at time.Time) {
		for {
			begun := time.Now()
			s := a.Source("host")
			if took := time.Since(begun); took < 100*time.Millisecond {
				return s.Polls + s.Skipped, begun.Add(took / 2)
			}
		}
	}
	// What is under way is in neither count yet. Where that is much, at the beginning or
	// at the end, it is measured again; moments that get lost do so every time.
	Eventually(t, "the moments that are over are those of the time that has passed", func() error {
		from, begun := look()
		Eventually(t, "1000 moments are over", func() error {
			s := a.Source("host")
			return want(s.Polls+s.Skipped > from+1000, "%d are", s.Polls+s.Skipped-from)
		})
		to, ended := look()
		expected := float64(ended.Sub(begun)) / float64(interval)
		t.Logf("%d moments in %v; %d were skipped", to-from, ended.Sub(begun), a.Source("host").Skipped)
		return want(math.Abs(float64(to-from)-expected) <= 60, "%d moments instead of %.0f", to-from, expected)
	})
	a.Stop()
}

// A poll that takes longer than its interval is not joined by a second one: the
// moments that it misses are skipped, and counted where an operator looks.
func TestOverrunIsCounted(t *testing.T) {
	t.Parallel()
	a := NewAgent(t, `
[[pollster.rogue]]
interval = "20ms"
timeout = "60s"
pause = "110ms"
[[publisher.file]]
path = "${DIR}/out.json"
`)
	a.installRogue("pollster")
	a.Start()
	awaitFlow(t, a, "out.json", 10)
	s := a.Source("rogue")
	if s.Failures+s.Timeouts > 0 || s.Skipped < 4*s.Polls {
		t.Errorf("the status says %+v", s)
	}
	if n := a.Metric("nepho_source_skipped_total", "source", "rogue"); n < float64(s.Skipped) {
		t.Errorf("/metrics says %g of %d", n, s.Skipped)
	}
	a.Stop()
	expectEachOnce(t, a, "out.json", "rogue")
}
