package store

import (
	"context"
	"errors"

	"github.com/nephoscope/nepho/aggregator/database"
)

// maxShared is how many writes share a transaction at most.
const maxShared = 256

// write is a change that waits for its transaction.
type write struct {
	ctx context.Context
	// do makes the change. It may be called again; what it returns may be an answer to
	// the caller (refused), which undoes nothing because do changed nothing before.
	do      func(ctx context.Context, s *database.Session) error
	refused error
	done    chan error
}

// change makes a change durable. do checks before it changes anything: its error says
// that it changed nothing.
func (s *Store) change(ctx context.Context, do func(ctx context.Context, s *database.Session) error) error {
	w := &write{ctx: ctx, do: do, done: make(chan error, 1)}
	select {
	case s.writes <- w:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return database.ErrUnavailable
	}
	return <-w.done // also when ctx ends: the change may have been made
}

// write makes changes, those that came while others were made in one transaction.
func (s *Store) write(ctx context.Context) {
	defer close(s.done)
	for {
		var group []*write
		select {
		case w := <-s.writes:
			group = append(group, w)
		case <-ctx.Done():
			return
		}
	more:
		for len(group) < maxShared {
			select {
			case w := <-s.writes:
				group = append(group, w)
			default:
				break more
			}
		}
		s.writeGroup(group)
	}
}

func (s *Store) writeGroup(group []*write) {
	err := s.db.Write(context.Background(), func(db *database.Session) error {
		for _, w := range group {
			w.refused = nil
			if w.ctx.Err() != nil {
				w.refused = w.ctx.Err()
				continue
			}
			err := w.do(context.WithoutCancel(w.ctx), db)
			if err != nil && !isRefusal(err) {
				return err // the transaction is broken
			}
			w.refused = err
		}
		return nil
	})
	if err != nil && len(group) > 1 && !errors.Is(err, database.ErrUnavailable) {
		// One of them may be at fault.
		for _, w := range group {
			s.writeGroup([]*write{w})
		}
		return
	}
	for _, w := range group {
		if err == nil {
			w.done <- w.refused
		} else {
			w.done <- err
		}
	}
}
