package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/window"
)

// TestPointsOfMetricsWithLossesAreKept writes to metrics whose newest points were lost: what is
// written after that is older than those, or nothing, and comes through checkpoints and starts.
func TestPointsOfMetricsWithLossesAreKept(t *testing.T) {
	h := newHurt(t)
	h.damageHead(7)
	h.damageHead(8)
	e := node(t, h.dir, h.store)
	before := e.manifest.Lost
	late := testNow.Add(-95 * time.Second)
	put(t, e, 7, late, 5)
	for range 2 {
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		e = node(t, h.dir, h.store)
		if n := e.Stats().Damaged; n != 0 || len(before) != 2 || !slices.Equal(e.manifest.Lost, before) {
			t.Errorf("%d damaged, lost are %+v, at first it was %+v", n, e.manifest.Lost, before)
		}
		if times, values := e.head.points(7); !slices.Equal(times, []int64{late.UnixNano()}) || !slices.Equal(values, []float64{5}) {
			t.Errorf("points %v, %v", times, values)
		}
		if p, ok := e.Newest(8); ok {
			t.Errorf("%+v", p)
		}
	}
	put(t, e, 8, testNow, 6)
	if p, ok := e.Newest(8); !ok || p != (window.Point{Time: testNow.UnixNano(), Value: 6}) {
		t.Errorf("%+v, %v", p, ok)
	}
}
