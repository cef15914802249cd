package spool

import (
	"errors"
	"io"
	"os"
	"slices"
)

// found is a segment file that Open looks at.
type found struct {
	*segment
	size   int64
	intact bool // its header is
}

// recover fills the ledger with what is in the directory. The error says why
// the directory is unusable; damaged files are none.
func (s *Spool) recover() error {
	ids, highest, foreign, err := s.dir.list()
	if err != nil {
		return err
	}
	if len(foreign) > 0 {
		s.aside += uint64(len(foreign))
		s.log.Warn("files that are not the spool's are in its directory", "dir", s.dir.path, "files", foreign)
	}
	at, known, err := s.dir.openPosition()
	if err != nil {
		return err
	}
	var files []found
	for _, id := range ids {
		f, err := s.inspect(id)
		if err != nil {
			return err
		}
		if f.segment != nil {
			files = append(files, f)
		}
	}
	s.nextID = max(highest, at.seg) + 1
	if files, err = s.measure(files); err != nil {
		return err
	}
	if err := s.adopt(files, at, known); err != nil {
		return err
	}
	// Both slots: the file has its full size then, and a full disk does not matter.
	s.savePosition(s.acked)
	s.savePosition(s.acked)
	if s.recovered.Entries > 0 || s.torn.Bytes > 0 {
		s.log.Info("spool recovered", "dir", s.dir.path, "entries", s.recovered.Entries,
			"samples", s.recovered.Samples, "torn_bytes", s.torn.Bytes, "torn_samples", s.torn.Samples)
	}
	s.mu.Lock()
	for s.bytes > s.limit && s.dropOldest(true) {
		s.setFull(true)
	}
	s.unlock()
	return nil
}

