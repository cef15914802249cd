package sdk

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// noSeries answers for a storage that can't be asked by series.
type noSeries struct{ storage string }

func (n noSeries) err() error {
	return fmt.Errorf("storage %q cannot be asked by series: %w", n.storage, errors.ErrUnsupported)
}

// FindSeries implements [SeriesReader].
func (n noSeries) FindSeries(context.Context, SeriesQuery) ([]FoundSeries, error) {
	return nil, n.err()
}

// Windows implements [SeriesReader].
func (n noSeries) Windows(context.Context, []WindowQuery) (*Windows, error) { return nil, n.err() }

// Follow implements [SeriesReader].
func (n noSeries) Follow(context.Context, FollowQuery) iter.Seq2[*Advance, error] {
	return func(yield func(*Advance, error) bool) { yield(nil, n.err()) }
}

// Compute implements [SeriesReader].
func (n noSeries) Compute(context.Context, ComputeQuery) ([]ComputedSeries, error) {
	return nil, n.err()
}
