package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Position is a place in the log: how many bytes of records came before it in
// the life of the log. A later record has a greater one, no two records have the
// same one, and there may be gaps.
type Position uint64

// String gives 16 hexadecimal digits, which sort as the positions do.
func (p Position) String() string { return fmt.Sprintf("%016x", uint64(p)) }

// MaxRecord is how many bytes a record may have.
const MaxRecord = 64 << 20

const defaultSegmentSize = 64 << 20

var (
	// ErrFailed is in the chain of every error of a log that cannot write, because
	// the disk is full or broken. The log tries again by itself, so the same call
	// may succeed later.
	ErrFailed = errors.New("the write-ahead log cannot be written")
	// ErrClosed is returned for records that come after Close.
	ErrClosed = errors.New("the write-ahead log is closed")
	// ErrTooLarge is returned for a record of more than [MaxRecord] bytes.
	ErrTooLarge = errors.New("record is too large for the write-ahead log")
)

// Options of [Open].
type Options struct {
	// Dir is made when it is not there. One process at a time can have it open.
	Dir string
	// SegmentSize is at how many bytes a new segment begins; 0 means 64 MiB.
	SegmentSize int64
	// Sync says what a record must have reached before Wait returns. 0: the disk.
	// Otherwise the operating system: then a record survives the end of this
	// process, also by kill -9, but not that of the machine, which costs what came
	// in this time and while the disk synced.
	Sync time.Duration
	// First is the lowest position that a new record may get: that up to which
	// records are kept elsewhere (the one in the engine's manifest), so that a log
	// which lost its end, or its folder, gives no position twice.
	First Position
	// Log is told when the log fails and when it goes on; nil: nobody is.
	Log *slog.Logger

	create func(path string) (file, error) // in tests, fails on purpose
	retry  time.Duration                   // the first pause of a failed log; 0: minRetry
}

// Log is an open log. Its methods may be called concurrently.
type Log struct {
	o      Options
	dir    *directory
	found  Position // end of what Open found
	sure   Position // before it, all that Open found was durable
	opened Position // of the first record of this process
	torn   int64    // bytes that Open cut

	mu         sync.Mutex
	room       sync.Cond // the queue was taken, or never will be
	queue      *group
	committing bool     // what was queued is being written
	next       Position // of the next record
	written    Position // the operating system has what is before
	durable    Position // the disk has
	err        error    // why the log cannot write
	closed     bool
	segments   []*segment // by position; the last one is written to
	unsynced   []file     // of segments that are written to no more
	spare      []byte     // buffer for the next group

	trimming sync.Mutex
	syncing  sync.Mutex

	// current is the file of the last segment; only who commits changes it, under mu.
	// It is nil when there was no room for one when the log was opened.
	current file
	wake    chan struct{} // there is something for commitAll to do
	quit    chan struct{} // closed by Close
	done    sync.WaitGroup
}

// Open opens the log in a folder, or begins one. What was left half-written at
// the end is dropped, which [Log.Replay] reports. On a full disk a log that has
// records opens, but refuses new ones until there is room, so that those it has can
// be replayed and trimmed.
func Open(o Options) (*Log, error) {
	if o.SegmentSize <= 0 {
		o.SegmentSize = defaultSegmentSize
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.First >= maxPosition {
		return nil, fmt.Errorf("cannot open the write-ahead log: no log has a position like %s", o.First)
	}
	if o.create == nil {
		o.create = createFile
	}
	if o.retry <= 0 {
		o.retry = minRetry
	}
	dir, err := openDirectory(o.Dir)
	if err != nil {
		return nil, err
	}
	l := &Log{o: o, dir: dir, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	l.room.L = &l.mu
	if err := l.begin(); err != nil {
		dir.close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("cannot open the write-ahead log: %w", err)
	}
	l.done.Go(l.commitAll)
	if o.Sync > 0 {
		l.done.Go(l.syncAll)
	}
	return l, nil
}

// begin looks at what is there and starts a segment behind it.
func (l *Log) begin() error {
	segments, err := l.dir.segments()
	if err != nil {
		return err
	}
	var end, floor Position // of what is there; of what may have been there
	limit := Position(maxPosition)
	for len(segments) > 0 && end == 0 {
		last := segments[len(segments)-1]
		floor = max(floor, last.start)
		e, err := last.end(limit)
		if err != nil {
			return err
		}
		l.torn += e.written.minus(e.sound)
		if e.sound == last.start {
			// Nothing in it, so the new segment may need its name.
			if err := l.dir.remove(last); err != nil {
				return err
			}
			if last.known {
				limit = last.before
			}
			segments = segments[:len(segments)-1]
			continue
		}
		end, l.sure = e.sound, e.settled
	}
	start := max(end, floor, l.o.First)
	if len(segments) == 0 {
		end = start
	}
	l.found, l.opened, l.next, l.written, l.durable = end, start, start, end, end
	l.segments = segments
	l.queue = newGroup(nil)
	l.current, err = l.create(start, end, 0)
	switch {
	case err == nil:
		l.written, l.durable = start, start
		return nil
	case len(segments) > 0 && isFull(err):
		l.fail(err)
		return nil
	}
	return err
}

// Position is the one that the next record gets, or a lower one if the log fails
// in between: all records that were written have a lower one.
func (l *Log) Position() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// Trim deletes the segments all of whose records come before a position.
func (l *Log) Trim(before Position) error {
	l.trimming.Lock()
	defer l.trimming.Unlock()
	for {
		old := l.leaving(before)
		if old == nil {
			return nil
		}
		// Deleting a large file may take its time, during which the log goes on.
		if err := l.dir.remove(old); err != nil {
			return fmt.Errorf("cannot trim the write-ahead log: %w", err)
		}
		l.mu.Lock()
		l.segments = l.segments[1:]
		l.mu.Unlock()
	}
}

// leaving returns the segment that Trim removes next, of which nobody begins to read from
// now on.
func (l *Log) leaving(before Position) *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.trimmable(before)
	if old != nil {
		old.leaves = true
	}
	return old
}

// trimmable returns the oldest segment if it is not written to and ends before a position.
func (l *Log) trimmable(before Position) *segment {
	switch {
	case len(l.segments) > 1 && l.segments[1].start <= before:
		return l.segments[0]
	case len(l.segments) == 1 && l.current == nil && l.found <= before:
		return l.segments[0]
	}
	return nil
}

// Stats are what the log holds now.
type Stats struct {
	Segments int
	Bytes    int64    // of all segments
	First    Position // of the oldest segment
	Next     Position // of the next record
	Durable  Position // records before it are on disk
	Err      error    // why the log cannot write; nil when it can
}

// Stats returns them.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Segments: len(l.segments), First: l.next, Next: l.next, Durable: l.durable, Err: l.err}
	for _, g := range l.segments {
		s.First = min(s.First, g.start)
		s.Bytes += g.size
	}
	return s
}

// Close writes and syncs what was queued, and frees the folder. The error is why
// some of it could not be.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.closed = true
	l.room.Broadcast()
	l.mu.Unlock()
	close(l.quit)
	l.signal()
	l.done.Wait()
	l.sync()
	err := l.err
	if err == nil {
		l.cutAhead()
	}
	for _, f := range l.unsynced {
		err = errors.Join(err, f.Close())
	}
	if l.current != nil {
		err = errors.Join(err, l.current.Close())
	}
	return errors.Join(err, l.dir.close())
}
