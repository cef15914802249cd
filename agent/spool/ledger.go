package spool

import (
	"slices"
	"sort"
)

// Count is a number of entries and of the samples in them.
type Count struct {
	Entries uint64
	Samples uint64
}

func (c *Count) add(d Count) {
	c.Entries += d.Entries
	c.Samples += d.Samples
}

func (c *Count) sub(d Count) {
	c.Entries -= d.Entries
	c.Samples -= d.Samples
}

// one counts a single entry.
func one(samples uint32) Count { return Count{Entries: 1, Samples: uint64(samples)} }

// item is an entry with its place in the stream.
type item struct {
	Entry
	seq    uint64
	before uint64 // samples in all entries before
	time   int64  // of Append, nanoseconds since 1970
	seg    *segment
	off    int64 // file offset of the record

	cell *cell // who waits for it
	idx  int   // its number there
}

// segment is a run of entries that are stored, dropped and deleted together.
type segment struct {
	id    uint64
	first totals
	total Count
	held  uint64 // held entries that wait
	bytes int64  // of records: what counts for the limit
	tail  int64  // file offset after the last record; in memory: number of items

	settled    Count // acknowledged or passed over; the segment goes when all are
	lost       Count // passed over
	unreadable bool  // lost because the disk failed, not because data was damaged
	removed    bool

	items []item // in memory only
}

func (g *segment) spent() bool { return g.settled.Entries == g.total.Entries }

// end is the point after the last entry; held is not known there.
func (g *segment) end() totals {
	return totals{seq: g.first.seq + g.total.Entries, samples: g.first.samples + g.total.Samples}
}

// left is what is neither acknowledged nor passed over.
func (g *segment) left() Count {
	left := g.total
	left.sub(g.settled)
	return left
}

// ledger knows the live segments and counts what comes and goes. It does no
// input or output; the spool's mu guards it.
type ledger struct {
	segs        []*segment // by id
	active      *segment   // the last of segs while entries are added to it
	nextID      uint64
	rollAt      int64         // bytes at which a new segment is started
	end         totals        // after the newest entry
	acked       place         // of the first entry not acknowledged
	outstanding queue[handed] // entries handed out since
	// orphans are entries that were handed out and whose segment was dropped then:
	// samples by number. They wait until the consumer says what became of them.
	orphans map[uint64]uint32
	bytes   int64 // of all segs
	full    bool

	recovered, appended, ackedCount, waiting Count
	dropped                                  Dropped
	torn                                     Torn
	aside                                    uint64
	diskError                                error
}

// mustRoll tells whether an entry of this size needs a segment after seg.
func (l *ledger) mustRoll(seg *segment, size int64) bool {
	return seg == nil || seg.total.Entries > 0 && seg.bytes+size > l.rollAt
}

// handed is an entry that the consumer has.
type handed struct {
	seq     uint64
	samples uint32
}

// enlist makes seg the active one.
func (l *ledger) enlist(seg *segment) {
	l.segs = append(l.segs, seg)
	l.active = seg
	l.nextID = seg.id + 1
}

// count adds the entry, numbered as the newest, to seg, which ends at tail with
// it.
func (l *ledger) count(seg *segment, it *item, tail int64) {
	n := one(it.Samples)
	l.end.add(it)
	if it.Held {
		seg.held++
	}
	seg.total.add(n)
	seg.tail = tail
	size := frameSize(it.Payload)
	seg.bytes += size
	l.bytes += size
	l.appended.add(n)
	l.waiting.add(n)
}

// from returns the index of the first live segment with this number or a
// higher one.
func (l *ledger) from(id uint64) int {
	return sort.Search(len(l.segs), func(i int) bool { return l.segs[i].id >= id })
}

// at returns the first live segment with this number or a higher one, nil when
// there is none.
func (l *ledger) at(id uint64) *segment {
	if i := l.from(id); i < len(l.segs) {
		return l.segs[i]
	}
	return nil
}

// seal ends the active segment.
func (s *Spool) seal() {
	seg := s.active
	s.active = nil
	if seg != nil && seg.spent() {
		s.remove(seg)
	}
}

