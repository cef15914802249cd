package action

import (
	"context"
	"log/slog"
	"net/url"
	"slices"
	"sync"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// Log does actions log: a line in the agent's log.
type Log struct{ Log *slog.Logger }

// Send implements [Sender].
func (l Log) Send(_ context.Context, _ *url.URL, d *store.Delivery) error {
	l.Log.Info("an alarm changed its state", "alarm", d.Alarm, "delivery", d.ID, "body", d.Body)
	return nil
}

// Test does actions test: it keeps the last of them in memory, for tests.
type Test struct {
	mu   sync.Mutex
	last []store.Delivery
}

// maxKept is how many deliveries [Test] keeps.
const maxKept = 1000

// Send implements [Sender].
func (t *Test) Send(_ context.Context, _ *url.URL, d *store.Delivery) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) == maxKept {
		t.last = slices.Delete(t.last, 0, maxKept/2)
	}
	t.last = append(t.last, *d)
	return nil
}

// Kept gives what is kept, oldest first.
func (t *Test) Kept() []store.Delivery {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.last)
}
