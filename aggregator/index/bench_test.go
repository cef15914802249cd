package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/search"
)

// BenchmarkIndex measures an index of instances with ten metrics each, on both
// databases. NEPHO_BENCH_RESOURCES is how many (20,000). NEPHO_BENCH_INDEX names an
// index (a path, or a URL of PostgreSQL) that is measured instead, after it was filled
// if there is nothing in it, and stays: a large one need not be filled for each run.
func BenchmarkIndex(b *testing.B) {
	size := 20_000
	if text := os.Getenv("NEPHO_BENCH_RESOURCES"); text != "" {
		size = must(strconv.Atoi(text))(b)
	}
	if where := os.Getenv("NEPHO_BENCH_INDEX"); where != "" {
		measureCloud(b, where, size)
		return
	}
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) { measureCloud(b, where(b, name), size) })
	}
}

// cloud is what the benchmarks' index holds. All of it follows from the numbers of
// the instances.
type cloud struct {
	x    *Index
	size int
	r    *rand.Rand

	// How it was filled: metrics a second, and seconds of the slowest transaction.
	rate, slowest float64
}

// cloudMetrics are the metrics of each instance.
var cloudMetrics = []string{"cpu", "cpu_util", "memory.usage", "memory.resident", "disk.root.size", "disk.ephemeral.size",
	"disk.device.read.bytes", "disk.device.write.bytes", "network.incoming.bytes", "vcpus"}

// id is a UUID at random, as those of instances are.
func (c *cloud) id(n int) uuid.UUID {
	var id uuid.UUID
	r := random(uint64(n) + 1)
	binary.LittleEndian.PutUint64(id[:8], r.Uint64())
	binary.LittleEndian.PutUint64(id[8:], r.Uint64())
	return id
}

func cloudProject(n int) string { return fmt.Sprintf("b0b0b0b0-0000-4000-8000-%012x", n) }

func (c *cloud) wanted(n int) Wanted {
	project := cloudProject(n % 1000)
	creator := "a1a1a1a1000040008000000000000001:c2c2c2c2000040008000000000000001"
	if n%10 == 0 {
		creator = fmt.Sprintf("d3d3d3d300004000800000000000%04x:%s", n%3000, project)
	}
	id := c.id(n)
	w := Wanted{Resource: Resource{ID: id, Original: id.String(), Type: "instance", Creator: creator,
		User: ptr(fmt.Sprintf("a0a0a0a0-0000-4000-8000-%012x", n%3000)), Project: &project,
		Attributes: map[string]any{"host": fmt.Sprintf("compute-%05d.example.org", n%(c.size/50+1)), "display_name": fmt.Sprintf("vm-%d", n),
			"flavor_id": uuid.NewSHA1(uuid.Nil, []byte{byte(n % 20)}).String(), "server_group": fmt.Sprintf("group-%d", n%5000), "vcpus": float64(1 + n%8)}}}
	for _, name := range cloudMetrics {
		w.Metrics = append(w.Metrics, NewMetric{Name: name, Unit: "B", Policy: "low"})
	}
	return w
}

// some are n different instances.
func (c *cloud) some(n int) []int {
	list := make([]int, n)
	for i, at := 0, c.r.IntN(c.size); i < n; i++ {
		list[i] = (at + i*(c.size/n)) % c.size
	}
	return list
}

func (c *cloud) wish(numbers []int) []Wanted {
	wanted := make([]Wanted, len(numbers))
	for i, n := range numbers {
		wanted[i] = c.wanted(n)
	}
	return wanted
}

func (c *cloud) ensure(b *testing.B, wanted []Wanted) []Ensured {
	b.Helper()
	list := must(c.x.EnsureResources(b.Context(), wanted))(b)
	for i := range list {
		ok(b, list[i].Err)
	}
	return list
}

// fill makes the cloud, in batches as samples bring them.
func (c *cloud) fill(b *testing.B) {
	ok(b, c.x.CreateType(b.Context(), ResourceType{"instance", map[string]Attribute{"host": {Type: String}, "display_name": {Type: String},
		"flavor_id": {Type: UUID}, "server_group": {Type: String}, "vcpus": {Type: Number}}}))
	const batch = 200
	numbers := make([]int, batch)
	start, slowest := time.Now(), time.Duration(0)
	for n := 0; n < c.size; n += batch {
		for i := range numbers {
			numbers[i] = n + i
		}
		wanted := c.wish(numbers[:min(batch, c.size-n)])
		before := time.Now()
		c.ensure(b, wanted)
		slowest = max(slowest, time.Since(before))
	}
	c.rate, c.slowest = float64(c.size*len(cloudMetrics))/time.Since(start).Seconds(), slowest.Seconds()
}

