package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/timetext"
	"github.com/nephoscope/nepho/aggregator/window"
)

// reader is what a request that reads measures needs. It is used again.
type reader struct {
	frames []window.Frame // by granularity
	series window.Series
	regroup
	json   jsonWriter
	binary binaryWriter

	columns []window.Series // of several metrics
	taken   int
	held    int // windows and values that an aggregation has so far

	lost []*engine.LostError // what could not be read
}

func (d *dataPlane) reader() *reader { return d.readers.Get().(*reader) }

// keepReader is the most measures whose memory is kept for other requests.
const keepReader = 1 << 20

func (d *dataPlane) doneReading(rd *reader) {
	held := cap(rd.series.Values)
	for i := range rd.columns {
		held += cap(rd.columns[i].Values)
	}
	rd.lost, rd.held = nil, 0
	if rd.taken = 0; held <= keepReader {
		d.readers.Put(rd)
	}
}

// framesOf gives frames whose windows are undefined.
func (rd *reader) framesOf(n int) []window.Frame {
	if n > len(rd.frames) {
		rd.frames = append(rd.frames, make([]window.Frame, n-len(rd.frames))...)
	}
	return rd.frames[:n]
}

// take gives empty series, which are the caller's until the request is answered.
func (rd *reader) take(n int) []window.Series {
	if rd.taken == 0 && n > len(rd.columns) {
		rd.columns = append(rd.columns, make([]window.Series, n-len(rd.columns))...)
	}
	if rd.taken+n > len(rd.columns) {
		return make([]window.Series, n)
	}
	series := rd.columns[rd.taken : rd.taken+n]
	rd.taken += n
	for i := range series {
		series[i].Reset()
	}
	return series
}

// earliest is before every point, and can be rounded down to any granularity.
const earliest = engine.MinTime

// interval is a span of time, without its end.
type interval struct{ from, to int64 }

// interval is what the parameters start and stop say; all time without them.
func (d *dataPlane) interval(q query) (interval, error) {
	span := interval{earliest, math.MaxInt64}
	for name, into := range map[string]*int64{"start": &span.from, "stop": &span.to} {
		if text := q.text(name); text != "" {
			t, err := timetext.ParseTime(text, d.o.Now())
			if err != nil {
				return span, badArgument(name, string(timetext.ErrTime))
			}
			*into = t
		}
	}
	return span, nil
}

// granularity is the parameter of that name, 0 if it is not given.
func (q query) granularity() (time.Duration, error) {
	if !q.has("granularity") {
		return 0, nil
	}
	g, err := timetext.ParseSpan(q.text("granularity"))
	if err != nil {
		return 0, badArgument("granularity", err.Error())
	}
	return g, nil
}

// granularities is all that the parameter granularity asks for, coarsest first, each
// once.
func (q query) granularities() (all []time.Duration, err error) {
	for _, text := range q.all("granularity") {
		g, err := timetext.ParseSpan(text)
		if err != nil {
			return nil, badArgument("granularity", err.Error())
		}
		all = append(all, g)
	}
	coarsestFirst(all)
	return slices.Compact(all), nil
}

// resample is the parameter of that name, and whether it is given.
func (q query) resample() (timetext.Period, bool, error) {
	text := q.text("resample")
	if text == "" {
		return timetext.Period{}, false, nil
	}
	if q.text("granularity") == "" {
		return timetext.Period{}, false, badRequest("A granularity must be specified to resample")
	}
	p, err := timetext.ParsePeriod(text)
	if err != nil {
		return timetext.Period{}, false, badRequest(err.Error())
	}
	return p, true, nil
}

// selection is which measures of a metric are asked for.
type selection struct {
	ref           engine.Ref
	method        policy.Method
	granularities []time.Duration // coarsest first
	interval
	period   timetext.Period
	resample bool
}

