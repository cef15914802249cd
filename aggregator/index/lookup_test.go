package index

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/integration/parts"
)

func TestLookup(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		r := must(x.CreateResource(ctx, &Resource{ID: id(1), Type: Generic, Creator: "u:p", Project: ptr("q")}, nil, []NewMetric{{Name: "a"}, {Name: "b"}}))(t)
		loose := must(x.CreateMetrics(ctx, []NewMetric{{Creator: "v"}, {}}))(t)
		a := must(x.Metric(ctx, r.Metrics["a"]))(t)
		want := []*Entry{{a.ID, a.Ref, a.PolicyID, "u:p", "q", x.cache.nameKey(id(1), "a")}, nil,
			{ID: loose[0].ID, Ref: loose[0].Ref, PolicyID: loose[0].PolicyID, Creator: "v"}, {ID: loose[1].ID, Ref: loose[1].Ref, PolicyID: loose[1].PolicyID}}
		ids, refs := []uuid.UUID{a.ID, id(5), loose[0].ID, loose[1].ID}, []engine.Ref{a.Ref, 9999, loose[0].Ref, loose[1].Ref}
		names := []Name{{id(1), "a"}, {id(1), "none"}, {id(2), "a"}, {id(1), "\x00"}, {id(1), ""}, {id(1), "b"}}
		first := &Entry{}
		// From memory, from the database, and again from memory.
		for pass := range 3 {
			if pass == 1 {
				for part := range shards {
					x.cache.expire(part)
				}
			}
			same(t, must(x.Lookup(ctx, ids, []*Entry{first}))(t), append([]*Entry{first}, want...))
			same(t, must(x.LookupRefs(ctx, refs, nil))(t), want)
			got := must(x.LookupNames(ctx, names, nil))(t)
			same(t, got[:5], []*Entry{want[0], nil, nil, nil, nil})
			same(t, got[5].ID, r.Metrics["b"])
			cached, found := x.Cached(a.ID)
			same(t, []any{cached, found}, []any{want[0], true})
		}
		if _, found := x.Cached(id(5)); found {
			t.Error("found what is not there")
		}
		// More than one statement takes at a time.
		var many []uuid.UUID
		for _, m := range must(x.CreateMetrics(ctx, make([]NewMetric, 700)))(t) {
			many = append(many, m.ID)
		}
		for part := range shards {
			x.cache.expire(part)
		}
		for i, e := range must(x.Lookup(ctx, append(many, id(5)), nil))(t) {
			if i < 700 && (e == nil || e.ID != many[i]) || i == 700 && e != nil {
				t.Fatalf("entry %d is %+v", i, e)
			}
		}
	})
}

// What changed is not found as it was, in any way.
func TestLookupAfterChanges(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		for n := range 5 {
			must(x.CreateResource(ctx, &Resource{ID: id(n), Type: Generic, Creator: "c"}, nil, []NewMetric{{ID: id(10 + n), Name: "m"}}))(t)
		}
		find := func(n int) (byID, byName, byRef *Entry) {
			t.Helper()
			byID = must(x.Lookup(ctx, []uuid.UUID{id(10 + n)}, nil))(t)[0]
			byName = must(x.LookupNames(ctx, []Name{{id(n), "m"}}, nil))(t)[0]
			if byID != nil {
				byRef = must(x.LookupRefs(ctx, []engine.Ref{byID.Ref}, nil))(t)[0]
			}
			return byID, byName, byRef
		}
		var refs []engine.Ref
		for n := range 5 {
			byID, byName, byRef := find(n)
			if byID == nil || byName == nil || byRef == nil {
				t.Fatal("not found")
			}
			refs = append(refs, byID.Ref)
		}
		gone := func(n int) {
			t.Helper()
			byID, byName, _ := find(n)
			byRef := must(x.LookupRefs(ctx, refs[n:n+1], nil))(t)[0]
			if byID != nil || byName != nil || byRef != nil {
				t.Errorf("found %+v, %+v and %+v", byID, byName, byRef)
			}
		}
		ok(t, x.DeleteMetric(ctx, id(10)))
		gone(0)
		ok(t, x.DeleteResource(ctx, Generic, id(1), time.Time{}))
		gone(1)
		must(x.ChangeResource(ctx, Generic, id(2), Change{Project: ptr(ptr("p"))}))(t)
		byID, byName, byRef := find(2)
		same(t, []string{byID.Project, byName.Project, byRef.Project}, []string{"p", "p", "p"})
		must(x.ChangeResource(ctx, Generic, id(2), Change{ReplaceMetrics: true}))(t)
		byID, byName, byRef = find(2)
		same(t, []any{byID.Project, byName, byRef.Project}, []any{"", (*Entry)(nil), ""})
		// From one resource to another.
		must(x.ChangeResource(ctx, Generic, id(2), Change{Attach: map[string]uuid.UUID{"m": id(13)}}))(t)
		same(t, must(x.LookupNames(ctx, []Name{{id(3), "m"}}, nil))(t)[0], (*Entry)(nil))
		same(t, must(x.LookupNames(ctx, []Name{{id(2), "m"}}, nil))(t)[0].Project, "p")
		same(t, must(x.Lookup(ctx, []uuid.UUID{id(13)}, nil))(t)[0].Project, "p")
		must(x.DeleteResources(ctx, ResourceQuery{Type: Generic}))(t)
		gone(4)
	})
}

