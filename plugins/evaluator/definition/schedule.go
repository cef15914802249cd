package definition

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/cronexpr"
)

// Schedule tells when a [Constraint] holds. Its methods must not be called concurrently.
type Schedule struct {
	starts   *cronexpr.Expression
	duration time.Duration
	zone     *time.Location
}

// Schedule reads when the constraint holds. Its error is an [*InputError].
func (c *Constraint) Schedule() (*Schedule, error) {
	zone := time.UTC
	if c.Timezone != "" {
		var err error
		if zone, err = time.LoadLocation(c.Timezone); err != nil || c.Timezone == "Local" {
			return nil, wrong("Timezone %s is not valid", shorten(c.Timezone))
		}
	}
	// The library takes years and words such as @daily besides.
	fields := strings.Fields(c.Start)
	if n := len(fields); n != 5 && n != 6 || strings.HasPrefix(c.Start, "@") {
		return nil, invalid("start", c.Start, "A cron expression has five fields: minute, hour, day of month, month, day of week.")
	}
	for i, field := range fields {
		for part := range strings.SplitSeq(field, ",") {
			m := span.FindStringSubmatch(strings.ToLower(part))
			if m == nil {
				continue
			}
			first, last := position(m[1]), position(m[2])
			if i == weekday && last == 0 {
				last = 7
			}
			if first > last {
				return nil, invalid("start", c.Start, fmt.Sprintf("The range %s runs backwards: write it as two, with a comma.", shorten(part)))
			}
		}
	}
	if fields[2] == "1-31" {
		fields[2] = "*"
	}
	fields[weekday] = weekdays(fields[weekday])
	if len(fields) == 6 {
		// As croniter has it, seconds come last; here they come first, with the year at the end.
		fields = slices.Concat(fields[5:], fields[:5], []string{"*"})
	}
	starts, err := cronexpr.Parse(strings.Join(fields, " "))
	if err != nil {
		return nil, invalid("start", c.Start, "It is no cron expression: "+err.Error())
	}
	return &Schedule{starts: starts, duration: c.Duration, zone: zone}, nil
}

// span is a part of any of cron's fields that is a range. The library takes those that run backwards
// for nothing, and panics when it looks for the next start in a field of nothing; Aodh's refuses them.
var span = regexp.MustCompile(`^([0-9]+|[a-z]+)-([0-9]+|[a-z]+)(?:/.*)?$`)

// weekday is the last of five fields.
const weekday = 4

// position is the number of what an end of a range names: a number, a weekday or a month. -1: it
// is none, which the library refuses.
func position(text string) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	name := text[:min(3, len(text))]
	return max(slices.Index(weekdayNames, name), slices.Index(monthNames, name))
}

var (
	weekdayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	monthNames   = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
)

// dayRange is a part of cron's field of weekdays that is a range.
var dayRange = regexp.MustCompile(`^([0-7]|[a-z]{3})-([0-7]|[a-z]{3})(?:/([1-7]))?$`)

// weekdays writes ranges of weekdays as the days that they have: the library loses the Sunday
// of 5-7. All days are *, as croniter has it: then days of the month alone count.
func weekdays(field string) string {
	var list []string
	for part := range strings.SplitSeq(field, ",") {
		m := dayRange.FindStringSubmatch(strings.ToLower(part))
		if m == nil {
			list = append(list, part)
			continue
		}
		first, last, step := position(m[1]), position(m[2]), max(position(m[3]), 1)
		if last == 0 && first > 0 {
			last = 7
		}
		if first < 0 || last < first || last > 7 {
			return field // the library says what is wrong
		}
		for d := first; d <= last; d += step {
			list = append(list, strconv.Itoa(d%7))
		}
	}
	for d := range 7 {
		if !slices.Contains(list, strconv.Itoa(d)) {
			return strings.Join(list, ",")
		}
	}
	return "*"
}

// Holds tells whether a time is in the constraint: at most its duration after a start,
// or in the minute of one.
func (s *Schedule) Holds(now time.Time) bool {
	start := s.first(now.Add(-max(s.duration, time.Minute-1)))
	return !start.IsZero() && !start.After(now)
}

// Next is when the constraint next begins to hold after a time at which it does not;
// zero: never.
func (s *Schedule) Next(now time.Time) time.Time { return s.first(now.Add(1)) }

// longest is the longest time that clocks were ever put forward.
const longest = 24 * time.Hour

// first gives the first start from a time on; zero: there is none. Starts are what clocks show:
// one that they skip is as much later as they are put forward, as if they had not
// been yet, and one that they show twice is twice.
func (s *Schedule) first(from time.Time) (start time.Time) {
	for at := from.Add(-longest); ; {
		// Until end the clocks are one offset ahead of UTC, and then show, but for what they skip,
		// what comes after.
		at = at.In(s.zone)
		_, seconds := at.Zone()
		offset := time.Duration(seconds) * time.Second
		_, end := at.ZoneBounds()
		shown := at
		if at.Before(from) {
			shown = from
		}
		next := s.starts.Next(shown.UTC().Add(offset - 1))
		if next.IsZero() {
			return start
		}
		next = next.Add(-offset)
		if end.IsZero() {
			return earlier(start, next)
		}
		_, after := end.Zone()
		skipped := max(0, time.Duration(after)*time.Second-offset)
		if next.Before(end.Add(skipped)) {
			start = earlier(start, next)
		}
		if !start.IsZero() && start.Before(end) {
			return start
		}
		at = end
	}
}

// earlier gives the earlier of two times, of which the first may be zero: none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
