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
