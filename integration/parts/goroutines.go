package parts

import (
	"time"

	"go.uber.org/goleak"
)

// NoGoroutinesLeft fails when goroutines are left that the options do not ignore.
// Those that are just ending get as long as a busy machine may take, where goleak
// itself waits for less than half a second.
func NoGoroutinesLeft(tb TB, options ...goleak.Option) {
	tb.Helper()
	for deadline := time.Now().Add(stopTimeout); ; {
		err := goleak.Find(options...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("goroutines are left: %v", err)
		}
	}
}
