package engine

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects/objectstest"
)

func TestIdentityOfAStore(t *testing.T) {
	store := newStore(t)
	identify := func() Identity {
		t.Helper()
		i, err := Identify(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	if got := identify(); got != (Identity{}) || len(store.Calls()) != 1 {
		t.Fatalf("%+v of an empty store, %v", got, store.Calls())
	}
	// Several at once agree.
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			var err error
			if ids[i], err = Name(t.Context(), store); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		if len(id) != 32 || id != ids[0] {
			t.Fatalf("%q", ids)
		}
	}
	if got := identify(); got != (Identity{ID: ids[0]}) {
		t.Fatalf("%+v before it was opened", got)
	}
	dir := t.TempDir()
	for range 2 {
		e := node(t, dir, store)
		put(t, e, 1, testNow, 1)
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := identify(); got != (Identity{ids[0], true}) {
			t.Fatalf("%+v after it was opened", got)
		}
	}
	store.Set(func(objectstest.Call) objectstest.Fault { return objectstest.Fault{Before: errTrouble} })
	if _, err := Identify(t.Context(), store); !errors.Is(err, errTrouble) {
		t.Error(err)
	}
	if _, err := Name(t.Context(), store); !errors.Is(err, errTrouble) {
		t.Error(err)
	}
}

// shared makes the store of a node one that others may take over. No background work
// is done.
func shared(c *clock) func(*Options) {
	return func(o *Options) { o.Ship, o.Now = 1000*time.Hour, c.now }
}

func TestWritesEndWhenTheStoreIsTakenOver(t *testing.T) {
	store, clock := newStore(t), newClock()
	a := node(t, t.TempDir(), store, shared(clock))
	put(t, a, 1, testNow, 1)
	if err := a.Owns(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := node(t, t.TempDir(), store, shared(clock))
	var fenced *FencedError
	if err := a.Owns(t.Context()); !errors.As(err, &fenced) || fenced.Owner != b.owner || b.Epoch() <= a.Epoch() {
		t.Fatal(err)
	}
	batch := Batch{}
	batch.Metric(1, medium.ID)
	batch.Point(testNow.UnixNano(), 1)
	if _, err := a.Write(t.Context(), &batch); !errors.As(err, &fenced) {
		t.Fatal(err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Owns(t.Context()); !errors.As(err, &fenced) {
		t.Fatal(err)
	}
	// What b itself changes in the manifest is no other's claim.
	put(t, b, 1, testNow, 1)
	if err := b.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Owns(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Owns(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// In a bubble, so that the engine does not look for itself after five seconds of a slow test.
func TestWritesEndWhenTheStoreIsOutOfReach(t *testing.T) { synctest.Test(t, outOfReach) }

func outOfReach(t *testing.T) {
	store, clock := newStore(t), newClock()
	e := node(t, t.TempDir(), store, shared(clock))
	batch := Batch{}
	batch.Metric(1, medium.ID)
	batch.Point(testNow.UnixNano(), 1)
	write := func(want error) {
		t.Helper()
		if _, err := e.Write(t.Context(), &batch); !errors.Is(err, want) {
			t.Fatalf("error %v, want %v", err, want)
		}
	}
	store.Set(func(objectstest.Call) objectstest.Fault { return objectstest.Fault{Before: errTrouble} })
	for range 3 {
		clock.pass(claimLimit / 3)
		if err := e.Owns(t.Context()); !errors.Is(err, errTrouble) {
			t.Fatal(err)
		}
		write(nil)
	}
	clock.pass(1)
	write(ErrCutOff)
	store.Set(nil)
	write(ErrCutOff)
	if err := e.Owns(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(nil)
	// One who takes the store over meanwhile is noticed.
	if err := store.Delete(t.Context(), manifestName); err != nil {
		t.Fatal(err)
	}
	if err := e.Owns(t.Context()); !errors.As(err, new(*FencedError)) {
		t.Fatal(err)
	}
	// In a store that nobody shares there is nothing to look for.
	local := node(t, t.TempDir(), newStore(t), func(o *Options) { o.Now = clock.now })
	clock.pass(2 * claimLimit)
	put(t, local, 1, testNow, 1)
}
