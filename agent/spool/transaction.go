package spool

import (
	"errors"
	"os"
)

const writeSize = 256 << 10

// transaction writes entries to the active segment, and to new ones as that gets
// full, and syncs: all of them or none. Only the committer uses it.
type transaction struct {
	s    *Spool
	file *os.File // of seg
	seg  *segment // what was the active segment at the end of the last write
	seed uint32   // of its checksums
	buf  []byte

	// of the write under way:
	made    []*segment
	spare   *os.File // of the segment that was active at the start
	id      uint64   // of the next segment
	rollAt  int64
	bytes   int64 // of records in seg
	flushed int64 // file offset after what was written
}

// write makes items durable and notes in each where it is. It leaves the ledger
// alone. After an error nothing of items is in the files.
func (t *transaction) write(items []item) error {
	s := t.s
	s.mu.Lock()
	end := s.end
	t.id, t.rollAt = s.nextID, s.rollAt
	if s.active != t.seg { // dropped or ended meanwhile
		t.closeFile()
		t.seg = s.active
	}
	s.unlock()

	active := t.seg
	t.made = t.made[:0]
	if active != nil {
		t.bytes, t.flushed = active.bytes, active.tail
	}
	err := t.writeAll(items, end)
	if err == nil {
		if t.spare != nil {
			t.spare.Close() //nolint:errcheck // it was synced
			t.spare = nil
		}
		return nil
	}
	undone := t.rollBack(active)
	if undone != nil || !noSpace(err) {
		// Nothing is known about the file behind its last record.
		s.mu.Lock()
		s.seal()
		s.unlock()
	}
	return errors.Join(err, undone)
}

func (t *transaction) writeAll(items []item, end totals) error {
	for i := range items {
		it := &items[i]
		size := frameSize(it.Payload)
		if t.seg == nil || t.bytes > 0 && t.bytes+size > t.rollAt {
			if err := t.roll(end); err != nil {
				return err
			}
		}
		if len(t.buf) > 0 && len(t.buf)+int(size) > writeSize {
			if err := t.flush(); err != nil {
				return err
			}
		}
		it.seq, it.before = end.seq, end.samples
		it.seg, it.off = t.seg, t.flushed+int64(len(t.buf))
		t.buf = appendRecord(t.buf, t.seed, it)
		t.bytes += size
		end.add(it)
	}
	return t.sync()
}

// roll ends the segment and starts the next.
func (t *transaction) roll(first totals) error {
	if t.seg != nil {
		if err := t.sync(); err != nil {
			return err
		}
		if len(t.made) == 0 {
			t.spare, t.file = t.file, nil // may have to be truncated
		}
		t.closeFile()
	}
	if err := t.s.injected(opCreate); err != nil {
		return err
	}
	f, err := t.s.dir.createSegment(t.id)
	if err != nil {
		return err
	}
	t.file, t.seg = f, &segment{id: t.id, first: first, tail: segmentHeaderSize}
	t.seed = segmentSeed(t.id)
	t.made = append(t.made, t.seg)
	t.id++
	t.bytes, t.flushed = 0, 0
	t.buf = appendSegmentHeader(t.buf, t.seg.id, first)
	return nil
}

func (t *transaction) flush() error {
	if len(t.buf) == 0 {
		return nil
	}
	if err := t.s.injected(opWrite); err != nil {
		return err
	}
	n, err := t.file.WriteAt(t.buf, t.flushed)
	t.flushed += int64(n)
	t.buf = t.buf[:0]
	return err
}

func (t *transaction) sync() error {
	if err := t.flush(); err != nil {
		return err
	}
	if err := t.s.injected(opSync); err != nil {
		return err
	}
	if err := syncData(t.file); err != nil {
		return err
	}
	if len(t.made) > 0 && t.made[len(t.made)-1] == t.seg {
		return t.s.dir.sync() // the file's name
	}
	return nil
}

// rollBack undoes a write: deletes the segments it made and truncates the one
// that was active. The error says what could not be undone; entries that stay
// behind can only be delivered twice.
func (t *transaction) rollBack(active *segment) error {
	t.buf = t.buf[:0]
	if t.spare != nil || len(t.made) > 0 {
		t.closeFile()
		t.file, t.spare = t.spare, nil
	}
	var errs []error
	for _, seg := range t.made {
		errs = append(errs, t.s.dir.removeSegment(seg.id))
	}
	t.seg = active
	if active != nil {
		t.seed = segmentSeed(active.id)
		errs = append(errs, t.file.Truncate(active.tail))
	}
	return errors.Join(errs...)
}

// shrink frees the buffer of a spool that is idle.
func (t *transaction) shrink() { t.buf = nil }

func (t *transaction) closeFile() {
	if t.file != nil {
		t.file.Close() //nolint:errcheck // it was synced, or is about to be deleted
		t.file = nil
	}
}

func (t *transaction) end() {
	t.closeFile()
	t.shrink()
}
