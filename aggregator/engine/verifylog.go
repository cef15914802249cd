package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nephoscope/nepho/aggregator/wal"
)

// log checks the copy of the log behind the head object, and the log itself, if it is
// in the folder. temp is a folder for what is fetched.
func (c *verifier) log(start logStart, folder, temp string) error {
	if start.Owner == "" {
		return nil
	}
	pieces, err := findPieces(c.ctx, c.s, start)
	if err != nil {
		return err
	}
	durable := start.From
	for _, p := range pieces {
		err := c.object(objectInfo{Name: p.name}, func(o objectInfo) error { return c.piece(o, p, temp) })
		if err != nil {
			return err
		}
		durable = max(durable, p.to)
	}
	if folder == "" {
		return nil
	}
	name := walFolder + start.Owner
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		c.v.LogAway = true
		return nil
	}
	report, err := c.segments(path, name, start.From, durable)
	if err != nil {
		return err
	}
	c.v.Torn = report.Torn
	if len(report.Damage) == 0 {
		return nil
	}
	// What a checkpoint has saved meanwhile is not needed any more.
	now, _, err := readManifest(c.ctx, c.s)
	if err != nil {
		return err
	}
	for _, d := range report.Damage {
		if now != nil && now.Log.Owner == start.Owner && d.To > now.Log.From {
			c.lost(filepath.Join(name, filepath.Base(d.File)), d)
		}
	}
	return nil
}

// piece checks an object with a piece of the log.
func (c *verifier) piece(o objectInfo, p piece, temp string) error {
	in, err := c.s.Get(c.ctx, o.Name, 0, -1)
	if err != nil {
		return err
	}
	defer in.Close()
	dir, err := os.MkdirTemp(temp, "log")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, wal.SegmentName(p.from)))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, in)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	report, err := c.segments(dir, o.Name, p.from, p.to)
	for _, d := range report.Damage {
		c.lost(o.Name, d)
	}
	return err
}

// segments checks the segments in a folder.
func (c *verifier) segments(dir, name string, from, durable wal.Position) (wal.Report, error) {
	var b Batch
	report, err := wal.Verify(dir, from, durable, func(p wal.Position, record []byte) error {
		if _, err := readRecord(record, &b); err != nil {
			c.damaged(objectInfo{Name: name}, fmt.Errorf("the record at position %v: %w", p, err))
		}
		return c.ctx.Err()
	})
	c.v.Records += report.Records
	c.v.Bytes += report.Bytes
	return report, err
}

// lost reports a stretch of the log.
func (c *verifier) lost(name string, d wal.Damage) {
	c.damaged(objectInfo{Name: name}, fmt.Errorf("records from %v to %v can't be read", d.From, d.To))
}
