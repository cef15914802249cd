package index

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/search"
)

// cloud is what the benchmarks' index holds.
type cloud struct {
	resources int
	ids       []uuid.UUID
	metrics   []uuid.UUID // one of each resource
}

var cloudMetrics = []string{"cpu", "memory.usage", "disk.root.size", "disk.ephemeral.size", "vcpus"}

func (c *cloud) wanted(n int) Wanted {
	project := fmt.Sprintf("b0b0b0b0-0000-4000-8000-%012x", n%100)
	creator := "a1a1a1a1000040008000000000000001:c2c2c2c2000040008000000000000001"
	if n%10 == 0 {
		creator = fmt.Sprintf("d3d3d3d300004000800000000000%04x:%s", n%300, project)
	}
	w := Wanted{Resource: Resource{ID: c.ids[n], Original: c.ids[n].String(), Type: "instance", Creator: creator,
		User: ptr(fmt.Sprintf("a0a0a0a0-0000-4000-8000-%012x", n%300)), Project: &project,
		Attributes: map[string]any{"host": fmt.Sprintf("compute-%04d.example.org", n%2000), "display_name": fmt.Sprintf("vm-%d", n),
			"flavor_id": id(n % 20).String(), "server_group": fmt.Sprintf("group-%d", n%5000), "vcpus": float64(1 + n%8)}}}
	for _, name := range cloudMetrics {
		w.Metrics = append(w.Metrics, NewMetric{Name: name, Unit: "B", Policy: "low"})
	}
	return w
}

// fill makes the cloud, in batches as samples bring them.
func (c *cloud) fill(b *testing.B, x *Index) {
	b.Helper()
	ok(b, x.CreateType(b.Context(), ResourceType{"instance", map[string]Attribute{"host": {Type: String}, "display_name": {Type: String},
		"flavor_id": {Type: UUID}, "server_group": {Type: String}, "vcpus": {Type: Number}}}))
	const batch = 200
	for n := 0; n < c.resources; n += batch {
		var wanted []Wanted
		for i := range batch {
			c.ids = append(c.ids, uuid.New())
			wanted = append(wanted, c.wanted(n+i))
		}
		for _, e := range must(x.EnsureResources(b.Context(), wanted))(b) {
			ok(b, e.Err)
			c.metrics = append(c.metrics, e.Entries[0].ID)
		}
	}
}

// BenchmarkIndex measures an index of 200,000 resources with 5 metrics each; with
// -short, of a tenth. NEPHO_BENCH_RESOURCES is another number.
func BenchmarkIndex(b *testing.B) {
	size := 200_000
	if testing.Short() {
		size /= 10
	}
	if text := os.Getenv("NEPHO_BENCH_RESOURCES"); text != "" {
		size = must(strconv.Atoi(text))(b)
	}
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) {
			c := &cloud{resources: size}
			x := open(b, where(b, name))
			b.Run("fill", func(b *testing.B) {
				for range b.N {
					if c.ids == nil {
						c.fill(b, x)
					}
				}
				b.ReportMetric(float64(size*6*b.N)/b.Elapsed().Seconds(), "things/s")
			})
			if c.ids != nil {
				c.measure(b, x)
			}
		})
	}
}

