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
	// Torn is bytes that were cut from the end of the log when it was opened: a
	// record that was being written when the machine or the process ended, and
	// that nobody was told was durable.
	Torn int64
	// Lost is bytes of the log that could not be read: records that were durable.
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
	if from >= to {
		return
	}
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
	report := Report{Torn: l.torn}
	l.mu.Lock()
	var old []segment
	for _, s := range l.segments {
		if s.start < l.opened {
			old = append(old, *s)
		}
	}
	l.mu.Unlock()
	if len(old) > 0 && from > 0 {
		report.lose(old[0].path, from, old[0].before)
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
			report.lose(s.path, max(from, s.start), end)
			continue
		}
		if err != nil {
			return report, fmt.Errorf("cannot read the write-ahead log: %w", err)
		}
		sc := newScanner(file, s.start, max(from, s.start), end)
		sc.buf = buf[:0]
		for sc.next() {
			report.lose(s.path, sc.skipped, sc.position)
			report.Records++
			report.Bytes += int64(len(sc.record))
			if err := f(sc.position, sc.record); err != nil {
				return report, errors.Join(err, file.Close())
			}
		}
		report.lose(s.path, sc.skipped, end)
		buf = sc.buf
		if err := file.Close(); err != nil {
			return report, fmt.Errorf("cannot read the write-ahead log: %w", err)
		}
	}
	return report, nil
}
