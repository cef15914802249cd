package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// rotatedStamp is what is added to the name of a rotated file, UTC. Names sort
// by age and never change again, whatever else goes on.
const rotatedStamp = ".20060102T150405.000Z"

const (
	gzipped    = ".gz"
	unfinished = ".gz.tmp"
)

// rotatedName gives a name that no file has, of that time or a little later.
func rotatedName(path string, at time.Time) (string, time.Time) {
	for {
		name := path + at.UTC().Format(rotatedStamp)
		_, errPlain := os.Lstat(name)
		_, errGzip := os.Lstat(name + gzipped)
		if errPlain != nil && errGzip != nil {
			return name, at
		}
		at = at.Add(time.Millisecond)
	}
}

// keeper removes and compresses rotated files in the background.
type keeper struct {
	path     string
	keep     int
	compress bool
	log      *slog.Logger

	work   chan struct{}
	cancel context.CancelFunc
	ended  chan struct{}
}

// startKeeper begins with what an earlier run left behind.
func startKeeper(path string, keep int, compress bool, log *slog.Logger) *keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &keeper{path: path, keep: keep, compress: compress, log: log, work: make(chan struct{}, 1), cancel: cancel, ended: make(chan struct{})}
	k.wake()
	go func() {
		defer close(k.ended)
		k.run(ctx)
	}()
	return k
}

// wake tells that a file was rotated.
func (k *keeper) wake() {
	select {
	case k.work <- struct{}{}:
	default:
	}
}

// stop gives up what is under way and waits for that.
func (k *keeper) stop() {
	k.cancel()
	<-k.ended
}

func (k *keeper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.work:
		}
		if err := k.tidy(ctx); err != nil && ctx.Err() == nil {
			k.log.Error("cannot tidy up rotated files", "path", k.path, "error", err)
		}
	}
}

func (k *keeper) tidy(ctx context.Context) error {
	files, errs := k.list()
	if k.keep > 0 && len(files) > k.keep {
		for _, name := range files[:len(files)-k.keep] {
			errs = append(errs, os.Remove(name))
		}
		files = files[len(files)-k.keep:]
	}
	for _, name := range files {
		if k.compress && !strings.HasSuffix(name, gzipped) {
			errs = append(errs, compress(ctx, name))
		}
	}
	return errors.Join(errs...)
}

// list gives the rotated files, the oldest first, and removes what compressing
// left unfinished.
func (k *keeper) list() (files []string, errs []error) {
	dir, base := filepath.Dir(k.path), filepath.Base(k.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, []error{err}
	}
	for _, e := range entries {
		stamp, ours := strings.CutPrefix(e.Name(), base)
		stamp, half := strings.CutSuffix(stamp, unfinished)
		if _, err := time.Parse(rotatedStamp, strings.TrimSuffix(stamp, gzipped)); !ours || err != nil {
			continue
		}
		if half {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
			continue
		}
		files = append(files, filepath.Join(dir, e.Name()))
	}
	slices.Sort(files)
	return files, errs
}

// compress puts name.gz in the place of a file, which is removed only when the
// other is safe.
func compress(ctx context.Context, name string) (err error) {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	half := name + unfinished
	out, err := os.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot compress %q: %w", name, err)
			os.Remove(half)
		}
	}()
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, &untilDone{ctx, in})
	err = errors.Join(err, z.Close(), out.Chmod(info.Mode().Perm()), out.Sync(), out.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(half, name+gzipped); err != nil {
		return err
	}
	return os.Remove(name)
}

// untilDone reads until the context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
