package exec

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Lines of standard error that are logged in a while; the others are counted.
const (
	complaintLines = 20
	complaintWhile = time.Minute
)

// complaints logs what an instance's command says on standard error, over all of
// its runs.
type complaints struct {
	log *slog.Logger

	mu     sync.Mutex
	since  time.Time
	logged int
	hidden int
}

func (c *complaints) tell(text string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.since) >= complaintWhile {
		if c.hidden > 0 {
			c.log.Warn("the command said more on standard error", "lines", c.hidden)
		}
		c.since, c.logged, c.hidden = now, 0, 0
	}
	if c.logged >= complaintLines {
		c.hidden++
		return
	}
	c.logged++
	c.log.Warn("the command says on standard error", "text", text)
}

// stderr is the standard error of one process.
type stderr struct {
	file *os.File
	done chan struct{}
	last string // nobody reads it before done
}

func readStderr(file *os.File, c *complaints) *stderr {
	s := &stderr{file: file, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.read(file, c)
	}()
	return s
}

func (s *stderr) read(r io.Reader, c *complaints) {
	in := bufio.NewReaderSize(r, 4<<10)
	for {
		// A line that is longer than the buffer is told in pieces.
		line, err := in.ReadSlice('\n')
		if text := string(bytes.ToValidUTF8(bytes.TrimSpace(line), []byte("?"))); text != "" {
			s.last = text
			c.tell(text, time.Now())
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// close gives the last line. Standard error that somebody holds open is read for
// no longer than patience.
func (s *stderr) close(patience time.Duration) string {
	drain(s.file, s.done, patience)
	return s.last
}
