package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		crashChild(dir)
		return
	}
	parts.Main(m)
}

// open opens a log that is closed when the test ends, unless the test does.
func open(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrFailed) {
			t.Error(err)
		}
	})
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// write writes a record and waits for it.
func write(t testing.TB, l *Log, record []byte) Position {
	t.Helper()
	c, err := l.Write(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c.Position
}

// stored is a record with its place.
type stored struct {
	at     Position
	record string
}

// replay returns all records from a position on.
func replay(t testing.TB, l *Log, from Position) ([]stored, Report) {
	t.Helper()
	var all []stored
	report, err := l.Replay(from, func(p Position, record []byte) error {
		all = append(all, stored{p, string(record)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Records != len(all) {
		t.Fatalf("report of %d records, %d were given", report.Records, len(all))
	}
	return all, report
}

// reread opens the log in a folder, returns what is in it, and closes it.
func reread(t testing.TB, dir string) ([]stored, Report) {
	t.Helper()
	l := open(t, Options{Dir: dir})
	all, report := replay(t, l, 0)
	closeLog(t, l)
	return all, report
}

func expect(t testing.TB, got, want []stored) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("record %d: got %.60q at %s, want %.60q at %s", i, got[i].record, got[i].at, want[i].record, want[i].at)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
}

// expectSound fails when a report tells of damage.
func expectSound(t testing.TB, r Report) {
	t.Helper()
	if r.Torn != 0 || r.Lost != 0 || len(r.Damage) != 0 {
		t.Fatalf("report %+v", r)
	}
}

// text is the content of record i, of a size.
func text(i, size int) []byte {
	b := fmt.Appendf(nil, "%08d ", i)
	r := rand.New(rand.NewPCG(uint64(i), uint64(size)))
	for len(b) < size {
		b = append(b, byte(r.Uint32()))
	}
	return b[:size]
}

// fill writes n records of changing sizes.
func fill(t testing.TB, l *Log, n, size int) []stored {
	t.Helper()
	var all []stored
	var last Commit
	for i := range n {
		record := text(i, size+i%13)
		c, err := l.Write(record)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, stored{c.Position, string(record)})
		last = c
	}
	if err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return all
}

func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+segmentExt))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// memDir is a folder that is removed when the test ends, in memory where the machine
// has such folders: tests that open a log hundreds of times sync thousands of times.
func memDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "nepho-wal-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// faults makes the files of a log fail.
type faults struct {
	mu      sync.Mutex
	write   error         // of the next writes
	partial int           // bytes that a failing write stores nevertheless
	sync    error         // of the next syncs
	create  error         // of the next segments
	cut     error         // of the next attempts to cut what was half-written
	block   chan struct{} // syncs wait for it
	entered chan struct{} // a sync waits
	syncs   int
}

func (f *faults) set(change func(f *faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faults) open(path string) (file, error) {
	f.mu.Lock()
	err := f.create
	f.mu.Unlock()
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	inner, err := createFile(path)
	return faultyFile{inner, f, path}, err
}

type faultyFile struct {
	file
	f    *faults
	path string
}

func (f faultyFile) WriteAt(b []byte, offset int64) (int, error) {
	f.f.mu.Lock()
	err, partial := f.f.write, f.f.partial
	f.f.mu.Unlock()
	if err == nil {
		return f.file.WriteAt(b, offset)
	}
	n, e := f.file.WriteAt(b[:min(len(b), partial)], offset)
	return n, errors.Join(e, &os.PathError{Op: "write", Path: f.path, Err: err})
}

func (f faultyFile) Truncate(size int64) error {
	f.f.mu.Lock()
	err := f.f.cut
	f.f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.file.Truncate(size)
}

func (f faultyFile) Sync() error {
	f.f.mu.Lock()
	f.f.syncs++
	block, entered := f.f.block, f.f.entered
	f.f.mu.Unlock()
	if block != nil {
		entered <- struct{}{}
		<-block
	}
	f.f.mu.Lock()
	err := f.f.sync
	f.f.mu.Unlock()
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.path, Err: err}
	}
	return f.file.Sync()
}

// badDisk gives an error for some of its pages.
type badDisk struct {
	io.ReaderAt
	pages map[int64]bool
	err   error
}

func (d badDisk) ReadAt(b []byte, offset int64) (int, error) {
	for i := range b {
		if d.pages[(offset+int64(i))/pageSize] {
			n, err := d.ReaderAt.ReadAt(b[:i], offset)
			return n, errors.Join(err, d.err)
		}
	}
	return d.ReaderAt.ReadAt(b, offset)
}

var background = context.Background()