// memory is the resident memory of this process in MiB, and the most it ever was.
func memory(b *testing.B) (now, most int) {
	text := string(must(os.ReadFile("/proc/self/status"))(b))
	for line := range strings.Lines(text) {
		fmt.Sscanf(line, "VmRSS: %d", &now)
		fmt.Sscanf(line, "VmHWM: %d", &most)
	}
	return now >> 10, most >> 10
}

// sizes reports those of the index on disk and of this process.
func (c *cloud) sizes(b *testing.B) {
	now, most := memory(b)
	b.ReportMetric(float64(c.bytes(b))/float64(c.size*len(cloudMetrics)), "B/metric")
	b.ReportMetric(float64(now), "MiB-resident")
	b.ReportMetric(float64(most), "MiB-most")
}

// bytes is the size of an index on disk.
func (c *cloud) bytes(b *testing.B) (n int64) {
	if c.x.database.Shared() {
		ok(b, c.x.view(b.Context(), func(s *database.Session) error {
			_, err := s.One(b.Context(), "SELECT pg_database_size(current_database())", nil, &n)
			return err
		}))
		return n
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(c.x.where + suffix); err == nil {
			n += info.Size()
		}
	}
	return n
}

func measureCloud(b *testing.B, where string, size int) {
	// A million metrics in memory, which is the default.
	open := func() *Index {
		return must(Open(b.Context(), Options{URL: where, DefaultPolicies: true}))(b)
	}
	c := &cloud{x: open(), size: size, r: random(1)}
	defer func() { ok(b, c.x.Close()) }()
	if found := must(c.x.ResourcesByID(b.Context(), []uuid.UUID{c.id(0)}))(b); len(found) == 0 {
		filled := b.Run("fill", func(b *testing.B) {
			if c.rate == 0 { // it is called again if it was done soon
				c.fill(b)
			}
			b.ReportMetric(c.rate, "metrics/s")
			b.ReportMetric(c.slowest, "s-slowest")
			c.sizes(b)
		})
		if !filled {
			return
		}
	}
	ok(b, c.x.Close())
	c.x = open()
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			ok(b, c.x.Close())
			c.x = open()
		}
		c.sizes(b)
	})
	c.write(b)
	c.look(b)
	c.search(b)
	c.page(b)
	c.delete(b)
}

// bench measures f, which may stop the clock.
func bench(b *testing.B, name string, f func(ctx context.Context, b *testing.B)) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f(b.Context(), b)
		}
	})
}

func (c *cloud) forget() {
	for part := range shards {
		c.x.cache.expire(part)
	}
}

func (c *cloud) write(b *testing.B) {
	bench(b, "create-1-metric", func(ctx context.Context, b *testing.B) {
		must(c.x.CreateMetrics(ctx, []NewMetric{{Policy: "low"}}))(b)
	})
	bench(b, "create-1000-metrics", func(ctx context.Context, b *testing.B) {
		must(c.x.CreateMetrics(ctx, make([]NewMetric, 1000)))(b)
	})
	n := 0
	bench(b, "change-200-resources", func(ctx context.Context, b *testing.B) {
		wanted := c.wish(c.some(200))
		n++
		for i := range wanted {
			wanted[i].Resource.Attributes["server_group"] = fmt.Sprintf("changed-%d", n)
		}
		c.ensure(b, wanted)
	})
	bench(b, "ensure-200-resources-there", func(ctx context.Context, b *testing.B) {
		b.StopTimer()
		wanted := c.wish(c.some(200))
		c.ensure(b, wanted)
		b.StartTimer()
		c.ensure(b, wanted)
	})
	bench(b, "ensure-200-resources-there-cold", func(ctx context.Context, b *testing.B) {
		wanted := c.wish(c.some(200))
		for i := range wanted {
			delete(wanted[i].Resource.Attributes, "server_group")
		}
		c.ensure(b, wanted)
	})
}

