package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects/objectstest"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/window"
)

// rig is an engine and the model of it, to which the same happens.
type rig struct {
	t     *testing.T
	seed  uint64
	r     *rand.Rand
	dir   string
	store *objectstest.Faulty
	*clock
	options  Options
	e        *Engine
	m        *model
	policies map[uint32]*policy.Policy
	metrics  []*source
	gone     []*source
	// sure is the start of the oldest window that no earlier policy may have cost.
	sure map[sureKey]int64
	// steps are what was done, for people.
	steps []string
}

type sureKey struct {
	ref         Ref
	granularity time.Duration
}

// source makes points of a metric.
type source struct {
	ref    Ref
	policy uint32
	step   int64
	value  func(r *rand.Rand, i int) float64
	n      int
	at     int64
	quiet  int // how many steps it makes no points
}

// testPolicies are of all kinds, with few windows, so that they are soon past.
func testPolicies() []*policy.Policy {
	all := []*policy.Policy{
		define(1, 0, policy.Definition{Granularity: time.Minute, Points: 90}, policy.Definition{Granularity: time.Hour, Points: 48}),
		define(2, 3, policy.Definition{Granularity: 5 * time.Second, Points: 100}, policy.Definition{Granularity: 30 * time.Second}, policy.Definition{Granularity: time.Minute, Points: 1000}),
		define(3, 0, policy.Definition{Granularity: time.Minute, Points: 300}, policy.Definition{Granularity: 7 * time.Second, Points: 500}, policy.Definition{Granularity: 25 * time.Second, Points: 1}),
		define(4, 1, policy.Definition{Granularity: time.Minute}),
		define(5, 40, policy.Definition{Granularity: time.Second, Points: 3000}),
		define(6, 0, policy.Definition{Granularity: 5 * time.Minute, Points: 30 * 288}),
	}
	all[3].Methods = policy.SetOf(policy.Mean, policy.Std, policy.Median, policy.Percentile(95), policy.First, policy.Last,
		policy.Mean.Rate(), policy.Max.Rate(), policy.Last.Rate(), policy.Percentile(5).Rate())
	all[2].Methods = policy.SetOf(policy.Last, policy.Sum.Rate(), policy.Std.Rate())
	return all
}

