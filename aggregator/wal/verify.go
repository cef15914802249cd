package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Verify reads the log in a folder from a position on, and reports what of it cannot
// be read; f is called with each record, as by [Log.Replay]. Nothing is changed and no
// lock is taken, so that a log may be looked at while it is in use: records that
// come meanwhile may be left out, and segments that are trimmed meanwhile are not missed.
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
	last    bool     // the last records may be half written
	holes   []Damage // between these
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
	return v.scan(file, from, end)
}

func (v *verification) scan(file io.ReaderAt, from, end Position) error {
	sc, err := v.records(file, from, end)
	if err != nil {
		return err
	}
	if !v.last {
		v.report.lack(v.segment.path, sc.skipped, end)
		return nil
	}
	return v.tail(file, sc, end)
}

// records reads all records, and gives the scanner that found no more.
func (v *verification) records(file io.ReaderAt, from, end Position) (*scanner, error) {
	sc := newScanner(file, v.segment.start, from, end)
	for sc.next() {
		if sc.skipped < sc.position {
			// Of records that are being written at this moment the later ones may be seen
			// before the earlier ones; a second look finds those.
			again := newScanner(file, v.segment.start, sc.skipped, sc.position)
			for again.next() {
				v.hole(again.skipped, again.position)
				if err := v.record(again); err != nil {
					return nil, err
				}
			}
			v.hole(again.skipped, sc.position)
		}
		if err := v.record(sc); err != nil {
			return nil, err
		}
	}
	return sc, nil
}

// tail is what is behind the last record that sc found.
func (v *verification) tail(file io.ReaderAt, sc *scanner, end Position) error {
	written := sc.written(sc.skipped)
	// Records may have come since sc has looked; what was written by now and is still none
	// is torn.
	sc, err := v.records(file, sc.skipped, end)
	if err != nil {
		return err
	}
	for _, hole := range v.holes {
		if hole.From < v.durable {
			v.report.lack(hole.File, hole.From, hole.To)
		} else {
			v.report.Torn += hole.To.minus(hole.From)
		}
	}
	lost := max(sc.skipped, v.durable)
	if sc.unreadable > 0 {
		lost = max(written, v.durable)
	}
	v.report.lack(v.segment.path, sc.skipped, lost)
	v.report.Torn += max(written, lost).minus(lost)
	return nil
}

// hole is a stretch without a sound record, and before one.
func (v *verification) hole(from, to Position) {
	if from < to && v.last {
		v.holes = append(v.holes, Damage{v.segment.path, from, to})
		return
	}
	v.report.lack(v.segment.path, from, to)
}

func (v *verification) record(sc *scanner) error {
	if sc.settled {
		for _, hole := range v.holes {
			v.report.lack(hole.File, hole.From, hole.To)
		}
		v.holes = nil
	}
	v.report.Records++
	v.report.Bytes += int64(len(sc.record))
	return v.f(sc.position, sc.record)
}
