package engine

import (
	"fmt"
	"slices"
	"sync"

	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// A LostError says that windows of a metric can't be read, because an object is
// damaged or gone.
type LostError struct {
	Ref      Ref
	From, To int64 // windows with From <= start < To, ns
	Object   string
	Offset   int64
	Err      error // what is wrong; nil when it was found at an earlier start
}

func (e *LostError) Error() string {
	text := fmt.Sprintf("windows of metric %d are lost, object %s is damaged at offset %d", e.Ref, e.Object, e.Offset)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap is what is wrong.
func (e *LostError) Unwrap() error { return e.Err }

// losses are what the manifest knows of lost points.
type losses struct {
	mu    sync.RWMutex
	byRef map[Ref]loss
}

func (l *losses) set(all []loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byRef = make(map[Ref]loss, len(all))
	for _, one := range all {
		l.byRef[one.Ref] = one
	}
}

func (l *losses) find(ref Ref) loss {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.byRef[ref]
}

// hole is the time of which points are lost; empty if from is to.
type hole struct{ from, to int64 }

// hole is that of l in a metric that still has points at the given times. The first
// rate after it is lost as well.
func (l *loss) hole(p *policy.Policy, times []int64) hole {
	h := hole{l.From, l.To}
	if h.from == h.to {
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
	if h.from == h.to {
		return to, to
	}
	return min(max(policy.Floor(h.from, granularity), from), to), max(min(policy.Floor(h.to-1, granularity)+granularity, to), from)
}

// hole is what is lost of a metric, and notes how far it goes, for the point that tells this may
// leave the head.
func (c *checkpoint) hole(ref Ref, p *policy.Policy, times []int64) hole {
	l := c.e.losses.find(ref)
	h := l.hole(p, times)
	l.To = h.to
	c.lost = append(c.lost, l)
	return h
}

// losses brings a list up to date: those of metrics that are gone, or whose
// windows would all be past, are left out.
func (c *checkpoint) losses(all []loss) []loss {
	kept := all[:0]
	known := *c.e.policies.Load()
	moved := make(map[Ref]loss, len(c.lost))
	for _, l := range c.lost {
		moved[l.Ref] = l
	}
	for _, l := range all {
		if now, ok := moved[l.Ref]; ok {
			l = now
		}
		if m, ok := c.e.head.state(l.Ref); ok && slices.ContainsFunc(known[m.policy].Definitions, func(d policy.Definition) bool {
			return l.To > oldest(d, m.newest)
		}) {
			kept = append(kept, l)
		}
	}
	return kept
}
