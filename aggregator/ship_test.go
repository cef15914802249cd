package aggregator

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/objects"
)

// node is the index of a node whose copies go to a store.
type node struct {
	t *testing.T
	*store
	owner fakeOwner
}

// fakeOwner is an engine that opened the store as the one of that number, and may have lost it.
type fakeOwner struct {
	epoch uint64
	lost  error
}

func (o *fakeOwner) Epoch() uint64              { return o.epoch }
func (o *fakeOwner) Owns(context.Context) error { return o.lost }

// newNode makes a node with a folder of its own; join starts it.
func newNode(t *testing.T, o objects.Store, dir string, epoch uint64) *node {
	s := &store{log: slog.New(slog.DiscardHandler), objects: o}
	s.shipper = &shipper{s: s, path: filepath.Join(dir, "index.sqlite")}
	return &node{t: t, store: s, owner: fakeOwner{epoch: epoch}}
}

// join restores the index if there is a copy, opens it, and ships it if it is another's.
func (n *node) join() (restored bool, err error) {
	n.t.Helper()
	if restored, err = n.shipper.restore(n.t.Context(), n.objects); err != nil {
		return restored, err
	}
	if n.index, err = index.Open(n.t.Context(), index.Options{URL: n.shipper.path}); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(n.leave)
	return restored, n.shipper.follow(n.t.Context(), &n.owner)
}

// restoreOnly is a join that ends before it ships.
func (n *node) restoreOnly() (restored bool, err error) {
	n.owner.lost = &engine.FencedError{}
	restored, err = n.join()
	if errors.As(err, new(*engine.FencedError)) {
		err = nil
	}
	return restored, err
}

func (n *node) leave() {
	n.t.Helper()
	if n.index == nil {
		return
	}
	if err := n.index.Close(); err != nil {
		n.t.Error(err)
	}
	n.index = nil
}

func (n *node) ship() {
	n.t.Helper()
	if err := n.shipper.ship(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) copies() int {
	n.t.Helper()
	names, err := copies(n.t.Context(), n.objects)
	if err != nil {
		n.t.Fatal(err)
	}
	return len(names)
}

func (n *node) add(typ string) {
	n.t.Helper()
	if err := n.index.CreateType(n.t.Context(), index.ResourceType{Name: typ}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) has(typ string) bool {
	_, err := n.index.Type(n.t.Context(), typ)
	return err == nil
}

func TestIndexIsShipped(t *testing.T) {
	o, err := objects.Local(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dirA, dirB := t.TempDir(), t.TempDir()
	a := newNode(t, o, dirA, 1)
	if restored, err := a.join(); restored || err != nil {
		t.Fatal(restored, err)
	}
	a.add("one")
	a.ship()
	a.ship()                     // nothing has changed
	if n := a.copies(); n != 2 { // one of the start
		t.Errorf("%d copies", n)
	}
	for _, typ := range []string{"two", "three", "four"} {
		a.add(typ)
		a.ship()
	}
	if n := a.copies(); n != 2 {
		t.Errorf("%d copies are kept", n)
	}
	// A restart goes on with what is there.
	a.leave()
	a = newNode(t, o, dirA, 2)
	if restored, err := a.join(); restored || err != nil || !a.has("four") {
		t.Fatal(restored, err)
	}
	a.add("five")
	a.ship()
	a.add("lost") // after the last copy

	// Another node takes its place.
	b := newNode(t, o, dirB, 3)
	if restored, err := b.join(); !restored || err != nil {
		t.Fatal(restored, err)
	}
	if !b.has("one") || !b.has("five") || b.has("lost") {
		t.Error("the index is not that of the newest copy")
	}
	// The first one, which lives on and does not know it yet, is in nobody's way.
	a.ship()
	c := newNode(t, o, t.TempDir(), 4)
	if _, err := c.restoreOnly(); err != nil || c.has("lost") {
		t.Fatal("a node begins with what was shipped by one that had lost the store", err)
	}
	b.add("six")
	b.ship()

	// The first one comes back, and does not go on as if nothing had happened.
	a.leave()
	a = newNode(t, o, dirA, 4)
	if _, err := a.join(); err == nil || !strings.Contains(err.Error(), "another node went on with it") {
		t.Fatal(err)
	}
	// Its index out of the way, it takes over what the other one knew.
	if err := os.Remove(a.shipper.path); err != nil {
		t.Fatal(err)
	}
	// A log of SQLite's that stayed behind is not that of the copy.
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.WriteFile(a.shipper.path+suffix, []byte(strings.Repeat("stale", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if restored, err := a.join(); !restored || err != nil || !a.has("six") || a.has("lost") {
		t.Error(restored, err)
	}
	left, err := filepath.Glob(filepath.Join(dirA, "[rs]*-*")) // restore-*, ship-*
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// A copy that did not get there keeps the node from nothing.
func TestCopyThatFailed(t *testing.T) {
	o, err := objects.Local(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a := newNode(t, o, dir, 1)
	if _, err := a.join(); err != nil {
		t.Fatal(err)
	}
	a.add("one")
	a.ship()
	a.add("two")
	a.objects = failing{o}
	if err := a.shipper.ship(t.Context()); err == nil {
		t.Fatal("a copy that failed is not told")
	}
	a.leave()
	a = newNode(t, o, dir, 2)
	if restored, err := a.join(); restored || err != nil || !a.has("two") {
		t.Fatal(restored, err)
	}
	a.ship()
	if n := a.copies(); n != 2 {
		t.Errorf("%d copies", n)
	}
	// One that is damaged is no index.
	names, err := copies(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := o.Get(t.Context(), names[1], 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	data[len(data)/2] ^= 0xff
	if err := o.Put(t.Context(), "index/00000099-00000001.sqlite.zst", strings.NewReader(string(data)), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	b := newNode(t, o, t.TempDir(), 3)
	if _, err := b.join(); err == nil || !strings.Contains(err.Error(), "cannot restore the index from index/00000099-00000001") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(b.shipper.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a damaged index is in place: %v", err)
	}
}

// failing is a store that takes no objects.
type failing struct{ objects.Store }

func (failing) Put(context.Context, string, io.Reader, int64) error { return errors.New("no room") }

// A node that lost the store ships nothing any more, not even when it stops.
func TestALostStoreGetsNoCopies(t *testing.T) {
	o, err := objects.Local(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := newNode(t, o, t.TempDir(), 1)
	if _, err := a.join(); err != nil {
		t.Fatal(err)
	}
	a.add("one")
	a.owner.lost = &engine.FencedError{Owner: "another", Epoch: 2}
	if err := a.shipper.ship(t.Context()); !errors.As(err, new(*engine.FencedError)) {
		t.Fatal(err)
	}
	a.shipper.run(t.Context(), time.Nanosecond) // ends
	a.end = func() {}
	if err := a.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if n := a.copies(); n != 1 {
		t.Errorf("%d copies, one was made at the start", n)
	}
}
