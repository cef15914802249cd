package definition

import (
	"strings"
	"time"

	"github.com/hashicorp/cronexpr"
)

// Schedule tells when a [Constraint] holds.
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
	if n := len(strings.Fields(c.Start)); n != 5 && n != 6 || strings.HasPrefix(c.Start, "@") {
		return nil, invalid("start", c.Start, "A cron expression has five fields: minute, hour, day of month, month, day of week.")
	}
	expression := c.Start
	if fields := strings.Fields(c.Start); len(fields) == 6 {
		// As croniter has it, seconds come last; here they come first, with the year at the end.
		expression = strings.Join(append([]string{fields[5]}, fields[:5]...), " ") + " *"
	}
	starts, err := cronexpr.Parse(expression)
	if err != nil {
		return nil, invalid("start", c.Start, "It is no cron expression: "+err.Error())
	}
	return &Schedule{starts: starts, duration: c.Duration, zone: zone}, nil
}

// Holds tells whether a time is in the constraint: at most its duration after a start,
// or in the minute of one.
func (s *Schedule) Holds(now time.Time) bool {
	now = now.In(s.zone)
	start := s.starts.Next(now.Add(-max(s.duration, time.Minute-1) - 1))
	return !start.IsZero() && !start.After(now)
}

// Next is when the constraint next begins to hold after a time at which it does not;
// zero: never.
func (s *Schedule) Next(now time.Time) time.Time { return s.starts.Next(now.In(s.zone)) }
