package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/nephoscope/nepho/aggregator/block"
	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// Frame makes into the frame of the windows that answer q, with the columns that
// its methods need. A metric that was never written has none.
//
// At most as many windows are there as the archive policy keeps, counted back from
// the window of the metric's newest point. A *[GranularityError] says that
// the policy has no such granularity, a *[MethodError] that it does not keep what a method needs.
// A *[LostError] says that some of the windows can't be read; then into has none.
func (e *Engine) Frame(ctx context.Context, q Query, into *window.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := frameReaders.Get().(*frameReader)
	defer frameReaders.Put(r)
	if err := r.read(ctx, e, q, into); err != nil {
		into.Reset(int64(q.Granularity), into.Columns)
		return err
	}
	return nil
}

// A GranularityError says that a metric's archive policy has no such granularity.
type GranularityError struct {
	Query  Query
	Policy string
}

func (e *GranularityError) Error() string {
	return fmt.Sprintf("metric %d: archive policy %q has no granularity of %v", e.Query.Ref, e.Policy, e.Query.Granularity)
}

// A MethodError says that a metric's archive policy does not keep what a method needs.
type MethodError struct {
	Query  Query
	Policy string
	Method policy.Method
}

func (e *MethodError) Error() string {
	return fmt.Sprintf("metric %d: archive policy %q does not keep what the method %v needs", e.Query.Ref, e.Policy, e.Method)
}

// frameReader is what it takes to answer a query, used again for the next.
type frameReader struct {
	copy   copyOf
	times  []int64
	values []float64
	folder window.Folder
	parts  []part
}

var frameReaders = sync.Pool{New: func() any { return new(frameReader) }}

func (r *frameReader) read(ctx context.Context, e *Engine, q Query, into *window.Frame) error {
	columns := window.Needs(q.Methods)
	g := int64(q.Granularity)
	into.Reset(g, columns)
	s := e.head.of(q.Ref)
	s.mu.Lock()
	found := s.copy(q.Ref, &r.copy)
	s.mu.Unlock()
	if !found || r.copy.newest == noTime {
		return nil
	}
	p := (*e.policies.Load())[r.copy.policy]
	kept, ok := p.Definition(q.Granularity)
	if !ok {
		return &GranularityError{q, p.Name}
	}
	if stored := window.Needs(p.Methods); !stored.Contains(columns) {
		for _, m := range q.Methods.List() {
			if !stored.Contains(window.Needs(policy.SetOf(m))) {
				return &MethodError{q, p.Name, m}
			}
		}
	}
	from := max(policy.Floor(max(q.From, MinTime), g), oldest(kept, r.copy.newest))
	to := min(q.To, policy.Floor(r.copy.newest, g)+1)
	if from >= to {
		return nil
	}
	open := openFrom(r.copy.edge, g)
	r.times, r.values = r.times[:0], r.values[:0]
	if to > open || r.copy.state&lossy != 0 {
		r.times, r.values = r.copy.appendPoints(r.times, r.values)
	}
	if r.copy.state&lossy != 0 {
		l := e.losses.find(q.Ref)
		if before, after := l.hole(p, r.times).around(g, from, to); before < after {
			return &LostError{Ref: q.Ref, From: before, To: after, Object: l.Object, Offset: l.Offset}
		}
	}
	// The set of blocks is looked at after the edge: see Checkpoint.
	if from < open {
		if err := r.blocks(ctx, e, q, into, from, min(to, open)); err != nil {
			return err
		}
	}
	fold(&r.folder, into, r.times, r.values, max(from, open), policy.Floor(to-1, g)+g)
	return nil
}

// blocks appends the windows with from <= start < to that are in blocks.
func (r *frameReader) blocks(ctx context.Context, e *Engine, q Query, into *window.Frame, from, to int64) error {
	defer func() {
		for _, p := range r.parts {
			e.readers.release(p.file)
		}
		clear(r.parts)
		r.parts = r.parts[:0]
	}()
	for _, info := range (*e.blocks.Load())[into.Granularity] {
		if info.First >= to || info.Last < from {
			continue
		}
		file, err := e.readers.open(ctx, info)
		if err != nil {
			return r.lost(e, q, info.First, info.Last+into.Granularity, err)
		}
		entry, found := file.Entry(uint64(q.Ref))
		if !found {
			if d := file.hides(q.Ref); d != nil {
				err = &partError{info.Name, d}
			}
		}
		if !found || entry.First >= to || entry.Last < from {
			e.readers.release(file)
			if err != nil {
				return r.lost(e, q, info.First, info.Last+into.Granularity, err)
			}
			continue
		}
		r.parts = append(r.parts, part{file, entry})
	}
	sortParts(r.parts)
	if interleaved(r.parts) {
		return r.lost(e, q, from, to, weave(r.parts, from, to, into))
	}
	for _, p := range r.parts {
		if err := p.read(from, to, into); err != nil {
			return r.lost(e, q, from, to, err)
		}
	}
	return nil
}

