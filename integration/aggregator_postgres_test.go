package integration

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nephoscope/nepho/integration/parts"
)

// With the index in a database, what the aggregator holds in memory is enough for
// writes for a while; without it they are refused, and nothing is wrong afterwards.
func TestAggregatorPostgres(t *testing.T) {
	t.Parallel()
	p := parts.PostgreSQL(t)
	g := newAggregator(t, fmt.Sprintf("index = '%s'\n", p.Database())).start()
	all := g.makeMetrics(4)
	points := map[*series][]point{}
	next := func(at int) {
		for i, s := range all {
			points[s] = row(yesterday().Add(time.Duration(at)*time.Minute), 60, float64(at*100+i))
		}
	}
	next(0)
	g.write(points)
	g.Stop()
	g.start()
	g.expect(all)

	p.Kill9()
	for at := range 3 {
		next(1 + at)
		err := g.tryWrite(points)
		if r := new(refused); err != nil && (!errors.As(err, &r) || r.code != http.StatusServiceUnavailable) {
			t.Errorf("a write without the database: %v", err)
		}
	}
	code, text, err := g.ask("POST", "/v1/metric", map[string]any{"archive_policy_name": "kept"})
	if err != nil || code < http.StatusInternalServerError {
		t.Errorf("a metric is made without the database: %d: %s %v", code, text, err)
	}
	p.Start()
	Eventually(t, "writes go on", func() error { return g.tryWrite(points) })
	next(10)
	Eventually(t, "writes go on", func() error { return g.tryWrite(points) })
	all = append(all, g.makeMetric())
	next(11)
	g.write(points)
	g.expect(all)
	g.Stop()
	g.start()
	g.expect(all)
	g.Stop()
	g.verify(t)
}
