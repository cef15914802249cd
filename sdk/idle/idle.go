// Package idle gives memory back to the system in processes that do little most
// of the time. Go's collector lets a heap grow to 4 MiB before it first runs; in
// a process that polls once a minute most of that is garbage of the start, and
// an agent has many such processes. Nor does it need most of the program's file
// any more.
package idle

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	first  = 3 * time.Second  // after the start, when its garbage is complete
	period = 30 * time.Second // from then on

	// busy is how much a process may allocate in a period and still count as
	// idle. A busy one collects its garbage anyway, and needs its heap again.
	busy = 64 << 20
)

// Trim gives memory back while the process is idle, until ctx ends.
func Trim(ctx context.Context) {
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var before uint64
	for pause := first; ; pause = period {
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		metrics.Read(allocated)
		now := allocated[0].Value.Uint64()
		if now-before < busy {
			debug.FreeOSMemory()
			releaseFiles()
		}
		before = now
	}
}
