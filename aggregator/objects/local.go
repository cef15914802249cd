package objects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// unfinished is the folder of files that are being written. Its name is none of an
	// object, for it begins with a dot.
	unfinished = ".unfinished"
	lockName   = ".lock"

	// staleAfter is how old a file there must be to have been left by a process that
	// ended. One that is being written to is never as old.
	staleAfter = 24 * time.Hour
)

// local is the store in a folder.
type local struct{ dir string }

// Local is the store in a folder, which is made when it is not there. Slashes in names
// are folders in it. Processes may share it on one machine.
func Local(dir string) (Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the object store: %w", err)
	}
	l := &local{dir}
	if err := makeFolders(filepath.Join(dir, unfinished)); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the object store: %w", err)
	}
	if err := l.sweep(); err != nil {
		return nil, fmt.Errorf("cannot open the object store: %w", err)
	}
	return l, nil
}

// sweep removes what was left half-written.
func (l *local) sweep() error {
	entries, err := os.ReadDir(filepath.Join(l.dir, unfinished))
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > staleAfter {
			err = os.Remove(filepath.Join(l.dir, unfinished, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (l *local) String() string { return "folder " + l.dir }

// path is where the object of a name is.
func (l *local) path(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(l.dir, filepath.FromSlash(name)), nil
}

func (l *local) Put(ctx context.Context, name string, r io.Reader, size int64) (err error) {
	to, err := l.path(name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write object %q in %s: %w", name, l, err)
		}
	}()
	from, err := l.write(ctx, &exact{r: r, left: size})
	if err != nil {
		return err
	}
	if err = place(from, to, renameToNew); errors.Is(err, fs.ErrExist) {
		err = ErrConflict
	}
	return err
}

// place gives a file its name, durably. If it cannot, it removes the file.
func place(from, to string, rename func(from, to string) error) (err error) {
	for range 100 { // a Delete may remove a folder that has become empty
		if err = makeFolders(filepath.Dir(to)); err == nil {
			err = rename(from, to)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return errors.Join(err, os.Remove(from))
	}
	return syncFolder(filepath.Dir(to))
}

// take makes an object of a file of somebody else, in the same file system, which then has
// two names. It returns false if that can't be.
func (l *local) take(name string, f *os.File, size int64) (taken bool, err error) {
	to, err := l.path(name)
	if err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write object %q in %s: %w", name, l, err)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() != size {
		return false, fmt.Errorf("the file %s has %d bytes, and should have %d", f.Name(), info.Size(), size)
	}
	if err := f.Sync(); err != nil {
		return false, err
	}
	for range 100 { // a Delete may remove a folder that has become empty
		if err = makeFolders(filepath.Dir(to)); err == nil {
			err = os.Link(f.Name(), to)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	switch {
	case err == nil:
		return true, syncFolder(filepath.Dir(to))
	case errors.Is(err, fs.ErrExist):
		return false, ErrConflict
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EPERM), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EMLINK):
		return false, nil // in another file system, or in one without links
	}
	return false, err
}

// write makes a durable file that no object's name leads to.
func (l *local) write(ctx context.Context, r io.Reader) (path string, err error) {
	f, err := os.CreateTemp(filepath.Join(l.dir, unfinished), "")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, &whileContext{ctx, r})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// renameToNew does not replace a file.
func renameToNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// Some file systems, such as NFS, do not know how.
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// makeFolders makes a folder and those above it, durably.
func makeFolders(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeFolders(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// open opens the file of an object.
func (l *local) open(name string) (*os.File, int64, error) {
	p, err := l.path(name)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(p)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, 0, l.missing(name)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read object %q in %s: %w", name, l, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = l.missing(name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (l *local) missing(name string) error {
	return fmt.Errorf("cannot read object %q in %s: %w", name, l, ErrNotFound)
}

func (l *local) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 {
		return nil, fmt.Errorf("cannot read object %q from byte %d on", name, offset)
	}
	f, size, err := l.open(name)
	if err != nil {
		return nil, err
	}
	offset = min(offset, size)
	if length < 0 || length > size-offset {
		length = size - offset
	}
	return struct {
		io.Reader
		io.Closer
	}{&whileContext{ctx, io.NewSectionReader(f, offset, length)}, f}, nil
}

func (l *local) Read(ctx context.Context, name string) ([]byte, Version, error) {
	f, size, err := l.open(name)
	if err != nil {
		return nil, "", err
	}
	defer f.Close() //nolint:errcheck // only read
	if size > MaxSmall {
		return nil, "", tooLarge(name, size)
	}
	data, err := io.ReadAll(&whileContext{ctx, f})
	if err != nil {
		return nil, "", fmt.Errorf("cannot read object %q in %s: %w", name, l, err)
	}
	return data, contentVersion(data), nil
}

// contentVersion is the version of what a local store has.
func contentVersion(data []byte) Version {
	sum := sha256.Sum256(data)
	return Version(hex.EncodeToString(sum[:]))
}

func (l *local) Replace(ctx context.Context, name string, old Version, data []byte) (_ Version, err error) {
	to, err := l.path(name)
	if err != nil {
		return "", err
	}
	if len(data) > MaxSmall {
		return "", tooLarge(name, int64(len(data)))
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot replace object %q in %s: %w", name, l, err)
		}
	}()
	unlock, err := l.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	_, now, err := l.Read(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	if now != old {
		return "", ErrConflict
	}
	from, err := l.write(ctx, strings.NewReader(string(data)))
	if err != nil {
		return "", err
	}
	if err = place(from, to, os.Rename); err != nil {
		return "", err
	}
	return contentVersion(data), nil
}

// lock keeps other Replaces out, of this process and of others.
func (l *local) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(l.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { f.Close() }, nil //nolint:errcheck // only locked
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
	}
}

func (l *local) Delete(ctx context.Context, name string) error {
	p, err := l.path(name)
	if err != nil {
		return err
	}
	err = os.Remove(p)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("cannot delete object %q in %s: %w", name, l, err)
	}
	// Folders that have become empty go as well.
	for dir := filepath.Dir(p); dir != l.dir && os.Remove(dir) == nil; dir = filepath.Dir(dir) {
	}
	return nil
}

func (l *local) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		folder, _ := path.Split(prefix)
		if isPrefix(prefix) {
			l.list(ctx, folder, prefix, yield)
		}
	}
}

