package spool

import (
	"time"
)

// Stats is a spool at one moment. At any moment
//
//	Recovered + Appended = Acked + Dropped.Full + Dropped.Corrupt + Dropped.Disk + Waiting
//
// in entries and in samples.
type Stats struct {
	Recovered Count // found by Open
	Appended  Count // became durable, or were refused and are in Dropped too
	Acked     Count
	Waiting   Count // durable and not acknowledged
	Dropped   Dropped

	Pending Count // appended and not durable yet; in none of the above
	Torn    Torn
	Aside   uint64 // files that Open could not use and left alone

	Bytes    int64 // of the segments, of Limit
	Limit    int64
	Segments int
	// OldestAge is how long ago the oldest waiting entry was appended, by the
	// wall clock; 0 when none waits or it cannot be read.
	OldestAge time.Duration
	// Full is true from when the limit, or the end of the disk, is hit until the
	// consumer has emptied half of it, or the disk takes writes again.
	Full bool
	// DiskError is the last error of the disk, nil when there was none. It stays
	// when the disk works again.
	DiskError error
}

// Dropped counts what was lost after it was appended, by reason.
type Dropped struct {
	Full    Count // to make room, or refused for want of it
	Corrupt Count // damaged on disk
	Disk    Count // the disk could not be written or read
}

// Torn counts what Open cut off the end of the newest segment: entries that
// were being written, and so not confirmed, when the machine stopped.
type Torn struct {
	Count // as far as known: those whose header is intact
	Bytes int64
}

// Stats returns the counters. It may read one entry from disk.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	st := Stats{
		Recovered: s.recovered,
		Appended:  s.appended,
		Acked:     s.ackedCount,
		Waiting:   s.waiting,
		Dropped:   s.dropped,
		Pending:   s.pendingCount,
		Torn:      s.torn,
		Aside:     s.aside,
		Bytes:     s.bytes,
		Limit:     s.limit,
		Segments:  len(s.segs),
		Full:      s.full || s.trouble != nil && noSpace(s.trouble),
		DiskError: s.diskError,
	}
	if st.Waiting.Entries == 0 || s.closed {
		s.unlock()
		return st
	}
	oldest := s.oldest()
	s.unlock()
	if at := oldest(); at > 0 {
		st.OldestAge = max(0, time.Since(time.Unix(0, at)))
	}
	return st
}

// Acked is the count of that name in Stats, at next to no cost.
func (s *Spool) Acked() Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ackedCount
}

// oldest returns a function that gives the time of the oldest waiting entry, 0
// when that is unknown, to be called without mu.
func (s *Spool) oldest() func() int64 {
	at, seg := s.acked, s.at(s.acked.seg)
	if seg != nil && seg.id == at.seg && at.off >= seg.tail {
		seg = s.at(seg.id + 1)
	}
	if seg == nil {
		return func() int64 { return 0 }
	}
	if seg.id != at.seg {
		at = place{seg.id, s.start(), seg.first.seq, seg.first.samples}
	}
	if s.dir == nil {
		time := seg.items[at.off].time
		return func() int64 { return time }
	}
	if s.oldestSeq == at.seq && s.oldestTime != 0 {
		time := s.oldestTime
		return func() int64 { return time }
	}
	tail, end := seg.tail, seg.end()
	return func() int64 {
		r := reader{ahead: recordHeaderSize}
		defer r.close()
		if err := r.open(s.dir, at.seg); err != nil {
			return 0
		}
		rec, _, _, err := r.find(at.off, tail, at.totals(), end)
		if err != nil {
			return 0
		}
		s.mu.Lock()
		s.oldestSeq, s.oldestTime = at.seq, rec.time
		s.unlock()
		return rec.time
	}
}
