package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Commit tells when an appended entry is durable. The zero value is that of an
// entry that Append refused; it is done.
type Commit struct {
	cell *cell
	idx  int
}

// Done is closed when the entry is durable, or refused after all.
func (c Commit) Done() <-chan struct{} {
	if c.cell == nil {
		return newSettledCell().done
	}
	return c.cell.done
}

// Err returns nil before Done is closed and afterwards what came of the entry:
// nil when it is durable. An entry that is not held is refused, and counted as
// dropped, when the disk is full with nothing left to drop (ErrFull) or fails.
// Any entry is refused with ErrClosed, and not counted, when it could not be
// written before Close.
func (c Commit) Err() error {
	if c.cell == nil {
		return nil
	}
	select {
	case <-c.cell.done:
		if c.cell.errs != nil {
			return c.cell.errs[c.idx]
		}
	default:
	}
	return nil
}

// Wait blocks until the entry is durable or refused and returns Err, or until
// ctx ends and returns its error; the entry is written all the same then.
func (c Commit) Wait(ctx context.Context) error {
	if c.cell == nil {
		return nil
	}
	select {
	case <-c.cell.done:
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cell is what the entries of one commit share: those that are held have one,
// the others another, since a full disk treats them differently.
type cell struct {
	done chan struct{}
	open int     // entries not resolved
	size int     // entries
	errs []error // by index; nil when there was no error
}

func newSettledCell() *cell {
	c := &cell{done: make(chan struct{})}
	close(c.done)
	return c
}

// resolve is called by the committer only, once for each entry.
func (c *cell) resolve(idx int, err error) {
	if err != nil {
		if c.errs == nil {
			c.errs = make([]error, c.size)
		}
		c.errs[idx] = err
	}
	c.open--
	if c.open == 0 {
		close(c.done)
	}
}

// enqueue hands an entry to the committer. The caller holds mu.
func (s *Spool) enqueue(it *item) Commit {
	class := 0
	if it.Held {
		class = 1
	}
	c := s.cells[class]
	if c == nil {
		c = &cell{done: make(chan struct{})}
		s.cells[class] = c
	}
	it.cell, it.idx = c, c.size
	c.size++
	c.open++
	s.pending = append(s.pending, *it)
	s.pendingCount.add(one(it.Samples))
	s.pendingBytes += frameSize(it.Payload)
	s.signal()
	return Commit{cell: c, idx: it.idx}
}

// signal wakes the committer.
func (s *Spool) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

const (
	minRetryPeriod = 50 * time.Millisecond
	maxRetryPeriod = 2 * time.Second

	// calmAfter is how long a disk must do without errors to be called good: one
	// that is full fails and succeeds in turns.
	calmAfter = 10 * time.Second
)

// committer makes entries durable, one transaction after the other. There is
// no timer: a transaction takes what came in while the one before was synced.
type committer struct {
	s     *Spool
	tx    transaction
	todo  []item // in order; more than the last await gave only after a failure
	retry time.Duration
}

func (s *Spool) commitLoop() {
	c := &committer{s: s, tx: transaction{s: s}}
	for c.await() {
		c.flush()
	}
	c.flush()
	c.end()
	close(s.done)
}

// await blocks until there is something to write and takes it; false when the
// spool is being closed.
func (c *committer) await() bool {
	s := c.s
	for {
		s.mu.Lock()
		if len(s.pending) > 0 {
			if len(c.todo) == 0 {
				s.pending, c.todo = c.todo, s.pending
			} else {
				c.todo = append(c.todo, s.pending...)
				clear(s.pending)
				s.pending = s.pending[:0]
			}
			s.cells = [2]*cell{}
			s.committing = true
			closed := s.closed
			s.unlock()
			return !closed
		}
		s.pending = nil
		closed := s.closed
		s.unlock()
		if closed {
			return false
		}
		c.tx.shrink()
		if len(c.todo) == 0 {
			c.todo = nil
			<-s.wake
			continue
		}
		timer := time.NewTimer(c.retry)
		select {
		case <-timer.C:
		case <-s.wake:
		}
		timer.Stop()
		s.mu.Lock()
		if len(s.pending) == 0 && !s.closed {
			s.committing = true
			s.unlock()
			return true
		}
		s.unlock()
	}
}

// flush writes todo. What the disk does not take stays there if it is held and
// is refused otherwise.
func (c *committer) flush() {
	s := c.s
	for n := len(c.todo); len(c.todo) > 0; n = min(n, len(c.todo)) {
		err := c.tx.write(c.todo[:n])
		if err == nil {
			c.publish(n)
			n *= 2
			continue
		}
		c.troubled(err)
		if noSpace(err) {
			if n > 1 { // keep as much as fits
				n /= 2
				continue
			}
			if c.makeRoom() {
				continue
			}
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		c.refusePolled(err)
		c.retry = min(max(2*c.retry, minRetryPeriod), maxRetryPeriod)
		break
	}
	s.mu.Lock()
	s.committing = false
	s.stuck = len(c.todo) > 0
	s.room.broadcast()
	s.unlock()
}

// publish makes the first n of todo, which are on disk now, visible to the
// consumer.
func (c *committer) publish(n int) {
	s := c.s
	s.mu.Lock()
	seen := s.cursor.seq
	if s.current() == nil {
		seen = s.end.seq
	}
	for i := range c.todo[:n] {
		it := &c.todo[i]
		if it.seg != s.active {
			s.seal()
			s.enlist(it.seg)
			s.rollAt = min(2*s.rollAt, s.segmentSize)
		}
		size := frameSize(it.Payload)
		s.window.offer(it, seen)
		s.count(it.seg, it, it.off+size)
		s.pendingBytes -= size
		s.pendingCount.sub(one(it.Samples))
		it.cell.resolve(it.idx, nil)
	}
	s.arrived.broadcast()
	s.room.broadcast()
	if s.trouble != nil && time.Since(s.troubleAt) > calmAfter {
		s.trouble = nil
		s.later = append(s.later, func() { s.log.Info("spool is written without errors again") })
	}
	s.unlock()
	c.retry = 0
	c.drop(n)
}

// drop forgets the first n of todo, keeping its memory for the next ones.
func (c *committer) drop(n int) {
	rest := copy(c.todo, c.todo[n:])
	clear(c.todo[rest:])
	c.todo = c.todo[:rest]
}

// refusePolled drops from todo all that is not held.
func (c *committer) refusePolled(err error) {
	s := c.s
	kept := 0
	s.mu.Lock()
	reason := &s.dropped.Disk
	if errors.Is(err, ErrFull) {
		reason = &s.dropped.Full
	}
	for i := range c.todo {
		it := &c.todo[i]
		if it.Held {
			c.todo[kept] = *it
			kept++
			continue
		}
		s.pendingBytes -= frameSize(it.Payload)
		s.pendingCount.sub(one(it.Samples))
		s.refuse(reason, it.Samples)
		it.cell.resolve(it.idx, err)
	}
	s.unlock()
	clear(c.todo[kept:])
	c.todo = c.todo[:kept]
}

// makeRoom drops the oldest segment for entries that are not held.
func (c *committer) makeRoom() bool {
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	// Segments of a full disk are small, so that each drop loses little.
	s.rollAt = min(s.rollAt, max(s.bytes/8, minSegmentSize))
	if s.reclaim() {
		return true
	}
	for i := range c.todo {
		if !c.todo[i].Held {
			return s.dropOldest(true)
		}
	}
	return false
}

func (c *committer) troubled(err error) {
	s := c.s
	s.mu.Lock()
	s.diskError = err
	if s.trouble == nil {
		s.later = append(s.later, func() { s.log.Error("cannot write spool", "error", err) })
	}
	s.trouble, s.troubleAt = err, time.Now()
	s.unlock()
}

// end refuses what could not be written before Close.
func (c *committer) end() {
	s := c.s
	s.mu.Lock()
	for i := range c.todo {
		it := &c.todo[i]
		s.pendingBytes -= frameSize(it.Payload)
		s.pendingCount.sub(one(it.Samples))
		it.cell.resolve(it.idx, fmt.Errorf("%w: %w", ErrClosed, s.trouble))
	}
	s.unlock()
	c.tx.end()
}

func noSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
