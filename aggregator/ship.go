package aggregator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/objects"
)

// With S3 a lost node's blocks and log are in the bucket; copies of a SQLite index are
// shipped there, too. A copy is an object index/EPOCH-NUMBER.sqlite.zst: the epoch is that of the
// engine, so whatever a node ships that does not know yet that another took its place
// sorts before what that one ships. The newest counts, and the one before is kept. A file
// beside the index has the name of the newest copy that was made of it, so that an
// index which another node has gone on with is not taken for the present one.

// indexPrefix and indexSuffix are what names of copies begin and end with.
const (
	indexPrefix = "index/"
	indexSuffix = ".sqlite.zst"
)

// shipper ships copies of the index.
type shipper struct {
	s    *store
	path string // of the index
	// behind: the newest copy in the bucket is of another node, or there is none.
	behind  bool
	owner   owner
	made    uint64 // copies
	changes uint64 // of the index when it was shipped last
	shipped bool   // since the start
}

// owner is what the shipper needs of the engine.
type owner interface {
	Epoch() uint64
	Owns(ctx context.Context) error
}

func (p *shipper) marker() string { return p.path + ".shipped" }

// copies lists the copies of the index, oldest first.
func copies(ctx context.Context, o objects.Store) ([]string, error) {
	var names []string
	for info, err := range o.List(ctx, indexPrefix) {
		if err != nil {
			return nil, fmt.Errorf("cannot list the copies of the index in %s: %w", o, err)
		}
		if strings.HasSuffix(info.Name, indexSuffix) {
			names = append(names, info.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// restore fetches the newest copy of the index where there is none yet, and refuses
// to go on with one that is older than what is in the bucket. It tells whether it
// fetched one.
func (p *shipper) restore(ctx context.Context, o objects.Store) (bool, error) {
	names, err := copies(ctx, o)
	if err != nil || len(names) == 0 {
		p.behind = true
		return false, err
	}
	newest := names[len(names)-1]
	if _, err := os.Stat(p.path); err == nil {
		known, err := os.ReadFile(p.marker())
		switch {
		case err == nil && string(known) >= newest:
			return false, nil // later ones did not get there
		case err != nil && !errors.Is(err, os.ErrNotExist):
			return false, fmt.Errorf("cannot read which copy of the index is the newest: %w", err)
		}
		return false, fmt.Errorf("the index %s is not the one that %s was copied from to %s: another node went on with it. Remove the file (and those beside it with the same beginning) to go on with the copy, or the objects %s* to go on with the file", p.path, newest, o, indexPrefix)
	}
	if err := p.fetch(ctx, o, newest); err != nil {
		return false, fmt.Errorf("cannot restore the index from %s in %s: %w", newest, o, err)
	}
	p.behind = true
	p.s.log.Info("the index was restored from its newest copy", "object", newest)
	return true, nil
}

// fetch writes a copy to the index's place.
func (p *shipper) fetch(ctx context.Context, o objects.Store, name string) error {
	from, err := o.Get(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	defer from.Close()
	d, err := zstd.NewReader(from)
	if err != nil {
		return err
	}
	defer d.Close()
	f, err := os.CreateTemp(filepath.Dir(p.path), "restore-*") // only its user may read it
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // when it was not renamed
	_, err = io.Copy(f, d)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// A log that SQLite left of another file would be taken for this one's.
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(p.path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := p.mark(name); err != nil {
		return err
	}
	return os.Rename(f.Name(), p.path)
}

// mark notes the name of the newest copy.
func (p *shipper) mark(name string) error { return os.WriteFile(p.marker(), []byte(name), 0o600) }

// run ships a copy whenever the index has changed, until ctx ends or the store is
// another node's.
func (p *shipper) run(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := p.ship(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.As(err, new(*engine.FencedError)):
			return // which the engine has told
		default:
			p.s.log.Error("the index could not be copied to S3; it is tried again", "error", err)
		}
	}
}

// follow begins the copies of this node, before it takes writes: an index that others
// would begin with knows no metric that this one does not.
func (p *shipper) follow(ctx context.Context, o owner) error {
	p.owner = o
	if !p.behind {
		return nil
	}
	if err := p.ship(ctx); err != nil {
		return fmt.Errorf("cannot copy the index to S3: %w", err)
	}
	return nil
}

// ship makes a copy if the index has changed since the last one. The error is an
// [engine.FencedError] when the store is another node's.
func (p *shipper) ship(ctx context.Context) error {
	changes := p.s.index.Changes()
	if p.shipped && changes == p.changes {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(p.path), "ship-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if err := errors.Join(p.s.index.Snapshot(ctx, z), z.Close()); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := p.owner.Owns(ctx); err != nil {
		return err
	}
	p.made++
	name := fmt.Sprintf("%s%08x-%08x%s", indexPrefix, p.owner.Epoch(), p.made, indexSuffix)
	// Noted before it is there: a copy of which this node did not know would keep it
	// from starting again.
	if err := p.mark(name); err != nil {
		return err
	}
	if err := p.s.objects.Put(ctx, name, f, size); err != nil {
		return err
	}
	p.changes, p.shipped = changes, true
	return p.tidy(ctx)
}

// tidy deletes all copies but the newest two.
func (p *shipper) tidy(ctx context.Context) error {
	names, err := copies(ctx, p.s.objects)
	if err != nil {
		return err
	}
	for _, name := range names[:max(0, len(names)-2)] {
		if err := p.s.objects.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
