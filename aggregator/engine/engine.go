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
	"os"
	"slices"
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
	Ship       time.Duration // between two copies of the log to Objects, which others may take over then; 0: none
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
	lock  *os.File // of the folder
	owner string   // id of the log
	epoch uint64   // of this Open
	log   *wal.Log
	head  head
	queue queue
	feeds feeds

	policies   atomic.Pointer[policies]
	policiesMu sync.Mutex // of their changes

	manifestMu sync.Mutex // of the next three
	manifest   *manifest
	version    objects.Version // of the manifest
	unsure     bool            // whether the store has that manifest

	objects atomic.Uint64 // number of the last object that was named
	blocks  atomic.Pointer[blockSet]
	readers readers
	losses  losses
	garbage garbage

	checkpointing  sync.Mutex
	lastCheckpoint atomic.Int64
	bytesAfter     atomic.Int64  // of the head, after it, or after the last one that failed
	bytesSaved     atomic.Int64  // of the head, after the last one that succeeded
	refusing       atomic.Bool   // writes, because of that
	full           chan struct{} // has an element when the head is over its limit
	merging        sync.Mutex    // of the next two
	lookedForGone  time.Time     // see forgetGone
	turn           int           // of expire
	grown          chan struct{} // has an element when there are new blocks

	lastShip atomic.Int64 // when one began after which all of the log was shipped
	shipping sync.Mutex   // of the next two
	shipped  wal.Position // what of the log is in pieces
	pieces   []piece
	replayed wal.Position // records before it were replayed

	fenced  atomic.Pointer[FencedError]
	claimed []byte                    // of the manifest, see claimOf
	seen    atomic.Pointer[time.Time] // when it was known last that the store is this engine's
	closed  atomic.Bool
	ctx     context.Context // ends with the engine
	end     context.CancelFunc
	loops   sync.WaitGroup

	accepted, late, future, damaged atomic.Uint64
	told                            sync.Map // what is logged once only
	tellings                        atomic.Int64
}

// Open opens a store, or begins one, and recovers what was acknowledged. It takes
// the store away from any other engine that has it open.
func Open(ctx context.Context, o Options, known []*policy.Policy) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dir == "" || o.Objects == nil {
		return nil, errors.New("cannot open a store without a folder and an object store")
	}
	e := &Engine{o: o, full: make(chan struct{}, 1), grown: make(chan struct{}, 1)}
	e.ctx, e.end = context.WithCancel(context.WithoutCancel(ctx))
	e.queue.init(&e.head)
	all := policies{}
	for _, p := range known {
		if err := p.Validate(); err != nil {
			return nil, fmt.Errorf("archive policy %q: %w", p.Name, err)
		}
		all[p.ID] = p
	}
	e.policies.Store(&all)
	err := e.recover(ctx)
	if err == nil {
		err = e.findGarbage(ctx)
	}
	if err == nil && o.Ship > 0 {
		err = e.Owns(ctx) // all that may have taken a while
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the store in %s: %w", o.Dir, err), e.free())
	}
	e.startLoops()
	return e, nil
}

// Close makes a checkpoint, so that the next Open is quick, and ends the engine.
// It may be called once. Whatever error it returns, what was written is durable.
func (e *Engine) Close(ctx context.Context) error {
	if e.closed.Swap(true) {
		return ErrClosed
	}
	e.end()
	e.loops.Wait()
	var err error
	if e.fenced.Load() == nil {
		e.checkpointing.Lock()
		err = e.checkpoint(ctx)
		e.checkpointing.Unlock()
	}
	return errors.Join(err, e.free())
}

// free frees what Open took.
func (e *Engine) free() error {
	e.end()
	e.loops.Wait()
	e.feeds.close()
	var errs []error
	if e.log != nil {
		errs = append(errs, e.log.Close())
	}
	e.readers.loads.Wait()
	e.readers.keep(nil)
	if e.readers.cache != nil {
		errs = append(errs, e.readers.cache.Close())
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
	}
	return errors.Join(errs...)
}

// stopped tells why the engine must not write to the store any more, if so.
func (e *Engine) stopped() error {
	if fenced := e.fenced.Load(); fenced != nil {
		return fenced
	}
	if e.closed.Load() {
		return ErrClosed
	}
	return nil
}

// SetPolicy makes an archive policy known, or changes one. It holds at once for
// queries. Of a policy that is known only the points of its granularities may change:
// anything else would make windows of other points than those that were taken.
func (e *Engine) SetPolicy(p *policy.Policy) {
	e.policiesMu.Lock()
	defer e.policiesMu.Unlock()
	all := maps.Clone(*e.policies.Load())
	if old := all[p.ID]; old != nil && !alike(old, p) {
		e.o.Log.Error("BUG: an archive policy was to change in more than its points; it stays as it is", "policy", p.Name)
		return
	}
	all[p.ID] = p
	e.policies.Store(&all)
}

// alike reports whether two policies differ in points only.
func alike(a, b *policy.Policy) bool {
	return a.BackWindow == b.BackWindow && a.Methods == b.Methods && len(a.Definitions) == len(b.Definitions) &&
		!slices.ContainsFunc(a.Definitions, func(d policy.Definition) bool {
			_, is := b.Definition(d.Granularity)
			return !is
		})
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
	// LastCheckpoint and LastShip, of the log, are those since the start; zero: none yet.
	LastCheckpoint, LastShip time.Time
}

// Stats returns them.
func (e *Engine) Stats() Stats {
	st := Stats{
		Metrics: int(e.head.metrics.Load()), HeadBytes: e.head.bytes.Load(),
		Accepted: e.accepted.Load(), Late: e.late.Load(), Future: e.future.Load(),
		Damaged: e.damaged.Load(), LogBytes: e.log.Stats().Bytes,
	}
	if t := e.lastCheckpoint.Load(); t != 0 {
		st.LastCheckpoint = time.Unix(0, t)
	}
	if t := e.lastShip.Load(); t != 0 {
		st.LastShip = time.Unix(0, t)
	}
	for _, blocks := range *e.blocks.Load() {
		for _, b := range blocks {
			st.Blocks++
			st.BlockBytes += b.Size
		}
	}
	return st
}

// damage counts damage, and logs it once.
func (e *Engine) damage(object string, offset int64, err error) {
	if !e.once(fmt.Sprint(object, " ", offset)) {
		return
	}
	e.damaged.Add(1)
	e.o.Log.Error("damaged", "object", object, "offset", offset, "error", err)
}

// once reports whether it is the first time that something is to be logged. It
// remembers so much only.
func (e *Engine) once(what string) bool {
	const most = 10000
	if _, known := e.told.Load(what); known || e.tellings.Load() >= most {
		return false
	}
	_, known := e.told.LoadOrStore(what, true)
	if !known {
		e.tellings.Add(1)
	}
	return !known
}
