package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/nephoscope/nepho/aggregator/wal"
)

// Write keeps the points of a batch. When it returns without an error, those that
// it counts as accepted are durable and visible to queries.
//
// Per metric, points are late and dropped when they are before the start of the
// time that still takes points, by the newest point that the metric had before
// this Write (see [policy.Policy.WritableFrom]). The first Write of a metric takes
// any span of time. Points that are later than now by more than
// [Options.MaxFuture] are refused, and change nothing. Of points with equal times
// the one written last counts, and of those in one batch the one added last.
//
// After an error nothing of the batch is visible. If the error is that the log
// could not be written ([wal.ErrFailed]), the batch may be there after a restart nevertheless, when its
// record reached the disk before the disk refused what came after it;
// writing it again is harmless.
//
// The end of ctx is noticed before the batch is in the log; after that Write waits
// until it is known what became of it.
func (e *Engine) Write(ctx context.Context, b *Batch) (Outcome, error) {
	var out Outcome
	if err := ctx.Err(); err != nil {
		return out, err
	}
	if err := e.takes(); err != nil {
		return out, err
	}
	if err := e.check(b); err != nil {
		return out, err
	}
	b = b.within(e.o.Now().Add(e.o.MaxFuture).UnixNano(), &out)
	if b.Points() > 0 {
		record := records.Get().(*[]byte)
		*record = appendWrite((*record)[:0], b)
		err := e.queue.do(e, *record, &pending{batch: b, out: &out})
		records.Put(record)
		if err != nil {
			return Outcome{}, fmt.Errorf("cannot write %d points: %w", b.Points(), err)
		}
	}
	e.accepted.Add(uint64(out.Accepted))
	e.late.Add(uint64(out.Late))
	e.future.Add(uint64(out.Future))
	return out, nil
}

// records are buffers of records.
var records = sync.Pool{New: func() any { return new([]byte) }}

// ErrFull is returned when twice as many points as [Options.HeadLimit] came since the last
// checkpoint, because none succeeds, or none in time.
var ErrFull = errors.New("too many points in memory, because no checkpoint can be made, or none in time; the log tells why")

// takes tells why nothing can be written, if so, and asks for a checkpoint when the
// head is full.
func (e *Engine) takes() error {
	if err := e.stopped(); err != nil {
		return err
	}
	if e.cutOff() {
		return ErrCutOff
	}
	// What no checkpoint can free yet is no reason for the next one.
	bytes := e.head.bytes.Load()
	grown := bytes - e.bytesAfter.Load()
	limit := e.o.HeadLimit
	if limit > 0 && bytes > limit && grown > limit/4 || grown > max(grownTotal, grownMetric*e.head.metrics.Load()) {
		ring(e.full)
	}
	if limit > 0 && bytes-e.bytesSaved.Load() > 2*limit {
		if !e.refusing.Swap(true) {
			e.o.Log.Error("writes are refused until a checkpoint is made: too many points are in memory only", "bytes", bytes, "head_limit", limit)
		}
		ring(e.full)
		return ErrFull
	}
	return nil
}

// hurried tells that points come in faster than usual checkpoints are for.
func (e *Engine) hurried() bool {
	return e.o.HeadLimit > 0 && e.head.bytes.Load()-e.bytesAfter.Load() > e.o.HeadLimit
}

// A checkpoint is made earlier when the points in memory have grown by grownMetric
// bytes a metric since the last one, and by grownTotal in all: so much history was written
// that queries should find windows of it. Of points every ten seconds it is
// more than seven hours.
const (
	grownMetric = 4 << 10
	grownTotal  = 256 << 10
)

// check looks at what no log should have to take.
func (e *Engine) check(b *Batch) error {
	known := *e.policies.Load()
	var sound uint32
	for i, m := range b.metrics {
		if m.ref > MaxRef {
			return fmt.Errorf("metric %d: numbers of metrics end at %d", m.ref, uint64(MaxRef))
		}
		if i > 0 && m.policy == sound {
			continue
		}
		if known[m.policy] == nil {
			return &UnknownPolicyError{m.ref, m.policy}
		}
		sound = m.policy
	}
	return nil
}

