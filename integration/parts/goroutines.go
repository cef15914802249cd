package parts

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// AwaitGoroutines waits until no goroutines are left that the options do not ignore; the error
// tells those that do not end. They get as long as a busy machine may take, where
// goleak itself waits for less than half a second.
func AwaitGoroutines(options ...goleak.Option) error {
	for deadline := time.Now().Add(stopTimeout); ; {
		err := goleak.Find(options...)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("goroutines are left: %w", err)
		}
	}
}

// NoGoroutinesLeft fails when [AwaitGoroutines] does.
func NoGoroutinesLeft(tb TB, options ...goleak.Option) {
	tb.Helper()
	if err := AwaitGoroutines(options...); err != nil {
		tb.Fatalf("%v", err)
	}
}

// Main is a TestMain: it runs the tests, and fails them when [AwaitGoroutines] does.
func Main(tests interface{ Run() int }, options ...goleak.Option) {
	code := tests.Run()
	if code == 0 {
		if err := AwaitGoroutines(options...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
