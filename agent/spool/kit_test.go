package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		crashChild(dir)
	}
	parts.Main(m)
}

// logBuffer collects what a spool logs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func open(t testing.TB, o Options) *Spool {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func closeSpool(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// entry makes an entry that says which one it is. It counts n%5+1 samples.
func entry(n, size int) Entry {
	p := bytes.Repeat([]byte{byte(n)}, max(size, 8))
	copy(p, fmt.Sprintf("%07d\n", n))
	return Entry{Payload: p, Samples: uint32(n%5 + 1)}
}

func held(e Entry) Entry {
	e.Held = true
	return e
}

func number(t testing.TB, e Entry) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(string(e.Payload[:8]), "%07d\n", &n); err != nil {
		t.Fatalf("payload %q: %v", e.Payload[:8], err)
	}
	if want := entry(n, len(e.Payload)); !bytes.Equal(e.Payload, want.Payload) || e.Samples != want.Samples {
		t.Fatalf("entry %d was delivered with other content", n)
	}
	return n
}

func mustAppend(t testing.TB, s *Spool, e Entry) {
	t.Helper()
	c, err := s.Append(t.Context(), e)
	if err == nil {
		err = c.Wait(t.Context())
	}
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
}

// mustAppendMany appends the entries first to last and waits for all of them.
func mustAppendMany(t testing.TB, s *Spool, first, last, size int) {
	t.Helper()
	var commits []Commit
	for n := first; n <= last; n++ {
		c, err := s.Append(t.Context(), entry(n, size))
		if err != nil {
			t.Fatalf("Append: %v", err)
		}
		commits = append(commits, c)
	}
	for _, c := range commits {
		if err := c.Wait(t.Context()); err != nil {
			t.Fatalf("Wait: %v", err)
		}
	}
}

func mustNext(t testing.TB, s *Spool) Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, err := s.Next(ctx)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return d
}

func mustAck(t testing.TB, s *Spool, d Delivery) {
	t.Helper()
	if err := s.Ack(d); err != nil {
		t.Fatalf("Ack: %v", err)
	}
}

// wantNone checks that nothing is left to hand out.
func wantNone(t testing.TB, s *Spool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if d, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Next on a drained spool: entry %q, %v", d.Payload, err)
	}
}

// drain takes and acknowledges all there is and returns the numbers.
func drain(t testing.TB, s *Spool) []int {
	t.Helper()
	var got []int
	for s.Stats().Waiting.Entries > 0 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		d, err := s.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break // what still waited was lost
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		got = append(got, number(t, d.Entry))
		mustAck(t, s, d)
	}
	return got
}

func wantNumbers(t testing.TB, got []int, want ...int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("delivered %v, want %v", got, want)
	}
}

func sequence(first, last int) []int {
	var all []int
	for n := first; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

// checkBalance checks the promise of Stats.
func checkBalance(t testing.TB, st Stats) {
	t.Helper()
	f := func(what string, in, out uint64) {
		t.Helper()
		if in != out {
			t.Fatalf("%s: recovered + appended = %d, acked + dropped + waiting = %d: %+v", what, in, out, st)
		}
	}
	f("entries", st.Recovered.Entries+st.Appended.Entries, st.Acked.Entries+st.Waiting.Entries+
		st.Dropped.Full.Entries+st.Dropped.Corrupt.Entries+st.Dropped.Disk.Entries)
	f("samples", st.Recovered.Samples+st.Appended.Samples, st.Acked.Samples+st.Waiting.Samples+
		st.Dropped.Full.Samples+st.Dropped.Corrupt.Samples+st.Dropped.Disk.Samples)
}

// onDiskAndInMemory runs f for both kinds; dir is "" for the memory spool.
func onDiskAndInMemory(t *testing.T, f func(t *testing.T, dir string)) {
	t.Run("disk", func(t *testing.T) { f(t, t.TempDir()) })
	t.Run("memory", func(t *testing.T) { f(t, "") })
}
