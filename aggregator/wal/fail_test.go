package wal

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestFailures has the disk fail in every way, refuses meanwhile, and goes on.
func TestFailures(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(f *faults)
		full  bool // the failure comes when a segment begins
		want  string
	}{
		{"disk full", func(f *faults) { f.write = syscall.ENOSPC }, false, "free some space there"},
		{"half-written record", func(f *faults) { f.write, f.partial = syscall.ENOSPC, 333 }, false, "free some space there"},
		{"written, but an error", func(f *faults) { f.write, f.partial = syscall.EIO, 1<<20 }, false, "kernel's log"},
		{"it stays half-written", func(f *faults) { f.write, f.partial, f.cut = syscall.EIO, 1<<20+7, syscall.EIO }, false, "kernel's log"},
		{"sync", func(f *faults) { f.sync = syscall.EIO }, false, "kernel's log"},
		{"read-only", func(f *faults) { f.write = syscall.EROFS }, false, "writable again"},
		{"no new segment", func(f *faults) { f.create = syscall.EACCES }, true, "give this user the folder"},
		{"no header", func(f *faults) { f.write = syscall.EDQUOT }, true, "free some space there"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var f faults
			var told logText
			dir := memDir(t)
			l := open(t, Options{Dir: dir, SegmentSize: 4000, create: f.open, retry: time.Millisecond, Log: told.logger()})
			var want []stored
			add := func(record []byte) {
				t.Helper()
				want = append(want, stored{write(t, l, record), string(record)})
			}
			for round := range 3 {
				for i := range 3 {
					add(text(100*round+i, 200))
				}
				for c.full && lastSize(l) < 4000 {
					add(text(50, 500))
				}
				f.set(c.spoil)
				// All records of the group that fails, and of the one behind it.
				var refused []Commit
				for i := range 10 {
					commit, err := l.Write(text(i, 300))
					if err != nil {
						break
					}
					refused = append(refused, commit)
				}
				for _, commit := range refused {
					if err := commit.Wait(t.Context()); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), c.want) {
						t.Fatalf("got %v", err)
					}
				}
				if _, err := l.Write([]byte("x")); !errors.Is(err, ErrFailed) {
					t.Fatalf("got %v", err)
				}
				if err := l.Stats().Err; !errors.Is(err, ErrFailed) {
					t.Fatalf("stats say %v", err)
				}
				position := l.Position()
				f.set(func(f *faults) { f.write, f.sync, f.create, f.partial = nil, nil, nil, 0 })
				eventually(t, "the log goes on", func() bool { return l.Stats().Err == nil })
				add([]byte("after"))
				if last := want[len(want)-1].at; last < position {
					t.Fatalf("position %s was given again, after %s", last, position)
				}
			}
			if fails, ends := told.count("refuses writes"), told.count("takes writes again"); fails != 3 || ends != 3 {
				t.Fatalf("logged %d failures and %d ends", fails, ends)
			}
			// A crash now and one after a Close leave the same.
			crashed := memDir(t)
			copyDir(t, dir, crashed)
			closeLog(t, l)
			for _, d := range []string{dir, crashed} {
				got, report := reread(t, d)
				expect(t, got, want)
				expectSound(t, report)
			}
		})
	}
}

// lastSize is the size of the segment that is written to.
func lastSize(l *Log) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segments[len(l.segments)-1].size
}

// TestFailedLogEndsBeforeItGoesOn is killed or closed while it fails.
func TestFailedLogEndsBeforeItGoesOn(t *testing.T) {
	var f faults
	dir := memDir(t)
	l := open(t, Options{Dir: dir, create: f.open})
	want := []stored{{write(t, l, []byte("a")), "a"}}
	f.set(func(f *faults) { f.write, f.partial, f.create = syscall.ENOSPC, 40, syscall.ENOSPC })
	c, err := l.Write(text(1, 100))
	if err == nil {
		err = c.Wait(t.Context())
	}
	if !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v", err)
	}
	crashed := memDir(t)
	copyDir(t, dir, crashed)
	if err := l.Close(); !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v", err)
	}
	for _, d := range []string{dir, crashed} {
		got, report := reread(t, d)
		expect(t, got, want)
		if report.Lost != 0 || report.Torn != 40 {
			t.Fatalf("report %+v", report)
		}
	}
}

// TestFailedSyncOfTheInterval loses nothing that the operating system has.
func TestFailedSyncOfTheInterval(t *testing.T) {
	var f faults
	dir := memDir(t)
	l := open(t, Options{Dir: dir, SegmentSize: 1000, Sync: time.Millisecond, create: f.open, retry: time.Millisecond})
	var want []stored
	for i := range 20 {
		f.set(func(f *faults) { f.sync = syscall.EIO })
		for {
			record := text(i, 100)
			c, err := l.Write(record)
			if err == nil {
				err = c.Wait(t.Context())
			}
			if errors.Is(err, ErrFailed) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, stored{c.Position, string(record)})
		}
		f.set(func(f *faults) { f.sync = nil })
		eventually(t, "the log goes on", func() bool { return l.Stats().Err == nil })
	}
	closeLog(t, l)
	got, report := reread(t, dir)
	expect(t, got, want)
	expectSound(t, report)
}

