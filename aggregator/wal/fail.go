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
	case isFull(err):
		remedy = "free some space there"
	case errors.Is(err, unix.EROFS):
		remedy = "mount the file system writable again"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		remedy = "give this user the folder"
	}
	return fmt.Errorf("%w: %w: %s; it goes on by itself", ErrFailed, err, remedy)
}

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// recover tries to begin a new segment until that works or the log is closed.
func (l *Log) recover() {
	l.mu.Lock()
	good := l.durable
	if l.o.Sync > 0 {
		good = l.written // acknowledged, so it stays for as long as it can be read
	}
	want := minRoom + min(l.next.minus(good), 2*maxQueued)
	l.mu.Unlock()

	for wait := l.o.retry; ; wait = min(2*wait, maxRetry) {
		select {
		case <-l.quit:
			return
		case <-time.After(wait):
		}
		if l.begins(good, want) {
			return
		}
	}
}

// begins starts a segment behind what is good of the last one.
func (l *Log) begins(good Position, room int64) bool {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.current != nil {
		// Gives the room back. If it fails, the new segment's header says the same.
		l.mu.Lock()
		last := l.segments[len(l.segments)-1]
		l.mu.Unlock()
		if size := last.offset(good); size < max(last.size, last.ahead) && l.current.Truncate(size) == nil {
			l.mu.Lock()
			last.size, last.ahead = size, size
			l.mu.Unlock()
		}
	}
	start := l.Position() // nothing moves it while the log fails
	next, err := l.create(start, good, room)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.err = explain(err)
		return false
	}
	// The segments before it are as durable as they will ever be.
	if l.current != nil {
		l.unsynced = append(l.unsynced, l.current)
	}
	for _, f := range l.unsynced {
		if err := f.Close(); err != nil {
			l.o.Log.Warn("cannot close a segment of the write-ahead log", "dir", l.dir.path, "error", err)
		}
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
