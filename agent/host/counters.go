package host

import (
	"sync"
	"sync/atomic"
	"time"
)

// counter counts rows, calls or bytes since the host's start.
type counter struct{ atomic.Uint64 }

func (c *counter) inc() { c.Add(1) }

// trouble remembers a condition that comes and goes, so that only its changes
// are logged.
type trouble struct {
	mu    sync.Mutex
	err   error
	since time.Time
}

// begins reports whether there was no trouble before.
func (t *trouble) begins(err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh := t.err == nil
	if fresh {
		t.since = time.Now()
	}
	t.err = err
	return fresh
}

// ends reports whether there was trouble, and for how long.
func (t *trouble) ends() (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		return 0, false
	}
	t.err = nil
	return time.Since(t.since), true
}

func (t *trouble) now() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// tellEvery is how often something that goes on is told of at most.
const tellEvery = 10 * time.Second

// moderate adds up rows, so that what happens to each of many batches is told of
// now and then.
type moderate struct {
	mu   sync.Mutex
	told time.Time
	rows uint64
}

// add reports whether to tell of it now, and of how many rows since it was told
// last.
func (m *moderate) add(rows uint64) (sum uint64, tell bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows += rows
	now := time.Now()
	if !m.told.IsZero() && now.Sub(m.told) < tellEvery {
		return 0, false
	}
	sum, m.rows, m.told = m.rows, 0, now
	return sum, true
}
