package engine

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
)

// expire drops block files of which every window is past or of a metric that is
// gone, and moves what remains of those that are nearly so to the attic.
func (e *Engine) expire(ctx context.Context) error {
	e.manifestMu.Lock()
	blocks := e.manifest.Blocks
	e.manifestMu.Unlock()
	newest := map[fileKey]int64{}
	for _, b := range blocks {
		key := b.kind()
		if t, ok := newest[key]; !ok || b.Last > t {
			newest[key] = b.Last
		}
	}
	var errs []error
	var past []blockInfo
	remains := map[fileKey][]blockInfo{}
	e.turn++
	for i, b := range blocks {
		key := b.kind()
		// Of files that are not old enough for most of their windows to be past, one is
		// looked at each time, for metrics that are gone.
		if b.Last > newest[key]-atLeast(b.Class) && i != e.turn%len(blocks) {
			continue
		}
		kept, all, err := e.kept(ctx, b)
		if errors.Is(err, objects.ErrNotFound) {
			e.damage(b.Name, 0, err) // of which metrics, queries tell
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		switch {
		case kept == 0:
			past = append(past, b)
		case kept <= all/4 && !b.Damaged:
			remains[key] = append(remains[key], b)
		}
	}
	if len(past) > 0 {
		if err := e.replaceBlocks(ctx, past, blockInfo{}); err != nil {
			return err
		}
	}
	for _, files := range remains {
		if len(files) < atticFiles {
			continue
		}
		if err := e.merge(ctx, &job{files, attic}); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// atLeast is the shortest timespan of a class, in ns.
func atLeast(class int) int64 {
	if class == 0 {
		return math.MaxInt64 / 2
	}
	return int64(time.Second) << min(class-1, 32)
}

// keptFrom is the start of the oldest window of a metric that is kept; not ok if
// the metric is gone.
func (e *Engine) keptFrom(ref Ref, granularity int64) (int64, bool) {
	m, ok := e.head.state(ref)
	if !ok {
		return 0, false
	}
	d, ok := (*e.policies.Load())[m.policy].Definition(time.Duration(granularity))
	return oldest(d, m.newest), ok
}

// kept tells of how many of the metrics in a file any window is kept.
func (e *Engine) kept(ctx context.Context, b blockInfo) (kept, all int, err error) {
	f, err := e.readers.open(ctx, b)
	if err != nil {
		return 0, 0, err
	}
	defer e.readers.release(f)
	for entry := range f.Entries() {
		all++
		if from, ok := e.keptFrom(Ref(entry.Ref), b.Granularity); ok && entry.Last >= from {
			kept++
		}
	}
	// What damage hides may be of any metric, so it is not known to be past.
	hidden := max(0, b.Metrics-all)
	return kept + hidden, all + hidden, nil
}
