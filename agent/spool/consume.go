package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// Delivery is an entry handed to the consumer, to be given back to Ack.
type Delivery struct {
	Entry
	// Time is when the entry was appended, by the wall clock.
	Time time.Time

	seq   uint64
	after place // where the next entry is
	epoch uint64
	seg   *segment
}

// Next hands out the oldest entry that was not handed out yet, and blocks until
// there is one, ctx ends or the spool is closed. The entry stays in the spool
// until it is acknowledged; Next may be called any number of times before that.
func (s *Spool) Next(ctx context.Context) (Delivery, error) {
	failures := 0
	s.mu.Lock()
	for {
		if s.closed {
			s.unlock()
			return Delivery{}, ErrClosed
		}
		seg := s.current()
		if seg == nil {
			arrived := s.arrived.wait()
			s.unlock()
			select {
			case <-arrived:
			case <-ctx.Done():
				return Delivery{}, ctx.Err()
			}
			s.mu.Lock()
			continue
		}
		if d, ok := s.fromMemory(seg); ok {
			s.unlock()
			return d, nil
		}
		at, epoch, tail, end := s.cursor, s.epoch, seg.tail, seg.end()
		s.unlock()
		rec, payload, next, err := s.read(at, tail, end)
		s.mu.Lock()
		if s.epoch != epoch || s.cursor != at || seg.removed {
			continue // Rewind, another consumer or a full spool was faster
		}
		switch {
		case err == nil:
			end := rec.end()
			s.cursor = place{at.seg, next, end.seq, end.samples}
			d := s.handOut(seg, Entry{Payload: payload, Samples: rec.samples, Held: rec.held}, rec.seq, rec.time)
			s.unlock()
			return d, nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			s.passRest(seg)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EIO) && failures >= maxReadRetries:
			s.diskError = err
			seg.unreadable = true
			s.passRest(seg)
			failures = 0
		default:
			failures++
			if err := s.readLater(ctx, err); err != nil {
				return Delivery{}, err
			}
		}
	}
}

const (
	maxReadRetries  = 3 // of a disk that reports a bad block
	readRetryPeriod = 100 * time.Millisecond
)

// readLater waits before another attempt to read. It is called with mu held and
// returns with mu held, unless it returns an error.
func (s *Spool) readLater(ctx context.Context, cause error) error {
	s.diskError = cause
	s.unlock()
	s.log.Error("cannot read spool", "error", cause)
	select {
	case <-time.After(readRetryPeriod):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	return nil
}

// current moves the cursor to the segment that has the next entry and returns
// that, nil when all were handed out.
func (s *Spool) current() *segment {
	for seg := s.at(s.cursor.seg); seg != nil; seg = s.at(seg.id + 1) {
		if s.cursor.seg != seg.id {
			s.cursor = place{seg.id, s.start(), seg.first.seq, seg.first.samples}
		}
		if s.cursor.off < seg.tail {
			return seg
		}
		if s.cursor.seq < seg.end().seq {
			s.passRest(seg)
		}
	}
	return nil
}

// passRest moves the cursor to the end of seg: nothing more in it is readable.
// If all that was handed out is acknowledged nobody else will settle the loss.
func (s *Spool) passRest(seg *segment) {
	end := seg.end()
	s.cursor = place{seg.id, seg.tail, end.seq, end.samples}
	s.settlePassed()
}

// start is the offset of the first entry of a segment.
func (s *Spool) start() int64 {
	if s.dir == nil {
		return 0
	}
	return segmentHeaderSize
}

func (s *Spool) fromMemory(seg *segment) (Delivery, bool) {
	var it item
	next := s.cursor.off + 1
	if s.dir == nil {
		it = seg.items[s.cursor.off]
	} else {
		var ok bool
		if it, ok = s.window.take(s.cursor.seq); !ok {
			return Delivery{}, false
		}
		next = it.off + frameSize(it.Payload)
	}
	s.cursor = place{seg.id, next, it.seq + 1, it.before + uint64(it.Samples)}
	return s.handOut(seg, it.Entry, it.seq, it.time), true
}

func (s *Spool) handOut(seg *segment, e Entry, seq uint64, at int64) Delivery {
	s.outstanding.push(handed{seq, e.Samples})
	return Delivery{
		Entry: e,
		Time:  time.Unix(0, at),
		seq:   seq,
		after: s.cursor,
		epoch: s.epoch,
		seg:   seg,
	}
}

func (s *Spool) read(at place, tail int64, end totals) (record, []byte, int64, error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if err := s.reader.open(s.dir, at.seg); err != nil {
		return record{}, nil, 0, err
	}
	rec, payload, next, err := s.reader.find(at.off, tail, at.totals(), end)
	if err != nil || next == tail {
		// A spool that is idle holds no read-ahead buffer.
		s.reader.close()
	}
	return rec, payload, next, err
}

// Ack says that the consumer has taken d, so that it is never delivered again
// (but see the package comment on power losses). Deliveries are acknowledged in
// the order in which Next returned them, otherwise Ack returns ErrOrder.
// What a full spool dropped after it was handed out counts as acknowledged then, and
// as dropped after a Rewind. Acknowledging what was acknowledged, or handed out
// before a Rewind, is harmless and does nothing. A position that cannot be written to disk is no
// error of Ack: it is logged and shown in Stats.
func (s *Spool) Ack(d Delivery) error {
	s.ackMu.Lock()
	defer s.ackMu.Unlock()
	s.mu.Lock()
	if s.closed {
		s.unlock()
		return ErrClosed
	}
	if samples, ok := s.orphans[d.seq]; ok && d.epoch == s.epoch {
		delete(s.orphans, d.seq)
		s.ackedCount.add(one(samples))
		s.waiting.sub(one(samples))
		s.unlock()
		return nil
	}
	if d.seg == nil || d.epoch != s.epoch || d.seq < s.acked.seq || d.seg.removed {
		s.unlock()
		return nil
	}
	if s.outstanding.len() == 0 || s.outstanding.front().seq != d.seq {
		s.unlock()
		return fmt.Errorf("%w: entry %d", ErrOrder, d.seq)
	}
	s.outstanding.pop()
	if d.Held && d.seg.held > 0 {
		d.seg.held--
	}
	if s.dir == nil {
		d.seg.items[d.after.off-1] = item{}
	}
	s.advance(d.after, one(d.Samples))
	s.settlePassed()
	at := s.acked
	s.unlock()
	if s.dir != nil {
		s.savePosition(at)
	}
	return nil
}

// Rewind makes Next deliver again everything that is not acknowledged, for a
// consumer that failed or was started anew. Deliveries handed out before can no
// longer be acknowledged.
func (s *Spool) Rewind() {
	s.mu.Lock()
	s.epoch++
	s.outstanding.clear()
	for _, samples := range s.orphans {
		s.dropped.Full.add(one(samples))
		s.waiting.sub(one(samples))
	}
	clear(s.orphans)
	s.cursor = s.acked
	s.window.drop()
	s.arrived.broadcast()
	s.unlock()
}

// savePosition is called with ackMu held.
func (s *Spool) savePosition(at place) {
	err := s.injected(opPosition)
	if err == nil {
		err = s.dir.position.write(at)
	}
	if err == nil {
		s.positionLost = false
		return
	}
	s.mu.Lock()
	s.diskError = err
	s.unlock()
	if !s.positionLost {
		s.positionLost = true
		s.log.Error("cannot write spool position: acknowledged samples may be delivered again after a restart", "error", err)
	}
}

func (s *Spool) injected(op operation) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(op)
}
