package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nephoscope/nepho/aggregator/block"
	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/wal"
)

// What is in the engine's folder.
const (
	lockFile    = "lock"
	walFolder   = "log-" // and the id of its owner
	newFolder   = "new"  // files that are being made
	cacheFolder = "cache"
)

// recover takes the store over and brings back what was acknowledged: what the
// manifest names, and the log after it.
func (e *Engine) recover(ctx context.Context) (err error) {
	if e.lock, err = lockFolder(e.o.Dir); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(e.o.Dir, newFolder)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(e.o.Dir, newFolder), 0o750); err != nil {
		return err
	}
	if e.manifest, e.version, err = readManifest(ctx, e.o.Objects); err != nil {
		return err
	}
	if e.manifest == nil {
		e.manifest = &manifest{}
	}
	m := e.manifest
	taken, err := e.findLog()
	if err != nil {
		return err
	}
	if m.Log.Owner == "" {
		m.Log.Owner = e.owner
	}
	e.epoch = m.Epoch + 1
	if err := e.claim(ctx); err != nil {
		return err
	}
	cache, err := objects.NewCache(e.o.Objects, filepath.Join(e.o.Dir, cacheFolder), e.o.CacheLimit)
	if err != nil {
		return err
	}
	e.readers = readers{
		cache: cache, ctx: e.ctx, byName: map[string]*openBlock{},
		limit: func() int64 { return footerTotal + footerMetric*e.head.metrics.Load() },
		found: func(name string, d *block.DamageError) { e.damage(name, d.Offset, d) },
	}
	e.publish()
	if err := e.loadHead(ctx); err != nil {
		return err
	}
	e.bytesAfter.Store(e.head.bytes.Load())
	e.bytesSaved.Store(e.head.bytes.Load())
	return e.recoverLog(ctx, taken)
}

// claim makes the store this engine's: no other writes to it from now on.
func (e *Engine) claim(ctx context.Context) error {
	m := *e.manifest
	m.Epoch, m.Owner = e.epoch, e.owner
	data, err := m.encode()
	if err != nil {
		return err
	}
	began := e.o.Now()
	version, err := e.o.Objects.Replace(ctx, manifestName, e.version, data)
	if err != nil {
		return fmt.Errorf("cannot take over the store %v: %w", e.o.Objects, err)
	}
	e.manifest, e.version, e.claimed = &m, version, claimOf(data)
	e.seen.Store(&began)
	return nil
}

// recoverLog replays the log. If it was that of another owner, a checkpoint moves the
// store over to this one's.
func (e *Engine) recoverLog(ctx context.Context, taken bool) error {
	start := e.manifest.Log
	pieces, err := findPieces(ctx, e.o.Objects, start)
	if err != nil {
		return err
	}
	options := wal.Options{Dir: e.logDir(), Sync: e.o.Sync, Log: e.o.Log}
	if taken {
		if len(pieces) == 0 {
			e.o.Log.Warn("the log of the store's last owner is not here, and there is no copy of it: what was written after the last checkpoint is lost",
				"owner", start.Owner, "checkpoint", e.manifest.Saved)
		}
		if err := e.replayPieces(ctx, pieces, start.From); err != nil {
			return err
		}
		if e.log, err = wal.Open(options); err != nil {
			return err
		}
		return e.Checkpoint(ctx)
	}
	options.First = start.From
	for _, p := range pieces {
		options.First = max(options.First, p.to)
		e.shipped = max(e.shipped, p.to)
	}
	e.pieces = pieces
	if e.log, err = wal.Open(options); err != nil {
		return err
	}
	mended, err := e.replay(e.log, start.From, func(from, to wal.Position) (bool, error) { return e.replayCopy(ctx, pieces, from, to) })
	if err != nil {
		return err
	}
	// If the log has lost its end, the copy may have it. The log goes on behind that, so a
	// checkpoint must keep what is in the copy only.
	for len(pieces) > 0 && pieces[0].to <= e.replayed {
		pieces = pieces[1:]
	}
	here := e.replayed
	if err := e.replayPieces(ctx, pieces, start.From); err != nil || e.replayed == here && !mended {
		return err
	}
	return e.Checkpoint(ctx)
}

// replay applies the records of a log from a position on, but those that were
// replayed already. What mend could not get from elsewhere is damage.
func (e *Engine) replay(log *wal.Log, from wal.Position, mend func(from, to wal.Position) (bool, error)) (mended bool, err error) {
	var b Batch
	done := e.replayed
	report, err := log.ReplayMended(from, func(p wal.Position, record []byte) error {
		if p >= done {
			e.applyRecord(p, record, &b)
		}
		return nil
	}, func(from, to wal.Position) (bool, error) {
		if mend == nil {
			return false, nil
		}
		whole, err := mend(from, to)
		if whole {
			mended = true
			e.o.Log.Warn("records of the log could not be read here; they were taken from its copy", "from", from, "to", to)
		}
		return whole, err
	})
	if err != nil {
		return false, fmt.Errorf("cannot replay the log: %w", err)
	}
	for _, d := range report.Damage {
		e.damage(filepath.Base(d.File), int64(d.From), fmt.Errorf("records from %v to %v are lost", d.From, d.To))
	}
	if report.Torn > 0 {
		e.o.Log.Info("the log ended in the middle of a record, which was not acknowledged", "bytes", report.Torn)
	}
	return mended, nil
}

// applyRecord applies a record of a log; b is used for it.
func (e *Engine) applyRecord(p wal.Position, record []byte, b *Batch) {
	e.replayed = p + 1
	refs, err := readRecord(record, b)
	if err != nil {
		e.damage("log", int64(p), err)
		return
	}
	e.apply(e.knownOnly(b), refs, new(Outcome))
}

