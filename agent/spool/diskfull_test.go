package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of 2 MiB for the test.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatalf("cannot mount a small disk (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fillDisk takes all space of the disk until free is called.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestDiskFullDropsOldest(t *testing.T) {
	var log logBuffer
	dir := filepath.Join(smallDisk(t), "spool")
	s := open(t, Options{Dir: dir, Log: log.logger()})
	const n, size = 600, 16 << 10
	mustAppendMany(t, s, 1, n, size)
	st := s.Stats()
	checkBalance(t, st)
	if !st.Full || st.Dropped.Full.Entries == 0 || st.Dropped.Disk.Entries != 0 || !errors.Is(st.DiskError, unix.ENOSPC) {
		t.Fatalf("stats %+v", st)
	}
	if got := log.count("cannot write spool"); got != 1 {
		t.Fatalf("logged %d times", got)
	}
	// Segments have become small, so most of the disk is in use.
	if st.Bytes < 1<<20 {
		t.Fatalf("only %d bytes are kept", st.Bytes)
	}
	closeSpool(t, s)
	s = open(t, Options{Dir: dir})
	got := drain(t, s)
	if len(got) == 0 || got[len(got)-1] != n {
		t.Fatalf("delivered %v", got)
	}
	wantNumbers(t, got, sequence(n-len(got)+1, n)...)
	checkBalance(t, s.Stats())
	mustAppendMany(t, s, 1, 20, size)
	wantNumbers(t, drain(t, s), sequence(1, 20)...)
}

