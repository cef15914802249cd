package wal

import (
	"errors"
	"fmt"
	"os"
)

// Verify reads the log in a folder from a position on, and reports what of it cannot
// be read; f is called with each record, as by [Log.Replay]. Nothing is changed and no
// lock is taken, so that a log may be looked at while it is in use: records that
// come meanwhile are left out, and segments that are trimmed meanwhile are not missed.
// Behind the last sound record there may be one that is only half written, which is
// torn and no damage, unless it is before the position durable, before which
// all is known to have been written.
func Verify(dir string, from, durable Position, f func(p Position, record []byte) error) (Report, error) {
	var report Report
	d := directory{path: dir}
	segments, err := d.segments()
	for errors.Is(err, os.ErrNotExist) && isThere(dir) {
		segments, err = d.segments() // one was trimmed between its name and its header
	}
	if err != nil {
		return report, fmt.Errorf("cannot read the write-ahead log: %w", err)
	}
	if len(segments) == 0 {
		report.lack(dir, from, durable)
		return report, nil
	}
	report.lack(segments[0].path, from, segments[0].before)
	for i, s := range segments {
		v := verification{report: &report, segment: s, f: f, durable: durable, last: i+1 == len(segments)}
		end := s.start + Position(max(0, s.size-segmentHeaderSize))
		if v.last {
			end = max(end, durable)
		} else {
			end = max(s.start, segments[i+1].before)
		}
		if end <= from {
			continue
		}
		if err := v.read(max(from, s.start), end); err != nil {
			return report, err
		}
	}
	return report, nil
}

func isThere(dir string) bool {
	_, err := os.Stat(dir)
	return err == nil
}

// lack is lose for a stretch that may be none.
func (r *Report) lack(file string, from, to Position) {
	if from < to {
		r.lose(file, from, to)
	}
}

// verification reads a segment for [Verify].
type verification struct {
	report  *Report
	segment *segment
	f       func(p Position, record []byte) error
	durable Position
	last    bool // what is behind its last record may be half written
}

func (v *verification) read(from, end Position) error {
	file, err := os.Open(v.segment.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it was trimmed meanwhile
	}
	if err != nil {
		return fmt.Errorf("cannot read the write-ahead log: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	sc := newScanner(file, v.segment.start, from, end)
	for sc.next() {
		if sc.skipped < sc.position {
			// Of records that are being written at this moment the later ones may be seen
			// before the earlier ones; a second look finds those.
			again := newScanner(file, v.segment.start, sc.skipped, sc.position)
			for again.next() {
				v.report.lack(v.segment.path, again.skipped, again.position)
				if err := v.record(again); err != nil {
					return err
				}
			}
			v.report.lack(v.segment.path, again.skipped, sc.position)
		}
		if err := v.record(sc); err != nil {
			return err
		}
	}
	if v.last {
		durable := min(end, v.durable)
		written := max(sc.written(sc.skipped), durable)
		end = written
		if sc.unreadable == 0 {
			end = max(sc.skipped, durable)
		}
		v.report.Torn += written.minus(end)
	}
	v.report.lack(v.segment.path, sc.skipped, end)
	return nil
}

func (v *verification) record(sc *scanner) error {
	v.report.Records++
	v.report.Bytes += int64(len(sc.record))
	return v.f(sc.position, sc.record)
}
