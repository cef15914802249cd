package engine

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/objects/objectstest"
	"github.com/nephoscope/nepho/aggregator/window"
)

// spans is what is lost.
func spans(e *Engine) map[Ref]hole {
	all := map[Ref]hole{}
	for ref, l := range e.losses.byRef {
		all[ref] = l.span
	}
	return all
}

// all are the metrics of a hurt store.
func (h *hurt) all() (refs []Ref) {
	for ref := range Ref(hurtMetrics) {
		refs = append(refs, ref)
	}
	return refs
}

// TestAMissingHeadObjectCostsItsPoints removes objects of the head, cuts them, or has the disk fail
// to read them.
func TestAMissingHeadObjectCostsItsPoints(t *testing.T) {
	h := newHurt(t)
	head, table := h.only(headFolder), h.only(tableFolder)
	whole, dir := maps.Clone(h.store.objects), h.dir
	cut := func(o objects.Info, n int64) func() {
		return func() { h.store.objects[o.Name] = h.store.objects[o.Name][:n] }
	}
	remove := func(names ...string) func() {
		return func() {
			for _, name := range names {
				delete(h.store.objects, name)
			}
		}
	}
	f := func(what string, change func(), lost []Ref, most int) {
		t.Helper()
		h.store.objects, h.dir = maps.Clone(whole), t.TempDir()
		copyFolder(t, dir, h.dir)
		change()
		var logged bytes.Buffer
		e := node(t, h.dir, h.store, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&logged, nil)) })
		got := h.ask(e)
		if lost != nil && !slices.Equal(got, lost) || len(got) > most {
			t.Errorf("%s: metrics %v are lost", what, got)
		}
		if n := strings.Count(logged.String(), "level=ERROR"); n == 0 || n > 3 || int(e.Stats().Damaged) < len(got) {
			t.Errorf("%s: %d damaged, the log is\n%s", what, e.Stats().Damaged, logged.String())
		}
		// Windows of other times are read, and what comes is kept.
		for _, ref := range h.all() {
			put(t, e, ref, testNow.Add(2*time.Minute), 1)
		}
		before := spans(e)
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		e = node(t, h.dir, h.store)
		if !maps.Equal(spans(e), before) || e.Stats().Damaged > 0 {
			t.Errorf("%s: after a start %v are lost, before it were %v", what, spans(e), before)
		}
		for _, ref := range h.all() {
			var f window.Frame
			for _, q := range []Query{
				{ref, time.Minute, methods, testNow.UnixNano() + 1, math.MaxInt64},
				{ref, time.Minute, methods, testNow.Add(-6 * time.Hour).UnixNano(), testNow.Add(-3 * time.Hour).UnixNano()},
			} {
				if err := e.Frame(t.Context(), q, &f); err != nil || f.Len() == 0 {
					t.Errorf("%s: %d windows of %+v, %v", what, f.Len(), q, err)
				}
			}
		}
		if err := e.free(); err != nil {
			t.Fatal(err)
		}
	}
	f("head is missing", remove(head.Name), h.all(), hurtMetrics)
	f("head is empty", cut(head, 0), h.all(), hurtMetrics)
	f("head is half there", cut(head, head.Size/2), nil, hurtMetrics/2+1)
	f("head has no end", cut(head, head.Size-1), []Ref{}, 0)

	h.store.objects = maps.Clone(whole)
	remove(head.Name, table.Name)()
	if _, err := tryNode(t, h.dir, h.store); err == nil || !strings.Contains(err.Error(), "bring one of them back") || !strings.Contains(err.Error(), head.Name) {
		t.Errorf("neither is there: %v", err)
	}
}

// TestAMissingBlockFileKeepsNothingFromGoingOn removes a block file.
func TestAMissingBlockFileKeepsNothingFromGoingOn(t *testing.T) {
	h := newHurt(t)
	delete(h.store.objects, h.only(blockFolder).Name)
	clock := newClock()
	e := node(t, h.dir, h.store, func(o *Options) { o.Now = clock.now })
	if lost := h.ask(e); !slices.Equal(lost, h.all()) {
		t.Errorf("metrics %v are lost", lost)
	}
	for range 30 {
		clock.pass(time.Hour)
		put(t, e, 50, clock.now(), 1)
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if e.Stats().Damaged != 1 {
		t.Errorf("%d damaged", e.Stats().Damaged)
	}
	if lost := h.ask(e); !slices.Equal(lost, h.all()) {
		t.Errorf("later metrics %v are lost", lost)
	}
}

func TestABadBlockOfTheDiskCostsThePointsInIt(t *testing.T) {
	h := newHurt(t)
	head := h.only(headFolder)
	bad := head.Size / 2
	e := node(t, h.dir, &badDisk{h.store, head.Name, bad})
	if lost := h.ask(e); len(lost) != 1 {
		t.Errorf("metrics %v are lost", lost)
	}
	// What is only out of reach is not lost.
	for _, fault := range []objectstest.Fault{{Before: errTrouble}, {Cut: 1}, {Cut: head.Size / 2}, {After: errTrouble, Cut: head.Size / 2}} {
		if err := e.free(); err != nil {
			t.Fatal(err)
		}
		away := objectstest.NewFaulty(h.store, func(c objectstest.Call) objectstest.Fault {
			if c.Op == "get" && c.Name == head.Name {
				return fault
			}
			return objectstest.Fault{}
		})
		if e, err := tryNode(t, h.dir, away); err == nil {
			t.Fatalf("%+v: %v are lost", fault, h.ask(e))
		}
		e = node(t, h.dir, h.store)
		if lost := h.ask(e); len(lost) != 0 {
			t.Fatalf("%+v: %v are lost", fault, lost)
		}
	}
}

// badDisk is a store of which one byte can't be read.
type badDisk struct {
	*memory
	name string
	at   int64
}

func (b *badDisk) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := b.memory.Get(ctx, name, offset, length)
	if err != nil || name != b.name || offset > b.at || length >= 0 && offset+length <= b.at {
		return r, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, b.at-offset), failingReader{}), r}, nil
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, syscall.EIO }

// TestPointsOfMetricsWithLossesAreKept writes to metrics whose newest points were lost: what is
// written after that is older than those, or nothing, and comes through checkpoints and starts.
func TestPointsOfMetricsWithLossesAreKept(t *testing.T) {
	h := newHurt(t)
	h.damageHead(7)
	h.damageHead(8)
	e := node(t, h.dir, h.store)
	before := spans(e)
	late := testNow.Add(-95 * time.Second)
	put(t, e, 7, late, 5)
	for range 2 {
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		e = node(t, h.dir, h.store)
		if n := e.Stats().Damaged; n != 0 || len(before) != 2 || !maps.Equal(spans(e), before) {
			t.Errorf("%d damaged, lost are %+v, at first it was %+v", n, spans(e), before)
		}
		if times, values := e.head.points(7); !slices.Equal(times, []int64{late.UnixNano()}) || !slices.Equal(values, []float64{5}) {
			t.Errorf("points %v, %v", times, values)
		}
		if p, ok := e.Newest(8); ok {
			t.Errorf("%+v", p)
		}
	}
	put(t, e, 8, testNow, 6)
	if p, ok := e.Newest(8); !ok || p != (window.Point{Time: testNow.UnixNano(), Value: 6}) {
		t.Errorf("%+v, %v", p, ok)
	}
}