// knownOnly is a batch without metrics of policies that are gone. They went because
// their metrics did.
func (e *Engine) knownOnly(b *Batch) *Batch {
	known := *e.policies.Load()
	gone := false
	for _, m := range b.metrics {
		gone = gone || known[m.policy] == nil
	}
	if !gone {
		return b
	}
	rest := &Batch{}
	for i, m := range b.metrics {
		if known[m.policy] == nil {
			e.unknownPolicy(m.ref, m.policy)
			continue
		}
		rest.Metric(m.ref, m.policy)
		rest.points = append(rest.points, b.of(i)...)
	}
	return rest
}

func (e *Engine) unknownPolicy(ref Ref, policyID uint32) {
	if e.once(fmt.Sprint("policy ", policyID)) {
		e.o.Log.Warn("metrics are dropped, for their archive policy is gone", "policy", policyID, "metric", ref)
	}
}

// loadHead loads the head object.
func (e *Engine) loadHead(ctx context.Context) error {
	if e.manifest.Head.Name == "" {
		return nil
	}
	known := *e.policies.Load()
	lost := map[Ref]loss{}
	load := func(c *headChunk) error {
		if !c.gone && known[c.policy] == nil {
			e.unknownPolicy(c.ref, c.policy)
			return nil
		}
		if !c.lost.empty() {
			lost[c.ref] = loss{span: c.lost}
		}
		e.head.load(c)
		return nil
	}
	metrics := 0
	err := readHead(ctx, e.o.Objects, e.manifest.Head, e.manifest.HeadTable, load, func(d headDamage) {
		if d.told {
			e.damaged.Add(1)
		} else {
			e.damage(e.manifest.Head.Name, d.offset, d.err)
		}
		if d.entry == nil {
			return
		}
		c := headChunk{headEntry: *d.entry}
		if p := known[c.policy]; p != nil && !c.gone {
			c.lost = c.lost.with(c.points(p))
			metrics++
		}
		if err := load(&c); err == nil && !c.lost.empty() {
			lost[c.ref] = loss{c.lost, e.manifest.Head.Name, d.offset}
		}
	})
	if err != nil {
		return err
	}
	if metrics > 0 {
		e.o.Log.Error("points that were in no block yet are lost", "metrics", metrics, "object", e.manifest.Head.Name)
	}
	e.losses.set(lost)
	return nil
}

// points is the time of which a head object has points of a metric.
func (h *headEntry) points(p *policy.Policy) hole {
	span := hole{MinTime, h.newest + 1}
	if h.edge != noTime {
		span.from = h.edge
		for _, d := range p.Definitions {
			span.from = min(span.from, openFrom(h.edge, int64(d.Granularity)))
		}
	}
	return span
}

// load makes a metric of a chunk.
func (h *head) load(c *headChunk) {
	h.change(c.ref, func(s *shard) {
		m := s.metric(c.ref)
		if c.gone {
			s.forget(m, c.newest)
			return
		}
		s.start(m, c.policy)
		m.newest, m.edge = c.newest, c.edge
		if !c.lost.empty() {
			m.state |= lossy
		}
		if n := len(c.times); n > 0 {
			m.base, m.points, m.packed = c.base, uint32(n), c.times[n-1]
			s.extend(m, c.row[:len(c.row)-padding])
		}
	})
}

// lockFolder makes the folder, and sees to it that one process uses it.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("the folder %s is used by another process: %w", dir, err)
	}
	return f, nil
}

// findLog finds the log that goes on where the manifest ends. If it is not in the folder, it
// was another node's, or this one's folder was lost: then the store is taken over, with a new log. Logs that are
// there nevertheless stay: they may have writes that were acknowledged after another
// node took over.
func (e *Engine) findLog() (taken bool, err error) {
	m := e.manifest
	all, err := filepath.Glob(filepath.Join(e.o.Dir, walFolder+"*"))
	if err != nil {
		return false, err
	}
	for _, path := range all {
		switch owner := strings.TrimPrefix(filepath.Base(path), walFolder); owner {
		case m.Log.Owner:
			e.owner = owner
		case m.Owner:
			// That of an Open which did not come to its end, so nothing in it was acknowledged.
			if err := os.RemoveAll(path); err != nil {
				return false, err
			}
		default:
			if os.Remove(path) == nil {
				continue // it is empty: an Open ended just after it began
			}
			e.o.Log.Warn("a log is left of before another node took the store over; what that did not get is in there only", "folder", path)
		}
	}
	if e.owner != "" {
		return false, nil
	}
	if m.Log.Owner != "" && objects.IsLocal(e.o.Objects) {
		// No other node can have gone on with the store.
		return false, fmt.Errorf("the log %s is not there, which has what was acknowledged since the checkpoint of %v: bring it back, or make an empty folder of that name to go on without",
			filepath.Join(e.o.Dir, walFolder+m.Log.Owner), m.Saved.Format(time.RFC3339))
	}
	var id [8]byte
	rand.Read(id[:])
	e.owner = hex.EncodeToString(id[:])
	if err := os.Mkdir(e.logDir(), 0o750); err != nil {
		return false, err
	}
	dir, err := os.Open(e.o.Dir)
	if err != nil {
		return false, err
	}
	return m.Log.Owner != "", errors.Join(dir.Sync(), dir.Close())
}

func (e *Engine) logDir() string { return filepath.Join(e.o.Dir, walFolder+e.owner) }