// list gives the objects below a folder, whose name ends with a slash or is empty. It
// returns false when it was told to stop.
func (l *local) list(ctx context.Context, folder, prefix string, yield func(Info, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield(Info{}, err)
		return false
	}
	entries, err := os.ReadDir(filepath.Join(l.dir, filepath.FromSlash(folder)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return true
	}
	if err != nil {
		yield(Info{}, fmt.Errorf("cannot list objects in %s: %w", l, err))
		return false
	}
	// Names with their slashes sort in another way than names of folders.
	key := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(key(a), key(b)) })
	for _, e := range entries {
		name := folder + key(e)
		switch {
		case e.Name()[0] == '.':
		case e.IsDir():
			if strings.HasPrefix(name, prefix) || strings.HasPrefix(prefix, name) {
				if !l.list(ctx, name, prefix, yield) {
					return false
				}
			}
		case strings.HasPrefix(name, prefix) && CheckName(name) == nil:
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted since
			}
			if err != nil {
				err = fmt.Errorf("cannot list objects in %s: %w", l, err)
			}
			if !yield(Info{Name: name, Size: sizeOf(info)}, err) || err != nil {
				return false
			}
		}
	}
	return true
}

func sizeOf(info fs.FileInfo) int64 {
	if info == nil {
		return 0
	}
	return info.Size()
}

func tooLarge(name string, size int64) error {
	return fmt.Errorf("object %q has %d bytes, and may have %d to be read or replaced whole", name, size, MaxSmall)
}

// whileContext reads until ctx ends.
type whileContext struct {
	ctx context.Context
	r   io.Reader
}

func (w *whileContext) Read(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(b)
}

// exact gives an error when there are more or fewer bytes than were promised.
type exact struct {
	r    io.Reader
	left int64
}

func (e *exact) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	e.left -= int64(n)
	switch {
	case e.left < 0:
		return n, errors.New("there are more bytes than the caller said")
	case errors.Is(err, io.EOF) && e.left > 0:
		return n, fmt.Errorf("there are %d bytes fewer than the caller said", e.left)
	}
	return n, err
}