func TestDiskFullHoldsHeldBack(t *testing.T) {
	s := open(t, Options{Dir: filepath.Join(smallDisk(t), "spool"), SegmentSize: 256 << 10})
	const n, size = 400, 16 << 10
	done := make(chan error)
	go func() {
		var commits []Commit
		for i := 1; i <= n; i++ {
			c, err := s.Append(context.Background(), held(entry(i, size)))
			if err != nil {
				done <- err
				return
			}
			commits = append(commits, c)
		}
		for _, c := range commits {
			if err := c.Wait(context.Background()); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	// The source is held back, by the disk and by what may be pending.
	eventually(t, "the source waits", func() bool {
		before := s.Stats()
		time.Sleep(3 * minRetryPeriod)
		return before.Full && s.Stats().Pending == before.Pending
	})
	// Nothing may be dropped for a polled entry, and it does not wait.
	c, err := s.Append(t.Context(), entry(0, 100<<10))
	if err == nil {
		err = c.Wait(t.Context())
	}
	refused := errors.Is(err, ErrFull)
	var got []int
	for len(got) < n {
		d := mustNext(t, s)
		if d.Held {
			got = append(got, number(t, d.Entry))
		}
		mustAck(t, s, d)
	}
	wantNumbers(t, got, sequence(1, n)...)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	checkBalance(t, st)
	if !refused || st.Dropped.Full.Entries != 1 || st.Appended.Entries != n+1 {
		t.Fatalf("refused %v, stats %+v", refused, st)
	}
}

func TestDiskFullOfOthersFiles(t *testing.T) {
	disk := smallDisk(t)
	dir := filepath.Join(disk, "spool")
	s := open(t, Options{Dir: dir})
	mustAppendMany(t, s, 1, 3, 1000)
	free := fillDisk(t, disk)
	c, err := s.Append(t.Context(), held(entry(4, 100<<10)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk is full", func() bool { return s.Stats().Full })
	if st := s.Stats(); st.Pending != one(5) || st.Waiting.Entries != 3 {
		t.Fatalf("stats %+v", st)
	}
	free()
	if err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)

	// A full disk does not keep a spool from opening and from being drained.
	free = fillDisk(t, disk)
	s = open(t, Options{Dir: dir})
	wantNumbers(t, drain(t, s), 1, 2, 3, 4)
	free()
	mustAppend(t, s, entry(5, 1000))
	wantNumbers(t, drain(t, s), 5)
}

func TestNewSpoolOnFullDisk(t *testing.T) {
	disk := smallDisk(t)
	free := fillDisk(t, disk)
	defer free()
	s, err := Open(Options{Dir: filepath.Join(disk, "spool")})
	if err != nil {
		t.Fatal(err)
	}
	defer closeSpool(t, s)
	c, err := s.Append(t.Context(), entry(1, 1000))
	if err == nil {
		err = c.Wait(t.Context())
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("Append: %v", err)
	}
	// What cannot be written before the end is refused.
	c, err = s.Append(t.Context(), held(entry(2, 1000)))
	if err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)
	if err := c.Wait(t.Context()); !errors.Is(err, ErrClosed) || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("Wait: %v", err)
	}
	st := s.Stats()
	checkBalance(t, st)
	if st.Dropped.Full != one(2) || st.Pending != (Count{}) {
		t.Fatalf("stats %+v", st)
	}
}

func TestFailingDisk(t *testing.T) {
	for _, op := range []operation{opCreate, opWrite, opSync} {
		t.Run(string(op), func(t *testing.T) {
			var broken atomic.Bool
			var log logBuffer
			dir := t.TempDir()
			o := Options{Dir: dir, SegmentSize: 1000, Log: log.logger(), fault: func(at operation) error {
				if at == op && broken.Load() {
					return unix.EIO
				}
				return nil
			}}
			s := open(t, o)
			mustAppendMany(t, s, 1, 4, 400) // two full segments
			broken.Store(true)
			for range 2 {
				c, err := s.Append(t.Context(), entry(0, 400))
				if err == nil {
					err = c.Wait(t.Context())
				}
				if !errors.Is(err, unix.EIO) || errors.Is(err, ErrFull) {
					t.Fatalf("Append: %v", err)
				}
			}
			var commits []Commit
			for n := 5; n <= 9; n++ {
				c, err := s.Append(t.Context(), held(entry(n, 400)))
				if err != nil {
					t.Fatal(err)
				}
				commits = append(commits, c)
			}
			wantNumbers(t, drain(t, s), 1, 2, 3, 4) // what is in can be taken
			eventually(t, "the committer holds them", func() bool { return s.Stats().Pending.Entries == 5 })
			broken.Store(false)
			for _, c := range commits {
				if err := c.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			mustAck(t, s, mustNext(t, s))
			st := s.Stats()
			checkBalance(t, st)
			if st.Dropped != (Dropped{Disk: Count{2, 2 * samplesOf(0)}}) || log.count("cannot write spool") != 1 {
				t.Fatalf("stats %+v, log:\n%s", st, log.b.String())
			}
			closeSpool(t, s)
			wantNumbers(t, drain(t, open(t, o)), 6, 7, 8, 9)
		})
	}
}

func TestUnreadableDisk(t *testing.T) {
	files := filled(t, 6, 400, Options{SegmentSize: 1500})
	f := func(failures int32, lost Count, want ...int) {
		t.Helper()
		var failing atomic.Int32
		s := open(t, Options{Dir: placed(t, files), fault: func(op operation) error {
			if op == opRead && failing.Add(-1) >= 0 {
				return unix.EIO
			}
			return nil
		}})
		failing.Store(failures)
		got := []Delivery{mustNext(t, s)}
		for len(got) < len(want) {
			got = append(got, mustNext(t, s))
		}
		for i, d := range got {
			if n := number(t, d.Entry); n != want[i] {
				t.Fatalf("entry %d, want %d", n, want[i])
			}
			mustAck(t, s, d)
		}
		wantNone(t, s)
		st := s.Stats()
		checkBalance(t, st)
		if st.Dropped != (Dropped{Disk: lost}) || !errors.Is(st.DiskError, unix.EIO) {
			t.Fatalf("stats %+v", st)
		}
	}
	f(maxReadRetries, Count{}, sequence(1, 6)...)
	f(maxReadRetries+1, Count{3, samplesOf(1, 2, 3)}, 4, 5, 6)
}

func TestPositionNotWritable(t *testing.T) {
	var log logBuffer
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, Log: log.logger(), fault: func(op operation) error {
		if op == opPosition {
			return unix.EIO
		}
		return nil
	}})
	mustAppendMany(t, s, 1, 3, 100)
	wantNumbers(t, drain(t, s), 1, 2, 3)
	if st := s.Stats(); !errors.Is(st.DiskError, unix.EIO) || log.count("cannot write spool position") != 1 {
		t.Fatalf("stats %+v, log:\n%s", st, log.b.String())
	}
	closeSpool(t, s)
	wantNumbers(t, drain(t, open(t, Options{Dir: dir})), 1, 2, 3)
}
