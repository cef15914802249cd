package engine

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/nephoscope/nepho/aggregator/block"
	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// levels are the time that a file of each level from 1 on is about: when all of such a
// stretch is written, the files that end in it are merged to one. A file belongs to where it
// ends, or a file before it if that ends later; it may begin before, which costs
// nothing but a look at its footer. So files that follow each other in the manifest are merged,
// and what is of one metric is seldom between what is in another file.
var levels = []time.Duration{time.Hour, 24 * time.Hour, 30 * 24 * time.Hour, 360 * 24 * time.Hour}

const (
	// attic is the level of files of what remains of others most of whose windows are
	// past: that of metrics that have no new points.
	attic = 100
	// atticFiles is how many of these are worth a new one.
	atticFiles = 8
	// crowdFiles is how many files of a stretch that is still written are worth a merge.
	crowdFiles = 12
	// maxMerged is how many bytes are merged to one file.
	maxMerged = 4 << 30
	// mergeRate is how many bytes a second are merged.
	mergeRate = 64 << 20
)

// levelsOf is how many levels files of a class have. A file goes when all of it is past, so it
// is about at most a quarter of the time for which its windows are kept.
func levelsOf(class int) int {
	if class == 0 {
		return len(levels)
	}
	n := 1
	for n < len(levels) && levels[n] <= time.Second<<min(class-1, 32)/4 {
		n++
	}
	return n
}

// job is files that are to become one.
type job struct {
	files []blockInfo
	level int
}

// failures are what could not be merged, and must not keep the rest from it: files that
// could not be read, and kinds of files of which it is not known why.
type failures struct {
	files map[string]bool
	kinds map[fileKey]bool
}

func (f *failures) add(j *job, err error) {
	var wrong *partError
	if errors.As(err, &wrong) && slices.ContainsFunc(j.files, func(b blockInfo) bool { return b.Name == wrong.name }) {
		f.files[wrong.name] = true
	} else {
		f.kinds[j.files[0].kind()] = true
	}
}

// plan is the next merge of what did not fail before; nil if there is none.
func plan(blocks []blockInfo, failed *failures) *job {
	for _, files := range kinds(blocks, failed) {
		newest := int64(math.MinInt64)
		for _, f := range files {
			newest = max(newest, f.Last)
		}
		for level := 1; level <= levelsOf(files[0].Class); level++ {
			if j := planLevel(files, level, newest); j != nil {
				return j
			}
		}
	}
	return nil
}

// kinds are the files that may be merged with each other.
func kinds(blocks []blockInfo, failed *failures) [][]blockInfo {
	byKind := map[fileKey][]blockInfo{}
	for _, b := range blocks {
		if !b.Damaged && b.Level != attic && !failed.files[b.Name] && !failed.kinds[b.kind()] {
			byKind[b.kind()] = append(byKind[b.kind()], b)
		}
	}
	all := make([][]blockInfo, 0, len(byKind))
	for _, files := range byKind {
		all = append(all, files)
	}
	slices.SortFunc(all, func(a, b []blockInfo) int {
		return cmp.Or(cmp.Compare(a[0].Granularity, b[0].Granularity), cmp.Compare(a[0].Class, b[0].Class))
	})
	return all
}

func planLevel(files []blockInfo, level int, newest int64) *job {
	length := int64(levels[level-1])
	stretches := map[int64][]blockInfo{}
	end := int64(math.MinInt64)
	for _, f := range files {
		end = max(end, f.Last)
		if f.Level <= level {
			start := policy.Floor(end, length)
			stretches[start] = append(stretches[start], f)
		}
	}
	for start, files := range stretches {
		j := &job{level: level}
		if start+length <= newest {
			j.files = complete(files, level)
		} else if level == 1 {
			j.files, j.level = crowd(files), 0
		}
		if j.files != nil {
			return j
		}
	}
	return nil
}

// complete are the files of a stretch that are to become one of a level. Those of
// this level are among them only when what is new is not small beside them.
func complete(files []blockInfo, level int) []blockInfo {
	slices.SortFunc(files, func(a, b blockInfo) int {
		return cmp.Or(cmp.Compare(a.Level/level, b.Level/level), cmp.Compare(a.Size, b.Size))
	})
	lower, size, n := 0, int64(0), 0
	for _, f := range files {
		if f.Level == level && f.Size > 4*size || size+f.Size > maxMerged {
			break
		}
		if f.Level < level {
			lower++
		}
		size += f.Size
		n++
	}
	if lower < 2 {
		return nil
	}
	return files[:n]
}

