// Package wal is the write-ahead log: records are durable here before anybody
// is told that they were taken.
//
// A log is a folder of segment files. Write gives a record its place and queues
// it; one goroutine writes all that is queued and syncs once for all of it.
package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	// Log is told when the log fails and when it goes on.
	Log *slog.Logger
}

// Log is an open log. Its methods may be called concurrently.
type Log struct{}

var errNotYet = errors.New("not written yet")

// Open opens the log in a folder, or begins one. What was left half-written at
// the end is dropped, which [Log.Replay] reports.
func Open(o Options) (*Log, error) { return nil, errNotYet }

// Close writes and syncs what was queued, and frees the folder.
func (l *Log) Close() error { return errNotYet }

// Commit is a record that was written but may not be durable yet.
type Commit struct {
	Position Position
}

// Wait returns nil when the record is as durable as [Options.Sync] asks. After
// any other error than that of ctx the record counts as not written, and it may
// or may not be there after a restart.
func (c Commit) Wait(ctx context.Context) error { return errNotYet }

// Write queues a record, which is the concatenation of its parts, and gives it
// the next position. It keeps none of the parts. It waits only when the disk is so
// slow that more than a few MiB are queued. Concurrent calls are ordered by
// position, so one that holds a lock over Write and what it does with the record
// keeps both in the same order.
func (l *Log) Write(parts ...[]byte) (Commit, error) { return Commit{}, errNotYet }

// Position is the one that the next record gets, or a lower one if the log fails
// in between: all records that were written have a lower one.
func (l *Log) Position() Position { return 0 }

// Replay calls f with each record that was in the log when it was opened, from a
// position on, in order. The record is valid only during the call. Damage costs
// the records that it hit, is reported, and stops nothing; an error of f does,
// and is returned.
func (l *Log) Replay(from Position, f func(p Position, record []byte) error) (Report, error) {
	return Report{}, errNotYet
}

// Report says what a replay found.
type Report struct {
	Records int
	Bytes   int64 // of the records, without their headers
	// Torn is bytes that were cut from the end of the log when it was opened: a
	// record that was being written when the machine or the process ended, and
	// that nobody was told was durable.
	Torn int64
	// Lost is bytes of the log that could not be read: records that were durable.
	Lost int64
	// Damage is where, of the first 100 places.
	Damage []Damage
}

// Damage is a stretch of the log without a sound record.
type Damage struct {
	File     string
	From, To Position
}

// Trim deletes the segments all of whose records come before a position.
func (l *Log) Trim(before Position) error { return errNotYet }

// Tail opens what is durable of the log from a position on, to the end of the
// segment that holds it. Its bytes are those of a segment file: as a file of the
// name [SegmentName] gives it is understood by [Open]. So a folder of such
// pieces is a copy of the log. From and To are equal when there is nothing.
func (l *Log) Tail(from Position) (*Tail, error) { return nil, errNotYet }

// Tail is a piece of the log. Trim does not disturb it.
type Tail struct {
	io.Reader
	// From is at or after the position that was asked for; it is after it when
	// records before it were trimmed. The next piece begins at To.
	From, To Position
	Size     int64 // how many bytes Reader gives
}

// Close frees the file.
func (t *Tail) Close() error { return errNotYet }

// SegmentName is the name of the file of a piece that begins at a position.
func SegmentName(from Position) string { return from.String() + ".wal" }

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
func (l *Log) Stats() Stats { return Stats{} }