// selection reads the parameters of a request for the measures of a metric.
func (d *dataPlane) selection(q query, entry *index.Entry) (selection, error) {
	var (
		s   = selection{ref: entry.Ref}
		err error
	)
	if s.period, s.resample, err = q.resample(); err != nil {
		return s, err
	}
	if s.interval, err = d.interval(q); err != nil {
		return s, err
	}
	g, err := q.granularity()
	if err != nil {
		return s, err
	}
	p, err := d.policy(entry)
	if err != nil {
		return s, err
	}
	name := "mean"
	if q.has("aggregation") {
		name = q.text("aggregation")
	}
	s.method, err = policy.ParseMethod(name)
	if err != nil || !p.Methods.Has(s.method) {
		return s, noMethod(entry.ID.String(), name)
	}
	s.granularities = granularities(p)
	if g != 0 {
		if !slices.Contains(s.granularities, g) {
			return s, noGranularity(entry.ID.String(), name, g)
		}
		s.granularities = []time.Duration{g}
	}
	// The data is always fresh; but a value that is no boolean is a mistake.
	_, err = q.boolean("refresh", false)
	return s, err
}

// granularities are those of a policy, coarsest first.
func granularities(p *policy.Policy) []time.Duration {
	list := make([]time.Duration, len(p.Definitions))
	for i, d := range p.Definitions {
		list[i] = d.Granularity
	}
	coarsestFirst(list)
	return list
}

func coarsestFirst(list []time.Duration) {
	slices.SortFunc(list, func(a, b time.Duration) int { return cmp.Compare(b, a) })
}

// policy is the policy of a metric.
func (d *dataPlane) policy(entry *index.Entry) (*policy.Policy, error) {
	p, ok := d.o.Index.PolicyByID(entry.PolicyID)
	if !ok {
		return nil, fmt.Errorf("metric %d has the archive policy %d, which the index does not know", entry.Ref, entry.PolicyID)
	}
	return p, nil
}

// noMethod says that a metric's policy does not keep a method.
func noMethod(metric, method string) error {
	return notFound(Cause{Cause: "Aggregation method does not exist for this metric", Detail: struct {
		Metric string `json:"metric"`
		Method string `json:"aggregation_method"`
	}{metric, method}})
}

// noGranularity says that a metric's policy does not keep a granularity.
func noGranularity(metric, method string, g time.Duration) error {
	return notFound(fmt.Sprintf("Aggregation method '%s' at granularity '%s' for metric %s does not exist", method, jsonSpan(g), metric))
}

// getMeasures answers with the measures of a metric.
func (d *dataPlane) getMeasures(w http.ResponseWriter, r *http.Request, entry *index.Entry) error {
	binary, err := wantsBinary(r)
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	s, err := d.selection(q, entry)
	if err != nil {
		return err
	}
	rd := d.reader()
	defer d.doneReading(rd)
	if binary {
		rd.binary.start(w)
		for _, g := range s.granularities {
			if err := d.series(r.Context(), rd, &s, g); err != nil {
				return err
			}
			rd.binary.series(entry.ID, s.method, s.label(g), &rd.series)
		}
		rd.binary.end()
		return d.finish(r.Context(), rd, &rd.binary.pieces)
	}
	rd.json.start(w)
	rd.json.raw("[")
	first := true
	for _, g := range s.granularities {
		if err := d.series(r.Context(), rd, &s, g); err != nil {
			return err
		}
		first = rd.json.measures(&rd.series, jsonPeriod(s.label(g)), first)
	}
	rd.json.raw("]")
	return d.finish(r.Context(), rd, &rd.json.pieces)
}

// label is the period that a measure's granularity stands for.
func (s *selection) label(g time.Duration) timetext.Period {
	if s.resample {
		return s.period
	}
	return timetext.Period{Span: g}
}

// jsonPeriod is a granularity in JSON: seconds, or the letter of the calendar.
func jsonPeriod(p timetext.Period) string {
	if p.Letter != 0 {
		return `"` + string(rune(p.Letter)) + `"`
	}
	return jsonSpan(p.Span)
}

// series reads the selected measures of one granularity into rd.series.
func (d *dataPlane) series(ctx context.Context, rd *reader, s *selection, g time.Duration) error {
	rd.series.Reset()
	methods := policy.SetOf(s.method)
	frame := &rd.framesOf(1)[0]
	frame.Reset(int64(g), window.Needs(methods))
	if s.from > s.to {
		return nil
	}
	err := d.frame(ctx, rd, engine.Query{Ref: s.ref, Granularity: g, Methods: methods, From: s.from, To: s.to}, frame)
	if err != nil {
		return err
	}
	if err := frame.Take(s.method, &rd.series); err != nil {
		return err
	}
	if !s.resample {
		return nil
	}
	return rd.resample(&rd.series, s.period, s.method)
}
