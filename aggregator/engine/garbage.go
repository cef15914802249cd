package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nephoscope/nepho/aggregator/wal"
)

// grace is how long objects are kept that no manifest names any more: queries may
// still read them.
const grace = 15 * time.Minute

// garbage is objects that no manifest names.
type garbage struct {
	mu   sync.Mutex
	list []waste
}

type waste struct {
	name  string
	since time.Time
}

func (g *garbage) add(now time.Time, names ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		g.list = append(g.list, waste{name, now})
	}
}

// collect deletes what has been garbage for long enough.
func (e *Engine) collect(ctx context.Context) error {
	// After a Replace that may have happened the store's manifest may name what this
	// engine takes for garbage.
	e.manifestMu.Lock()
	unsure := e.unsure
	e.manifestMu.Unlock()
	if unsure {
		return nil
	}
	e.garbage.mu.Lock()
	var old, young []waste
	for _, w := range e.garbage.list {
		if e.o.Now().Sub(w.since) >= grace {
			old = append(old, w)
		} else {
			young = append(young, w)
		}
	}
	e.garbage.list = young
	e.garbage.mu.Unlock()
	for i, w := range old {
		if err := e.o.Objects.Delete(ctx, w.name); err != nil {
			e.garbage.mu.Lock()
			e.garbage.list = append(e.garbage.list, old[i:]...)
			e.garbage.mu.Unlock()
			return fmt.Errorf("cannot delete object %s: %w", w.name, err)
		}
	}
	return nil
}

// The folders of objects. Pieces of the log are in a folder for each owner.
const (
	blockFolder = "blocks/"
	headFolder  = "heads/"
	tableFolder = "headtables/"
	logFolder   = "log/"
)

// findGarbage looks for objects that an engine left behind when it ended before a
// manifest named them, or before it deleted them.
func (e *Engine) findGarbage(ctx context.Context) error {
	named := map[string]bool{e.manifest.Head.Name: true, e.manifest.HeadTable.Name: true}
	for _, b := range e.manifest.Blocks {
		named[b.Name] = true
	}
	for _, folder := range []string{blockFolder, headFolder, tableFolder, logFolder} {
		for info, err := range e.o.Objects.List(ctx, folder) {
			if err != nil {
				return fmt.Errorf("cannot list objects %s: %w", folder, err)
			}
			if _, to, ok := parsePiece(info.Name, e.owner); ok && to > e.manifest.Log.From || named[info.Name] {
				continue
			}
			e.garbage.add(e.o.Now(), info.Name)
		}
	}
	return nil
}

// pieceName is the name of a piece of an owner's log.
func pieceName(owner string, from, to wal.Position) string {
	return fmt.Sprintf("%s%s/%v-%v", logFolder, owner, from, to)
}

// parsePiece gives the place of a piece in the log of an owner.
func parsePiece(name, owner string) (from, to wal.Position, ok bool) {
	rest, ok := strings.CutPrefix(name, logFolder+owner+"/")
	if !ok {
		return 0, 0, false
	}
	if n, err := fmt.Sscanf(rest, "%x-%x", (*uint64)(&from), (*uint64)(&to)); n != 2 || err != nil || name != pieceName(owner, from, to) {
		return 0, 0, false
	}
	return from, to, true
}