// A lookup that read the database before a change does not bring back what was.
func TestLookupDuringChanges(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		ctx := t.Context()
		failures := make(chan error, 4)
		for n := range 20 {
			m := must(x.CreateMetrics(ctx, []NewMetric{{ID: id(n)}}))(t)[0]
			var wait sync.WaitGroup
			for range 3 {
				wait.Go(func() {
					for range 10 {
						x.cache.expire(int(x.cache.byID.hash(m.ID) % shards))
						if _, err := x.Lookup(ctx, []uuid.UUID{m.ID}, nil); err != nil {
							failures <- err
							return
						}
					}
				})
			}
			wait.Go(func() {
				if err := x.DeleteMetric(ctx, m.ID); err != nil {
					failures <- err
					return
				}
				if e, found := x.Cached(m.ID); found {
					failures <- fmt.Errorf("a deleted metric is in memory: %+v", e)
				}
			})
			wait.Wait()
			if e, found := x.Cached(m.ID); found {
				t.Fatalf("a deleted metric is in memory: %+v", e)
			}
		}
		close(failures)
		for err := range failures {
			t.Error(err)
		}
	})
}

// Random changes of a table, beside a plain map.
func TestTable(t *testing.T) {
	t.Parallel()
	r := random(1)
	hashes := map[string]func(engine.Ref) uint64{
		"spread": newCache(1).byRef.hash,
		// All in one shard, most with the same home.
		"crowded": func(k engine.Ref) uint64 { return uint64(k/100) * shards },
	}
	for name, hash := range hashes {
		for _, limit := range []int{1, 20, 300} {
			table := newTable(limit*shards, hash, func(e *Entry) engine.Ref { return e.Ref })
			want := map[engine.Ref]*Entry{}
			for range 5_000 {
				key := engine.Ref(r.IntN(700))
				switch r.IntN(3) {
				case 0:
					table.forget(key)
					delete(want, key)
				case 1:
					stale := table.moment()
					table.forget(key)
					table.put(stale, &Entry{Ref: key}) // is not taken
					delete(want, key)
				default:
					want[key] = &Entry{Ref: key}
					table.put(table.moment(), want[key])
					if got, _ := table.get(key); got != want[key] {
						t.Fatalf("%s: what was put is not there", name)
					}
				}
			}
			entries := 0
			for i := range table.shards {
				n := 0
				for j := range *table.shards[i].slots.Load() {
					if (*table.shards[i].slots.Load())[j].Load() != nil {
						n++
					}
				}
				if n != table.shards[i].entries || n > limit {
					t.Fatalf("%s: a shard has %d entries, counts %d, and may have %d", name, n, table.shards[i].entries, limit)
				}
				entries += n
			}
			found := 0
			for key := range engine.Ref(700) {
				got, there := table.get(key)
				if there && got != want[key] {
					t.Fatalf("%s: %d is another", name, key)
				}
				if there {
					found++
				}
			}
			if found != entries || name == "spread" && limit == 300 && found != len(want) {
				t.Fatalf("%s: found %d of %d; should be %d", name, found, entries, len(want))
			}
		}
	}
}

