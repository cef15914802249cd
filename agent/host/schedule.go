package host

import "time"

// schedule gives the moments of a pollster's polls: the first at once, and from
// then on fixed ones that nothing shifts, neither a late wake-up nor a long poll
// nor a reader of it. They lie interval apart, all moved by a part of the jitter
// that is drawn once, so that hosts started together do not poll together while
// each keeps its rhythm.
//
// It counts from a reading of the monotonic clock, which its moments carry:
// stepping the wall clock neither delays polls nor lets them come in a burst.
type schedule struct {
	base     time.Time // moment 0, were it moved by the jitter
	interval time.Duration
	next     int64 // number of the next moment
}

func newSchedule(now time.Time, interval, jitter time.Duration) *schedule {
	return &schedule{base: now.Add(jitter), interval: interval}
}

// due is the next moment. Moment 0 is over.
func (s *schedule) due() time.Time { return s.base.Add(time.Duration(s.next) * s.interval) }

// polled goes on to the first moment that is not over at the end of a poll, and
// tells how many were skipped because they were.
func (s *schedule) polled(now time.Time) (skipped uint64) {
	polled := s.next
	s.next = max(polled+1, int64(now.Sub(s.base)/s.interval)+1)
	return uint64(s.next - polled - 1)
}
