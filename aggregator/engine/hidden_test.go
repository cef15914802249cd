package engine

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/window"
)

// TestFilesWithHiddenWindowsAreNotPast damages all of a block file but its beginning: it
// is not known of which metrics windows are lost, so the file must not go as one that has none.
func TestFilesWithHiddenWindowsAreNotPast(t *testing.T) {
	h := newHurt(t)
	e := node(t, h.dir, h.store)
	i := slices.IndexFunc(e.manifest.Blocks, func(b blockInfo) bool { return b.Granularity == int64(time.Minute) })
	file := e.manifest.Blocks[i]
	data := h.store.objects[file.Name]
	h.store.objects[file.Name] = append(slices.Clone(data[:24]), bytes.Repeat([]byte{0}, len(data)-24)...)
	if err := e.free(); err != nil {
		t.Fatal(err)
	}
	e = node(t, t.TempDir(), h.store) // without what the cache has
	for range 2 * len(e.manifest.Blocks) {
		if err := e.maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		var f window.Frame
		err := e.Frame(t.Context(), Query{3, time.Minute, methods, math.MinInt64, math.MaxInt64}, &f)
		if lost := new(LostError); !errors.As(err, &lost) || lost.Object != file.Name {
			t.Fatalf("%d windows, %v", f.Len(), err)
		}
	}
}
