package action

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

func (r *rig) again() {
	r.t.Helper()
	r.end()
	r.start()
}

func (r *rig) letters(dead bool) []*store.Delivery {
	r.t.Helper()
	list, err := r.store.Deliveries(r.t.Context(), nil, dead, 0, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// What becomes owed to a target that failed, after what it failed with was dropped or given
// up, is done.
func TestOwedAfterAFailure(t *testing.T) {
	for name, giveUp := range map[string]time.Duration{"deleted": time.Hour, "given up": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.o.GiveUp = giveUp
			r.again()
			h := newHook(t, false)
			h.fail(faults["500"])
			a, b := r.alarm(h.URL), r.alarm(h.URL)
			r.fire(a, 1, "first")
			if name == "deleted" {
				r.await("it fails", func() bool { return len(r.queue.Failing()) == 1 })
				if err := r.store.Delete(t.Context(), a.ID, nil); err != nil {
					t.Fatal(err)
				}
			}
			r.await("nothing is owed", func() bool { return len(r.letters(false)) == 0 && len(r.queue.Failing()) == 0 })
			h.fail(nil)
			r.fire(b, 1, "second")
			r.await("the second arrives", func() bool { return len(h.bodies()) == 1 })
		})
	}
}

// A host that hangs, and has a URL for each alarm, does not have all attempts.
func TestHangingHost(t *testing.T) {
	r := newRig(t)
	r.o.Timeout = time.Hour
	r.again()
	bad, good := newHook(t, false), newHook(t, false)
	release := make(chan struct{})
	bad.fail(func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	for i := range quickAttempts + 10 {
		r.fire(r.alarm(fmt.Sprintf("%s/alarm/%d", bad.URL, i)), 1, "x")
	}
	r.await("it hangs", func() bool { return len(r.queue.quick) == hostAttempts })
	r.fire(r.alarm(good.URL), 1, "x")
	r.await("another host is told", func() bool { return len(good.bodies()) == 1 })
}

// What was done is not done again because that can't be written down.
func TestDoneButNotNoted(t *testing.T) {
	r := newRig(t)
	change := func(statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", r.where)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), "PRAGMA busy_timeout = 10000; "+statement); err != nil {
			t.Fatal(err)
		}
	}
	change("CREATE TRIGGER refuse BEFORE DELETE ON alarm_delivery BEGIN SELECT RAISE(FAIL, 'the disk is full'); END")
	h := newHook(t, false)
	a := r.alarm(h.URL)
	r.fire(a, 1, "first")
	r.await("the first arrives", func() bool { return len(h.bodies()) == 1 })
	r.fire(a, 1, "second")
	tried := make(chan struct{})
	go func() { // pauses are 20 ms
		defer close(tried)
		for range 20 {
			r.queue.Retry(h.URL)
			time.Sleep(20 * time.Millisecond)
		}
	}()
	<-tried
	change("DROP TRIGGER refuse")
	r.await("all is noted", func() bool { return len(r.letters(false)) == 0 })
	if got := reasons(h.bodies()); len(got) != 2 {
		t.Errorf("arrived: %q", got)
	}
}

// What is too old is put aside at once, not after an attempt each.
func TestGivenUpTogether(t *testing.T) {
	r := newRig(t)
	r.o.GiveUp, r.o.Timeout = time.Nanosecond, time.Hour
	r.again()
	h := newHook(t, false)
	attempts, all := make(chan struct{}, 100), make(chan struct{})
	h.fail(func(w http.ResponseWriter, _ *http.Request) {
		attempts <- struct{}{}
		<-all
		w.WriteHeader(http.StatusInternalServerError)
	})
	a := r.alarm(h.URL)
	for i := range 50 {
		r.fire(a, 1, fmt.Sprint(i))
	}
	close(all)
	r.await("all are put aside", func() bool { return len(r.letters(true)) == 50 })
	if n := len(attempts); n != 1 {
		t.Errorf("%d attempts", n)
	}
	r.stop()
	<-r.done // nobody tries what is revived
	// One that is revived has its time again.
	first := r.letters(true)[0]
	if first.Failed == "" || first.Tries != 1 {
		t.Errorf("%+v", first)
	}
	if _, err := r.store.Revive(t.Context(), first.Ref, nil); err != nil {
		t.Fatal(err)
	}
	if d := r.letters(false)[0]; time.Since(d.Created) > time.Minute || d.Created.Before(first.Dead) {
		t.Errorf("revived: %+v", d)
	}
}

// Texts that no database takes don't keep a transition from its target.
func TestStrangeText(t *testing.T) {
	r := newRig(t)
	h := newHook(t, false)
	r.fire(r.alarm(h.URL), 1, "a\x00b\xff")
	r.await("it arrives", func() bool { return len(h.bodies()) == 1 })
}

// A queue that ends before what is owed could be read does nothing afterwards, either.
func TestEndWithoutDatabase(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{URL: filepath.Join(t.TempDir(), "alarms.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	q := New(Options{Store: s, First: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = q.Run(ctx) }()
	works := func(target string) bool {
		q.Owed([]string{target})
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.live[target] != nil
	}
	for !works("before") {
		runtime.Gosched()
	}
	cancel()
	<-ended
	if works("after") {
		t.Error("it works although it has ended")
	}
}
