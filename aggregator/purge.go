package aggregator

import (
	"context"
	"errors"
	"time"

	"github.com/nephoscope/nepho/aggregator/index"
)

// purgePause is how often deleted metrics are looked for.
const purgePause = 5 * time.Second

// purgeBatch is how many deleted metrics go at once.
const purgeBatch = 1000

// purge drops the data of metrics that were deleted longer than purge_delay ago,
// until ctx ends.
func (s *store) purge(ctx context.Context) {
	every := time.NewTicker(purgePause)
	defer every.Stop()
	for {
		// When the index goes away, it says so itself, and once.
		if err := s.purgeOnce(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, index.ErrUnavailable) {
			s.log.Error("deleted metrics could not be purged; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// purgeOnce purges all that is due. The index forgets a metric first: if the process
// ends in between, merges find it no longer alive and leave its data out.
func (s *store) purgeOnce(ctx context.Context) error {
	for {
		refs, err := s.index.Purge(ctx, time.Now().Add(-s.PurgeDelay), purgeBatch)
		if err != nil || len(refs) == 0 {
			return err
		}
		if err := s.engine.Forget(ctx, refs); err != nil {
			return err
		}
		s.log.Info("deleted metrics were purged", "metrics", len(refs))
	}
}
