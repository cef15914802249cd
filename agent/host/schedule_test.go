package host

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nephoscope/nepho/agent/config"
)

func TestSchedule(t *testing.T) {
	// Polls that take the given times, at an interval of 10: when they begin, and
	// how many moments were skipped.
	f := func(jitter int, took []int, want string, skipped uint64) {
		t.Helper()
		start := time.Now()
		s := newSchedule(start, 10, time.Duration(jitter))
		now, got, n := start, "0", uint64(0)
		for _, d := range took {
			now = now.Add(time.Duration(d))
			n += s.polled(now)
			now = s.due()
			got += fmt.Sprintf(" %d", now.Sub(start))
		}
		if got != want || n != skipped {
			t.Errorf("jitter %d, took %v: polls at %s, %d skipped; want %s, %d", jitter, took, got, n, want, skipped)
		}
	}
	f(0, []int{1, 1, 1, 1}, "0 10 20 30 40", 0)
	f(3, []int{1, 1, 1}, "0 13 23 33", 0)
	f(3, []int{5, 1, 9}, "0 13 23 33", 0)
	f(0, []int{12, 1}, "0 20 30", 1)
	f(0, []int{1, 35, 1}, "0 10 50 60", 3) // 20, 30, 40
	f(0, []int{9, 9, 9, 11, 9}, "0 10 20 30 50 60", 1)
	f(9, []int{1, 1}, "0 19 29", 0)
	f(0, []int{1000, 0}, "0 1010 1020", 100)
}

// The moments carry the monotonic clock, which is what timers go by; a wall clock
// that is stepped means nothing to them.
func TestScheduleIsMonotonic(t *testing.T) {
	s := newSchedule(time.Now(), time.Second, time.Millisecond)
	for range 1000 {
		s.polled(s.due())
		if !strings.Contains(s.due().String(), " m=+") {
			t.Fatal("a moment has lost the monotonic clock")
		}
	}
}

// newPollster makes a source that calls poll, with nowhere to send its samples.
func newPollster(interval, timeout, jitter time.Duration, poll func()) *source {
	i := &config.Instance{Kind: config.Pollster}
	i.Interval, i.Jitter, i.Timeout = interval, jitter, timeout
	s := &source{config: i, log: slog.New(slog.DiscardHandler)}
	s.local = func(context.Context) ([][]byte, error) {
		poll()
		return nil, nil
	}
	s.routes.Store(new([]*pipeline))
	return s
}

// Over a thousand short intervals, with polls of all durations, no moment comes
// late or early, and each is either polled or counted.
func TestPollsDoNotDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 10 * time.Millisecond
		begun := time.Now()
		var at []time.Duration
		s := newPollster(interval, interval, interval/2, func() {
			at = append(at, time.Since(begun))
			time.Sleep(time.Duration(len(at)*7919%25_000) * time.Microsecond) // up to 2.5 intervals
		})
		s.start(s.poll)
		time.Sleep(1000*interval + interval/2)
		s.stop(t.Context())
		if at[0] != 0 {
			t.Errorf("the first poll was at %v", at[0])
		}
		shift := at[1] % interval
		for n, d := range at[1:] {
			if d%interval != shift || d <= at[n] {
				t.Fatalf("poll %d is at %v after %v; the rhythm is %v + n times %v", n+1, d, at[n], shift, interval)
			}
		}
		moments := uint64((at[len(at)-1]-shift)/interval) + 1
		last := s.skipped.Load() + uint64(len(at)) - moments // skipped during the last poll
		if len(at) < 400 || last > 2 {
			t.Errorf("%d polls and %d skipped are not %d moments", len(at), s.skipped.Load(), moments)
		}
		if s.polls.Load() != uint64(len(at)) {
			t.Errorf("%d polls are counted of %d", s.polls.Load(), len(at))
		}
	})
}

// A machine that was suspended for a long time, or a process that was stopped,
// goes on with one poll, not with all those that it missed.
func TestNoBurstAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		polls := 0
		s := newPollster(time.Second, time.Hour, 0, func() {
			if polls++; polls == 3 {
				time.Sleep(30 * time.Minute)
			}
		})
		s.start(s.poll)
		time.Sleep(30*time.Minute + 4500*time.Millisecond)
		s.stop(t.Context())
		if polls != 5 && polls != 6 || s.skipped.Load() < 1790 {
			t.Errorf("%d polls, %d skipped", polls, s.skipped.Load())
		}
	})
}

// Stopping lets the poll under way end, as long as there is time, and begins none.
func TestStopWaitsForThePoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		s := newPollster(time.Minute, time.Minute, 0, func() {
			time.Sleep(10 * time.Second)
			ended = true
		})
		s.start(s.poll)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		s.stop(ctx)
		if took := time.Since(begun); !ended || took != 9*time.Second || s.polls.Load() != 1 {
			t.Errorf("ended %v after %v, %d polls", ended, took, s.polls.Load())
		}
	})
}
