package derive

import (
	"math"
	"testing"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// track feeds one meter of one resource to a history whose clock shows now.
type track struct {
	t   *testing.T
	h   *History
	now time.Time
	typ sdk.Type
}

func newTrack(t *testing.T, typ sdk.Type) *track {
	h, err := OpenHistory(sdk.Env{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tr := &track{t: t, h: h, now: start.Add(time.Hour), typ: typ}
	h.now = func() time.Time { return tr.now }
	return tr
}

// step gives a sample taken at seconds after start; mono is 0 where the monotonic
// time is unknown.
func (tr *track) step(seconds, mono, volume float64) (change, elapsed float64, ok bool) {
	tr.t.Helper()
	second := float64(time.Second)
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		out.Add(sdk.Sample{
			Name: "m", Type: tr.typ, ResourceID: "r", Volume: volume,
			Timestamp: start.Add(time.Duration(seconds * second)), Monotonic: time.Duration(mono * second),
		})
		return nil
	})
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.h.Begin(batches[0])
	c, e, ok := tr.h.Step(0)
	return c, e.Seconds(), ok
}

func (tr *track) first(seconds, mono, volume float64) { tr.none(seconds, mono, volume) }

func (tr *track) none(seconds, mono, volume float64) {
	tr.t.Helper()
	if c, e, ok := tr.step(seconds, mono, volume); ok {
		tr.t.Fatalf("at %v s a change of %v in %v s", seconds, c, e)
	}
}

func (tr *track) changed(seconds, mono, volume, change, elapsed float64) {
	tr.t.Helper()
	c, e, ok := tr.step(seconds, mono, volume)
	if !ok || c != change || math.Abs(e-elapsed) > 1e-9 {
		tr.t.Fatalf("at %v s a change of %v in %v s (%v), want %v in %v s", seconds, c, e, ok, change, elapsed)
	}
}

func TestSteps(t *testing.T) {
	tr := newTrack(t, sdk.Cumulative)
	tr.first(0, 0, 100)
	tr.changed(10, 0, 150, 50, 10)
	tr.changed(25, 0, 150, 0, 15)
	tr.changed(25.5, 0, 151, 1, 0.5)
}

func TestCounterReset(t *testing.T) {
	tr := newTrack(t, sdk.Cumulative)
	tr.first(0, 0, 1000)
	tr.changed(10, 0, 40, 40, 10) // grew by 40 since it began anew, at least
	tr.changed(20, 0, 60, 20, 10)
	for _, typ := range []sdk.Type{sdk.Gauge, sdk.Delta} {
		tr := newTrack(t, typ)
		tr.first(0, 0, 1000)
		tr.changed(10, 0, 40, -960, 10)
	}
}

func TestDuplicatesAndLateSamples(t *testing.T) {
	tr := newTrack(t, sdk.Cumulative)
	tr.first(0, 0, 100)
	tr.changed(10, 0, 150, 50, 10)
	tr.none(10, 0, 150) // again
	tr.none(10, 0, 170) // same time, another volume
	tr.none(5, 0, 120)  // late
	tr.changed(20, 0, 180, 30, 10)

	tr = newTrack(t, sdk.Cumulative)
	tr.first(0, 1000, 100)
	tr.changed(10, 1010, 150, 50, 10)
	tr.none(10, 1010, 150)
	tr.none(5, 1005, 120)
	tr.changed(20, 1020, 180, 30, 10)
}

func TestClockStepsWithMonotonicTime(t *testing.T) {
	tr := newTrack(t, sdk.Cumulative)
	tr.first(0, 1000, 100)
	tr.changed(3610, 1010, 150, 50, 10)  // the wall clock went an hour forward
	tr.changed(20, 1020, 200, 50, 10)    // and back
	tr.changed(-3570, 1030, 250, 50, 10) // and an hour back
	tr.changed(-3570, 1040, 300, 50, 10) // and stands
}

func TestClockSetBackWithoutMonotonicTime(t *testing.T) {
	tr := newTrack(t, sdk.Cumulative)
	tr.now = start.Add(100 * time.Second)
	tr.first(90, 0, 100)
	tr.changed(100, 0, 150, 50, 10)
	// An hour back: what is remembered is of a time to come, so that it starts
	// again with this sample instead of an hour later.
	tr.now = start.Add(-3500 * time.Second)
	tr.none(-3500, 0, 200)
	tr.changed(-3490, 0, 250, 50, 10)
	// A few seconds back are waited for.
	tr.now = start.Add(-3493 * time.Second)
	tr.none(-3493, 0, 300)
	tr.now = start.Add(-3483 * time.Second)
	tr.changed(-3483, 0, 320, 70, 7)
}

func TestReboot(t *testing.T) {
	tr := newTrack(t, sdk.Cumulative)
	tr.first(0, 5000, 1000)
	tr.changed(120, 30, 40, 40, 120) // the monotonic clock is behind: another boot

	// It is ahead, for the first boot was short; but it disagrees with the wall
	// clock, and the counter began anew.
	tr = newTrack(t, sdk.Cumulative)
	tr.first(0, 60, 1000)
	tr.changed(700, 300, 40, 40, 700)

	// A counter that began anew on a machine whose clocks agree.
	tr = newTrack(t, sdk.Cumulative)
	tr.first(0, 60, 1000)
	tr.changed(10.01, 70, 40, 40, 10)
}

// A virtual machine that moves: its samples come with another machine's clock.
func TestMigration(t *testing.T) {
	tr := newTrack(t, sdk.Cumulative)
	tr.first(0, 1_000_000, 1000)
	tr.changed(60, 2000, 15, 15, 60)
	tr.changed(120, 2060, 30, 15, 60)
	tr.changed(180, 1_000_180, 10, 10, 60)
}

func TestOneMonotonicTimeIsMissing(t *testing.T) {
	tr := newTrack(t, sdk.Cumulative)
	tr.first(0, 0, 100)
	tr.changed(10, 1010, 150, 50, 10)
	tr.changed(20, 0, 200, 50, 10)
}

func TestVolumesThatAreNoNumbers(t *testing.T) {
	tr := newTrack(t, sdk.Gauge)
	tr.none(0, 0, math.NaN())
	tr.first(10, 0, 100)
	tr.none(20, 0, math.Inf(1))
	tr.none(30, 0, math.NaN())
	tr.changed(40, 0, 130, 30, 30)
	tr.changed(50, 0, -math.MaxFloat64, -math.MaxFloat64, 10)
	tr.none(60, 0, math.MaxFloat64) // too far apart
}

// Meter and resource must not run into each other as they would in one text.
func TestKeys(t *testing.T) {
	h, err := OpenHistory(sdk.Env{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	batches, err := sdk.Build("test", func(out *sdk.Builder) error {
		for i, key := range [][2]string{{"disk.a", "b"}, {"disk.", "ab"}, {"disk", ".ab"}} {
			out.Add(sdk.Sample{Name: key[0], Type: sdk.Cumulative, ResourceID: key[1], Volume: 1, Timestamp: start.Add(time.Duration(i) * time.Second)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Begin(batches[0])
	for i := range 3 {
		if _, _, ok := h.Step(i); ok {
			t.Fatalf("row %d continues another series", i)
		}
	}
}

func TestPointEncoding(t *testing.T) {
	p := point{math.MinInt64, math.MaxInt64, -1.5e300}
	data, err := p.AppendBinary(nil)
	if err != nil || len(data) != 24 {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	var q point
	if err := q.UnmarshalBinary(data); err != nil || q != p {
		t.Fatalf("%v, %v", q, err)
	}
	if q.UnmarshalBinary(data[1:]) == nil || q.UnmarshalBinary(nil) == nil {
		t.Fatal("a short value is taken")
	}
}
