package integration

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/nephoscope/nepho/integration/parts"
)

// bucket is one of a real S3 server.
type bucket struct {
	*parts.S3Server
	t *testing.T
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	s := parts.VersityGW(t, nil)
	s.MakeBucket("telemetry")
	return &bucket{s, t}
}

// options are those of an aggregator on the bucket.
func (b *bucket) options() string {
	return fmt.Sprintf("[storage.aggregator.s3]\nendpoint = '%s'\nbucket = 'telemetry'\naccess_key = '%s'\nsecret_key = '%s'\nship = '1s'\nship_index = '10s'\n",
		b.URL, b.AccessKey, b.SecretKey)
}

// objects lists files of the bucket, which the server keeps as such.
func (b *bucket) objects(pattern string) []string {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(b.Dir, "data", "telemetry", pattern))
	if err != nil {
		b.t.Fatal(err)
	}
	return files
}

// awaitNew waits until there is an object that was not there before.
func (b *bucket) awaitNew(pattern string, before []string) {
	b.t.Helper()
	Eventually(b.t, "a new object "+pattern+" is in the bucket", func() error {
		if !slices.ContainsFunc(b.objects(pattern), func(o string) bool { return !slices.Contains(before, o) }) {
			return errNot
		}
		return nil
	})
}

// awaitLog waits until all that was written is in the bucket's copy of the log. A piece
// that gets there may have been begun before; the one after it was not. It writes to a
// metric of its own, so that there is something for both.
func (b *bucket) awaitLog(g *aggregator, mark *series) {
	b.t.Helper()
	for i := range 2 {
		before := b.objects("log/*/*")
		g.write(map[*series][]point{mark: row(yesterday().Add(time.Duration(i)*time.Second), 1, 1)})
		b.awaitNew("log/*/*", before)
	}
}

// awaitIndex waits until a copy of the index that has a resource or metric is in the
// bucket.
func (b *bucket) awaitIndex(id string) {
	b.t.Helper()
	binary, err := uuid.MustParse(id).MarshalBinary()
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	defer d.Close()
	Eventually(b.t, "the index is in the bucket with "+id, func() error {
		names := b.objects("index/*")
		if len(names) == 0 {
			return errNot
		}
		packed, err := os.ReadFile(slices.Max(names))
		if err != nil {
			return err
		}
		index, err := d.DecodeAll(packed, nil)
		if err != nil {
			return err
		}
		return want(bytes.Contains(index, binary), "it is not in %d bytes", len(index))
	})
}

