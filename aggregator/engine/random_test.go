package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects/objectstest"
)

var errTrouble = errors.New("the store has a problem")

// TestEngineAnswersAsTheModel does everything that can happen to an engine, in any
// order, and compares its answers with those of the model.
func TestEngineAnswersAsTheModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			randomly(t, seed)
		})
	}
}

func randomly(t *testing.T, seed uint64) {
	g := newRig(t, seed)
	for range 120 {
		switch g.r.IntN(27) {
		case 0, 1, 2:
			if err := g.e.Checkpoint(t.Context()); err != nil {
				g.fail("checkpoint: %v", err)
			}
			g.done("checkpoint")
		case 3:
			if err := g.e.maintain(t.Context()); err != nil {
				g.fail("maintain: %v", err)
			}
			g.done("maintain")
		case 4:
			if err := g.e.Close(t.Context()); err != nil {
				g.fail("close: %v", err)
			}
			g.done("close")
			g.open()
		case 5:
			g.crash()
		case 6:
			g.fork()
		case 7:
			if g.r.IntN(3) == 0 {
				g.change()
			}
		case 8:
			if g.r.IntN(6) == 0 {
				g.forget()
			}
		case 9:
			g.pass(time.Duration(g.r.Int64N(int64(8 * time.Hour))))
			g.done("hours")
		case 10:
			g.failCheckpoint()
		case 11:
			if err := g.e.ship(t.Context()); err != nil {
				g.fail("ship: %v", err)
			}
			g.done("ship")
		case 12:
			g.move()
		case 13:
			g.hurt()
		default:
			b := g.batch()
			g.write(b)
			g.done("%d points", b.Points())
			g.pass(time.Duration(g.r.Int64N(int64(10 * time.Minute))))
		}
		if g.r.IntN(3) == 0 {
			g.compare()
		}
	}
	g.compare()
	if err := g.e.Checkpoint(t.Context()); err != nil {
		g.fail("checkpoint: %v", err)
	}
	g.compare()
}

// failCheckpoint makes a checkpoint or a merge that fails at any of its changes of the store,
// which may happen nevertheless. It may be the last that the engine does.
func (g *rig) failCheckpoint() {
	g.t.Helper()
	n, happens := g.r.IntN(6), g.r.IntN(2) == 0
	g.store.Set(func(c objectstest.Call) objectstest.Fault {
		if c.Op == "get" || c.Op == "read" {
			return objectstest.Fault{}
		}
		if n--; n == -1 && happens {
			return objectstest.Fault{After: errTrouble}
		} else if n < 0 {
			return objectstest.Fault{Before: errTrouble}
		}
		return objectstest.Fault{}
	})
	err := g.e.Checkpoint(g.t.Context())
	if err == nil {
		err = g.e.maintain(g.t.Context())
	}
	g.store.Set(nil)
	g.done("failing checkpoint: %v", err)
	if g.r.IntN(2) == 0 {
		g.crash()
	}
}