// lost makes a LostError of the error of a part, if what it says is lost.
func (r *frameReader) lost(e *Engine, q Query, from, to int64, err error) error {
	var wrong *partError
	if !errors.As(err, &wrong) {
		return err
	}
	l := &LostError{Ref: q.Ref, From: from, To: to, Object: wrong.name, Err: wrong.err}
	var damage *block.DamageError
	switch {
	case errors.As(err, &damage):
		l.Offset = damage.Offset
		if damage.From < damage.To {
			l.From, l.To = damage.From, damage.To
		}
	case !errors.Is(err, objects.ErrNotFound):
		return err
	}
	e.damage(l.Object, l.Offset, l.Err)
	return l
}

// oldest is the start of the oldest window that is kept of a metric whose newest
// point is at the time newest.
func oldest(d policy.Definition, newest int64) int64 {
	g := int64(d.Granularity)
	if d.Points == 0 || d.Points > math.MaxInt64/2/g {
		return math.MinInt64
	}
	return policy.Floor(newest, g) - (d.Points-1)*g
}

// openFrom is the start of the first window that is not in blocks.
func openFrom(edge, granularity int64) int64 {
	if edge == noTime {
		return noTime
	}
	return policy.Floor(edge, granularity)
}

// fold appends the windows of the points with from <= time < to. Those before
// from serve the first rate.
func fold(d *window.Folder, into *window.Frame, times []int64, values []float64, from, to int64) {
	if from >= to {
		return
	}
	first := sort.Search(len(times), func(i int) bool { return times[i] >= from })
	end := first + sort.Search(len(times)-first, func(i int) bool { return times[first+i] >= to })
	if first == end {
		return
	}
	var before *window.Point
	if first > 0 {
		before = &window.Point{Time: times[first-1], Value: values[first-1]}
	}
	d.Fold(into, before, times[first:end], values[first:end])
}

// A QueryError is an error of one of several queries.
type QueryError struct {
	Index int // of the query
	Err   error
}

func (e *QueryError) Error() string { return e.Err.Error() }

// Unwrap is the error.
func (e *QueryError) Unwrap() error { return e.Err }

// Frames answers many queries, several at a time. It calls f for each, in any order and from one
// goroutine at a time; the frame is valid only during the call. An error of f ends it. A query that fails does not keep the others
// from being answered; the errors, each a *[QueryError], are joined.
func (e *Engine) Frames(ctx context.Context, queries []Query, f func(i int, frame *window.Frame) error) error {
	var (
		next   atomic.Int64
		mu     sync.Mutex
		failed []error
		ended  error // of f or ctx
		group  sync.WaitGroup
	)
	work := func() {
		frame := frames.Get().(*window.Frame)
		defer frames.Put(frame)
		for {
			i := int(next.Add(1)) - 1
			if i >= len(queries) {
				return
			}
			err := e.Frame(ctx, queries[i], frame)
			mu.Lock()
			switch {
			case ended != nil:
			case ctx.Err() != nil:
				ended = ctx.Err()
			case err != nil:
				failed = append(failed, &QueryError{i, err})
			default:
				ended = f(i, frame)
			}
			stop := ended != nil
			mu.Unlock()
			if stop {
				return
			}
		}
	}
	for range min(runtime.GOMAXPROCS(0), len(queries)) - 1 {
		group.Go(work)
	}
	work()
	group.Wait()
	if ended != nil {
		return ended
	}
	return errors.Join(failed...)
}

var frames = sync.Pool{New: func() any { return new(window.Frame) }}

// Newest is the newest point of a metric.
func (e *Engine) Newest(ref Ref) (window.Point, bool) {
	s := e.head.of(ref)
	s.mu.Lock()
	m := s.find(ref)
	if m == nil || m.state&live == 0 || m.newest == noTime {
		s.mu.Unlock()
		return window.Point{}, false
	}
	if m.plain > 0 {
		p := s.tails.at(m.tail)[m.plain-1]
		s.mu.Unlock()
		return p, true
	}
	var c copyOf
	s.copy(ref, &c)
	s.mu.Unlock()
	times, values := c.appendPoints(nil, nil)
	if len(times) == 0 {
		return window.Point{}, false // it was lost
	}
	return window.Point{Time: times[len(times)-1], Value: values[len(values)-1]}, true
}