func (c *cloud) look(b *testing.B) {
	// What is looked up was looked at before, outside of the clock: no more than the
	// ids, so that the databases' caches hardly help.
	var ids []uuid.UUID
	var refs []engine.Ref
	for range 20 {
		for _, e := range c.entries(b, c.some(1000)) {
			ids, refs = append(ids, e.ID), append(refs, e.Ref)
		}
	}
	at := 0
	next := func() int { at = (at + 1000) % len(ids); return at }
	bench(b, "lookup-1000-by-id", func(ctx context.Context, b *testing.B) {
		c.forget()
		n := next()
		must(c.x.Lookup(ctx, ids[n:n+1000], nil))(b)
	})
	bench(b, "lookup-1000-by-name", func(ctx context.Context, b *testing.B) {
		c.forget()
		c.entries(b, c.some(1000))
	})
	bench(b, "lookup-1000-by-ref", func(ctx context.Context, b *testing.B) {
		c.forget()
		n := next()
		must(c.x.LookupRefs(ctx, refs[n:n+1000], nil))(b)
	})
	bench(b, "alive-1000", func(ctx context.Context, b *testing.B) {
		n := next()
		must(c.x.Alive(ctx, refs[n:n+1000]))(b)
	})
	bench(b, "metric", func(ctx context.Context, b *testing.B) { must(c.x.Metric(ctx, ids[next()]))(b) })
	bench(b, "resource", func(ctx context.Context, b *testing.B) {
		must(c.x.Resource(ctx, "instance", c.id(c.r.IntN(c.size))))(b)
	})
	bench(b, "history", func(ctx context.Context, b *testing.B) {
		must(c.x.History(ctx, "instance", c.id(c.r.IntN(c.size)), Page{Limit: 1000}))(b)
	})
	bench(b, "resource-metrics-100", func(ctx context.Context, b *testing.B) {
		var list []uuid.UUID
		for _, n := range c.some(100) {
			list = append(list, c.id(n))
		}
		must(c.x.ResourceMetrics(ctx, list, "cpu"))(b)
	})
}

// entries are those of instances' cpu.
func (c *cloud) entries(b *testing.B, numbers []int) []*Entry {
	b.Helper()
	names := make([]Name, len(numbers))
	for i, n := range numbers {
		names[i] = Name{c.id(n), "cpu"}
	}
	return must(c.x.LookupNames(b.Context(), names, nil))(b)
}

func (c *cloud) search(b *testing.B) {
	find := func(name string, least int, history bool, filter func() string) {
		bench(b, "search-"+name, func(ctx context.Context, b *testing.B) {
			n := must(search.Parse(filter()))(b)
			list := must(c.x.Resources(ctx, ResourceQuery{Type: "instance", Filter: n, History: history, Page: Page{Limit: 1000}}))(b)
			if len(list) < least {
				b.Fatalf("got %d resources, want %d", len(list), least)
			}
		})
	}
	host := func() string {
		return fmt.Sprintf("host = 'compute-%05d.example.org'", c.r.IntN(c.size/50+1))
	}
	find("name", 1, false, func() string { return fmt.Sprintf("display_name = 'vm-%d'", c.r.IntN(c.size)) })
	find("id", 1, false, func() string { return "id = " + c.id(c.r.IntN(c.size)).String() })
	find("host", 49, false, host) // 50
	find("host-and-others", 1, false, func() string { return host() + " and project_id != x and vcpus > 0" })
	find("100-names", 100, false, func() string {
		var names []string
		for _, n := range c.some(100) {
			names = append(names, fmt.Sprintf("'vm-%d'", n))
		}
		return "display_name in [" + strings.Join(names, ",") + "]"
	})
	find("project", c.size/1000, false, func() string { return fmt.Sprintf("project_id = '%s'", cloudProject(c.r.IntN(1000))) })
	find("like-prefix", 1, false, func() string { return fmt.Sprintf("display_name like 'vm-%d%%'", c.size/100+c.r.IntN(c.size*9/1000)) }) // about 100
	find("flavor", 1000, false, func() string {
		return "flavor_id = " + uuid.NewSHA1(uuid.Nil, []byte{byte(c.r.IntN(20))}).String() // 1 of 20: a page of many
	})
	find("vcpus", 1000, false, func() string { return "vcpus = 3" })                          // 1 of 8, without an index
	find("none", 0, false, func() string { return "vcpus = 99" })                             // the worst: all are looked at
	find("like-infix", 1, false, func() string { return "display_name like '%m-7777'" })      // likewise
	find("host-in-history", 1, true, host)                                                    // likewise
	find("changed-since", 0, false, func() string { return "revision_start > '2100-01-01'" }) // from there on
	find("id-in-history", 1, true, func() string { return "id = " + c.id(c.r.IntN(c.size)).String() })
	bench(b, "search-in-project", func(ctx context.Context, b *testing.B) {
		must(c.x.Resources(ctx, ResourceQuery{Type: "instance", Filter: must(search.Parse("vcpus > 3"))(b), Scope: Scope{cloudProject(c.r.IntN(1000))}, Page: Page{Limit: 1000}}))(b)
	})
}

