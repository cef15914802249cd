package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	lockName     = "lock"
	positionName = "position"
	segmentExt   = ".seg"
	asideExt     = ".aside"
)

// directory is the files of a spool. It holds the lock that keeps other
// processes out.
type directory struct {
	path     string
	lock     *os.File
	self     *os.File // the directory, to sync it
	position *positionFile
}

// openDirectory makes the directory when needed and locks it.
func openDirectory(path string) (*directory, error) {
	if err := makeDirectory(path); err != nil {
		return nil, fmt.Errorf("cannot create spool: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open spool: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close() //nolint:errcheck // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("cannot open spool %q: another process has it open", path)
		}
		return nil, fmt.Errorf("cannot lock spool %q: %w", path, err)
	}
	self, err := os.Open(path)
	if err != nil {
		lock.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("cannot open spool: %w", err)
	}
	return &directory{path: path, lock: lock, self: self}, nil
}

// makeDirectory also makes the new name durable.
func makeDirectory(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// openPosition opens the position file and returns what it says.
func (d *directory) openPosition() (at place, known bool, err error) {
	d.position, at, known, err = openPosition(filepath.Join(d.path, positionName))
	return at, known, err
}

// close releases the lock last.
func (d *directory) close() error {
	var err error
	if d.position != nil {
		err = d.position.close()
	}
	return errors.Join(err, d.self.Close(), d.lock.Close())
}

// sync makes the names of new segments durable.
func (d *directory) sync() error { return d.self.Sync() }

// list returns the numbers of the segments, rising, the highest number in any
// name, and the names of files that are not the spool's.
func (d *directory) list() (ids []uint64, highest uint64, foreign []string, err error) {
	files, err := os.ReadDir(d.path) // sorted by name, and so by number
	if err != nil {
		return nil, 0, nil, err
	}
	for _, f := range files {
		name, aside := strings.CutSuffix(f.Name(), asideExt)
		id, numbered := parseSegmentName(name)
		if numbered {
			highest = max(highest, id)
		}
		switch {
		case aside, name == lockName, name == positionName:
		case numbered && f.Type().IsRegular():
			ids = append(ids, id)
		default:
			foreign = append(foreign, name)
		}
	}
	return ids, highest, foreign, nil
}

func (d *directory) segmentPath(id uint64) string {
	return filepath.Join(d.path, fmt.Sprintf("%016x%s", id, segmentExt))
}

func parseSegmentName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentExt)
	if !ok || len(digits) != 16 || strings.ToLower(digits) != digits {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 16, 64)
	return id, err == nil && id < maxNumber
}

// createSegment opens a new segment for writing. A file of that name can only
// be one that could not be deleted.
func (d *directory) createSegment(id uint64) (*os.File, error) {
	return os.OpenFile(d.segmentPath(id), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
}

// removeSegment is content when the file is gone already.
func (d *directory) removeSegment(id uint64) error {
	if err := os.Remove(d.segmentPath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// setAside renames a segment so that it is never looked at again.
func (d *directory) setAside(id uint64) error {
	path := d.segmentPath(id)
	return os.Rename(path, path+asideExt)
}

// syncData makes what was written to f durable.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			if err != nil {
				return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
			}
			return nil
		}
	}
}
