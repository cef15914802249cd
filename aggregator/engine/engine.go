// Package engine keeps points of metrics by their archive policies: it takes
// them, makes them durable, and answers for any span of time with windows.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// Ref is the engine's number of a metric. The index gives it, and gives it to no
// other metric later.
type Ref uint64

// Options of [Open].
type Options struct {
	Dir        string        // of the log, and of what is local only
	Objects    objects.Store // of blocks, heads and the manifest
	Sync       time.Duration // longest time until a write is durable; 0: each group of writes is synced before it is acknowledged
	Checkpoint time.Duration // between two checkpoints
	HeadLimit  int64         // bytes of points in memory at which a checkpoint is made earlier
	MaxFuture  time.Duration // points that are later than now by more are refused
	Ship       time.Duration // between two copies of the log to Objects; 0: none
	// Alive tells which metrics were not deleted; merges leave out the others.
	Alive func(ctx context.Context, refs []Ref) ([]bool, error)
	Log   *slog.Logger
	Now   func() time.Time
}

// Engine is an open store. Its methods may be called concurrently.
type Engine struct{}

var errNotYet = errors.New("not written yet")

func Open(ctx context.Context, o Options, policies []*policy.Policy) (*Engine, error) {
	return nil, errNotYet
}
func (e *Engine) Close(ctx context.Context) error { return errNotYet }
func (e *Engine) SetPolicy(p *policy.Policy)      {}

// Batch is points of many metrics. It may be reset and used again.
type Batch struct{}

func (b *Batch) Reset()                          {}
func (b *Batch) Metric(ref Ref, policyID uint32) {}
func (b *Batch) Point(t int64, v float64)        {}
func (b *Batch) Points() int                     { return 0 }

// Outcome says what became of the points of a batch.
type Outcome struct {
	Accepted int // kept, durable, and visible
	Late     int // dropped, because their windows are closed
	Future   int // refused, because they are too far in the future
	// Refused has the first refused point of each metric, by its place in the batch.
	Refused []Refusal
}

// Refusal is a point that was not kept.
type Refusal struct {
	Metric int // place in the batch
	Point  window.Point
	Late   bool // or in the future
}

func (e *Engine) Write(ctx context.Context, b *Batch) (Outcome, error) { return Outcome{}, errNotYet }

// Query asks for windows of a metric.
type Query struct {
	Ref         Ref
	Granularity time.Duration
	Methods     policy.Set
	// From is rounded down to the granularity, To is not, and excluded. Nanoseconds since 1970.
	From, To int64
}

// Frame appends the windows that answer q. A metric that was never written has none.
func (e *Engine) Frame(ctx context.Context, q Query, into *window.Frame) error { return errNotYet }

// Frames answers many queries, several at a time. It calls f for each, in any order and from one
// goroutine at a time; the frame is valid only during the call.
func (e *Engine) Frames(ctx context.Context, queries []Query, f func(i int, frame *window.Frame) error) error {
	return errNotYet
}

// Newest is the newest point of a metric.
func (e *Engine) Newest(ref Ref) (window.Point, bool) { return window.Point{}, false }

// Forget drops metrics that were deleted.
func (e *Engine) Forget(ctx context.Context, refs []Ref) error { return errNotYet }

// Checkpoint moves closed windows to blocks now.
func (e *Engine) Checkpoint(ctx context.Context) error { return errNotYet }

// Advance says that a metric has a newer point.
type Advance struct {
	Ref  Ref
	Time int64 // of its newest point
}

// Feed tells of writes.
type Feed struct{}

func (e *Engine) Subscribe() *Feed { return &Feed{} }

// Next waits until metrics advanced since the last call, and gives each once.
func (f *Feed) Next(ctx context.Context) ([]Advance, error) { return nil, errNotYet }
func (f *Feed) Close()                                      {}

// Stats are counts since the start, and sizes now.
type Stats struct {
	Metrics                int // in memory
	HeadBytes              int64
	Accepted, Late, Future uint64
	Blocks                 int
	BlockBytes, LogBytes   int64
	Damaged                uint64 // chunks and records that could not be read
	LastCheckpoint         time.Time
}

func (e *Engine) Stats() Stats { return Stats{} }