// crowd are small files of a stretch that is still written: checkpoints may be made
// every few seconds.
func crowd(files []blockInfo) []blockInfo {
	files = slices.DeleteFunc(files, func(f blockInfo) bool { return f.Level > 0 })
	slices.SortFunc(files, func(a, b blockInfo) int { return cmp.Compare(a.Size, b.Size) })
	size, n := int64(0), 0
	for _, f := range files {
		if n >= crowdFiles && f.Size > 2*size {
			break
		}
		size += f.Size
		n++
	}
	if n < crowdFiles {
		return nil
	}
	return files[:n]
}

// maintain merges block files, deletes those that are past, and what no manifest
// names.
func (e *Engine) maintain(ctx context.Context) error {
	e.merging.Lock()
	defer e.merging.Unlock()
	var errs []error
	failed := &failures{map[string]bool{}, map[fileKey]bool{}}
	for {
		e.manifestMu.Lock()
		j := plan(e.manifest.Blocks, failed)
		e.manifestMu.Unlock()
		if j == nil {
			break
		}
		if err := e.merge(ctx, j); err != nil {
			errs = append(errs, err)
			failed.add(j, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	errs = append(errs, e.forgetGone(ctx), e.expire(ctx), e.collect(ctx))
	return errors.Join(errs...)
}

// merge makes one file of several.
func (e *Engine) merge(ctx context.Context, j *job) error {
	out, err := e.newFile()
	if err != nil {
		return err
	}
	defer out.remove()
	out.buffer = bufio.NewWriterSize(out, 1<<18)
	out.blocks = block.NewWriter(out.buffer, j.files[0].Granularity)
	damaged, err := e.mergeInto(ctx, out, j)
	if err != nil {
		return fmt.Errorf("cannot merge %d block files: %w", len(j.files), err)
	}
	if len(damaged) > 0 {
		return e.commit(ctx, func(m *manifest) {
			for i := range m.Blocks {
				m.Blocks[i].Damaged = m.Blocks[i].Damaged || damaged[m.Blocks[i].Name]
			}
		})
	}
	summary, err := out.blocks.Close()
	if err != nil {
		return err
	}
	if err := out.buffer.Flush(); err != nil {
		return err
	}
	merged := blockInfo{
		Granularity: j.files[0].Granularity, Class: j.files[0].Class, Level: j.level,
		Metrics: summary.Metrics, Windows: summary.Windows, First: summary.First, Last: summary.Last,
	}
	if summary.Windows > 0 {
		out.size = summary.Bytes
		if merged.objectInfo, err = e.putFile(ctx, blockFolder, out); err != nil {
			e.garbage.add(e.o.Now(), merged.Name)
			return err
		}
	}
	return e.replaceBlocks(ctx, j.files, merged)
}

// replaceBlocks puts a file in the place of others, or none if it has no name.
func (e *Engine) replaceBlocks(ctx context.Context, old []blockInfo, merged blockInfo) error {
	gone := map[string]bool{}
	for _, f := range old {
		gone[f.Name] = true
	}
	err := e.commit(ctx, func(m *manifest) {
		place := slices.IndexFunc(m.Blocks, func(b blockInfo) bool { return gone[b.Name] })
		m.Blocks = slices.DeleteFunc(m.Blocks, func(b blockInfo) bool { return gone[b.Name] })
		if merged.Name != "" {
			m.Blocks = slices.Insert(m.Blocks, place, merged)
		}
	})
	if err != nil {
		if merged.Name != "" {
			e.garbage.add(e.o.Now(), merged.Name)
		}
		return err
	}
	for name := range gone {
		e.garbage.add(e.o.Now(), name)
	}
	return nil
}

// mergeInto writes the windows of all files that are still kept. Files that are
// damaged are returned; what was written is worth nothing then.
func (e *Engine) mergeInto(ctx context.Context, out *newFile, j *job) (damaged map[string]bool, err error) {
	g := j.files[0].Granularity
	var files []*openBlock
	names := map[*block.Reader]string{}
	defer func() {
		for _, f := range files {
			e.readers.release(f)
		}
	}()
	damaged = map[string]bool{}
	for _, info := range j.files {
		f, err := e.readers.open(ctx, info)
		if errors.Is(err, objects.ErrNotFound) {
			e.damage(info.Name, 0, err)
			return map[string]bool{info.Name: true}, nil
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		names[f.Reader] = info.Name
		damaged[info.Name] = len(f.Damage()) > 0
	}
	for name, is := range damaged {
		if !is {
			delete(damaged, name)
		}
	}
	if len(damaged) > 0 {
		return damaged, nil
	}
	report := func(r *block.Reader, d *block.DamageError) {
		e.damage(names[r], d.Offset, d)
		damaged[names[r]] = true
	}
	pace := newPace(out)
	var frame window.Frame
	for refs := range batches(union(files)) {
		kept, err := e.alive(ctx, refs)
		if err != nil {
			return nil, err
		}
		for _, ref := range kept {
			m, ok := e.head.state(ref)
			if !ok {
				continue
			}
			p := (*e.policies.Load())[m.policy]
			d, ok := p.Definition(time.Duration(g))
			if !ok {
				continue
			}
			parts := partsOf(files, ref)
			if interleaved(parts) {
				frame.Reset(g, window.Needs(p.Methods))
				if err = weave(parts, oldest(d, m.newest), math.MaxInt64, &frame); err == nil {
					err = out.blocks.Add(uint64(ref), &frame)
				}
			} else {
				err = out.blocks.Merge(uint64(ref), oldest(d, m.newest), readersOf(parts), report)
			}
			var wrong *partError
			var damage *block.DamageError
			if errors.As(err, &wrong) && errors.As(err, &damage) {
				e.damage(wrong.name, damage.Offset, damage)
				damaged[wrong.name], err = true, nil
			}
			if err != nil {
				return nil, blame(parts, g, window.Needs(p.Methods), err)
			}
			if len(damaged) > 0 {
				return damaged, nil
			}
			if err := pace.rest(ctx); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// blame gives the error of the part that can't be read, if there is one.
func blame(parts []part, granularity int64, columns window.Columns, err error) error {
	for _, p := range parts {
		var frame window.Frame
		frame.Reset(granularity, columns)
		if wrong := p.read(math.MinInt64, math.MaxInt64, &frame); wrong != nil && !errors.As(wrong, new(*block.MissingError)) {
			return wrong
		}
	}
	return err
}

// goneEvery is how often metrics in memory are looked for that the index does not have.
const goneEvery = time.Hour

// forgetGone forgets metrics that were deleted without [Engine.Forget]: by another
// process, or by this one when it ended in between.
func (e *Engine) forgetGone(ctx context.Context) error {
	now := e.o.Now()
	if e.o.Alive == nil || now.Sub(e.lookedForGone) < goneEvery {
		return nil
	}
	for refs := range batches(e.head.live()) {
		if _, err := e.alive(ctx, refs); err != nil {
			return err
		}
	}
	e.lookedForGone = now
	return nil
}

// alive gives those of the metrics that were not deleted, and forgets the others.
func (e *Engine) alive(ctx context.Context, refs []Ref) ([]Ref, error) {
	if e.o.Alive == nil {
		return refs, nil
	}
	is, err := e.o.Alive(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("cannot tell which metrics were deleted: %w", err)
	}
	var kept, gone []Ref
	for i, ref := range refs {
		if is[i] {
			kept = append(kept, ref)
		} else if _, ok := e.head.state(ref); ok {
			gone = append(gone, ref)
		}
	}
	if len(gone) > 0 {
		e.o.Log.Info("metrics that the index does not have any more are dropped", "metrics", len(gone), "first", gone[0])
	}
	return kept, e.Forget(ctx, gone)
}

// union is the metrics of all files, ascending.
func union(files []*openBlock) iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		type cursor struct {
			next func() (block.Entry, bool)
			ref  uint64
		}
		var cursors []*cursor
		for _, f := range files {
			next, stop := iter.Pull(f.Entries())
			defer stop()
			if entry, ok := next(); ok {
				cursors = append(cursors, &cursor{next, entry.Ref})
			}
		}
		for len(cursors) > 0 {
			least := cursors[0].ref
			for _, c := range cursors[1:] {
				least = min(least, c.ref)
			}
			if !yield(Ref(least)) {
				return
			}
			cursors = slices.DeleteFunc(cursors, func(c *cursor) bool {
				if c.ref != least {
					return false
				}
				entry, ok := c.next()
				c.ref = entry.Ref
				return !ok
			})
		}
	}
}

// batches gives refs by the thousand.
func batches(refs iter.Seq[Ref]) iter.Seq[[]Ref] {
	return func(yield func([]Ref) bool) {
		var batch []Ref
		for ref := range refs {
			if batch = append(batch, ref); len(batch) == 1000 {
				if !yield(batch) {
					return
				}
				batch = batch[:0]
			}
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}

// pace keeps a merge from taking more than half of a processor, and more than its
// share of the disk.
type pace struct {
	out   *newFile
	since time.Time
	bytes int64
}

func newPace(out *newFile) *pace { return &pace{out: out, since: time.Now()} }

func (p *pace) rest(ctx context.Context) error {
	worked := time.Since(p.since)
	if worked < 10*time.Millisecond {
		return nil
	}
	pause := max(worked, time.Duration(p.out.written-p.bytes)*time.Second/mergeRate-worked)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
	}
	p.since, p.bytes = time.Now(), p.out.written
	return nil
}