func (c *cloud) page(b *testing.B) {
	// At the beginning, and where nine tenths come before.
	deep := c.id(c.size * 9 / 10).String()
	resources := func(name string, q ResourceQuery) {
		q.Page.Limit = 1000
		for _, marker := range []string{"", deep} {
			if marker != "" {
				name += "-deep"
				if q.Page.Marker = marker; q.History {
					q.Page.Marker += "@-1"
				}
			}
			bench(b, "page-"+name, func(ctx context.Context, b *testing.B) { must(c.x.Resources(ctx, q))(b) })
		}
	}
	resources("instances", ResourceQuery{Type: "instance"})
	resources("generic", ResourceQuery{Type: Generic, WithoutMetrics: true})
	resources("history", ResourceQuery{Type: "instance", History: true, WithoutMetrics: true})
	resources("project", ResourceQuery{Type: "instance", Scope: Scope{cloudProject(7)}, WithoutMetrics: true})
	resources("by-id", ResourceQuery{Type: "instance", Page: Page{Sort: []SortKey{{Name: "id"}}}, WithoutMetrics: true})
	resources("newest", ResourceQuery{Type: "instance", Page: Page{Sort: []SortKey{{Name: "revision_start", Desc: true}, {Name: "started_at", Desc: true}, {Name: "id", Desc: true}}}, WithoutMetrics: true})
	resources("by-name", ResourceQuery{Type: "instance", Page: Page{Sort: []SortKey{{Name: "display_name"}}}, WithoutMetrics: true})
	deepMetric := c.entries(b, []int{c.size * 9 / 10})[0].ID.String()
	metrics := func(name string, q MetricQuery) {
		q.Page.Limit = 1000
		for _, marker := range []string{"", deepMetric} {
			if marker != "" {
				name, q.Page.Marker = name+"-deep", marker
			}
			bench(b, "page-"+name, func(ctx context.Context, b *testing.B) { must(c.x.Metrics(ctx, q))(b) })
		}
	}
	metrics("metrics", MetricQuery{})
	metrics("metrics-of-name", MetricQuery{Name: ptr("cpu")})
	metrics("metrics-of-policy", MetricQuery{Policy: "low"})
	metrics("metrics-of-project", MetricQuery{Scope: Scope{cloudProject(7)}})
	metrics("metrics-of-no-unit", MetricQuery{Unit: ptr("no")})
	metrics("metrics-deleted", MetricQuery{Deleted: true})
	bench(b, "metric-names", func(ctx context.Context, b *testing.B) { must(c.x.MetricNames(ctx, Scope{}, "", 100))(b) })
	bench(b, "metric-names-of-project", func(ctx context.Context, b *testing.B) {
		must(c.x.MetricNames(ctx, Scope{cloudProject(c.r.IntN(1000))}, "", 100))(b)
	})
	if !c.x.database.Shared() {
		bench(b, "snapshot", func(ctx context.Context, b *testing.B) { ok(b, c.x.Snapshot(ctx, io.Discard)) })
	}
}

// delete measures deletions; what was deleted is made again outside of the clock.
func (c *cloud) delete(b *testing.B) {
	long := time.Now().Add(time.Hour)
	purge := func(b *testing.B) {
		for len(must(c.x.Purge(b.Context(), long, 1000))(b)) > 0 {
		}
	}
	bench(b, "delete-resource", func(ctx context.Context, b *testing.B) {
		n := c.r.IntN(c.size)
		ok(b, c.x.DeleteResource(ctx, "instance", c.id(n), time.Time{}))
		b.StopTimer()
		c.ensure(b, c.wish([]int{n}))
		b.StartTimer()
	})
	purge(b)
	bench(b, "purge-nothing", func(ctx context.Context, b *testing.B) { must(c.x.Purge(ctx, long, 1000))(b) })
	var gone []int
	bench(b, "delete-100-resources", func(ctx context.Context, b *testing.B) {
		b.StopTimer()
		c.ensure(b, c.wish(gone))
		gone = c.some(100)
		in := search.In{Attribute: "id"}
		for _, n := range gone {
			in.Values = append(in.Values, c.id(n).String())
		}
		b.StartTimer()
		same(b, must(c.x.DeleteResources(ctx, ResourceQuery{Type: "instance", Filter: in}))(b), 100)
	})
	bench(b, "purge-1000", func(ctx context.Context, b *testing.B) {
		b.StopTimer()
		c.ensure(b, c.wish(gone))
		gone = c.some(100)
		c.ensure(b, c.wish(gone))
		for _, n := range gone {
			ok(b, c.x.DeleteResource(ctx, "instance", c.id(n), time.Time{}))
		}
		b.StartTimer()
		must(c.x.Purge(ctx, long, 1000))(b)
	})
	c.ensure(b, c.wish(gone))
	b.Run("end", c.sizes)
}
