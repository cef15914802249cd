package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// batchQuery is which measures of many metrics are asked for.
type batchQuery struct {
	interval
	methods       []policy.Method
	granularities []time.Duration // coarsest first; none: all of each metric
	period        timetext.Period
	resample      bool
}

// batchQuery reads the parameters of a request for the measures of many metrics.
func (d *dataPlane) batchQuery(q query) (b batchQuery, err error) {
	if b.period, b.resample, err = q.resample(); err != nil {
		return b, err
	}
	if b.interval, err = d.interval(q); err != nil {
		return b, err
	}
	if b.granularities, err = q.granularities(); err != nil {
		return b, err
	}
	names := q.all("aggregation")
	if names == nil {
		names = []string{"mean"}
	}
	for _, name := range names {
		m, err := policy.ParseMethod(name)
		if err != nil {
			return b, badArgument("aggregation", err.Error())
		}
		if !slices.Contains(b.methods, m) {
			b.methods = append(b.methods, m)
		}
	}
	return b, nil
}

// of is the granularities that are asked for of a metric, which has to keep them,
// and the methods.
func (b *batchQuery) of(entry *index.Entry, p *policy.Policy) ([]time.Duration, error) {
	for _, m := range b.methods {
		if !p.Methods.Has(m) {
			return nil, notFound(Cause{Cause: "Metrics with unknown aggregation", Detail: [][2]string{{entry.ID.String(), m.String()}}})
		}
	}
	if b.granularities == nil {
		return granularities(p), nil
	}
	c := column{entry: entry, name: entry.ID.String(), policy: p, method: b.methods[0]}
	for _, g := range b.granularities {
		a := aggregation{granularity: g}
		if _, err := a.granularities([]column{c}); err != nil {
			return nil, err
		}
	}
	return b.granularities, nil
}

// queryBatch answers with the measures of many metrics by any methods, at any
// granularities.
func (d *dataPlane) queryBatch(w http.ResponseWriter, r *http.Request) error {
	binary, err := wantsBinary(r)
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	b, err := d.batchQuery(q)
	if err != nil {
		return err
	}
	ids, err := d.bodyIDs(w, r)
	if err != nil {
		return err
	}
	entries, err := d.entries(r.Context(), unique(ids))
	if err != nil {
		return err
	}
	spans := make([][]time.Duration, len(entries))
	for i, entry := range entries {
		p, err := d.policy(entry)
		if err != nil {
			return err
		}
		if spans[i], err = b.of(entry, p); err != nil {
			return err
		}
	}
	rd := d.reader()
	defer d.doneReading(rd)
	if binary {
		rd.binary.start(w)
		err := d.inOrder(r.Context(), len(entries), rd, &rd.binary.pieces, func(ctx context.Context, part *reader, i int) error {
			return d.eachSeries(ctx, part, &b, entries[i], spans[i], func(m policy.Method, p timetext.Period, s *window.Series, _ bool) {
				part.json.b = appendSeries(part.json.b, entries[i].ID, m, p, s)
			})
		})
		if err != nil {
			return err
		}
		for _, list := range spans {
			rd.binary.count += len(list) * len(b.methods)
		}
		rd.binary.end()
		return d.finish(r.Context(), rd, &rd.binary.pieces)
	}
	rd.json.start(w)
	rd.json.raw("{")
	err = d.inOrder(r.Context(), len(entries), rd, &rd.json.pieces, func(ctx context.Context, part *reader, i int) error {
		j := &part.json
		if i > 0 {
			j.raw(",")
		}
		j.raw(`"` + entries[i].ID.String() + `":{`)
		first := true
		err := d.eachSeries(ctx, part, &b, entries[i], spans[i], func(m policy.Method, p timetext.Period, s *window.Series, begins bool) {
			if begins {
				if m != b.methods[0] {
					j.raw("],")
				}
				j.raw(`"` + m.String() + `":[`)
				first = true
			}
			first = j.measures(s, jsonPeriod(p), first)
		})
		j.raw("]}")
		return err
	})
	if err != nil {
		return err
	}
	rd.json.raw("}")
	return d.finish(r.Context(), rd, &rd.json.pieces)
}

// eachSeries reads what is asked for of a metric, and calls f for the series by
// method and then granularity; begins is set for the first of each method.
func (d *dataPlane) eachSeries(ctx context.Context, rd *reader, b *batchQuery, entry *index.Entry, spans []time.Duration, f func(m policy.Method, p timetext.Period, s *window.Series, begins bool)) error {
	methods := policy.SetOf(b.methods...)
	frames := rd.framesOf(len(spans))
	for i, g := range spans {
		frames[i].Reset(int64(g), window.Needs(methods))
		if b.from > b.to {
			continue
		}
		if err := d.frame(ctx, rd, engine.Query{Ref: entry.Ref, Granularity: g, Methods: methods, From: b.from, To: b.to}, &frames[i]); err != nil {
			return err
		}
	}
	for _, m := range b.methods {
		for i, g := range spans {
			rd.series.Reset()
			if err := frames[i].Series(m, &rd.series); err != nil {
				return err
			}
			period := timetext.Period{Span: g}
			if b.resample {
				period = b.period
				if err := rd.resample(&rd.series, period, m); err != nil {
					return err
				}
			}
			f(m, period, &rd.series, i == 0)
		}
	}
	return nil
}
