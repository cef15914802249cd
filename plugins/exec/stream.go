package exec

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nephoscope/nepho/sdk/config"
)

const (
	maxRestartDelay = 5 * time.Minute
	stopGrace       = 2 * time.Second
	// maxLine bounds a line of a stream, which has no end that would bound it.
	maxLine = 1 << 20
)

// printed is a line of a stream and when it came.
type printed struct {
	text []byte
	at   time.Time
}

// size is what the line costs in memory, so that very many short ones are bounded
// as well.
func (l printed) size() int { return len(l.text) + 64 }

// stream keeps a command running and its lines until they are polled.
type stream struct {
	command *command
	cancel  context.CancelFunc
	ended   chan struct{}

	mu      sync.Mutex
	lines   []printed
	bytes   int
	dropped int   // lines that nobody polled in time
	exits   int   // since the last poll
	exit    error // the last one
}

func startStream(c *command, delay time.Duration) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{command: c, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.run(ctx, delay)
	}()
	return s
}

// stop ends the command.
func (s *stream) stop(ctx context.Context) {
	s.cancel()
	select {
	case <-s.ended:
	case <-ctx.Done():
	}
}

// run starts the command over and over, with growing pauses until one has run
// for longer than the longest.
func (s *stream) run(ctx context.Context, first time.Duration) {
	for delay := first; ; delay = min(2*delay, max(first, maxRestartDelay)) {
		began := time.Now()
		err := s.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > maxRestartDelay {
			delay = first
		}
		s.command.complaints.log.Warn("the command is started again", "error", err, "after", delay)
		s.mu.Lock()
		s.exits++
		s.exit = err
		s.mu.Unlock()
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// session runs the command once, for as long as it runs.
func (s *stream) session(ctx context.Context) error {
	p, err := s.command.start()
	if err != nil {
		return err
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.read(p.stdout)
	}()
	select {
	case <-p.exited:
		wait(read, linger)
	case <-read:
		// It will never print again; what is it still good for?
		if !p.hasExited(linger) {
			p.terminate(stopGrace)
		}
	case <-ctx.Done():
		p.terminate(stopGrace)
	}
	if err := p.finish(read, linger); err != nil {
		return err
	}
	return errors.New("the command ended, with exit status 0")
}

// read collects lines until the end of the output. A last line needs no line
// break.
func (s *stream) read(r io.Reader) {
	in := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line) <= maxLine { // of a longer line the rest goes unseen
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			s.put(printed{bytes.Clone(text), time.Now()})
		}
		line = line[:0]
		if err != nil {
			return
		}
	}
}

// put keeps a line, at the expense of the oldest ones if there is no room.
func (s *stream) put(l printed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l)
	s.bytes += l.size()
	drop := 0
	for s.bytes > s.command.max {
		s.bytes -= s.lines[drop].size()
		s.lines[drop].text = nil
		drop++
	}
	s.dropped += drop
	s.lines = s.lines[drop:]
}

// take gives the lines since the last call, and what went wrong meanwhile.
func (s *stream) take() ([]printed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.exits > 0 {
		errs = append(errs, s.exit)
	}
	if s.exits > 1 {
		errs = append(errs, fmt.Errorf("this happened %d times since the last poll", s.exits))
	}
	if s.dropped > 0 {
		errs = append(errs, fmt.Errorf("%d lines were dropped: more than max_output = %v came between two polls", s.dropped, config.Size(s.command.max)))
	}
	lines := s.lines
	s.lines, s.bytes, s.dropped, s.exits, s.exit = nil, 0, 0, 0, nil
	return lines, errors.Join(errs...)
}
