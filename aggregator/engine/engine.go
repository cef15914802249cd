// Package engine keeps points of metrics by their archive policies: it takes
// them, makes them durable, and answers for any span of time with windows.
//
// The head is raw points in memory, packed; blocks are files of windows. A write
// goes to the log and to the head. A checkpoint makes windows of the points that
// no late point can change any more, writes them to blocks, writes the rest of the
// head to an object, and replaces the manifest, which names all of these; then the
// log before it goes. A query reads blocks up to a metric's edge, and makes
// windows of the head's points from there on.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/wal"
	"github.com/nephoscope/nepho/aggregator/window"
)

// Ref is the engine's number of a metric. The index gives it, and gives it to no
// other metric later. They should be dense, for the engine keeps metrics in slices.
type Ref uint64

// MaxRef is the largest number of a metric.
const MaxRef = 1<<32 - 1

// Options of [Open].
type Options struct {
	Dir        string        // of the log, and of what is local only
	Objects    objects.Store // of blocks, heads and the manifest
	Sync       time.Duration // longest time until a write is durable; 0: each group of writes is synced before it is acknowledged
	Checkpoint time.Duration // between two checkpoints; 0: only when asked for
	HeadLimit  int64         // bytes of points in memory at which a checkpoint is made earlier; 0: none
	MaxFuture  time.Duration // points that are later than now by more are refused
	Ship       time.Duration // between two copies of the log to Objects; 0: none
	CacheLimit int64         // bytes of blocks that are kept on local disk when Objects are remote
	// Alive tells which metrics were not deleted; merges leave out the others. It may
	// be nil: then all are.
	Alive func(ctx context.Context, refs []Ref) ([]bool, error)
	Log   *slog.Logger     // nil: nothing is logged
	Now   func() time.Time // nil: time.Now
}

// Engine is an open store. Its methods may be called concurrently.
type Engine struct {
	o     Options
	log   *wal.Log
	head  head
	queue queue
	feeds feeds

	policies   atomic.Pointer[policies]
	policiesMu sync.Mutex // of their changes

	accepted, late, future, damaged atomic.Uint64
}

// Open opens a store, or begins one, and recovers what was acknowledged.
func Open(ctx context.Context, o Options, known []*policy.Policy) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Engine{o: o}
	e.queue.init(&e.head)
	all := policies{}
	for _, p := range known {
		all[p.ID] = p
	}
	e.policies.Store(&all)
	if err := e.recover(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Close makes a checkpoint, so that the next Open is quick, and ends the engine.
func (e *Engine) Close(ctx context.Context) error {
	return e.log.Close()
}

// SetPolicy makes an archive policy known, or changes one: only the points and
// timespans of its granularities may differ. It holds at once for queries.
func (e *Engine) SetPolicy(p *policy.Policy) {
	e.policiesMu.Lock()
	defer e.policiesMu.Unlock()
	all := maps.Clone(*e.policies.Load())
	all[p.ID] = p
	e.policies.Store(&all)
}

// Outcome says what became of the points of a batch.
type Outcome struct {
	Accepted  int // kept, durable, and visible
	Late      int // dropped, because their windows are closed
	Future    int // refused, because they are too far in the future
	Forgotten int // dropped, because their metric was deleted
	// Refused has the first late point and the first future one of each metric that
	// has any.
	Refused []Refusal
}

// Refusal is a point that was not kept.
type Refusal struct {
	Metric int // place in the batch
	Point  window.Point
	Late   bool // or in the future
}

// UnknownPolicyError says that a batch names an archive policy that the engine was not told of.
type UnknownPolicyError struct {
	Ref    Ref
	Policy uint32
}

func (e *UnknownPolicyError) Error() string {
	return fmt.Sprintf("metric %d has the archive policy %d, which the engine does not know", e.Ref, e.Policy)
}

// Query asks for windows of a metric.
type Query struct {
	Ref         Ref
	Granularity time.Duration
	Methods     policy.Set
	// From is rounded down to the granularity, To is not, and excluded. Nanoseconds since 1970.
	From, To int64
}

// ErrClosed is returned by an engine that was closed.
var ErrClosed = errors.New("the store is closed")

// Stats are counts since the start, and sizes now.
type Stats struct {
	Metrics                int   // in memory
	HeadBytes              int64 // of their points
	Accepted, Late, Future uint64
	Blocks                 int
	BlockBytes, LogBytes   int64
	Damaged                uint64 // chunks and records that could not be read
	LastCheckpoint         time.Time
}

// Stats returns them.
func (e *Engine) Stats() Stats {
	st := Stats{
		HeadBytes: e.head.bytes.Load(),
		Accepted:  e.accepted.Load(), Late: e.late.Load(), Future: e.future.Load(),
		Damaged: e.damaged.Load(), LogBytes: e.log.Stats().Bytes,
	}
	for i := range e.head.shards {
		s := &e.head.shards[i]
		s.mu.Lock()
		st.Metrics += s.metrics
		s.mu.Unlock()
	}
	return st
}