// reclaim frees the active segment when all in it was delivered: it holds
// nothing, but counts for the limit.
func (s *Spool) reclaim() bool {
	if s.active == nil || !s.active.spent() {
		return false
	}
	s.seal()
	return true
}

// dropOldest drops the oldest segment without held entries and tells whether
// there was one. The active one is ended for it only when evenActive. What the
// consumer has of it is not dropped yet: it may well be published.
func (s *Spool) dropOldest(evenActive bool) bool {
	for _, seg := range s.segs {
		if seg.held > 0 || seg == s.active && !evenActive {
			continue
		}
		left := seg.left()
		s.outstanding.delete(func(h handed) bool {
			if h.seq < seg.first.seq || h.seq >= seg.end().seq {
				return false
			}
			if s.orphans == nil {
				s.orphans = make(map[uint64]uint32)
			}
			s.orphans[h.seq] = h.samples
			left.sub(one(h.samples))
			return true
		})
		s.dropped.Full.add(left)
		s.waiting.sub(left)
		if seg == s.active {
			s.active = nil
		}
		s.remove(seg)
		s.settlePassed()
		return true
	}
	return false
}

// settlePassed settles damage that the cursor has passed when no delivery is
// outstanding whose acknowledgement would do it.
func (s *Spool) settlePassed() {
	if s.outstanding.len() == 0 && s.cursor.seq > s.acked.seq {
		s.advance(s.cursor, Count{})
	}
}

// advance settles everything before the place to: as many entries as acked says
// were acknowledged, all others on the way are lost.
func (s *Spool) advance(to place, acked Count) {
	s.ackedCount.add(acked)
	s.waiting.sub(acked)
	if to.seq > s.acked.seq {
		s.acked = to
	}
	for len(s.segs) > 0 && s.segs[0].id <= to.seg {
		seg := s.segs[0]
		passed := seg.left()
		if seg.id == to.seg && to.seq < seg.end().seq {
			passed = Count{to.seq - seg.first.seq, to.samples - seg.first.samples}
			passed.sub(seg.settled)
		}
		seg.settled.add(passed)
		if seg.id == to.seg {
			passed.sub(acked)
		}
		s.countLost(seg, passed)
		if !seg.spent() {
			break
		}
		if seg == s.active {
			s.room.broadcast() // it can be reclaimed now
			break
		}
		s.remove(seg)
	}
	if s.full && s.bytes+s.pendingBytes < s.limit/2 {
		s.setFull(false)
	}
}

func (s *Spool) countLost(seg *segment, lost Count) {
	if lost == (Count{}) {
		return
	}
	seg.lost.add(lost)
	s.waiting.sub(lost)
	if seg.unreadable {
		s.dropped.Disk.add(lost)
	} else {
		s.dropped.Corrupt.add(lost)
	}
}

// remove takes a segment out of the spool.
func (s *Spool) remove(seg *segment) {
	i := s.from(seg.id)
	s.segs = slices.Delete(s.segs, i, i+1)
	seg.removed = true
	seg.items = nil
	s.bytes -= seg.bytes
	s.room.broadcast()
	if s.dir == nil {
		return
	}
	lost := seg.lost
	s.later = append(s.later, func() {
		if lost.Entries > 0 {
			s.log.Error("spool segment was damaged: samples are lost",
				"segment", s.dir.segmentPath(seg.id), "entries", lost.Entries, "samples", lost.Samples)
		}
		s.deleteSegment(seg.id)
	})
	s.signal() // a committer that waits for disk space can try again
}

// deleteSegment deletes the file; a reader that had it open would keep its space
// occupied.
func (s *Spool) deleteSegment(id uint64) {
	s.readMu.Lock()
	if s.reader.id == id {
		s.reader.close()
	}
	s.readMu.Unlock()
	if err := s.dir.removeSegment(id); err != nil {
		s.mu.Lock()
		s.diskError = err
		s.unlock()
		s.log.Error("cannot delete spool segment", "error", err)
	}
}
