package evaluate

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// Doubt has an alarm read again as soon as the database answers: nobody knows whether a
// change of it was stored.
func (e *Evaluator) Doubt(id uuid.UUID) {
	e.mu.Lock()
	e.doubts = append(e.doubts, id)
	e.mu.Unlock()
	e.ring()
}

// settleDoubts reads alarms that are in doubt. Those that can't be read stay so.
func (e *Evaluator) settleDoubts(ctx context.Context) {
	e.mu.Lock()
	list := e.doubts
	e.doubts = nil
	e.mu.Unlock()
	for i, id := range list {
		if err := e.reload(ctx, id); err != nil {
			e.mu.Lock()
			e.doubts = append(e.doubts, list[i:]...)
			e.mu.Unlock()
			return
		}
	}
}

// reload reads an alarm again.
func (e *Evaluator) reload(ctx context.Context, id uuid.UUID) error {
	began := time.Now()
	a, err := e.o.Store.Alarm(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		e.Remove(id)
		return nil
	}
	if e.trouble.note("reading alarms", began, err); err == nil {
		e.Put(a)
	}
	return err
}