// Forget drops metrics that were deleted: they have no points any more, and take
// none. Their windows go from the blocks when these are merged or past.
func (e *Engine) Forget(ctx context.Context, refs []Ref) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.stopped(); err != nil || len(refs) == 0 {
		return err
	}
	for _, ref := range refs {
		if ref > MaxRef {
			return fmt.Errorf("metric %d: numbers of metrics end at %d", ref, uint64(MaxRef))
		}
	}
	if err := e.queue.do(e, appendForget(nil, refs), &pending{refs: refs, out: &Outcome{}}); err != nil {
		return fmt.Errorf("cannot forget %d metrics: %w", len(refs), err)
	}
	return nil
}

// queue puts records in the log and applies them in its order, when they are
// durable: so what is visible is never lost, and what could not be logged was
// never visible.
type queue struct {
	order sync.Mutex // held from the place in the log to that in the list

	mu       sync.Mutex
	changed  sync.Cond
	list     []*pending // in the order of the log, the oldest not yet applied first
	applying bool

	applier applier // of who set applying
}

// pending is a record on its way.
type pending struct {
	position wal.Position
	batch    *Batch
	refs     []Ref // to forget
	out      *Outcome
	settled  bool // it is known whether it is durable
	durable  bool
	done     bool
}

func (q *queue) init(h *head) {
	q.changed.L = &q.mu
	q.applier.head = h
}

// do logs a record, waits until it is durable, and returns when it was applied.
func (q *queue) do(e *Engine, record []byte, p *pending) error {
	q.order.Lock()
	commit, err := e.log.Write(record)
	if err != nil {
		q.order.Unlock()
		if errors.Is(err, wal.ErrClosed) {
			return ErrClosed
		}
		return err
	}
	p.position = commit.Position
	q.mu.Lock()
	q.list = append(q.list, p)
	q.mu.Unlock()
	q.order.Unlock()

	err = commit.Wait(context.Background())

	q.mu.Lock()
	defer q.mu.Unlock()
	p.settled, p.durable = true, err == nil
	for !p.done {
		if q.applying || !q.list[0].settled {
			q.changed.Wait()
			continue
		}
		q.applying = true
		n := 0
		for n < len(q.list) && q.list[n].settled {
			n++
		}
		run := q.list[:n]
		q.mu.Unlock()
		e.applyAll(run)
		q.mu.Lock()
		for i, p := range run {
			p.done = true
			q.list[i] = nil
		}
		q.list = q.list[n:]
		q.applying = false
		q.changed.Broadcast()
	}
	return err
}

// applyAll applies what is durable of a run of writes. A panic leaves a write half
// applied, and those behind it waiting: it ends the process, whoever recovers from
// panics of requests, and the next one reads the points from the log.
func (e *Engine) applyAll(run []*pending) {
	defer func() {
		if v := recover(); v != nil {
			trace := debug.Stack()
			go panic(fmt.Sprintf("a durable write could not be applied: %v\n%s", v, trace))
			select {}
		}
	}()
	for _, p := range run {
		if p.durable {
			e.apply(p.batch, p.refs, p.out)
		}
	}
}

// position is that from which the log has what is not applied yet.
func (q *queue) position(log *wal.Log) wal.Position {
	q.order.Lock()
	defer q.order.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) > 0 {
		return q.list[0].position
	}
	return log.Position()
}

// apply applies a record. One goroutine at a time does.
func (e *Engine) apply(b *Batch, refs []Ref, out *Outcome) {
	for _, ref := range refs {
		e.head.change(ref, func(s *shard) { s.forget(s.metric(ref), e.o.Now().UnixNano()) })
	}
	if b == nil {
		return
	}
	a := &e.queue.applier
	a.apply(b, *e.policies.Load(), out)
	e.feeds.mark(a.advanced)
}
