package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// regular is a regular file of JSON lines that only whole batches are added to.
type regular struct {
	path string
	mode os.FileMode
	sync bool // a batch counts as written when it is on the disk
	log  *slog.Logger

	f       *os.File // nil until opened, and after an error
	born    time.Time
	rotated time.Time // in the name of the last rotated file
}

// open opens or creates the file and repairs its end.
func (r *regular) open() (err error) {
	_, missing := os.Lstat(r.path)
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, r.mode)
	if err != nil {
		return fmt.Errorf("cannot open the file to write samples to: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	// Two writers would cut off each other's batches. Where locks do not exist,
	// the operator has to see to it.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%q is written by another instance or process: give each a file of its own", r.path)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if missing != nil {
		if err := f.Chmod(r.mode); err != nil { // the umask may have taken something away
			return err
		}
		if err := r.syncDir(); err != nil {
			return err
		}
	}
	if err := r.repair(f, info.Size()); err != nil {
		return fmt.Errorf("cannot repair the end of %q: %w", r.path, err)
	}
	r.f, r.born = f, born(f)
	return nil
}

func (r *regular) close() error {
	if r.f == nil {
		return nil
	}
	f := r.f
	r.f = nil
	return f.Close()
}

// ready makes sure that the open file is the one at the path, which it is no
// longer when logrotate has moved it, and gives its size and birth.
func (r *regular) ready() (size int64, born time.Time, err error) {
	if r.f != nil {
		there, err := os.Stat(r.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, time.Time{}, err
		}
		here, err := r.f.Stat()
		if err != nil {
			return 0, time.Time{}, err
		}
		if there == nil || !os.SameFile(here, there) {
			if err := r.close(); err != nil {
				return 0, time.Time{}, err
			}
		}
	}
	if r.f == nil {
		if err := r.open(); err != nil {
			return 0, time.Time{}, err
		}
	}
	info, err := r.f.Stat()
	if err != nil {
		return 0, time.Time{}, err
	}
	return info.Size(), r.born, nil
}

// append writes whole lines, all or none. After an error the file is closed;
// ready opens it again and repairs what could not be undone here.
func (r *regular) append(text []byte) error {
	info, err := r.f.Stat()
	if err != nil {
		return err
	}
	_, err = r.f.Write(text)
	if err == nil && r.sync {
		err = r.f.Sync()
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot write samples: %w", errors.Join(err, r.f.Truncate(info.Size()), r.close()))
}

// rotate moves the file away and begins a new one.
func (r *regular) rotate() error {
	now := time.Now().Round(0) // by the clock that names show, which may have been set back
	if next := r.rotated.Add(time.Millisecond); now.Before(next) {
		now = next // a removed file's name is free, but would make this one the older
	}
	to, at := rotatedName(r.path, now)
	if err := os.Rename(r.path, to); err != nil {
		return fmt.Errorf("cannot rotate: %w", err)
	}
	r.rotated = at
	if err := r.close(); err != nil {
		return err
	}
	return r.open()
}

// repair makes the file end with a whole line. A crash leaves the beginning of
// one, or zeros where the file grew but its contents got lost.
func (r *regular) repair(f *os.File, size int64) error {
	start, tail, err := lastLine(f, size)
	switch {
	case err != nil:
		return err
	case len(tail) == 0:
		return nil
	case tail[0] == '{' && json.Valid(tail):
		_, err := f.Write([]byte("\n"))
		return err
	case tail[0] == '{' || len(bytes.Trim(tail, "\x00")) == 0:
		r.log.Warn("cut off a line that a crash left unfinished", "path", r.path, "bytes", len(tail))
		return f.Truncate(start)
	}
	return errors.New("its last line is not JSON: give the publisher a file of its own")
}

// maxLine is far beyond any line of ours.
const maxLine = 64 << 20

// lastLine gives what follows the last line break of the file.
func lastLine(f io.ReaderAt, size int64) (start int64, tail []byte, err error) {
	const block = 64 << 10
	for start = size; start > 0 && size-start < maxLine; {
		n := min(block, start)
		part := make([]byte, n, int(n)+len(tail))
		if _, err := f.ReadAt(part, start-n); err != nil {
			return 0, nil, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return start - n + int64(i) + 1, append(part[i+1:], tail...), nil
		}
		tail = append(part, tail...)
		start -= n
	}
	if start > 0 {
		return 0, nil, fmt.Errorf("its last line is longer than %d bytes", maxLine)
	}
	return 0, tail, nil
}

// syncDir makes the file's name survive a crash of the machine.
func (r *regular) syncDir() error {
	if !r.sync {
		return nil
	}
	d, err := os.Open(filepath.Dir(r.path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// born tells when the file was created; where the file system does not know, it
// counts as created now.
func born(f *os.File) time.Time {
	var s unix.Statx_t
	if unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &s) != nil || s.Mask&unix.STATX_BTIME == 0 {
		return time.Now()
	}
	return time.Unix(s.Btime.Sec, int64(s.Btime.Nsec))
}
