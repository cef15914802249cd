package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/nephoscope/nepho/sdk"
)

const (
	// together is how many metrics one request is about.
	together = 100
	// maxSplits is how many times, while one question is answered, a request is made
	// again in two halves because something in it, nobody knows what, makes Gnocchi fail.
	maxSplits = 64
)

// Windows implements sdk.SeriesReader. Many metrics go into one request. What is wrong
// with one of them is told for that one, and the others are asked for again.
func (g *Gnocchi) Windows(ctx context.Context, qs []sdk.WindowQuery) (*sdk.Windows, error) {
	total := 0
	for _, q := range qs {
		total += len(q.Series)
	}
	r := windowReader{g: g, rows: make([]windowRow, total)}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(connections)
	for _, c := range r.chunks(qs) {
		work.Go(func() error { return r.ask(ctx, c) })
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	if n := g.damaged.note(r.failed); n > 0 {
		g.log.Warn("Gnocchi does not give the windows of metrics", "new", n, "of", len(r.failed), "first", r.failed[0].String(), "error", r.why)
	}
	all := &sdk.Windows{Counts: make([]int32, total)}
	for i, row := range r.rows {
		if row.absent != 0 {
			all.Counts[i] = -int32(row.absent)
			continue
		}
		if len(all.Times)+len(row.times) > sdk.MaxWindows {
			return nil, sdk.Refuse(fmt.Errorf("the answer has more than %d windows: ask for fewer series, or for a shorter time", sdk.MaxWindows))
		}
		all.Counts[i] = int32(len(row.times))
		all.Times, all.Values = append(all.Times, row.times...), append(all.Values, row.values...)
	}
	return all, nil
}

// windowReader reads windows of many metrics.
type windowReader struct {
	g      *Gnocchi
	rows   []windowRow // each is written by the one who asks for it
	splits atomic.Int32

	mu     sync.Mutex
	failed []uuid.UUID // whose windows can't be had, nobody knows why
	why    *failure    // one of theirs
}

type windowRow struct {
	times  []int64
	values []float64
	absent sdk.Absence
}

// chunk is what one request is about.
type chunk struct {
	q       *sdk.WindowQuery
	metrics []wantedMetric
}

// wantedMetric is a metric, and the rows that want it.
type wantedMetric struct {
	id   uuid.UUID
	rows []int
}

func (r *windowReader) chunks(qs []sdk.WindowQuery) []chunk {
	var list []chunk
	row := 0
	for i := range qs {
		places := map[uuid.UUID]int{}
		var metrics []wantedMetric
		for _, number := range qs[i].Series {
			id, ok := r.g.numbers.id(number)
			if !ok {
				r.rows[row].absent = sdk.NoSeries
			} else if place, ok := places[id]; ok {
				metrics[place].rows = append(metrics[place].rows, row)
			} else {
				places[id] = len(metrics)
				metrics = append(metrics, wantedMetric{id, []int{row}})
			}
			row++
		}
		for len(metrics) > 0 {
			n := min(len(metrics), together)
			list = append(list, chunk{&qs[i], metrics[:n]})
			metrics = metrics[n:]
		}
	}
	return list
}

// ask asks for the windows of a chunk. An error is about the server, and not about one of
// its metrics.
func (r *windowReader) ask(ctx context.Context, c chunk) error {
	for len(c.metrics) > 0 {
		operation := []any{"metric"}
		for _, m := range c.metrics {
			operation = append(operation, [2]string{m.id.String(), c.q.Aggregation})
		}
		var answer struct {
			Measures map[string]map[string][]point
		}
		_, err := r.g.post(ctx, "/v1/aggregates", span(c.q.From, c.q.To, c.q.Granularity), map[string]any{"operations": operation}, &answer)
		var f *failure
		switch {
		case err == nil:
			return r.take(c, answer.Measures)
		case !errors.As(err, &f) || !f.about() && f.status != http.StatusInternalServerError:
			return err
		}
		n := len(c.metrics)
		if c.metrics = r.exclude(c.metrics, f); len(c.metrics) == n {
			return r.split(ctx, c, f)
		}
	}
	return nil
}

// exclude notes what a failure says of metrics, and gives the others.
func (r *windowReader) exclude(metrics []wantedMetric, f *failure) []wantedMetric {
	absence := sdk.NoGranularity
	cause, detail := f.cause()
	switch cause {
	case unknownMetrics:
		absence = sdk.NoSeries
	case unknownAggregation:
		absence = sdk.NoAggregation
	case unaggregable:
	default:
		return metrics
	}
	wrong := map[string]bool{}
	for _, d := range detail {
		var id string
		list := []any{&id}
		if json.Unmarshal(d, &id) == nil || json.Unmarshal(d, &list) == nil {
			wrong[id] = true // a metric alone, or followed by what it has not
		}
	}
	var others []wantedMetric
	for _, m := range metrics {
		if wrong[m.id.String()] {
			r.absent(m, absence)
		} else {
			others = append(others, m)
		}
	}
	return others
}

// split looks for the metrics that make Gnocchi fail.
func (r *windowReader) split(ctx context.Context, c chunk, f *failure) error {
	n := len(c.metrics)
	if n == 1 || r.splits.Add(1) > maxSplits {
		absence := sdk.Unreadable
		if f.status == http.StatusForbidden && n == 1 {
			absence = sdk.NoSeries
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.why = f
		for _, m := range c.metrics {
			r.absent(m, absence)
			r.failed = append(r.failed, m.id)
		}
		return nil
	}
	if err := r.ask(ctx, chunk{c.q, c.metrics[:n/2]}); err != nil {
		return err
	}
	return r.ask(ctx, chunk{c.q, c.metrics[n/2:]})
}

func (r *windowReader) absent(m wantedMetric, why sdk.Absence) {
	for _, row := range m.rows {
		r.rows[row].absent = why
	}
}

// take takes the windows of a chunk.
func (r *windowReader) take(c chunk, measures map[string]map[string][]point) error {
	r.g.damaged.forget(c.metrics)
	for _, m := range c.metrics {
		points, ok := measures[m.id.String()][c.q.Aggregation]
		if !ok {
			return fmt.Errorf("the answer of Gnocchi has nothing about %s of metric %s", c.q.Aggregation, m.id)
		}
		times, values, err := columns(points)
		if err != nil {
			return err
		}
		for _, row := range m.rows {
			r.rows[row].times, r.rows[row].values = times, values
		}
	}
	return nil
}

// maxDamaged is how many damaged metrics are remembered.
const maxDamaged = 10_000

// damaged are metrics whose windows can't be had, so that each is told of once.
type damaged struct {
	mu   sync.Mutex
	list map[uuid.UUID]struct{}
}

// note remembers metrics, and tells how many are new.
func (d *damaged) note(ids []uuid.UUID) (n int) {
	if len(ids) == 0 {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range ids {
		if _, known := d.list[id]; known {
			continue
		}
		if d.list == nil || len(d.list) >= maxDamaged {
			d.list = map[uuid.UUID]struct{}{}
		}
		d.list[id] = struct{}{}
		n++
	}
	return n
}

// forget forgets metrics whose windows can be had.
func (d *damaged) forget(metrics []wantedMetric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) == 0 {
		return
	}
	for _, m := range metrics {
		delete(d.list, m.id)
	}
}