func TestTextsAreBounded(t *testing.T) {
	t.Parallel()
	texts := &texts{}
	for n := range 3 * maxTexts {
		same(t, texts.same(fmt.Sprint(n)), fmt.Sprint(n))
	}
	if len(texts.seen) > maxTexts {
		t.Errorf("%d texts are remembered", len(texts.seen))
	}
}

func TestCachedAllocatesNothing(t *testing.T) {
	c := newCache(1000)
	x := &Index{cache: c}
	there, missing := id(1), id(2)
	c.byID.put(c.byID.moment(), &Entry{ID: there})
	if n := testing.AllocsPerRun(100, func() { x.Cached(there); x.Cached(missing) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Another process's changes show when the memory's part was dropped, and its
// policies are known before they are used.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	where := server.Database()
	x, y := open(t, where), open(t, where)
	ctx := t.Context()
	told := map[uint32]bool{}
	y.OnPolicy(func(p *policy.Policy) { told[p.ID] = true })
	ok(t, x.CreatePolicy(ctx, &policy.Policy{Name: "new", Definitions: []policy.Definition{{Granularity: 1}}, Methods: policy.SetOf(policy.Mean)}))
	m := must(x.CreateMetrics(ctx, []NewMetric{{Policy: "new"}}))(t)[0]
	e := must(y.Lookup(ctx, []uuid.UUID{m.ID}, nil))(t)[0]
	if !told[e.PolicyID] {
		t.Error("a metric was found, of whose policy was not told")
	}
	if _, known := y.PolicyByID(e.PolicyID); !known {
		t.Error("the policy of a metric is unknown")
	}
	ok(t, x.DeleteMetric(ctx, m.ID))
	if _, found := y.Cached(m.ID); !found {
		t.Log("the part was dropped already")
	}
	for part := range shards {
		y.cache.expire(part)
	}
	same(t, must(y.Lookup(ctx, []uuid.UUID{m.ID}, nil))(t)[0], (*Entry)(nil))
	_, err := y.Metric(ctx, m.ID)
	var missing *NotFoundError
	same(t, errors.As(err, &missing), true)
}

// An index outlives its server.
func TestPostgreSQLRestart(t *testing.T) {
	t.Parallel()
	s := parts.PostgreSQL(t)
	x := open(t, s.Database())
	ctx := t.Context()
	m := must(x.CreateMetrics(ctx, make([]NewMetric, 1)))(t)[0]
	for range 2 {
		s.Restart()
		must(x.Metric(ctx, m.ID))(t)
		must(x.CreateMetrics(ctx, make([]NewMetric, 1)))(t)
	}
	s.Stop()
	if _, err := x.Metric(ctx, m.ID); err == nil {
		t.Error("read from a server that is stopped")
	}
	if _, found := x.Cached(m.ID); !found {
		t.Error("what is in memory went with the server")
	}
	if _, err := x.CreateMetrics(ctx, make([]NewMetric, 1)); err == nil {
		t.Error("wrote to a server that is stopped")
	}
	s.Start()
	same(t, must(x.Metric(ctx, m.ID))(t), m)
}

func BenchmarkCached(b *testing.B) {
	const n = 100_000
	before := heap()
	c := newCache(1_000_000)
	x := &Index{cache: c}
	m := c.byID.moment()
	ids := make([]uuid.UUID, n)
	creators := []string{"admin", "ceilometer:service"}
	for i := range ids {
		ids[i] = uuid.New()
		c.byID.put(m, &Entry{ID: ids[i], Ref: engine.Ref(i), Creator: creators[i%2]})
	}
	size := float64(heap()-before-n*16) / n
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, found := x.Cached(ids[i]); !found {
			b.Fatal("not found")
		}
		if i++; i == n {
			i = 0
		}
	}
	b.ReportMetric(size, "B/metric")
}

func BenchmarkLookupNamesInMemory(b *testing.B) {
	const n = 100_000
	c := newCache(1_000_000)
	x := &Index{cache: c}
	m := c.byName.moment()
	names := make([]Name, n)
	for i := range names {
		names[i] = Name{uuid.New(), "disk.device.read.bytes"}
		c.byName.put(m, &Entry{name: c.nameKey(names[i].Resource, names[i].Metric)})
	}
	into := make([]*Entry, 0, 1000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		var err error
		if into, err = x.LookupNames(b.Context(), names[i:i+1000], into[:0]); err != nil {
			b.Fatal(err)
		}
		if i += 1000; i == n {
			i = 0
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/metric")
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
