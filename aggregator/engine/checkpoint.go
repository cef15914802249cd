package engine

import (
	"bufio"
	"context"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"time"

	"github.com/nephoscope/nepho/aggregator/block"
	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// Checkpoint moves windows that are closed to blocks, writes what remains of the
// head, and frees the log before that. Writes and queries go on meanwhile. After
// an error everything is as it was.
func (e *Engine) Checkpoint(ctx context.Context) error {
	e.checkpointing.Lock()
	defer e.checkpointing.Unlock()
	if err := e.stopped(); err != nil {
		return err
	}
	err := e.checkpoint(ctx)
	bytes := e.head.bytes.Load()
	e.bytesAfter.Store(bytes)
	if err != nil {
		return fmt.Errorf("cannot make a checkpoint: %w", err)
	}
	e.bytesSaved.Store(bytes)
	if e.refusing.Swap(false) {
		e.o.Log.Info("writes are taken again")
	}
	return nil
}

func (e *Engine) checkpoint(ctx context.Context) error {
	c := &checkpoint{e: e, ctx: ctx, files: map[fileKey]*newFile{}, lost: map[Ref]loss{}}
	defer c.discard()
	// All records before this place are in the head. Those after it may be, too, of
	// the metrics that are copied later: applying them once more changes nothing.
	from := e.queue.position(e.log)
	saved := e.o.Now()
	if err := c.write(); err != nil {
		return err
	}
	head, table, blocks, err := c.put()
	if err != nil {
		return err
	}
	var old []string
	err = e.commit(ctx, func(m *manifest) {
		old = []string{m.Head.Name, m.HeadTable.Name}
		m.Log = logStart{e.owner, from}
		m.Head, m.HeadTable = head, table
		m.Blocks = append(m.Blocks, blocks...)
		m.Saved = saved
	})
	if err != nil {
		return err
	}
	c.named = nil
	// First the blocks were published, now what is lost and the edges: a query reads them the other way round,
	// so it finds in blocks all that is before the edge.
	e.losses.set(c.lost)
	c.advance()
	if old[0] != "" {
		e.garbage.add(saved, old...)
	}
	e.freePieces(from)
	ring(e.grown)
	e.lastCheckpoint.Store(saved.UnixNano())
	if err := e.log.Trim(from); err != nil {
		e.o.Log.Warn("the log is longer than it must be", "error", err)
	}
	return nil
}

// checkpoint is one on its way.
type checkpoint struct {
	e     *Engine
	ctx   context.Context
	files map[fileKey]*newFile
	head  *newFile
	table *newFile // the second one of the head
	edges []edge
	lost  map[Ref]loss // as they are when the edges have moved
	named []string     // objects that no manifest names yet
}

// fileKey tells which windows go to the same file.
type fileKey struct {
	granularity int64
	class       int
}

// edge is how far a metric's windows go to blocks.
type edge struct {
	ref  Ref
	edge int64
	cut  int64 // points before it are needed no more, but for the last one of them
}

// write writes all files.
func (c *checkpoint) write() error {
	var err error
	if c.head, err = c.e.newFile(); err != nil {
		return err
	}
	if c.table, err = c.e.newFile(); err != nil {
		return err
	}
	forgotten := c.e.o.Now().Add(-goneFor).UnixNano()
	var (
		head   = newHeadWriter(c.head)
		known  policies
		metric copyOf
		buffer scratch
		folder window.Folder
		frame  window.Frame
	)
	for ref := range c.e.head.refs() {
		if ref%shards == 0 {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			known = *c.e.policies.Load()
		}
		found, gone := false, headEntry{}
		c.e.head.change(ref, func(s *shard) {
			if found = s.copy(ref, &metric); found {
				s.rest(ref)
			} else {
				gone = s.gone(ref)
			}
		})
		if gone.gone && gone.newest > forgotten {
			head.add(gone, gone.newest, nil)
		}
		if !found {
			continue
		}
		p := known[metric.policy]
		if p == nil {
			known = *c.e.policies.Load()
			p = known[metric.policy]
		}
		to := edge{ref: ref, edge: max(metric.edge, p.WritableFrom(metric.newest))}
		entry := headEntry{ref: ref, policy: metric.policy, newest: metric.newest, edge: to.edge}
		if to.edge == metric.edge {
			if metric.state&lossy != 0 {
				c.lose(&entry, p, nil)
			}
			base, row := metric.all()
			head.add(entry, base, row)
			continue
		}
		times, values := metric.appendPoints(buffer.times[:0], buffer.values[:0])
		buffer.times, buffer.values = times, values
		hole := hole{}
		if metric.state&lossy != 0 {
			hole = c.lose(&entry, p, times)
		}
		to.cut = to.edge
		for _, d := range p.Definitions {
			g := int64(d.Granularity)
			open := policy.Floor(to.edge, g)
			to.cut = min(to.cut, open)
			from := max(openFrom(metric.edge, g), oldest(d, metric.newest))
			frame.Reset(g, window.Needs(p.Methods))
			before, after := hole.around(g, from, open)
			fold(&folder, &frame, times, values, from, before)
			fold(&folder, &frame, times, values, after, open)
			if frame.Len() == 0 {
				continue
			}
			f, err := c.file(fileKey{g, classOf(d)})
			if err != nil {
				return err
			}
			if err := f.blocks.Add(uint64(ref), &frame); err != nil {
				return err
			}
		}
		c.edges = append(c.edges, to)
		base := metric.newest
		if len(times) > 0 {
			kept := firstKept(times, to.cut)
			base = times[kept]
			buffer.packed = packAll(buffer.packed[:0], times[kept:], values[kept:])
		} else {
			buffer.packed = buffer.packed[:0]
		}
		head.add(entry, base, buffer.packed)
	}
	if c.head.size, err = head.close(); err != nil {
		return err
	}
	c.table.size, err = head.writeTable(c.table)
	return err
}

// goneFor is how long a head object tells that a metric was forgotten: after that
// nobody still writes to it who was not told.
const goneFor = 7 * 24 * time.Hour

// firstKept is the place of the first point that is needed when those before cut
// are in blocks: the last one before it, for rates.
func firstKept(times []int64, cut int64) int {
	i := 0
	for i+1 < len(times) && times[i+1] < cut {
		i++
	}
	return i
}

// all is the row of all points, without padding, and its base.
func (c *copyOf) all() (base int64, row []byte) {
	base, row = c.base, c.row[:len(c.row)-padding]
	if len(c.plain) == 0 {
		if c.points == 0 {
			base = c.newest // they were lost
		}
		return base, row
	}
	var times [tailLen]int64
	var values [tailLen]float64
	for i, p := range c.plain {
		times[i], values[i] = p.Time, p.Value
	}
	before := c.packed
	if c.points == 0 {
		base, before = times[0], times[0]
	}
	return base, pack(row, before, times[:len(c.plain)], values[:len(c.plain)])
}

// classOf is the class of files of windows that are kept for a timespan: 0 for
// ever, else n for less than 2^n seconds and not less than half of that. So the windows in
// a file are past at about the same time.
func classOf(d policy.Definition) int {
	span, ok := timespan(d)
	if !ok {
		return 0
	}
	return max(1, bits.Len64(uint64(span/int64(time.Second))))
}

// timespan is for how long windows are kept, in ns; not ok for ever.
func timespan(d policy.Definition) (span int64, ok bool) {
	g := int64(d.Granularity)
	if d.Points == 0 || d.Points > (1<<62)/g {
		return 0, false
	}
	return d.Points * g, true
}

// file is the new block file for windows of a kind.
func (c *checkpoint) file(key fileKey) (*newFile, error) {
	if f := c.files[key]; f != nil {
		return f, nil
	}
	f, err := c.e.newFile()
	if err != nil {
		return nil, err
	}
	f.buffer = bufio.NewWriterSize(f, 1<<18)
	f.blocks = block.NewWriter(f.buffer, key.granularity)
	c.files[key] = f
	return f, nil
}

// put makes objects of the files.
func (c *checkpoint) put() (head, table objectInfo, blocks []blockInfo, err error) {
	for key, f := range c.files {
		summary, err := f.blocks.Close()
		if err != nil {
			return head, table, nil, err
		}
		if err := f.buffer.Flush(); err != nil {
			return head, table, nil, err
		}
		f.size = summary.Bytes
		o, err := c.putFile(blockFolder, f)
		if err != nil {
			return head, table, nil, err
		}
		blocks = append(blocks, blockInfo{
			objectInfo: o, Granularity: key.granularity, Class: key.class,
			Metrics: summary.Metrics, Windows: summary.Windows, First: summary.First, Last: summary.Last,
		})
	}
	if table, err = c.putFile(tableFolder, c.table); err != nil {
		return head, table, nil, err
	}
	head, err = c.putFile(headFolder, c.head)
	return head, table, blocks, err
}

func (c *checkpoint) putFile(folder string, f *newFile) (objectInfo, error) {
	o, err := c.e.putFile(c.ctx, folder, f)
	c.named = append(c.named, o.Name)
	return o, err
}

// advance moves the edges of the metrics, now that a manifest names the blocks
// before them, and frees their points.
func (c *checkpoint) advance() {
	for _, to := range c.edges {
		c.e.head.change(to.ref, func(s *shard) {
			if m := s.find(to.ref); m != nil && m.state&live != 0 {
				m.edge = to.edge
				s.trim(m, to.cut)
			}
		})
	}
	for i := range c.e.head.shards {
		s := &c.e.head.shards[i]
		s.mu.Lock()
		s.compact()
		s.mu.Unlock()
	}
}

// discard removes temporary files, and the objects that no manifest came to name.
func (c *checkpoint) discard() {
	for _, f := range c.files {
		f.remove()
	}
	for _, f := range []*newFile{c.head, c.table} {
		if f != nil {
			f.remove()
		}
	}
	c.e.garbage.add(c.e.o.Now(), c.named...)
}

// newFile is a file on its way to become an object. It is local until it is
// complete.
type newFile struct {
	*os.File
	size    int64 // when it is complete
	written int64
	buffer  *bufio.Writer
	blocks  *block.Writer
}

func (f *newFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	f.written += int64(n)
	return n, err
}

func (e *Engine) newFile() (*newFile, error) {
	f, err := os.CreateTemp(filepath.Join(e.o.Dir, newFolder), "")
	if err != nil {
		return nil, err
	}
	return &newFile{File: f}, nil
}

func (f *newFile) remove() {
	f.Close()           //nolint:errcheck // nobody reads it any more
	os.Remove(f.Name()) //nolint:errcheck // what remains is removed by the next Open
}

// putFile makes an object of a file, under a name that was never used, not even in
// another store: the cache goes by names.
func (e *Engine) putFile(ctx context.Context, folder string, f *newFile) (objectInfo, error) {
	o := objectInfo{fmt.Sprintf("%s%08x-%08x-%s", folder, e.epoch, e.objects.Add(1), e.owner), f.size}
	return o, objects.PutFile(ctx, e.o.Objects, o.Name, f.File, f.size)
}
