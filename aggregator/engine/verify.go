package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/nephoscope/nepho/aggregator/block"
	"github.com/nephoscope/nepho/aggregator/objects"
)

// Verification is what [Verify] read.
type Verification struct {
	Blocks  int // files
	Windows int64
	Waiting int   // metrics whose points wait in the head object
	Records int   // of the log, and of its copy
	Bytes   int64 // of all of these
	Torn    int64 // bytes of a record at the end of the log that is only half written, and nobody was told of
	Damage  int   // parts that can't be read, and objects that are missing
	// LogAway: the log is not in the folder. Another node has the store, or it is lost.
	LogAway bool
}

// verifyCache is how many bytes of a remote object are kept on local disk.
const verifyCache = 64 << 20

// Verify reads all objects that a store consists of, and the log behind them, and
// reports each part that is damaged or missing. folder is the engine's, Options.Dir, in
// which the log is, or "" if it is not here. Nothing is changed, and an engine may
// have the store open. The error is for what cannot be read at all, such as the
// manifest.
func Verify(ctx context.Context, s objects.Store, folder string, report func(object string, err error)) (Verification, error) {
	var v Verification
	m, _, err := readManifest(ctx, s)
	if err != nil || m == nil {
		return v, err
	}
	dir, err := os.MkdirTemp("", "nepho-verify-")
	if err != nil {
		return v, err
	}
	defer os.RemoveAll(dir)
	cache, err := objects.NewCache(s, dir, verifyCache)
	if err != nil {
		return v, err
	}
	defer cache.Close()
	check := verifier{ctx: ctx, s: s, cache: cache, v: &v, report: report}
	for _, b := range m.Blocks {
		if err := check.object(b.objectInfo, check.block); err != nil {
			return v, err
		}
	}
	if m.Head.Name != "" {
		if err := check.object(m.HeadTable, check.table); err != nil {
			return v, err
		}
		if err := check.object(m.Head, func(o objectInfo) error { return check.head(o, m.HeadTable) }); err != nil {
			return v, err
		}
	}
	return v, check.log(m.Log, folder, dir)
}

type verifier struct {
	ctx    context.Context
	s      objects.Store
	cache  *objects.Cache
	v      *Verification
	report func(object string, err error)
}

// object checks an object. One that is no longer there is no damage if the store no
// longer consists of it: a merge may have taken its place.
func (c *verifier) object(o objectInfo, check func(objectInfo) error) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	err := check(o)
	if !errors.Is(err, objects.ErrNotFound) {
		return err
	}
	now, _, e := readManifest(c.ctx, c.s)
	if e != nil {
		return e
	}
	if now != nil && (now.Head.Name == o.Name || now.HeadTable.Name == o.Name || slices.ContainsFunc(now.Blocks, func(b blockInfo) bool { return b.Name == o.Name })) {
		c.damaged(o, errors.New("it is missing"))
	}
	return nil
}

func (c *verifier) damaged(o objectInfo, err error) {
	c.v.Damage++
	c.report(o.Name, err)
}

func (c *verifier) block(o objectInfo) error {
	f, err := c.cache.Open(c.ctx, o.Name, o.Size)
	if err != nil {
		return err
	}
	defer f.Close()
	damage := c.v.Damage
	summary, err := block.Verify(f, o.Size, func(d *block.DamageError) { c.damaged(o, d) })
	switch {
	case errors.Is(err, objects.ErrNotFound) || c.ctx.Err() != nil:
		return err
	case err != nil && damage == c.v.Damage:
		c.damaged(o, err)
	}
	c.v.Blocks++
	c.v.Windows += summary.Windows
	c.v.Bytes += o.Size
	return nil
}

func (c *verifier) table(o objectInfo) error {
	_, err := readHeadTable(c.ctx, c.s, o)
	if damaged(c.ctx, c.s, o, err) && !errors.Is(err, objects.ErrNotFound) {
		c.damaged(o, err)
		err = nil
	}
	c.v.Bytes += o.Size
	return err
}

func (c *verifier) head(o, table objectInfo) error {
	in, err := c.s.Get(c.ctx, o.Name, 0, 0)
	if err != nil {
		return err
	}
	in.Close() //nolint:errcheck // nothing was read
	read := func(h *headChunk) error {
		if !h.gone {
			c.v.Waiting++
		}
		return nil
	}
	err = readHead(c.ctx, c.s, o, table, read, func(d headDamage) {
		what := fmt.Errorf("%d bytes at offset %d can't be read", d.length, d.offset)
		if d.entry != nil {
			what = fmt.Errorf("the points of metric %d can't be read: %w", d.entry.ref, what)
		}
		c.damaged(o, what)
	})
	if errors.Is(err, errHead) {
		c.damaged(o, err)
		err = nil
	}
	c.v.Bytes += o.Size
	return err
}
