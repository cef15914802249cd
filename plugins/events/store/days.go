package store

import "time"

const day = int64(24 * time.Hour)

// No chunk goes over midnight, so that a day can expire. Events of days on which
// nothing should be, since a clock was wrong, are kept together in chunks of their own,
// however many such days there are: dayEarlier is that of those that were too old when
// they came. Those of the future are of dayLater and the day on which they came, by
// which they expire.
const (
	dayEarlier = -1 << 40
	dayLater   = 1 << 40
)

// dayOf is the day of a time, in days since 1970.
func dayOf(t int64) int64 {
	d := t / day
	if t%day < 0 {
		d--
	}
	return d
}

// keptWithout is how long events are expected to be old where they are kept for ever.
const keptWithout = 10 * 365 * 24 * time.Hour

// days are those of which chunks are: first to the day after today.
type days struct{ first, today int64 }

func (s *Store) days() days {
	now, kept := s.now().UnixNano(), s.retention
	if kept == 0 {
		kept = keptWithout
	}
	return days{dayOf(now-int64(kept)) - 1, dayOf(now)}
}

// of is the day of the chunk of an event of a time.
func (d days) of(t int64) int64 {
	switch n := dayOf(t); {
	case n < d.first:
		return dayEarlier
	case n > d.today+1:
		return dayLater + d.today
	default:
		return n
	}
}
