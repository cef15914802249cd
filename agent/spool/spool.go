package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"
)

// Errors of Append, Next and Ack. They come wrapped where there is more to say.
var (
	// ErrFull: the spool is full, or its disk is, nothing in it may be dropped,
	// and the entry was refused.
	ErrFull = errors.New("spool is full")
	// ErrTooLarge: the entry alone exceeds the limit of the spool.
	ErrTooLarge = errors.New("entry is larger than the spool")
	// ErrClosed: the spool was closed.
	ErrClosed = errors.New("spool is closed")
	// ErrOrder: a delivery was acknowledged before an earlier one.
	ErrOrder = errors.New("deliveries acknowledged out of order")
)

const (
	defaultLimit       = 1 << 30
	defaultSegmentSize = 16 << 20
	minSegmentSize     = 64 << 10

	// maxPending is how many bytes may wait for a sync before Append blocks.
	maxPending = 4 << 20
	// maxWindow is how many bytes of durable entries stay in memory for a
	// consumer that keeps up.
	maxWindow = 4 << 20
)

// Entry is one encoded batch and what the host must know of it without decoding.
type Entry struct {
	// Payload is opaque to the spool. It belongs to the spool after Append and
	// is shared with it after Next: nobody may write to it.
	Payload []byte
	// Samples is how many samples and events are in it, for the counters.
	Samples uint32
	// Held entries came from a notification whose broker waits for our
	// acknowledgement. They are never dropped; when there is no room, Append
	// blocks instead.
	Held bool
}

// Options of a spool. The zero value is a memory spool of 1 GiB.
type Options struct {
	// Dir is made when it does not exist; "" keeps everything in memory.
	Dir string
	// Limit in bytes of payloads and their framing (48 bytes each); a segment
	// counts in full until its last entry is acknowledged. Default 1 GiB.
	Limit int64
	// SegmentSize in bytes is what is dropped or deleted at once. Default
	// 16 MiB, or Limit/8 when that is less, but at least 64 KiB.
	SegmentSize int64
	// Log gets one line per change of state, and what recovery found. Default:
	// nothing is logged.
	Log *slog.Logger

	fault func(operation) error // injected by tests, nil otherwise
}

// operation names the disk operations that tests let fail.
type operation string

const (
	opCreate   operation = "create"
	opWrite    operation = "write"
	opSync     operation = "sync"
	opRead     operation = "read"
	opPosition operation = "position"
)

// Spool is a bounded first-in-first-out queue. All methods are goroutine-safe;
// entries are handed to one consumer, so several goroutines that call Next
// share the stream between them.
type Spool struct {
	limit       int64
	segmentSize int64
	log         *slog.Logger
	fault       func(operation) error
	dir         *directory // nil: in memory

	readMu sync.Mutex // serialises use of reader
	reader reader
	ackMu  sync.Mutex // serialises Ack and the position file
	// positionLost: the last write of the position failed; guarded by ackMu.
	positionLost bool

	mu    sync.Mutex // guards everything below; released by unlock
	later []func()   // to do after mu is released: deleting files, logging
	ledger
	cursor place  // of the next entry that Next hands out
	epoch  uint64 // counts Rewinds
	window window

	pending      []item // in order, not yet taken by the committer
	cells        [2]*cell
	pendingCount Count // these and what the committer works on
	pendingBytes int64
	committing   bool  // the committer writes to the active segment
	stuck        bool  // the committer has held entries that the disk does not take
	trouble      error // why the disk did not take something lately
	troubleAt    time.Time
	settled      *cell // of memory spools: a commit that is done
	oldestSeq    uint64
	oldestTime   int64 // of entry oldestSeq, 0 when not known

	closed  bool
	room    notifier      // wakes Append
	arrived notifier      // wakes Next
	wake    chan struct{} // wakes the committer
	done    chan struct{} // closed when the committer has ended
}