// inspect reads the header of a segment. A file that holds nothing is removed,
// one that is no segment put aside; found.segment is nil then.
func (s *Spool) inspect(id uint64) (found, error) {
	path := s.dir.segmentPath(id)
	file, err := os.Open(path)
	if err != nil {
		return found{}, err
	}
	defer file.Close() //nolint:errcheck // opened for reading
	info, err := file.Stat()
	if err != nil {
		return found{}, err
	}
	var header [segmentHeaderSize]byte
	n, err := file.ReadAt(header[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return found{}, s.putAside(id, err.Error())
	}
	first, intact := parseSegmentHeader(header[:n], id)
	f := found{
		segment: &segment{id: id, first: first, bytes: info.Size() - segmentHeaderSize, tail: info.Size()},
		size:    info.Size(),
		intact:  intact,
	}
	if intact {
		return f, nil
	}
	if known := min(n, len(segmentMagic)); n < segmentHeaderSize && string(header[:known]) == segmentMagic[:known] {
		// Its creation was interrupted, so nothing in it was confirmed.
		s.torn.Bytes += int64(n)
		s.log.Warn("empty spool segment removed", "segment", path)
		return found{}, s.dir.removeSegment(id)
	}
	scan, err := s.scan(f, unbounded())
	if err != nil {
		return found{}, err
	}
	if scan.records == 0 {
		return found{}, s.putAside(id, "it is not a segment, or of another version")
	}
	s.log.Error("spool segment has a damaged header", "segment", path)
	f.first = scan.first
	return f, nil
}

func (s *Spool) putAside(id uint64, why string) error {
	s.aside++
	s.log.Error("spool segment put aside", "segment", s.dir.segmentPath(id), "reason", why)
	return s.dir.setAside(id)
}

// measure finds out what each segment holds: from the header of the one that
// followed it where there is one, otherwise by reading it.
func (s *Spool) measure(files []found) ([]found, error) {
	for i := 0; i < len(files); i++ {
		f, hi := files[i], unbounded()
		if i+1 < len(files) {
			next := files[i+1]
			if next.first.seq < f.first.seq || next.first.samples < f.first.samples {
				if err := s.putAside(next.id, "its entries are older than those before it"); err != nil {
					return nil, err
				}
				files = slices.Delete(files, i+1, i+2)
				i--
				continue
			}
			if next.intact && next.id == f.id+1 && next.first.held >= f.first.held {
				f.total = Count{next.first.seq - f.first.seq, next.first.samples - f.first.samples}
				f.held = next.first.held - f.first.held
				continue
			}
			hi = next.first
		}
		scan, err := s.scan(f, hi)
		if err != nil {
			return nil, err
		}
		if scan.records > 0 {
			f.total = Count{scan.end.seq - f.first.seq, scan.end.samples - f.first.samples}
			f.held = scan.held
		}
		if i+1 == len(files) {
			if err := s.cutTail(f, scan); err != nil {
				return nil, err
			}
		} else if next := files[i+1]; next.id == f.id+1 && next.first.seq > f.end().seq {
			// The damage to next's header reached its first records.
			next.first = f.end()
			next.first.held = f.first.held + f.held
		}
	}
	return files, nil
}

// scanned is what a segment holds by its records.
type scanned struct {
	records    uint64 // intact ones
	held       uint64
	first, end totals // held is not known in these
	tail       int64  // offset after the last intact record
	torn       Count  // known of what follows
	unreadable bool   // the disk failed before the end
}

// unbounded is a point after all entries.
func unbounded() totals { return totals{seq: maxNumber, samples: maxNumber} }

// scan reads the records of a segment that are not settled and come before hi.
func (s *Spool) scan(f found, hi totals) (scanned, error) {
	r := reader{ahead: readAhead, fault: s.reader.fault}
	defer r.close()
	if err := r.open(s.dir, f.id); err != nil {
		return scanned{}, err
	}
	sc := scanned{tail: min(segmentHeaderSize, f.size), end: f.first}
	sc.end.seq += f.settled.Entries
	sc.end.samples += f.settled.Samples
	for {
		rec, _, next, err := r.find(sc.tail, f.size, sc.end, hi)
		if err != nil {
			sc.torn = r.skipped
			if !errors.Is(err, io.EOF) {
				sc.unreadable = true
				s.diskError = err
				s.log.Error("cannot read spool segment to its end", "error", err)
			}
			return sc, nil
		}
		if sc.records == 0 {
			sc.first = totals{seq: rec.seq, samples: rec.before}
		}
		sc.records++
		if rec.held {
			sc.held++
		}
		sc.end = rec.end()
		sc.tail = next
	}
}

// cutTail removes what follows the last intact record of the newest segment,
// and makes sure that what remains is durable.
func (s *Spool) cutTail(f found, sc scanned) error {
	if sc.unreadable {
		return nil
	}
	file, err := os.OpenFile(s.dir.segmentPath(f.id), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // synced below
	if sc.tail < f.size {
		s.torn.Bytes += f.size - sc.tail
		s.torn.add(sc.torn)
		s.log.Warn("torn end of spool segment removed", "segment", file.Name(), "bytes", f.size-sc.tail, "samples", sc.torn.Samples)
		if err := file.Truncate(sc.tail); err != nil {
			return err
		}
		f.tail, f.bytes = sc.tail, sc.tail-segmentHeaderSize
	}
	return syncData(file)
}

// adopt takes the measured segments into the ledger, from the position on.
func (s *Spool) adopt(files []found, at place, known bool) error {
	if len(files) > 0 {
		last := files[len(files)-1]
		s.end = last.end()
		s.end.held = last.first.held + last.held
	}
	if known && at.seq > s.end.seq {
		s.end = totals{seq: at.seq, samples: max(at.samples, s.end.samples), held: s.end.held}
	}
	for _, f := range files {
		if f.total.Entries == 0 || known && f.end().seq <= at.seq {
			if err := s.dir.removeSegment(f.id); err != nil {
				return err
			}
			continue
		}
		if known && at.seq > f.first.seq {
			f.settled = Count{at.seq - f.first.seq, min(at.samples-f.first.samples, f.total.Samples)}
			if f.held > 0 { // of those that are left, maybe none
				sc, err := s.scan(f, f.end())
				if err != nil {
					return err
				}
				if !sc.unreadable {
					f.held = sc.held
				}
			}
		}
		s.segs = append(s.segs, f.segment)
		s.bytes += f.bytes
		s.recovered.add(f.left())
	}
	s.waiting = s.recovered
	s.acked = place{seq: s.end.seq, samples: s.end.samples}
	if len(s.segs) > 0 {
		g := s.segs[0]
		s.acked = place{g.id, segmentHeaderSize, g.first.seq + g.settled.Entries, g.first.samples + g.settled.Samples}
		if known && at.seg == g.id && at.off > segmentHeaderSize && at.off <= g.tail {
			s.acked.off = at.off
		}
	}
	s.cursor = s.acked
	return nil
}
