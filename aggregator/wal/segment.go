package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	segmentHeaderSize = 40
	segmentMagic      = "NephoWal"
	segmentExt        = ".wal"
	formatVersion     = 2

	lockName = "lock"

	// maxPosition is what no log reaches, so that sums of positions stay right
	// whatever a name or a header says.
	maxPosition = 1 << 62
)

// castagnoli is a lookup table, never written after this.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SegmentName is the name of the file of a segment, or of a piece of one, that
// begins at a position.
func SegmentName(from Position) string { return from.String() + segmentExt }

func parseSegmentName(name string) (Position, bool) {
	digits, ok := strings.CutSuffix(name, segmentExt)
	if !ok || len(digits) != 16 || strings.ToLower(digits) != digits {
		return 0, false
	}
	p, err := strconv.ParseUint(digits, 16, 64)
	return Position(p), err == nil && p < maxPosition
}

func appendSegmentHeader(dst []byte, start, before Position) []byte {
	from := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, formatVersion)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(start))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(before))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// parseSegmentHeader returns the end of the segment before, ok false when the
// header is damaged. The error is that of a header which is sound, but not ours.
func parseSegmentHeader(b []byte, start Position) (before Position, ok bool, err error) {
	if len(b) < segmentHeaderSize || string(b[:8]) != segmentMagic ||
		binary.LittleEndian.Uint32(b[36:]) != crc32.Checksum(b[:36], castagnoli) {
		return 0, false, nil
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v < 1 || v > formatVersion {
		return 0, false, fmt.Errorf("it has format version %d, and this program reads versions up to %d: start the version that wrote it", v, formatVersion)
	}
	if p := Position(binary.LittleEndian.Uint64(b[16:])); p != start {
		return 0, false, fmt.Errorf("it was renamed: give it back its name, %s", SegmentName(p))
	}
	before = Position(binary.LittleEndian.Uint64(b[24:]))
	return before, before <= start, nil
}

// segment is a file of the log.
type segment struct {
	path   string
	start  Position // of the first record
	before Position // end of the segment before; start when that is not known
	known  bool
	size   int64 // of the file; of one that is written to, without the zeros
	ahead  int64 // of the file that is written to, with them; for who commits
	leaves bool  // is being trimmed: the file may be gone
}

// offset is where in the file a position is.
func (s *segment) offset(p Position) int64 {
	return segmentHeaderSize + p.minus(s.start)
}

// ends are places where a segment may end.
type ends struct {
	settled Position // what is before it was durable, as a record behind it tells
	sound   Position // after the last sound record
	written Position // after all that is not zeros
}

// end looks for them before limit. A file that cannot be read to its end counts as
// sound, for what is in it is not known to have been half-written.
func (s *segment) end(limit Position) (ends, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return ends{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	sc := newScanner(f, s.start, s.start, s.start+Position(max(0, s.size-segmentHeaderSize)))
	sc.to = min(sc.to, limit)
	e := ends{settled: s.start, sound: s.start}
	for sc.next() {
		e.sound = sc.at
		if sc.settled {
			e.settled = sc.position
		}
	}
	e.written = sc.written(e.sound)
	if sc.unreadable > 0 {
		e.settled, e.sound = e.written, e.written
	}
	return e, nil
}

// directory is the folder of a log, locked.
type directory struct {
	path string
	lock *os.File
	self *os.File // the folder, to sync it
}

// openDirectory makes the folder when needed and locks it.
func openDirectory(path string) (*directory, error) {
	if err := makeDirectory(path); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the write-ahead log: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the write-ahead log: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close() //nolint:errcheck // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("cannot open the write-ahead log in %q: another process has it open", path)
		}
		return nil, fmt.Errorf("cannot lock the write-ahead log in %q: %w", path, err)
	}
	self, err := os.Open(path)
	if err != nil {
		lock.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("cannot open the write-ahead log: %w", err)
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

// close releases the lock last.
func (d *directory) close() error { return errors.Join(d.self.Close(), d.lock.Close()) }

// segments returns what the names and headers in the folder say, by position.
func (d *directory) segments() ([]*segment, error) {
	entries, err := os.ReadDir(d.path) // sorted by name, and so by position
	if err != nil {
		return nil, err
	}
	var all []*segment
	for _, e := range entries {
		start, ok := parseSegmentName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		s := &segment{path: filepath.Join(d.path, e.Name()), start: start, before: start}
		if err := s.readHeader(); err != nil {
			return nil, fmt.Errorf("segment %q: %w", s.path, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func (s *segment) readHeader() error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s.size = info.Size()
	var b [segmentHeaderSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, unix.EIO) {
		return err
	}
	before, known, err := parseSegmentHeader(b[:n], s.start)
	if known {
		s.before, s.known = before, true
	}
	return err
}

// remove is content when the file is gone already.
func (d *directory) remove(s *segment) error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// create begins a segment, so that its name and header are durable, and appends
// it to those of the log. It fails when there is no room for as many bytes.
func (l *Log) create(start, before Position, room int64) (file, error) {
	s := &segment{path: filepath.Join(l.dir.path, SegmentName(start)), start: start, before: before, known: true, size: segmentHeaderSize}
	f, err := l.o.create(s.path)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(appendSegmentHeader(nil, start, before), 0)
	if err == nil && room > 0 {
		err = f.Reserve(segmentHeaderSize, room)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.dir.self.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), l.dir.remove(s))
	}
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	return f, nil
}

// file is what a segment is written through.
type file interface {
	io.WriterAt
	io.Closer
	// Sync makes what was written durable.
	Sync() error
	// Reserve fails when there is no room for n bytes from an offset on. It keeps none.
	Reserve(offset, n int64) error
	Truncate(size int64) error
}

type diskFile struct{ *os.File }

func createFile(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (f diskFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
		return nil
	}
}

func (f diskFile) Reserve(offset, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, offset, n)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil // not to be known here
	}
	if err != nil {
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return f.Truncate(offset)
}