// A node is lost with all that is on it. What was shipped is all there for the next.
func TestAggregatorNodeLost(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	g := newAggregator(t, b.options()).start()
	all := g.makeMetrics(5)
	g.must(http.StatusCreated, "POST", "/v1/resource/generic", map[string]any{
		"id": "a0000000-0000-0000-0000-00000000000f", "metrics": map[string]any{"power": map[string]any{"archive_policy_name": "kept"}},
	}, nil)
	named := map[string]any{}
	b.awaitIndex("a0000000-0000-0000-0000-00000000000f") // which was made last
	points := map[*series][]point{}
	for round := range 5 {
		for i, s := range all {
			points[s] = row(yesterday().Add(time.Duration(round)*time.Minute), 70, float64(round*1000+i))
		}
		g.write(points)
	}
	g.must(http.StatusAccepted, "POST", "/v1/resource/generic/a0000000-0000-0000-0000-00000000000f/metric/power/measures", row(yesterday(), 10, 1), nil)
	b.awaitLog(g, g.makeMetric()) // one which the copy of the index does not have
	g.Kill9()
	if err := os.RemoveAll(g.Path("aggregator")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(g.Path("data")); err != nil {
		t.Fatal(err)
	}

	next := newAggregator(t, b.options()).start()
	next.expect(all)
	next.must(http.StatusOK, "GET", "/v1/resource/generic/a0000000-0000-0000-0000-00000000000f", nil, &named)
	var power measured
	next.must(http.StatusOK, "GET", "/v1/resource/generic/a0000000-0000-0000-0000-00000000000f/metric/power/measures?aggregation=sum&granularity=10", nil, &power)
	if len(power) != 1 || power[0][2] != 55.0 {
		t.Errorf("%v", power)
	}
	// New metrics are not taken for those that were made after the index was copied.
	fresh := next.makeMetric()
	next.expect([]*series{fresh})
	for _, s := range append(all, fresh) {
		points[s] = row(yesterday().Add(10*time.Minute), 10, 5)
	}
	next.write(points)
	next.Stop()
	next.verify(t)
	next.start()
	next.expect(append(all, fresh))
	next.Stop()
}

// Without S3 writes go on, for as long as memory and disk allow it.
func TestAggregatorS3Away(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	g := newAggregator(t, "checkpoint = '1s'\n"+b.options()).start()
	all := g.makeMetrics(8)
	w := startWriters(t, g, 2, all)
	w.await(20)
	b.awaitNew("blocks/*", b.objects("blocks/*"))
	b.Kill9()
	g.AwaitLog(`level=WARN msg="a request failed and is tried again"`)
	w.await(20)
	b.Start()
	w.await(20)
	b.awaitNew("blocks/*", b.objects("blocks/*"))
	end9(t, g.Agent, "storage/aggregator")
	w.await(20)
	w.end()
	g.expect(all)
	b.Kill9()
	end := row(w.all[0].now.Add(time.Hour), 10, 1)
	g.write(map[*series][]point{all[0]: end})
	g.Kill9()
	b.Start()
	g.start()
	g.expect(all)
	g.Stop()
	g.verify(t)
}

// Of two nodes on one bucket the later one goes on, and the other one says why it does not.
func TestAggregatorTwoNodes(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	first := newAggregator(t, b.options()).start()
	all := first.makeMetrics(3)
	mark := first.makeMetric()
	b.awaitIndex(mark.id) // else the second node does not know the metrics
	points := map[*series][]point{}
	for _, s := range all {
		points[s] = row(yesterday(), 100, 1)
	}
	first.write(points)
	b.awaitLog(first, mark)

	second := newAggregator(t, b.options()).start()
	first.AwaitLog(`level=ERROR msg="the store was taken over"`)
	second.expect(all)
	for _, s := range all {
		points[s] = row(yesterday().Add(10*time.Minute), 100, 7)
	}
	body := map[string][]point{}
	for s, p := range points {
		body[s.id] = p
	}
	code, text, err := first.ask("POST", "/v1/batch/metrics/measures", body)
	if err != nil || code != http.StatusServiceUnavailable || !strings.Contains(text, "Another node") {
		t.Errorf("the first node answers %d: %s %v", code, text, err)
	}
	second.expect(all)
	second.write(points)
	second.expect(all)

	// The first one ends, and leaves alone what is the second one's.
	second.makeMetric()
	first.Stop()
	second.Stop()
	second.start()
	second.expect(all)
	second.Stop()
	second.verify(t)
}

// Without S3 the aggregator does not start, and its status says which server does not
// answer, and why. It starts by itself when the server is there.
func TestAggregatorStartsWithoutS3(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	b.Kill9()
	g := newAggregator(t, b.options())
	g.Start()
	Eventually(t, "the status says why the aggregator does not start", func() error {
		out, log, _ := g.Run("status")
		_, page, err := g.Get("/")
		if err != nil {
			return err
		}
		for _, text := range []string{out, html.UnescapeString(page)} {
			if !strings.Contains(text, b.URL) || !strings.Contains(text, "connection refused: nothing listens there: start the server, or correct option endpoint") {
				return fmt.Errorf("%s%s", text, log)
			}
		}
		return nil
	})
	b.Start()
	g.AwaitReady()
	all := g.makeMetrics(1)
	g.write(map[*series][]point{all[0]: row(yesterday(), 10, 1)})
	g.Stop()
	g.verify(t)
}
