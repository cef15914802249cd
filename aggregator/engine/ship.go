package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/wal"
)

// ship copies what is durable of the log, since the last call, to objects.
func (e *Engine) ship(ctx context.Context) error {
	e.shipping.Lock()
	defer e.shipping.Unlock()
	if err := e.stopped(); err != nil {
		return err
	}
	if err := e.Owns(ctx); err != nil {
		return err
	}
	begun := e.o.Now().UnixNano()
	for {
		more, err := e.shipPiece(ctx)
		if err == nil && !more {
			e.lastShip.Store(begun)
		}
		if err != nil || !more {
			return err
		}
	}
}

func (e *Engine) shipPiece(ctx context.Context) (more bool, err error) {
	// What a checkpoint has saved needs no copy.
	e.manifestMu.Lock()
	saved := e.manifest.Log
	e.manifestMu.Unlock()
	if saved.Owner == e.owner {
		e.shipped = max(e.shipped, saved.From)
	}
	tail, err := e.log.Tail(e.shipped)
	if err != nil {
		return false, err
	}
	defer tail.Close()
	if tail.From == tail.To {
		return false, nil
	}
	name := pieceName(e.owner, tail.From, tail.To)
	if err := e.o.Objects.Put(ctx, name, tail, tail.Size); err != nil {
		return false, err
	}
	e.shipped = tail.To
	e.pieces = append(e.pieces, piece{name, tail.From, tail.To})
	return true, nil
}

// freePieces makes garbage of the pieces that a checkpoint has saved.
func (e *Engine) freePieces(before wal.Position) {
	e.shipping.Lock()
	defer e.shipping.Unlock()
	kept := e.pieces[:0]
	for _, p := range e.pieces {
		if p.to > before {
			kept = append(kept, p)
		} else {
			e.garbage.add(e.o.Now(), p.name)
		}
	}
	e.pieces = kept
}

// piece is a part of the log that is an object.
type piece struct {
	name     string
	from, to wal.Position
}

// findPieces lists the pieces of an owner's log that hold anything from a position
// on, in order.
func findPieces(ctx context.Context, s objects.Store, start logStart) ([]piece, error) {
	var pieces []piece
	for info, err := range s.List(ctx, logFolder+start.Owner+"/") {
		if err != nil {
			return nil, fmt.Errorf("cannot list the copy of the log: %w", err)
		}
		if from, to, ok := parsePiece(info.Name, start.Owner); ok && to > start.From {
			pieces = append(pieces, piece{info.Name, from, to})
		}
	}
	return pieces, nil
}

// replayPieces replays pieces of a log from a position on.
func (e *Engine) replayPieces(ctx context.Context, pieces []piece, from wal.Position) error {
	return e.withPieces(ctx, pieces, func(log *wal.Log) error {
		_, err := e.replay(log, max(from, pieces[0].from), nil)
		return err
	})
}

// replayCopy replays what pieces of the log have between two positions, and reports
// whether that is all.
func (e *Engine) replayCopy(ctx context.Context, pieces []piece, from, to wal.Position) (whole bool, err error) {
	var some []piece
	for _, p := range pieces {
		if p.from < to && p.to > from {
			some = append(some, p)
		}
	}
	err = e.withPieces(ctx, some, func(log *wal.Log) error {
		var b Batch
		report, err := log.Replay(max(from, some[0].from), func(p wal.Position, record []byte) error {
			if p < to {
				e.applyRecord(p, record, &b)
			}
			return nil
		})
		whole = some[0].from <= from && log.Position() >= to &&
			!slices.ContainsFunc(report.Damage, func(d wal.Damage) bool { return d.From < to })
		return err
	})
	return whole, err
}

// withPieces makes pieces of a log a log again, in a folder of their own. Without pieces
// there is none.
func (e *Engine) withPieces(ctx context.Context, pieces []piece, f func(*wal.Log) error) error {
	if len(pieces) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp(filepath.Join(e.o.Dir, newFolder), "log")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, p := range pieces {
		if err := e.fetch(ctx, p.name, filepath.Join(dir, wal.SegmentName(p.from))); err != nil {
			return fmt.Errorf("cannot fetch a piece of the log: %w", err)
		}
	}
	log, err := wal.Open(wal.Options{Dir: dir, Log: e.o.Log})
	if err != nil {
		return err
	}
	defer log.Close()
	return f(log)
}

func (e *Engine) fetch(ctx context.Context, name, path string) error {
	in, err := e.o.Objects.Get(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := out.ReadFrom(in); err != nil {
		out.Close() //nolint:errcheck // it is incomplete already
		return err
	}
	return out.Close()
}
