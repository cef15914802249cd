package evaluate

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// late is a storage that answers with a window that is over for long, whenever it is asked for, and
// whoever does not want to wait.
type late struct {
	*shelf
	questions atomic.Int64
}

func (s *late) Windows(_ context.Context, qs []sdk.WindowQuery) (*sdk.Windows, error) {
	s.questions.Add(1)
	w := &sdk.Windows{}
	for _, q := range qs {
		for range q.Series {
			w.Times, w.Values, w.Counts = append(w.Times, 0), append(w.Values, 1), append(w.Counts, 1)
		}
	}
	return w, nil
}

// TestRunEnds: Run ends with its context, also while an alarm is to be looked at all the time.
func TestRunEnds(t *testing.T) {
	r := newRig(t)
	r.alarm("r1", "")
	r.shelf.add("r1", "cpu")
	s := &late{shelf: r.shelf}
	r.e = New(Options{Store: r.store, Series: s, Interval: time.Hour, Owed: func([]string) {}, Owe: func(*Notice) []*store.Delivery { return nil }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.e.Run(ctx) }()
	await(t, "it is looked at again and again", func() bool { return s.questions.Load() > 3 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}
