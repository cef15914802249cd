package engine

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// A LostError says that windows of a metric can't be read, because an object is
// damaged or gone.
type LostError struct {
	Ref      Ref
	From, To int64  // windows with From <= start < To, ns
	Object   string // "" when it was a head object, at an earlier start
	Offset   int64
	Err      error // what is wrong; nil when it was found at a start
}

func (e *LostError) Error() string {
	if e.Object == "" {
		return fmt.Sprintf("windows of metric %d are lost, for points from %v to %v were in a head object that was damaged",
			e.Ref, time.Unix(0, e.From).UTC().Format(time.RFC3339), time.Unix(0, e.To).UTC().Format(time.RFC3339))
	}
	text := fmt.Sprintf("windows of metric %d are lost, object %s is damaged at offset %d", e.Ref, e.Object, e.Offset)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap is what is wrong.
func (e *LostError) Unwrap() error { return e.Err }

// losses are the points that were lost with head objects. There is one of a metric at
// most, and the head object has it in the metric's state.
type losses struct {
	mu    sync.RWMutex
	byRef map[Ref]loss
}

// loss is points of a metric that were in a head object, which is damaged.
type loss struct {
	span   hole
	Object string // "" when it was found at an earlier start
	Offset int64
}

func (l *losses) set(all map[Ref]loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byRef = all
}

func (l *losses) find(ref Ref) loss {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.byRef[ref]
}

// hole is the time of which points are lost: from <= time < to, ns.
type hole struct{ from, to int64 }

func (h hole) empty() bool { return h.from == h.to }

// with is the time from the begin of the first to the end of the last.
func (h hole) with(other hole) hole {
	if h.empty() {
		return other
	}
	return hole{min(h.from, other.from), max(h.to, other.to)}
}

// hole is that of l in a metric that still has points at the given times. The first
// rate after it is lost as well.
func (l *loss) hole(p *policy.Policy, times []int64) hole {
	h := l.span
	if h.empty() {
		return h // it is past
	}
	if window.Needs(p.Methods).HasRates() {
		if i, _ := slices.BinarySearch(times, h.to); i < len(times) {
			h.to = times[i] + 1
		}
	}
	return h
}

// around gives the ends of what of the windows with from <= start < to is before
// the hole and after it.
func (h hole) around(granularity, from, to int64) (before, after int64) {
	if h.empty() {
		return to, to
	}
	return min(max(policy.Floor(h.from, granularity), from), to), max(min(policy.Floor(h.to-1, granularity)+granularity, to), from)
}

// lose gives what is lost of a metric, with points at the given times if its edge moves,
// and notes it for the new head object, unless all windows of that time are past. How
// far the hole goes is noted as well, for the point that tells it may leave the head.
func (c *checkpoint) lose(entry *headEntry, p *policy.Policy, times []int64) hole {
	l := c.e.losses.find(entry.ref)
	h := l.hole(p, times)
	if !h.empty() && slices.ContainsFunc(p.Definitions, func(d policy.Definition) bool { return h.to > oldest(d, entry.newest) }) {
		l.span, entry.lost = h, h
		c.lost[entry.ref] = l
	}
	return h
}
