package engine

import (
	"context"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/policy"
)

// TestWhatWasForgottenStaysSo deletes metrics, makes checkpoints, after which the log does not tell it
// any more, and goes on after restarts, writing as one does who was not told.
func TestWhatWasForgottenStaysSo(t *testing.T) {
	clock := newClock()
	dir, store := t.TempDir(), newStore(t)
	open := func() *Engine { return node(t, dir, store, func(o *Options) { o.Now = clock.now }) }
	e := open()
	write := func(ref Ref) Outcome {
		t.Helper()
		var b Batch
		b.Metric(ref, medium.ID)
		b.Point(clock.now().UnixNano(), 1)
		out, err := e.Write(t.Context(), &b)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	write(1)
	write(2)
	if err := e.Forget(t.Context(), []Ref{1}); err != nil {
		t.Fatal(err)
	}
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The log has a write to it, but no longer that it was forgotten.
	if out := write(1); out.Forgotten != 1 {
		t.Fatalf("%+v", out)
	}
	if err := e.free(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		e = open()
		if n := e.Stats().Metrics; n != 1 || e.Highest() != 2 {
			t.Fatalf("%d metrics, the highest is %d", n, e.Highest())
		}
		if out := write(1); out.Forgotten != 1 {
			t.Fatalf("%+v", out)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		clock.pass(goneFor / 4)
	}
	// It is not told for ever.
	chunks := func() uint64 {
		t.Helper()
		e = open()
		write(2)
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		table, err := readHeadTable(t.Context(), store, e.manifest.Head)
		if err != nil {
			t.Fatal(err)
		}
		return table.chunks
	}
	if n := chunks(); n != 2 {
		t.Errorf("%d metrics", n)
	}
	clock.pass(goneFor)
	if n := chunks(); n != 1 {
		t.Errorf("%d metrics after a week", n)
	}
}

// TestMetricsThatTheIndexLostAreForgotten deletes a metric in the index only, as other processes do and as
// one does that ends before it can tell the engine.
func TestMetricsThatTheIndexLostAreForgotten(t *testing.T) {
	clock := newClock()
	gone := map[Ref]bool{}
	asked := 0
	e := node(t, t.TempDir(), newStore(t), func(o *Options) {
		o.Now = clock.now
		o.Alive = func(_ context.Context, refs []Ref) ([]bool, error) {
			alive := make([]bool, len(refs))
			for i, ref := range refs {
				alive[i] = !gone[ref]
			}
			asked += len(refs)
			return alive, nil
		}
	})
	var b Batch
	const metrics = 2500
	for ref := range Ref(metrics) {
		b.Metric(ref, medium.ID)
		b.Point(policy.Floor(clock.now().UnixNano(), int64(time.Minute)), 1)
	}
	if _, err := e.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	maintain := func(wantAsked, want int) {
		t.Helper()
		asked = 0
		if err := e.maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := e.Stats().Metrics; n != want || asked != wantAsked {
			t.Errorf("%d metrics instead of %d, %d asked for instead of %d", n, want, asked, wantAsked)
		}
	}
	maintain(metrics, metrics)
	gone[7], gone[2300] = true, true
	maintain(0, metrics)
	clock.pass(goneEvery)
	maintain(metrics, metrics-2)
	clock.pass(goneEvery)
	maintain(metrics-2, metrics-2)
}
