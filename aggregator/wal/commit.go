package wal

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

const (
	recordHeaderSize = 16
	recordMagic      = 0xa1574ef9
	alignment        = 8

	// settledBit of a record's length tells that what is before it was durable when it was
	// written.
	settledBit = 1 << 31

	// maxQueued is how many bytes wait for the disk before Write does too.
	maxQueued = 4 << 20
	// maxIdle is how large a buffer may be that an idle log keeps.
	maxIdle = 1 << 20
)

// group is records that are written and synced together.
type group struct {
	buf  []byte
	done chan struct{} // closed when err is what came of it
	err  error
}

func newGroup(buf []byte) *group { return &group{buf: buf[:0], done: make(chan struct{})} }

func (g *group) finish(err error) {
	g.err = err
	g.buf = nil
	close(g.done)
}

// Commit is a record that was written but may not be durable yet. The zero value
// is no record; there is nothing to wait for.
type Commit struct {
	Position Position // of the record
	group    *group
	log      *Log
}

// Wait has the record written, with all that were queued meanwhile, and returns nil when
// it is as durable as [Options.Sync] asks. After any other error than that of ctx the record
// counts as not written, and it may or may not be there after a restart. The end of ctx
// is not noticed while this very call writes.
func (c Commit) Wait(ctx context.Context) error {
	if c.group == nil {
		return nil
	}
	c.log.lead(c.group)
	select {
	case <-c.group.done:
		return c.group.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// frame is how many bytes a record of n bytes takes.
func frame(n int64) int64 { return (recordHeaderSize + n + alignment - 1) &^ (alignment - 1) }

// Write queues a record, which is the concatenation of its parts, and gives it
// the next position. [Commit.Wait] writes it, or Close. It keeps none of the parts. It
// waits only when more than a few MiB are queued, until they are being written. Concurrent
// calls are ordered by position, so one that holds a lock over Write and what it does
// with the record keeps both in the same order.
func (l *Log) Write(parts ...[]byte) (Commit, error) {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if size > MaxRecord {
		return Commit{}, fmt.Errorf("%w: it has %d bytes, and may have %d", ErrTooLarge, size, MaxRecord)
	}
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue.buf) >= maxQueued && l.err == nil && !l.closed {
		l.signal()
		l.room.Wait()
	}
	if l.closed {
		return Commit{}, ErrClosed
	}
	if l.err != nil {
		return Commit{}, l.err
	}
	g := l.queue
	c := Commit{Position: l.next, group: g, log: l}
	start := len(g.buf)
	g.buf = appendRecordHeader(g.buf, l.next, size, sum)
	for _, p := range parts {
		g.buf = append(g.buf, p...)
	}
	for len(g.buf)%alignment != 0 {
		g.buf = append(g.buf, 0)
	}
	l.next += Position(len(g.buf) - start)
	return c, nil
}

func appendRecordHeader(dst []byte, p Position, size int, sum uint32) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, recordMagic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(size))
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return binary.LittleEndian.AppendUint32(dst, headerSum(p, dst[start:]))
}

// settle sets the bit of the record at p.
func settle(p Position, record []byte) {
	length := binary.LittleEndian.Uint32(record[4:])
	binary.LittleEndian.PutUint32(record[4:], length|settledBit)
	binary.LittleEndian.PutUint32(record[12:], headerSum(p, record))
}

// headerSum is the checksum of the first 12 bytes of the header of a record at p. It
// differs for every two places less than 4 GiB apart.
func headerSum(p Position, header []byte) uint32 {
	return crc32.Update(uint32(p)^uint32(p>>32), castagnoli, header[:12])
}

// signal wakes commitAll.
func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// lead commits a group, if it is queued and nobody commits just now: who waits for
// a record alone does the work, for waking somebody else costs more than it. What
// comes in meanwhile is left to commitAll.
func (l *Log) lead(g *group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue != g || l.committing || l.err != nil || l.closed {
		return
	}
	l.commit()
	if len(l.queue.buf) > 0 || l.err != nil || l.closed {
		l.signal()
	}
}

// commitAll makes groups durable, one after the other, until the log is closed.
// There is no timer: a group is what came in while the one before was synced.
func (l *Log) commitAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.committing: // it tells when it is done
		case l.err == nil && len(l.queue.buf) > 0:
			l.commit()
			continue
		case l.closed:
			return
		case l.err != nil:
			l.mu.Unlock()
			l.recover()
			l.mu.Lock()
			continue
		}
		l.mu.Unlock()
		<-l.wake
		l.mu.Lock()
	}
}

// commit writes what is queued. It is called with mu held, and releases it meanwhile.
func (l *Log) commit() {
	l.committing = true
	g, buf, end := l.queue, l.queue.buf, l.next
	start := end - Position(len(buf))
	if l.durable == start {
		settle(start, buf)
	}
	l.queue, l.spare = newGroup(l.spare), nil
	l.room.Broadcast()
	l.mu.Unlock()

	err := l.store(buf, start)

	l.mu.Lock()
	l.committing = false
	if cap(buf) <= maxIdle || len(l.queue.buf) > 0 && cap(buf) <= 2*maxQueued {
		l.spare = buf
	}
	if err != nil {
		l.fail(err)
	}
	// The other goroutine may have found that the disk fails.
	err = l.err
	if err == nil {
		l.written = end
		if l.o.Sync == 0 {
			l.durable = end
		}
	}
	g.finish(err)
}

// store writes records at a position, in a new segment when the last one is full.
func (l *Log) store(records []byte, at Position) error {
	l.mu.Lock()
	s := l.segments[len(l.segments)-1]
	full := s.size >= l.o.SegmentSize
	l.mu.Unlock()
	if full {
		next, err := l.create(at, at, 0)
		if err != nil {
			return err
		}
		l.mu.Lock()
		old := l.current
		l.current = next
		s = l.segments[len(l.segments)-1]
		if l.o.Sync > 0 {
			l.unsynced = append(l.unsynced, old)
			old = nil
		}
		l.mu.Unlock()
		if old != nil {
			if err := old.Close(); err != nil {
				return err
			}
		}
	}
	n, err := l.current.WriteAt(records, s.offset(at))
	if err == nil {
		l.writeAhead(s, s.offset(at)+int64(n))
	}
	if err == nil && l.o.Sync == 0 {
		err = l.current.Sync()
	}
	l.mu.Lock()
	s.size = s.offset(at) + int64(n)
	l.mu.Unlock()
	return err
}

// syncAll syncs at the interval of the options, until the log is closed.
func (l *Log) syncAll() {
	tick := time.NewTicker(l.o.Sync)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.sync()
		case <-l.quit:
			return
		}
	}
}

// sync makes durable what was written.
func (l *Log) sync() {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	if l.err != nil || l.durable == l.written {
		l.mu.Unlock()
		return
	}
	old, current, end := l.unsynced, l.current, l.written
	l.unsynced = nil
	l.mu.Unlock()

	var err error
	for _, f := range old {
		if err == nil {
			err = f.Sync()
		}
		if e := f.Close(); err == nil {
			err = e
		}
	}
	if err == nil {
		err = current.Sync()
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.err == nil {
		l.fail(err)
		l.signal()
	}
	if err == nil && l.err == nil {
		l.durable = max(l.durable, end)
	}
}
