package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrNoSnapshot says that the index is in PostgreSQL, which has backups of its own.
var ErrNoSnapshot = errors.New("an index in PostgreSQL gives no snapshots")

// snapshotSuffix follows the path of the index in those of copies on their way.
const snapshotSuffix = ".snapshot-"

// Snapshot writes a consistent copy of a SQLite index, which is a SQLite file. It
// keeps nobody waiting. It needs room for the copy beside the index while it runs. A
// restored copy is an index as it was: see [Index.Reserve].
func (x *Index) Snapshot(ctx context.Context, w io.Writer) error {
	d := x.database
	if d.Shared() {
		return ErrNoSnapshot
	}
	dir, err := os.MkdirTemp(filepath.Dir(d.Path()), filepath.Base(d.Path())+snapshotSuffix)
	if err != nil {
		return fmt.Errorf("cannot copy the index: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "index")
	err = d.Copy(ctx, path)
	if err != nil {
		return fmt.Errorf("cannot copy the index: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot copy the index: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("cannot copy the index: %w", err)
	}
	return nil
}

// removeSnapshots removes what a process that was killed left.
func (x *Index) removeSnapshots() error {
	if x.database.Shared() {
		return nil
	}
	left, err := filepath.Glob(x.database.Path() + snapshotSuffix + "*")
	if err != nil {
		return fmt.Errorf("cannot look for old copies of the index: %w", err)
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("cannot remove an old copy of the index: %w", err)
		}
	}
	return nil
}
