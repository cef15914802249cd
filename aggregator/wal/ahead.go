package wal

// aheadSize is how many zeros are written at once.
const aheadSize = 1 << 20

// zeros is never written to, and so takes no memory.
var zeros [64 << 10]byte

// writeAhead writes zeros behind the records of a segment, which end there, when they
// have replaced those before. A record that replaces zeros leaves the file as long as it was,
// and at the same places of the disk, so that its sync has to wait for the record only
// and not for the file system's journal, too.
//
// An error is none of the log: the segment goes on without.
func (l *Log) writeAhead(s *segment, end int64) {
	if end < s.ahead {
		return
	}
	s.ahead = end
	for to := min(end+aheadSize, l.o.SegmentSize); s.ahead < to; {
		n, err := l.current.WriteAt(zeros[:min(int64(len(zeros)), to-s.ahead)], s.ahead)
		s.ahead += int64(n)
		if err != nil {
			return
		}
	}
}

// cutAhead gives back the room of the zeros, if it can.
func (l *Log) cutAhead() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return
	}
	if s := l.segments[len(l.segments)-1]; s.size < s.ahead {
		l.current.Truncate(s.size) //nolint:errcheck // reading stops before them
	}
}
