package engine

import (
	"sync/atomic"

	"github.com/nephoscope/nepho/aggregator/policy"
)

// policies are archive policies by id. A set that is in use is not changed.
type policies map[uint32]*policy.Policy

// applier applies batches to the head, one at a time and in the order of the log:
// so what becomes of a point depends on nothing but the log.
type applier struct {
	head   *head
	counts [shards + 1]int
	order  []uint32 // entries of the batch, by shard
	lasts  []int64  // by entry, the metric's newest point before the batch
	stamps uint32   // entries of all batches before

	advanced []Ref // that got a newer point by the last batch
}

// apply adds the points of a batch, and counts and tells in out what became of
// them.
func (a *applier) apply(b *Batch, known policies, out *Outcome) {
	n := len(b.metrics)
	a.advanced = a.advanced[:0]
	a.order, a.lasts = grow(a.order[:0], n), grow(a.lasts[:0], n)
	a.counts = [shards + 1]int{}
	for i := range b.metrics {
		a.counts[b.metrics[i].ref%shards+1]++
	}
	for i := range shards {
		a.counts[i+1] += a.counts[i]
	}
	places := a.counts
	for i := range b.metrics {
		p := &places[b.metrics[i].ref%shards]
		a.order[*p] = uint32(i)
		*p++
	}
	for i := range shards {
		if entries := a.order[a.counts[i]:a.counts[i+1]]; len(entries) > 0 {
			a.applyTo(&a.head.shards[i], entries, b, known, out)
		}
	}
	a.stamps += uint32(n)
}

func (a *applier) applyTo(s *shard, entries []uint32, b *Batch, known policies, out *Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, metrics := s.bytes(), s.metrics
	for _, i := range entries {
		e := b.metrics[i]
		points := b.of(int(i))
		if len(points) == 0 {
			continue
		}
		m := s.metric(e.ref)
		if m.state&(live|forgotten) == 0 {
			s.start(m, e.policy)
		}
		if m.state&forgotten != 0 {
			out.Forgotten += len(points)
			continue
		}
		// Late is what is late against the newest point before the batch, so a metric
		// that is in it twice is measured both times by the same.
		last := m.newest
		if j := m.stamp - a.stamps - 1; j < i && b.metrics[j].ref == e.ref {
			last = a.lasts[j]
		} else {
			m.stamp = a.stamps + i + 1
		}
		a.lasts[i] = last
		newest := m.newest
		late, first := s.write(m, points, func() int64 {
			if last == noTime {
				return MinTime
			}
			return max(m.edge, known[m.policy].WritableFrom(last))
		})
		out.Accepted += len(points) - late
		if late > 0 {
			out.Late += late
			out.Refused = append(out.Refused, Refusal{Metric: int(i), Point: points[first], Late: true})
		}
		if m.newest != newest {
			a.advanced = append(a.advanced, e.ref)
		}
	}
	a.head.bytes.Add(s.bytes() - before)
	a.head.metrics.Add(int64(s.metrics - metrics))
}

// head is the points of all metrics that are not in blocks.
type head struct {
	shards [shards]shard
	// of all shards
	bytes   atomic.Int64
	metrics atomic.Int64
}

// change calls f with the shard of a metric, locked, and counts what it changed.
func (h *head) change(ref Ref, f func(s *shard)) {
	s := h.of(ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes, metrics := s.bytes(), s.metrics
	f(s)
	h.bytes.Add(s.bytes() - bytes)
	h.metrics.Add(int64(s.metrics - metrics))
}

// of is the shard of a metric.
func (h *head) of(ref Ref) *shard { return &h.shards[ref%shards] }

// state is what the head knows of a live metric, without its points.
func (h *head) state(ref Ref) (metric, bool) {
	s := h.of(ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.find(ref)
	if m == nil || m.state&live == 0 {
		return metric{}, false
	}
	return *m, true
}