// Open opens the spool in o.Dir, and recovers what is in there, or makes a
// memory spool. Damaged files never keep a spool from opening: what can be
// read is delivered, the rest is counted and logged. Errors are those of a
// directory that cannot be used, among them one that another process has open.
func Open(o Options) (*Spool, error) {
	if o.Limit <= 0 {
		o.Limit = defaultLimit
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = max(min(defaultSegmentSize, o.Limit/8), minSegmentSize)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Spool{
		limit:       o.Limit,
		segmentSize: o.SegmentSize,
		log:         o.Log,
		fault:       o.fault,
		reader:      reader{ahead: readAhead},
		wake:        make(chan struct{}, 1),
		done:        make(chan struct{}),
	}
	// The first segments are small: should the disk fill up while there are few, a
	// drop must not cost all that is there.
	s.rollAt = min(s.segmentSize, max(s.segmentSize/16, minSegmentSize))
	if s.fault != nil {
		s.reader.fault = func() error { return s.fault(opRead) }
	}
	if o.Dir == "" {
		s.settled = newSettledCell()
		close(s.done)
		return s, nil
	}
	dir, err := openDirectory(o.Dir)
	if err != nil {
		return nil, err
	}
	s.dir = dir
	if err := s.recover(); err != nil {
		dir.close() //nolint:errcheck // the first error says more
		return nil, fmt.Errorf("cannot recover spool %q: %w", o.Dir, err)
	}
	go s.commitLoop()
	return s, nil
}

// Append queues e and returns a Commit that tells when it is durable; an entry
// is delivered only after that. Append blocks while more than a few MiB wait to
// be synced.
//
// On a full spool the oldest segments without held entries are dropped to make
// room. When there are none, a held entry waits until the consumer has made
// room, and any other is refused: ErrFull, counted as dropped. An entry that
// can never fit is refused with ErrTooLarge, held or not, and not counted: what
// becomes of it is the caller's to say. When ctx ends while Append waits, the
// entry is not in the spool and not counted either.
func (s *Spool) Append(ctx context.Context, e Entry) (Commit, error) {
	size := frameSize(e.Payload)
	now := time.Now().UnixNano()
	s.mu.Lock()
	for {
		if s.closed {
			s.unlock()
			return Commit{}, ErrClosed
		}
		if size > s.limit || len(e.Payload) > math.MaxInt32 {
			s.unlock()
			return Commit{}, fmt.Errorf("%w: %d of %d bytes", ErrTooLarge, size, s.limit)
		}
		verdict := s.admit(size, e.Held)
		if verdict == admitted {
			break
		}
		if verdict == refused {
			s.refuse(&s.dropped.Full, e.Samples)
			s.unlock()
			return Commit{}, ErrFull
		}
		room := s.room.wait()
		s.unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return Commit{}, ctx.Err()
		}
		s.mu.Lock()
	}
	it := item{Entry: e, time: now}
	if s.dir == nil {
		s.store(&it)
		s.arrived.broadcast()
		s.unlock()
		return Commit{cell: s.settled}, nil
	}
	commit := s.enqueue(&it)
	s.unlock()
	return commit, nil
}

type verdict int

const (
	admitted verdict = iota
	postponed
	refused
)

// admit decides whether an entry can come in now, and makes room for it where
// that is allowed. The caller holds mu.
func (s *Spool) admit(size int64, held bool) verdict {
	most := int64(maxPending)
	if s.stuck && !held {
		most *= 2 // the committer refuses it soon; it must not wait behind held ones
	}
	if waiting := s.pendingBytes + itemOverhead*int64(s.pendingCount.Entries); waiting > 0 && waiting+size > most {
		return postponed
	}
	for s.bytes+s.pendingBytes+size > s.limit {
		if !s.committing && s.reclaim() {
			continue
		}
		s.setFull(true)
		switch {
		case held:
			return postponed
		case s.dropOldest(!s.committing):
		case (s.committing || s.pendingBytes > 0) && !s.stuck:
			return postponed // what is being written can be dropped soon
		default:
			return refused
		}
	}
	return admitted
}

// refuse counts an entry that does not come in. The caller holds mu.
func (s *Spool) refuse(reason *Count, samples uint32) {
	s.appended.add(one(samples))
	reason.add(one(samples))
}

// store places an entry in the memory spool. The caller holds mu.
func (s *Spool) store(it *item) {
	seg := s.active
	if s.mustRoll(seg, frameSize(it.Payload)) {
		s.seal()
		seg = &segment{id: s.nextID, first: s.end}
		s.enlist(seg)
	}
	it.seq, it.before = s.end.seq, s.end.samples
	seg.items = append(seg.items, *it)
	s.count(seg, it, int64(len(seg.items)))
}

// setFull notes a change of state, once. The caller holds mu.
func (s *Spool) setFull(full bool) {
	if s.full == full {
		return
	}
	s.full = full
	bytes, limit, waiting := s.bytes+s.pendingBytes, s.limit, s.waiting
	s.later = append(s.later, func() {
		log := s.log.With("bytes", bytes, "limit", limit, "entries", waiting.Entries, "samples", waiting.Samples)
		if full {
			log.Warn("spool is full: the oldest polled samples are dropped, notifications are held back")
		} else {
			log.Info("spool has room again")
		}
	})
}

// unlock releases mu and then does what had to wait for that.
func (s *Spool) unlock() {
	later := s.later
	s.later = nil
	s.mu.Unlock()
	for _, f := range later {
		f()
	}
}

// Close writes what is pending, ends all blocked calls with ErrClosed and
// releases the directory. Entries that are not acknowledged stay on disk; those
// of a memory spool are gone. Only Stats may be used afterwards.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.unlock()
		<-s.done
		return nil
	}
	s.closed = true
	s.room.broadcast()
	s.arrived.broadcast()
	s.unlock()
	if s.dir == nil {
		return nil
	}
	s.signal()
	<-s.done

	s.readMu.Lock()
	s.reader.ended = true
	s.reader.close()
	s.readMu.Unlock()
	s.ackMu.Lock()
	defer s.ackMu.Unlock()
	if err := s.dir.close(); err != nil {
		return fmt.Errorf("cannot close spool %q: %w", s.dir.path, err)
	}
	return nil
}

// notifier wakes all who wait for something to change. The zero value is ready;
// the lock of what it is about guards it.
type notifier struct{ ch chan struct{} }

func (n *notifier) wait() <-chan struct{} {
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) broadcast() {
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