func (c *cloud) measure(b *testing.B, x *Index) {
	ctx := b.Context()
	n := 0
	next := func(step int) int { n += step; return n % (c.resources - 1000) }
	each := func(name string, f func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f(b)
			}
		})
	}
	list := func(b *testing.B, q ResourceQuery, least int) []*Resource {
		b.Helper()
		list, err := x.Resources(ctx, q)
		ok(b, err)
		if len(list) < least {
			b.Fatalf("got %d resources, want %d", len(list), least)
		}
		return list
	}
	find := func(text string) search.Node { return must(search.Parse(text))(b) }

	each("create-1-metric", func(b *testing.B) { must(x.CreateMetrics(ctx, []NewMetric{{Policy: "low"}}))(b) })
	each("create-1000-metrics", func(b *testing.B) { must(x.CreateMetrics(ctx, make([]NewMetric, 1000)))(b) })
	each("ensure-200-there", func(b *testing.B) {
		at := next(200)
		var wanted []Wanted
		for i := range 200 {
			wanted = append(wanted, c.wanted(at+i))
		}
		must(x.EnsureResources(ctx, wanted))(b)
	})
	each("ensure-200-changed", func(b *testing.B) {
		at := next(200)
		var wanted []Wanted
		for i := range 200 {
			w := c.wanted(at + i)
			w.Resource.Attributes["server_group"] = fmt.Sprint("changed-", n)
			wanted = append(wanted, w)
		}
		must(x.EnsureResources(ctx, wanted))(b)
	})
	forget := func() {
		for part := range shards {
			x.cache.expire(part)
		}
	}
	each("lookup-1000-cold", func(b *testing.B) {
		forget()
		at := next(1000)
		must(x.Lookup(ctx, c.metrics[at:at+1000], nil))(b)
	})
	each("lookup-names-1000-cold", func(b *testing.B) {
		forget()
		var names []Name
		for _, id := range c.ids[next(1000):][:1000] {
			names = append(names, Name{id, "cpu"})
		}
		must(x.LookupNames(ctx, names, nil))(b)
	})
	each("alive-1000", func(b *testing.B) {
		refs := make([]engine.Ref, 1000)
		for i, at := 0, next(1000); i < 1000; i++ {
			refs[i] = engine.Ref(at*5 + i + 1)
		}
		must(x.Alive(ctx, refs))(b)
	})
	each("search-name", func(b *testing.B) { // 1
		list(b, ResourceQuery{Type: "instance", Filter: find(fmt.Sprintf("display_name = 'vm-%d'", next(7))), Page: Page{Limit: 1000}}, 1)
	})
	each("search-host", func(b *testing.B) { // 1 in 2000
		list(b, ResourceQuery{Type: "instance", Filter: find(fmt.Sprintf("host = 'compute-%04d.example.org'", next(7)%2000)), Page: Page{Limit: 1000}}, c.resources/2000)
	})
	each("search-100-names", func(b *testing.B) {
		names := make([]string, 100)
		for i := range names {
			names[i] = fmt.Sprintf("'vm-%d'", next(97))
		}
		list(b, ResourceQuery{Type: "instance", Filter: find("display_name in [" + strings.Join(names, ",") + "]"), Page: Page{Limit: 1000}}, 50)
	})
	each("search-prefix", func(b *testing.B) { // about 10
		list(b, ResourceQuery{Type: "instance", Filter: find(fmt.Sprintf("display_name like 'vm-%d%%'", 1000+next(7)%9000)), Page: Page{Limit: 1000}}, 1)
	})
	each("search-host-and-project", func(b *testing.B) {
		list(b, ResourceQuery{Type: "instance", Filter: find(fmt.Sprintf("host = 'compute-%04d.example.org' and project_id != x and vcpus > 0", next(7)%2000)), Page: Page{Limit: 1000}}, c.resources/2000)
	})
	each("search-flavor-page", func(b *testing.B) { // 1 in 20: a page of many
		list(b, ResourceQuery{Type: "instance", Filter: find("flavor_id = " + id(next(7)%20).String()), Page: Page{Limit: 1000}}, 500)
	})
	each("search-vcpus-page", func(b *testing.B) { // 1 in 8, no index
		list(b, ResourceQuery{Type: "instance", Filter: find("vcpus = 3"), Page: Page{Limit: 1000}}, 500)
	})
	each("search-vcpus-none", func(b *testing.B) { // the worst: all are looked at
		list(b, ResourceQuery{Type: "instance", Filter: find("vcpus = 99"), Page: Page{Limit: 1000}}, 0)
	})
	marker := ""
	page := func(q ResourceQuery) func(b *testing.B) {
		marker = ""
		return func(b *testing.B) {
			q.Page = Page{Limit: 1000, Marker: marker}
			resources := list(b, q, 0)
			if marker = ""; len(resources) == 1000 {
				last := resources[len(resources)-1]
				marker = last.ID.String()
				if q.History {
					marker += fmt.Sprintf("@%d", last.Revision)
				}
			}
		}
	}
	each("page-instances", page(ResourceQuery{Type: "instance"}))
	each("page-instances-without-metrics", page(ResourceQuery{Type: "instance", WithoutMetrics: true}))
	each("page-generic", page(ResourceQuery{Type: Generic, WithoutMetrics: true}))
	each("page-history", page(ResourceQuery{Type: "instance", History: true, WithoutMetrics: true}))
	each("page-project", page(ResourceQuery{Type: "instance", Scope: Scope{fmt.Sprintf("b0b0b0b0-0000-4000-8000-%012x", 7)}, WithoutMetrics: true}))
	metrics := func(q MetricQuery) func(b *testing.B) {
		marker = ""
		return func(b *testing.B) {
			q.Page = Page{Limit: 1000, Marker: marker}
			found := must(x.Metrics(ctx, q))(b)
			if marker = ""; len(found) == 1000 {
				marker = found[999].ID.String()
			}
		}
	}
	each("page-metrics", metrics(MetricQuery{}))
	each("page-metrics-of-name", metrics(MetricQuery{Name: ptr("cpu")}))
	each("page-metrics-of-policy", metrics(MetricQuery{Policy: "low"}))
	each("page-metrics-of-project", metrics(MetricQuery{Scope: Scope{fmt.Sprintf("b0b0b0b0-0000-4000-8000-%012x", 7)}}))
	each("metric-names", func(b *testing.B) { must(x.MetricNames(ctx, Scope{}, "", 100))(b) })
	if !x.database.shared {
		each("snapshot", func(b *testing.B) { ok(b, x.Snapshot(ctx, io.Discard)) })
		info, err := os.Stat(x.where)
		ok(b, err)
		b.Logf("the file has %d bytes, %.0f a resource with its 5 metrics", info.Size(), float64(info.Size())/float64(c.resources))
	}
}
