package wal

import (
	"errors"
	"fmt"
	"os"
)

// maxDamage is how many places a report names.
const maxDamage = 100

// Report says what a replay found.
type Report struct {
	Records int
	Bytes   int64 // of the records, without their headers
	// Torn is bytes at the end of the log, and between its last records, that were being
	// written when the machine or the process ended, and that nobody was told were durable.
	Torn int64
	// Lost is bytes of the log that could not be read nor mended: records that were durable.
	Lost int64
	// Damage is where, of the first 100 places.
	Damage []Damage
}

// Damage is a stretch of the log without a sound record.
type Damage struct {
	File     string
	From, To Position
}

func (d Damage) String() string {
	return fmt.Sprintf("%s: %d bytes at position %s", d.File, d.To.minus(d.From), d.From)
}

func (r *Report) lose(file string, from, to Position) {
	r.Lost += to.minus(from)
	if len(r.Damage) < maxDamage {
		r.Damage = append(r.Damage, Damage{file, from, to})
	}
}

// Replay calls f with each record that was in the log when it was opened, from a
// position on, in order. The record is valid only during the call. Damage costs
// the records that it hit, is reported, and stops nothing; an error of f does,
// and is returned. Segments must not be trimmed meanwhile.
func (l *Log) Replay(from Position, f func(p Position, record []byte) error) (Report, error) {
	return l.ReplayMended(from, f, nil)
}

// ReplayMended is like [Log.Replay], but calls mend with each stretch that can't be read, in
// order with the records. It tells whether it had what is lost there from elsewhere, so
// that it is no damage; an error of it ends the replay.
func (l *Log) ReplayMended(from Position, f func(p Position, record []byte) error, mend func(from, to Position) (bool, error)) (Report, error) {
	report := Report{Torn: l.torn}
	lose := func(file string, from, to Position) error {
		if from >= to {
			return nil
		}
		if mend != nil {
			if mended, err := mend(from, to); err != nil || mended {
				return err
			}
		}
		if from >= l.sure {
			report.Torn += to.minus(from)
			return nil
		}
		report.lose(file, from, to)
		return nil
	}
	l.mu.Lock()
	var old []segment
	for _, s := range l.segments {
		if s.start < l.opened {
			old = append(old, *s)
		}
	}
	l.mu.Unlock()
	if len(old) > 0 && from > 0 {
		if err := lose(old[0].path, from, old[0].before); err != nil {
			return report, err
		}
	}
	var buf []byte
	for i := range old {
		s, end := &old[i], l.found
		if i+1 < len(old) {
			end = max(s.start, old[i+1].before)
		}
		if end <= from {
			continue
		}
		file, err := os.Open(s.path)
		if errors.Is(err, os.ErrNotExist) {
			if err := lose(s.path, max(from, s.start), end); err != nil {
				return report, err
			}
			continue
		}
		if err != nil {
			return report, fmt.Errorf("cannot read the write-ahead log: %w", err)
		}
		sc := newScanner(file, s.start, max(from, s.start), end)
		sc.buf = buf[:0]
		for sc.next() {
			err := lose(s.path, sc.skipped, sc.position)
			report.Records++
			report.Bytes += int64(len(sc.record))
			if err == nil {
				err = f(sc.position, sc.record)
			}
			if err != nil {
				return report, errors.Join(err, file.Close())
			}
		}
		if err := lose(s.path, sc.skipped, end); err != nil {
			return report, errors.Join(err, file.Close())
		}
		buf = sc.buf
		if err := file.Close(); err != nil {
			return report, fmt.Errorf("cannot read the write-ahead log: %w", err)
		}
	}
	return report, nil
}