func newRig(t *testing.T, seed uint64) *rig {
	g := &rig{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 7)), dir: t.TempDir(),
		clock: newClock(), policies: map[uint32]*policy.Policy{}, sure: map[sureKey]int64{}}
	if seed%2 == 0 {
		g.store = newStore(t)
	} else {
		g.store = objectstest.NewFaulty(newMemory(), nil)
	}
	for _, p := range testPolicies() {
		g.policies[p.ID] = p
	}
	g.m = newModel(time.Hour, slices.Collect(maps.Values(g.policies))...)
	g.options.Objects, g.options.Dir, g.options.CacheLimit = g.store, filepath.Join(g.dir, "local"), 1<<20
	g.options.MaxFuture, g.options.Now, g.options.Log = time.Hour, g.now, slog.New(slog.DiscardHandler)
	steps := []int64{1e9, 10e9, 60e9, 333e6, 7777777777}
	names := slices.Sorted(maps.Keys(shapes))
	for range 2 + g.r.IntN(12) {
		ref := Ref(g.r.IntN(300))
		if slices.ContainsFunc(g.metrics, func(s *source) bool { return s.ref == ref }) {
			continue
		}
		g.metrics = append(g.metrics, &source{
			ref: ref, policy: uint32(1 + g.r.IntN(len(g.policies))), step: steps[g.r.IntN(len(steps))],
			value: shapes[names[g.r.IntN(len(names))]], at: g.now().UnixNano(),
		})
	}
	g.open()
	t.Cleanup(func() {
		if err := g.e.free(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return g
}

func (g *rig) fail(format string, args ...any) {
	g.t.Helper()
	g.t.Fatalf("seed %d, after %v: %s", g.seed, g.steps[max(0, len(g.steps)-12):], fmt.Sprintf(format, args...))
}

func (g *rig) done(format string, args ...any) {
	g.steps = append(g.steps, fmt.Sprintf(format, args...))
}

func (g *rig) open() {
	g.t.Helper()
	e, err := Open(g.t.Context(), g.options, slices.Collect(maps.Values(g.policies)))
	if err != nil {
		g.fail("open: %v", err)
	}
	g.e = e
}

// batch makes points: most follow each other, some are late, or twice there, or
// far in the future.
func (g *rig) batch() *Batch {
	b := &Batch{}
	if len(g.gone) > 0 && g.r.IntN(10) == 0 { // one who was not told that it was deleted
		s := g.gone[g.r.IntN(len(g.gone))]
		b.Metric(s.ref, s.policy)
		b.Point(g.now().UnixNano(), 1)
	}
	for range 1 + g.r.IntN(2*len(g.metrics)) {
		s := g.metrics[g.r.IntN(len(g.metrics))]
		if s.quiet > 0 {
			s.quiet--
			continue
		}
		b.Metric(s.ref, s.policy)
		if s.at < g.now().Add(-5*time.Minute).UnixNano() && g.r.IntN(3) > 0 {
			s.at = g.now().Add(-time.Duration(g.r.Int64N(int64(5 * time.Minute)))).UnixNano()
		}
		for range g.r.IntN(1 + g.r.IntN(60)) {
			at := s.at
			switch g.r.IntN(30) {
			case 0:
				at -= g.r.Int64N(int64(2 * time.Hour)) // late
			case 1:
				at -= s.step * int64(g.r.IntN(40)) // a little late, or the same time again
			case 2:
				at = g.now().Add(time.Hour + time.Duration(g.r.Int64N(int64(5*time.Minute))-int64(4*time.Minute))).UnixNano()
				if at <= g.now().Add(time.Hour).UnixNano() && g.r.IntN(20) > 0 {
					at += int64(10 * time.Minute)
				}
			default:
				s.at += s.step
				if g.r.IntN(50) == 0 {
					s.at += g.r.Int64N(int64(10 * time.Minute)) // a gap
				}
			}
			if s.at > g.now().Add(30*time.Minute).UnixNano() {
				g.clock.Store(s.at)
			}
			b.Point(at, s.value(g.r, s.n))
			s.n++
		}
		if g.r.IntN(100) == 0 {
			s.quiet = g.r.IntN(100)
		}
	}
	return b
}

// write writes a batch to both.
func (g *rig) write(b *Batch) {
	g.t.Helper()
	got, err := g.e.Write(g.t.Context(), b)
	if err != nil {
		g.fail("write: %v", err)
	}
	accepted, late, future, forgotten := g.m.write(g.now(), b)
	if got.Accepted != accepted || got.Late != late || got.Future != future || got.Forgotten != forgotten {
		g.fail("outcome %+v, want %d accepted, %d late, %d future, %d forgotten", got, accepted, late, future, forgotten)
	}
	for _, refused := range got.Refused {
		if !slices.ContainsFunc(b.of(refused.Metric), func(p window.Point) bool { return samePoint(p, refused.Point) }) {
			g.fail("refused %+v is not of that metric", refused)
		}
	}
}

// compare asks both for everything.
func (g *rig) compare() {
	g.t.Helper()
	var queries []Query
	for _, s := range slices.Concat(g.metrics, g.gone) {
		p := g.policies[s.policy]
		for _, d := range p.Definitions {
			queries = append(queries, Query{s.ref, d.Granularity, p.Methods, math.MinInt64, math.MaxInt64})
			from := g.now().UnixNano() - g.r.Int64N(int64(6*time.Hour))
			list := p.Methods.List()
			queries = append(queries, Query{s.ref, d.Granularity, policy.SetOf(list[g.r.IntN(len(list))]), from, from + g.r.Int64N(int64(2*time.Hour))})
		}
	}
	answered := 0
	err := g.e.Frames(g.t.Context(), queries, func(i int, f *window.Frame) error {
		answered++
		return g.check(queries[i], f)
	})
	if err != nil {
		g.fail("%v", err)
	}
	if answered != len(queries) {
		g.fail("%d answers to %d queries", answered, len(queries))
	}
	for _, s := range g.metrics {
		p, ok := g.e.Newest(s.ref)
		m := g.m.metrics[s.ref]
		if is := m != nil && len(m.points) > 0; ok != is || ok && (p.Time != m.newest || !sameBits(p.Value, m.points[m.newest])) {
			g.fail("the newest point of %d is %v, %v", s.ref, p, ok)
		}
	}
	if n := g.e.Stats().Damaged; n > 0 {
		g.fail("%d damaged", n)
	}
}

// check compares an answer with that of the model. Windows that an earlier policy
// may have cost need not be there.
func (g *rig) check(q Query, got *window.Frame) error {
	want := g.m.frame(q)
	sure := g.sure[sureKey{q.Ref, q.Granularity}]
	if n, _ := slices.BinarySearch(want.Starts, sure); n > 0 {
		have, _ := slices.BinarySearch(got.Starts, sure)
		all := want.Starts
		want = pickWindows(want, func(start int64) bool {
			_, is := slices.BinarySearch(got.Starts, start)
			return start >= sure || is
		})
		if have > n {
			return fmt.Errorf("%+v: windows %v, want at most %v", q, got.Starts, all)
		}
	}
	if c, i, ok := same(got, want); !ok {
		if i < 0 {
			return fmt.Errorf("%+v: %d windows %v, want %d: %v; columns %v, want %v", q, got.Len(), firstDifference(got.Starts, want.Starts), want.Len(), firstDifference(want.Starts, got.Starts), got.Columns, want.Columns)
		}
		return fmt.Errorf("%+v: %v of the window %v is %v, want %v", q, c, time.Unix(0, want.Starts[i]).UTC(), got.Values(c)[i], want.Values(c)[i])
	}
	return nil
}

// firstDifference are the first elements of a that are not in b.
func firstDifference(a, b []int64) []time.Time {
	var d []time.Time
	for _, x := range a {
		if _, is := slices.BinarySearch(b, x); !is && len(d) < 3 {
			d = append(d, time.Unix(0, x).UTC())
		}
	}
	return d
}

func pickWindows(f *window.Frame, keep func(start int64) bool) *window.Frame {
	picked := &window.Frame{}
	picked.Reset(f.Granularity, f.Columns)
	for i, s := range f.Starts {
		if keep(s) {
			picked.Grow(1)
			picked.Starts[picked.Len()-1] = s
			for c := range f.Columns.All() {
				picked.Values(c)[picked.Len()-1] = f.Values(c)[i]
			}
		}
	}
	return picked
}

// change changes the timespans of a policy.
func (g *rig) change() {
	ids := slices.Sorted(maps.Keys(g.policies))
	old := g.policies[ids[g.r.IntN(len(ids))]]
	p := *old
	p.Definitions = slices.Clone(old.Definitions)
	i := g.r.IntN(len(p.Definitions))
	d := &p.Definitions[i]
	d.Points = int64(g.r.IntN(200)) // 0: all
	for _, s := range g.metrics {
		if m := g.m.metrics[s.ref]; s.policy == p.ID && m != nil && len(m.points) > 0 {
			key := sureKey{s.ref, d.Granularity}
			if points := old.Definitions[i].Points; points > 0 {
				oldest := start(m.newest, int64(d.Granularity)) - (points-1)*int64(d.Granularity)
				if known, ok := g.sure[key]; !ok || oldest > known {
					g.sure[key] = oldest
				}
			}
		}
	}
	g.policies[p.ID] = &p
	g.m.policies[p.ID] = &p
	g.e.SetPolicy(&p)
	g.done("policy %d: %v", p.ID, d)
}

// forget deletes a metric. One that writes to it does not know that yet.
func (g *rig) forget() {
	g.t.Helper()
	i := g.r.IntN(len(g.metrics))
	s := g.metrics[i]
	if len(g.metrics) == 1 || g.m.metrics[s.ref] == nil {
		return
	}
	if err := g.e.Forget(g.t.Context(), []Ref{s.ref}); err != nil {
		g.fail("forget: %v", err)
	}
	g.m.forget([]Ref{s.ref})
	b := &Batch{}
	b.Metric(s.ref, s.policy)
	b.Point(g.now().UnixNano(), 1)
	g.write(b)
	g.metrics = slices.Delete(g.metrics, i, i+1)
	g.gone = append(g.gone, s)
	g.done("forget %d", s.ref)
}

// crash ends the engine without a checkpoint and opens it again.
func (g *rig) crash() {
	g.t.Helper()
	if err := g.e.free(); err != nil {
		g.fail("free: %v", err)
	}
	g.open()
	g.done("crash")
}

// move opens the store from another, empty folder, after the log was copied to it.
func (g *rig) move() {
	g.t.Helper()
	if err := g.e.ship(g.t.Context()); err != nil {
		g.fail("ship: %v", err)
	}
	if err := g.e.free(); err != nil {
		g.fail("free: %v", err)
	}
	g.options.Dir = filepath.Join(g.dir, fmt.Sprint("node", len(g.steps)))
	g.open()
	g.done("move")
}

// fork opens a copy of the folder, as a crash of the machine would have left it,
// and goes on with that.
func (g *rig) fork() {
	g.t.Helper()
	to := filepath.Join(g.dir, fmt.Sprint("fork", len(g.steps)))
	if err := os.CopyFS(filepath.Join(to, filepath.Base(g.e.logDir())), os.DirFS(g.e.logDir())); err != nil {
		g.fail("copy: %v", err)
	}
	if err := g.e.free(); err != nil {
		g.fail("free: %v", err)
	}
	g.options.Dir = to
	g.open()
	g.done("fork")
}

// hurt ends the engine, damages its log, of which there is a copy, and opens it again.
func (g *rig) hurt() {
	g.t.Helper()
	if err := g.e.ship(g.t.Context()); err != nil {
		g.fail("ship: %v", err)
	}
	if err := g.e.free(); err != nil {
		g.fail("free: %v", err)
	}
	segments, err := filepath.Glob(filepath.Join(g.e.logDir(), "*.wal"))
	if err != nil {
		g.fail("%v", err)
	}
	for range 1 + g.r.IntN(3) {
		path := segments[g.r.IntN(len(segments))]
		data, err := os.ReadFile(path)
		switch {
		case err != nil: // removed
		case g.r.IntN(8) == 0:
			err = os.Remove(path)
		case len(data) > 0:
			data[g.r.IntN(len(data))] ^= byte(1 << g.r.IntN(8))
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			g.fail("%v", err)
		}
	}
	g.open()
	g.done("damage of the log")
}

// copyAll makes a folder a copy of another.
func copyAll(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}
