package parts

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// TB is what a part needs of the test or benchmark that uses it. Both
// testing.TB and the argument that [Run] passes satisfy it.
type TB interface {
	Helper()
	// Logf records one line for the reader of the results.
	Logf(format string, args ...any)
	// Fatalf records why the test failed and ends it; it does not return.
	Fatalf(format string, args ...any)
	// Failed reports whether Fatalf was called.
	Failed() bool
	// Cleanup has f called when the test ends, last registered first.
	Cleanup(f func())
}

// Run calls f outside of a test, with a TB that logs to w. It returns when f and
// all that f registered with Cleanup has returned; the error is what f passed to
// Fatalf. A benchmark program calls it from its main function.
func Run(w io.Writer, f func(TB)) error {
	s := &session{w: w}
	// Fatalf ends a goroutine, so f and each clean-up need one of their own.
	s.call(func() { f(s) })
	for len(s.cleanups) > 0 {
		last := len(s.cleanups) - 1
		c := s.cleanups[last]
		s.cleanups = s.cleanups[:last]
		s.call(c)
	}
	return s.err
}

type session struct {
	w        io.Writer
	err      error
	cleanups []func()
}

func (s *session) call(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A panic must not end the program with the parts still running.
		defer func() {
			if v := recover(); v != nil {
				s.err = errors.Join(s.err, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
			}
		}()
		f()
	}()
	<-done
}

func (s *session) Helper() {}

func (s *session) Logf(format string, args ...any) {
	fmt.Fprintf(s.w, format+"\n", args...)
}

func (s *session) Fatalf(format string, args ...any) {
	s.err = errors.Join(s.err, fmt.Errorf(format, args...))
	runtime.Goexit()
}

func (s *session) Failed() bool { return s.err != nil }

func (s *session) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }
