package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nephoscope/nepho/agent/spool"
)

func TestSinkSettlesEveryOutcome(t *testing.T) {
	s, dir := newSink(t, 1<<20)
	run(t, s)
	enough(t, dir)
	give(t, s, false, 1, "a", "a", "a")
	give(t, s, true, 11, "a", "refuse", "a")
	give(t, s, false, 21, "a", "refuse.row", "refuse.row", "a")
	give(t, s, false, 31, "a", "retry")
	give(t, s, true, 41, "die.once", "a")
	expectSink(t, s, 3+3+4+2+2, 3+2+2+2, 3+2, 0)
	if got := taken(t, dir); got != "1 2 3 21 24 31 32 41 42" {
		t.Errorf("taken: %s", got)
	}
	all := strings.Join(letters(t, s.dead), "\n")
	for _, want := range []string{`"volume":11`, `"volume":12`, `"volume":13`, `"volume":22`, `"volume":23`, "refused as asked", "row refused as asked"} {
		if !strings.Contains(all, want) {
			t.Errorf("the dead letters lack %s:\n%s", want, all)
		}
	}
	if n := len(letters(t, s.dead)); n != 5 {
		t.Errorf("%d dead letters", n)
	}
}

func TestSinkRetriesAndTellsTrouble(t *testing.T) {
	s, dir := newSink(t, 1<<20)
	run(t, s)
	give(t, s, false, 1, "retry")
	eventually(t, func() string {
		if k := s.status(); k.Retries < 3 || k.Error != "not yet" || k.Waiting != 1 {
			return "no retries: " + k.Error
		}
		return ""
	})
	enough(t, dir)
	expectSink(t, s, 1, 1, 0, 0)
	eventually(t, func() string { // the trouble is over a moment after the batch counts
		if k := s.status(); k.Error != "" || k.LastSuccess.IsZero() {
			return fmt.Sprintf("%+v", k)
		}
		return ""
	})
}

// A batch that ends its publisher each time is put aside, and the process is
// there for the next one at once.
func TestSinkPutsPoisonAside(t *testing.T) {
	s, dir := newSink(t, 1<<20)
	run(t, s)
	begun := time.Now()
	give(t, s, false, 1, "die")
	give(t, s, false, 2, "a")
	expectSink(t, s, 2, 1, 1, 0)
	if got := taken(t, dir); got != "2" {
		t.Errorf("taken: %s", got)
	}
	if l := letters(t, s.dead); len(l) != 1 || !strings.Contains(l[0], "process ends on this batch") {
		t.Errorf("dead letters: %v", l)
	}
	if d := time.Since(begun); d > patience {
		t.Errorf("it took %v", d)
	}
}

func TestSinkBuriesWhatIsLargerThanItsSpool(t *testing.T) {
	s, _ := newSink(t, 150)
	run(t, s)
	for _, held := range []bool{false, true} {
		if err := give(t, s, held, 1, strings.Repeat("a", 100), "b").wait(t); err != nil {
			t.Errorf("held %v: %v", held, err)
		}
	}
	expectSink(t, s, 4, 0, 4, 0)
	if n := len(letters(t, s.dead)); n != 4 {
		t.Errorf("%d dead letters", n)
	}
}

// What a full spool drops while it is being published counts once, as what became
// of it.
func TestSinkCountsWhatIsDroppedUnderWay(t *testing.T) {
	s, dir := newSink(t, 3*(48+int64(len(samples(t, 1, "retry"))))+10)
	run(t, s)
	give(t, s, false, 1, "retry")
	eventually(t, func() string {
		if s.status().Retries == 0 {
			return "it is not tried"
		}
		return ""
	})
	for n := 2; n <= 9; n++ {
		give(t, s, false, n, "a")
	}
	k := s.status()
	if k.DroppedFull == 0 || k.Appended != k.DroppedFull+k.Waiting {
		t.Fatalf("%+v", k)
	}
	enough(t, dir)
	expectSink(t, s, 9, 9-k.DroppedFull, 0, k.DroppedFull)
	if got := strings.Fields(taken(t, dir)); uint64(len(got)) != 9-k.DroppedFull || got[0] != "1" {
		t.Errorf("taken %v, %d dropped", got, k.DroppedFull)
	}
}

func TestSinkHoldsBackWhatMustNotBeDropped(t *testing.T) {
	s, dir := newSink(t, 2*(48+int64(len(samples(t, 1, "retry"))))+10)
	run(t, s)
	give(t, s, true, 1, "retry")
	give(t, s, true, 2, "retry")
	p, o := newParcel(t, true, 3, "retry")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.append(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("append: %v", err)
	}
	p.fate.done(nil)
	if err := o.wait(t); err == nil {
		t.Error("it counts as durable")
	}
	if err := give(t, s, false, 4, "retry").wait(t); !errors.Is(err, spool.ErrFull) {
		t.Errorf("a polled one beside: %v", err)
	}
	enough(t, dir)
	expectSink(t, s, 3, 2, 0, 1)
}

func TestSinkStop(t *testing.T) {
	f := func(name string, waits bool, names ...string) {
		t.Helper()
		s, dir := newSink(t, 1<<20)
		if _, err := s.instance.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.start()
		give(t, s, false, 1, names...)
		eventually(t, func() string {
			if k := s.status(); waits && k.Retries == 0 {
				return "it is not tried"
			}
			return ""
		})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s.stop(ctx)
		if ctx.Err() != nil {
			t.Errorf("%s: the stop waited for the end of its time", name)
		}
		if got := taken(t, dir); (got == "") != waits {
			t.Errorf("%s: taken %q", name, got)
		}
		if k := s.status(); (k.Waiting > 0) != waits {
			t.Errorf("%s: %+v", name, k)
		}
	}
	f("what can be published is", false, "a", "b")
	f("what cannot waits", true, "retry")
}

func TestSinkStopDoesNotWaitForPublisherThatIsGone(t *testing.T) {
	s, _ := newSink(t, 1<<20)
	if err := s.instance.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.start()
	give(t, s, false, 1, "a")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.stop(ctx)
	if ctx.Err() != nil {
		t.Error("the stop waited for the end of its time")
	}
}
