package file

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// stream is what cannot be cut back: standard output, a pipe, a terminal. Its
// reader may stop reading at any time, which must not hold up more than the one
// write under way.
type stream struct {
	path string   // empty for what is open for good
	f    *os.File // nil until opened, and after an error
	torn bool     // the last write ended within a line

	done chan error // of the write under way, nil if there is none
}

// openPipe opens a pipe or a device without waiting for a reader.
func openPipe(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) {
		return nil, fmt.Errorf("nobody reads the pipe %q", path)
	}
	return f, err
}

// write writes whole lines, which belong to the stream from then on. When ctx
// ends meanwhile, writing goes on, and the next write waits for it.
func (s *stream) write(ctx context.Context, text []byte) error {
	if s.done != nil {
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
	if s.f == nil {
		var err error
		if s.f, err = openPipe(s.path); err != nil {
			return fmt.Errorf("cannot open the file to write samples to: %w", err)
		}
	}
	if s.torn {
		text = append([]byte("\n"), text...)
	}
	s.done = make(chan error, 1)
	go func(f *os.File, done chan<- error) {
		n, err := f.Write(text)
		if n > 0 {
			s.torn = text[n-1] != '\n' // nobody reads it before done
		}
		done <- err
	}(s.f, s.done)
	return s.wait(ctx)
}

func (s *stream) wait(ctx context.Context) error {
	select {
	case err := <-s.done:
		s.done = nil
		if err != nil {
			return fmt.Errorf("cannot write samples: %w", errors.Join(err, s.close()))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("nobody reads what is written: %w", ctx.Err())
	}
}

// close ends a write under way as well, where the system can.
func (s *stream) close() error {
	if s.f == nil || s.path == "" {
		return nil
	}
	f := s.f
	s.f = nil
	return f.Close()
}
