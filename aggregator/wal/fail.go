package wal

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	minRetry = 100 * time.Millisecond
	maxRetry = 2 * time.Second

	// minRoom is how much must be free, besides what could not be written, before the
	// log goes on: a disk with a few bytes left would only fail again.
	minRoom = 64 << 10
)

// fail has the log refuse what is queued, and what comes. It is called with mu held.
func (l *Log) fail(err error) {
	if l.err != nil {
		return
	}
	l.err = explain(err)
	l.o.Log.Error("the write-ahead log refuses writes", "dir", l.dir.path, "error", l.err)
	g := l.queue
	l.queue = newGroup(nil)
	g.finish(l.err)
	l.room.Broadcast()
}

// explain says what to do about an error of the disk.
func explain(err error) error {
	remedy := "the kernel's log says what is wrong with the disk"
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		remedy = "free some space there"
	case errors.Is(err, unix.EROFS):
		remedy = "mount the file system writable again"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		remedy = "give this user the folder"
	}
	return fmt.Errorf("%w: %w: %s; it goes on by itself", ErrFailed, err, remedy)
}

// recover tries to begin a new segment until that works or the log is closed.
func (l *Log) recover() {
	l.mu.Lock()
	good := l.durable
	if l.o.Sync > 0 {
		good = l.written // acknowledged, so it stays for as long as it can be read
	}
	last := l.segments[len(l.segments)-1]
	want := max(minRoom, l.next.minus(good)+minRoom)
	l.mu.Unlock()

	for wait := l.o.retry; ; wait = min(2*wait, maxRetry) {
		select {
		case <-l.quit:
			return
		case <-time.After(wait):
		}
		if l.begins(last, good, want) {
			return
		}
	}
}

// begins starts a segment after last, of which what comes after good does not count.
func (l *Log) begins(last *segment, good Position, room int64) bool {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	// Gives the room back. If it fails, the new segment's header says the same.
	if size := last.offset(good); size < last.size && l.current.Truncate(size) == nil {
		l.mu.Lock()
		last.size = size
		l.mu.Unlock()
	}
	start := l.Position() // nothing moves it while the log fails
	next, err := l.create(start, good, room)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.err = explain(err)
		return false
	}
	// The old segment is as durable as it will ever be.
	if err := l.current.Close(); err != nil {
		l.o.Log.Warn("cannot close a segment of the write-ahead log", "file", last.path, "error", err)
	}
	for _, f := range l.unsynced {
		f.Close() //nolint:errcheck // its segment is lost to the disk or not
	}
	l.unsynced = nil
	l.current = next
	l.written, l.durable = start, start
	l.err = nil
	l.o.Log.Info("the write-ahead log takes writes again", "dir", l.dir.path)
	return true
}

// minus is how many bytes p is after q.
func (p Position) minus(q Position) int64 { return int64(p - q) }
