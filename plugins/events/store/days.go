package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
)

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

// odd are conditions, one after the other, that the few chunks meet that may go over
// midnight. They have all tiers, so that the index of tiers and days finds them.
var odd = func() (list [2]string) {
	tiers := "c.tier IN ("
	for tier := range fullTier + 1 {
		tiers += fmt.Sprint(tier, ", ")
	}
	tiers += fmt.Sprint(damagedTier, ") AND c.day ")
	return [...]string{tiers + fmt.Sprint("<= ", dayEarlier), tiers + fmt.Sprint(">= ", dayLater)}
}()

// midnights gives the first time of the day of one time, and the last of that of another.
func midnights(from, to int64) (first, last int64) {
	first, last = math.MinInt64, math.MaxInt64
	if d := dayOf(from); d > dayOf(math.MinInt64) {
		first = d * day
	}
	if d := dayOf(to); d < dayOf(math.MaxInt64) {
		last = (d+1)*day - 1
	}
	return first, last
}

// around gives times between which all chunks begin, and end, that have something of a
// span of time. Without them the database would look at all that are older, or newer.
func around(ctx context.Context, s *database.Session, from, to int64) (low, high int64, err error) {
	low, high = midnights(from, to)
	var first, last sql.NullInt64
	for _, where := range odd {
		if _, err := s.One(ctx, "SELECT min(c.first), max(c.last) FROM event_chunk c WHERE "+where+" AND c.last >= ? AND c.first <= ?", []any{from, to}, &first, &last); err != nil {
			return 0, 0, err
		}
		if first.Valid {
			low, high = min(low, first.Int64), max(high, last.Int64)
		}
	}
	return low, high, nil
}
