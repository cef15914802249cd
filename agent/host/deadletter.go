package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// deadLetterBytes is the size at which a dead letter file is put aside as
// ".old", in the place of an earlier one.
const deadLetterBytes = 64 << 20

// deadLetters keeps what a publisher or a transformer will never take, with the
// reason, as JSON lines in one file per sink or pipeline. Letters are rare: the
// file is opened for each call, so that it may be moved away at any time.
type deadLetters struct {
	path string
	log  *slog.Logger
	mu   sync.Mutex
}

// letter is a line of the file. Data holds a batch that cannot be decoded.
type letter struct {
	Time   time.Time   `json:"time"`
	From   string      `json:"from"`
	Reason string      `json:"reason"`
	Sample *sdk.Sample `json:"sample,omitempty"`
	Event  *sdk.Event  `json:"event,omitempty"`
	Data   []byte      `json:"data,omitempty"`
}

// keep writes the given rows of a batch, or all when rows is nil, and gives their
// number. Row Len()+e is event e.
func (d *deadLetters) keep(from, reason string, data []byte, rows []uint32, count uint64) (uint64, error) {
	now := time.Now().UTC()
	b, err := sdk.DecodeBatch(data)
	if err != nil {
		return count, d.write(letter{Time: now, From: from, Reason: reason, Data: data})
	}
	total := uint32(b.Len() + b.Events())
	if rows == nil {
		for row := range total {
			rows = append(rows, row)
		}
	}
	letters := make([]letter, 0, min(len(rows), int(total)))
	seen := make(map[uint32]bool, min(len(rows), int(total)))
	for _, row := range rows {
		if seen[row] {
			continue
		}
		seen[row] = true
		l := letter{Time: now, From: from, Reason: reason}
		switch {
		case row < uint32(b.Len()):
			s := b.Sample(int(row))
			l.Sample = &s
		case row < total:
			e := b.Event(int(row) - b.Len())
			l.Event = &e
		default:
			continue // a row that is not there cannot be lost
		}
		letters = append(letters, l)
	}
	return uint64(len(letters)), d.write(letters...)
}

func (d *deadLetters) write(letters ...letter) error {
	var lines []byte
	for _, l := range letters {
		line, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("cannot write a dead letter: %w", err)
		}
		lines = append(append(lines, line...), '\n')
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.append(lines); err != nil {
		return fmt.Errorf("cannot keep dead letters: %w", err)
	}
	return nil
}

// append writes whole lines, durably, or nothing.
func (d *deadLetters) append(lines []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(d.path), 0o750); err != nil {
		return err
	}
	if err := d.rotate(); err != nil {
		return err
	}
	f, err := os.OpenFile(d.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err = f.Write(lines); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(info.Size()))
	}
	return nil
}

// rotate puts a file that has grown large aside. What was put aside before goes,
// which is said, for nobody has looked at it in all that time.
func (d *deadLetters) rotate() error {
	info, err := os.Stat(d.path)
	if err != nil || info.Size() < deadLetterBytes {
		return nil
	}
	old := d.path + ".old"
	if gone, err := os.Stat(old); err == nil {
		d.log.Error("the oldest dead letters are deleted to make room for new ones", "file", old, "bytes", gone.Size())
	}
	return os.Rename(d.path, old)
}
