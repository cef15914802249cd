package sdk

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime reads the clock that counts from the machine's boot, suspended time
// included, and that nobody steps; 0 where there is none.
func bootTime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// sinceBoot is what bootTime gave, or would have given, at t; 0 where there is no such
// clock. A thread that has to wait between reading two clocks makes an error of as
// long as it waits: of a few readings that with the least of it counts.
func sinceBoot(t time.Time) (at time.Duration) {
	const (
		attempts = 4
		near     = 100 * time.Microsecond
	)
	for n, least := 0, time.Duration(0); n < attempts; n++ {
		before := time.Since(t)
		boot := bootTime()
		if boot == 0 {
			return 0
		}
		apart := time.Since(t) - before
		if n == 0 || apart < least {
			at, least = boot-before-apart/2, apart
		}
		if apart < near {
			break
		}
	}
	return at
}
