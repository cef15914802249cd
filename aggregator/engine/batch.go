package engine

import (
	"math"

	"github.com/nephoscope/nepho/aggregator/window"
)

// MinTime is the earliest time that a point may have, in 1823; earlier ones are
// taken for late.
const MinTime = -1 << 62

// Batch is points of many metrics. It may be reset and used again when
// [Engine.Write] has returned. The zero value is empty.
type Batch struct {
	metrics []entry
	points  []window.Point
}

// entry is a metric of a batch. Its points end where those of the next begin.
type entry struct {
	ref    Ref
	policy uint32
	start  uint32 // of its points in the batch
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.metrics, b.points = b.metrics[:0], b.points[:0] }

// Metric says which metric the points that follow belong to, and the id of its
// archive policy. A metric may be named more than once. The policy of a metric's
// first write stays its policy.
func (b *Batch) Metric(ref Ref, policyID uint32) {
	b.metrics = append(b.metrics, entry{ref, policyID, uint32(len(b.points))})
}

// Point adds a point of the metric that was named last; t is nanoseconds since
// 1970. Of points with equal times the one added last counts.
func (b *Batch) Point(t int64, v float64) {
	b.points = append(b.points, window.Point{Time: t, Value: v})
}

// Add adds points of the metric that was named last; see [Batch.Point].
func (b *Batch) Add(points ...window.Point) { b.points = append(b.points, points...) }

// Points is the number of points.
func (b *Batch) Points() int { return len(b.points) }

// of is the points of the i-th metric.
func (b *Batch) of(i int) []window.Point {
	if i+1 < len(b.metrics) {
		return b.points[b.metrics[i].start:b.metrics[i+1].start]
	}
	return b.points[b.metrics[i].start:]
}

// within is the batch without the points that no metric takes: those later than
// limit or before [MinTime], which are counted and told in out. It is b itself
// when there are none.
func (b *Batch) within(limit int64, out *Outcome) *Batch {
	oldest, newest := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range b.points {
		t := b.points[i].Time
		oldest, newest = min(oldest, t), max(newest, t)
	}
	if oldest >= MinTime && newest <= limit {
		return b
	}
	sound := &Batch{}
	for i, m := range b.metrics {
		sound.Metric(m.ref, m.policy)
		toldLate, toldFuture := false, false
		for _, p := range b.of(i) {
			switch {
			case p.Time > limit:
				out.Future++
				if !toldFuture {
					out.Refused = append(out.Refused, Refusal{Metric: i, Point: p})
				}
				toldFuture = true
			case p.Time < MinTime:
				out.Late++
				if !toldLate {
					out.Refused = append(out.Refused, Refusal{Metric: i, Point: p, Late: true})
				}
				toldLate = true
			default:
				sound.points = append(sound.points, p)
			}
		}
	}
	return sound
}