func TestDiskFull(t *testing.T) {
	dir := filepath.Join(smallDisk(t), "log")
	l := open(t, Options{Dir: dir, SegmentSize: 200 << 10, retry: time.Millisecond})
	var want []stored
	for round := range 3 {
		n := 0
		var err error
		for err == nil {
			var c Commit
			record := text(n, 7000)
			if c, err = l.Write(record); err == nil {
				err = c.Wait(t.Context())
			}
			if err == nil {
				want = append(want, stored{c.Position, string(record)})
				n++
			}
		}
		if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if round == 0 && n < 250 {
			t.Fatalf("%d records of 7 kB on a disk of 2 MiB", n)
		}
		// A crash with a full disk: what was acknowledged can be read where there is room.
		crashed := memDir(t)
		copyDir(t, dir, crashed)
		got, report := reread(t, crashed)
		expect(t, got, want)
		if report.Lost != 0 {
			t.Fatalf("report %+v", report)
		}
		// Half of the log is not needed any more.
		before := want[len(want)/2].at
		if err := l.Trim(before); err != nil {
			t.Fatal(err)
		}
		first := l.Stats().First
		for want[0].at < first {
			want = want[1:]
		}
		eventually(t, "the log goes on", func() bool { return l.Stats().Err == nil })
	}
	closeLog(t, l)
	got, report := reread(t, dir)
	expect(t, got, want)
	expectSound(t, report)
}

func TestOpenOnAFullDisk(t *testing.T) {
	disk := smallDisk(t)
	dir := filepath.Join(disk, "log")
	l := open(t, Options{Dir: dir})
	all := fill(t, l, 10, 100)
	closeLog(t, l)
	filler, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: filepath.Join(disk, "new")}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a new log: %v", err)
	}
	// What is there can be read, and nothing else.
	l = open(t, Options{Dir: dir, retry: time.Millisecond})
	got, report := replay(t, l, 0)
	expect(t, got, all)
	expectSound(t, report)
	end := l.Position()
	if _, err := l.Write([]byte("x")); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if s := l.Stats(); s.Segments != 1 || s.First != 0 || s.Next != end || s.Durable != end || s.Err == nil {
		t.Fatalf("stats %+v", s)
	}
	if piece, err := l.Tail(0); err != nil || piece.To != end {
		t.Fatalf("%+v, %v", piece, err)
	} else if err := piece.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}

	l = open(t, Options{Dir: dir, retry: time.Millisecond})
	if got, _ := replay(t, l, all[3].at); len(got) != 7 {
		t.Fatalf("%d records", len(got))
	}
	if err := l.Trim(all[9].at); err != nil || l.Stats().Segments != 1 {
		t.Fatalf("stats %+v, %v", l.Stats(), err)
	}
	if err := l.Trim(end); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Segments > 1 || s.First != end {
		t.Fatalf("stats %+v", s)
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log goes on", func() bool { return l.Stats().Err == nil })
	if p := write(t, l, []byte("on")); p != end {
		t.Fatalf("position %s, want %s", p, end)
	}
	closeLog(t, l)
	got, report = reread(t, dir)
	expect(t, got, []stored{{end, "on"}})
	expectSound(t, report)
}

// TestBackpressure has writers wait while a slow disk syncs, and refuses them when it fails.
func TestBackpressure(t *testing.T) {
	for _, fails := range []bool{false, true} {
		f := faults{entered: make(chan struct{}, 100)}
		l := open(t, Options{Dir: memDir(t), create: f.open, retry: time.Millisecond})
		block := make(chan struct{})
		f.set(func(f *faults) { f.block = block })
		var refused, stored atomic.Int64
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for i := 0; fails || i < 40; i++ {
					if _, err := l.Write(make([]byte, 100<<10)); errors.Is(err, ErrFailed) {
						refused.Add(1)
						return
					} else if err != nil {
						t.Error(i, err)
					}
					stored.Add(1)
				}
			})
		}
		<-f.entered
		eventually(t, "the queue is full", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.queue.buf) >= maxQueued
		})
		if n := stored.Load(); n > 3*maxQueued/(100<<10) {
			t.Fatalf("%d records of 100 KiB are in memory", n)
		}
		f.set(func(f *faults) {
			f.block = nil
			if fails {
				f.sync = syscall.EIO
			}
		})
		close(block)
		writers.Wait()
		if fails != (refused.Load() == 4) || !fails && stored.Load() != 160 {
			t.Fatalf("fails %v: %d stored, %d refused", fails, stored.Load(), refused.Load())
		}
		f.set(func(f *faults) { f.sync = nil })
		if err := l.Close(); err != nil && !fails {
			t.Fatal(err)
		}
	}
}

// smallDisk mounts a file system of 2 MiB for the test.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatalf("cannot mount a small disk (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// logText is what a log's logger was told.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logText) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logText) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}
