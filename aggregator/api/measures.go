package api

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/timetext"
)

// dataPlane answers requests that have points, in the body or the answer.
type dataPlane struct {
	*Server
	intakes sync.Pool // of *intake
	readers sync.Pool // of *reader
	remote  *remoteWriter
}

// measureRoutes adds the routes of measures, aggregates and what else has points.
func (s *Server) measureRoutes() {
	d := &dataPlane{Server: s}
	d.intakes.New = func() any { return &intake{} }
	d.readers.New = func() any { return &reader{} }
	d.remote = newRemoteWriter(d)
	s.handle("GET /v1/metric/{id}/measures", d.byID(false, d.getMeasures), anyMedia)
	s.handle("GET /v1/resource/{type}/{id}/metric/{name}/measures", d.byName(false, d.getMeasures), anyMedia)
	s.handle("POST /v1/metric/{id}/measures", d.byID(true, d.postMeasures))
	s.handle("POST /v1/resource/{type}/{id}/metric/{name}/measures", d.byName(true, d.postMeasures))
	s.handle("POST /v1/batch/metrics/measures", d.postBatch)
	s.handle("POST /v1/batch/resources/metrics/measures", d.postNamedBatch)
	s.handle("POST /v1/batch/metrics/measures/query", d.queryBatch, anyMedia)
	s.handle("POST /v1/aggregates", d.postAggregates)
	s.handle("GET /v1/aggregation/metric", d.getAggregation)
	s.handle("POST /v1/aggregation/metric", d.postAggregation)
	s.handle("POST /v1/aggregation/resource/{type}/metric/{name}", d.postResourceAggregation)
	s.handle("POST /v1/search/metric", d.searchMeasures)
	s.handle("GET /v1/changes", d.getChanges, anyMedia, noLimit)
	s.handle("POST /v1/changes", d.postChanges, anyMedia, noLimit)
	d.influxRoutes()
	s.handle("POST /v1/prometheus/write", d.postRemoteWrite, anyMedia)
}

// intake is what a request that brings points needs. It is used again.
type intake struct {
	body    []byte
	scanner scanner
	posted  posted
	entries []*index.Entry
	names   []index.Name
	batch   engine.Batch
}

// keepIntake is the longest body whose memory is kept for other requests, and keepPoints and
// keepSeries how many points and series of one, in some MiB as well. Compressed bodies may
// have more than their length says.
const (
	keepIntake = 4 << 20
	keepPoints = keepIntake / 16
	keepSeries = keepIntake / 64
)

func (d *dataPlane) intake() *intake { return d.intakes.Get().(*intake) }

func (d *dataPlane) release(in *intake) {
	if cap(in.body) > keepIntake || cap(in.posted.points) > keepPoints || cap(in.posted.ends) > keepSeries {
		return
	}
	in.posted.reset()
	clear(in.entries)
	clear(in.names)
	in.entries, in.names = in.entries[:0], in.names[:0]
	in.batch.Reset()
	d.intakes.Put(in)
}

// read reads a body, which may be compressed, and what the scanner needs after it.
// Without media it may be of any content type.
func (d *dataPlane) read(w http.ResponseWriter, r *http.Request, in *intake, media ...string) ([]byte, error) {
	if err := unpack(r); err != nil {
		return nil, err
	}
	if n := r.ContentLength; n > 0 && n <= d.o.MaxBody {
		if err := hold(w, n); err != nil {
			return nil, err
		}
		in.body = slices.Grow(in.body[:0], int(n)+1+scanPadding)
	}
	body, err := d.body(w, r, in.body[:0], media...)
	if err != nil {
		return nil, err
	}
	in.body = append(body, make([]byte, scanPadding)...)
	return in.body[:len(body)], nil
}

// unpack makes a compressed body one that is not. Limits hold for what comes out.
func unpack(r *http.Request) error {
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		return nil
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return badRequest("The body cannot be unpacked: " + err.Error())
		}
		r.Body = struct {
			io.Reader
			io.Closer
		}{z, r.Body}
		r.ContentLength = -1
		return nil
	default:
		return &Error{http.StatusUnsupportedMediaType, fmt.Sprintf("The body has the content encoding %q. Send it as it is, or with gzip.", encoding)}
	}
}

// readMeasures reads a body with measures.
func (d *dataPlane) readMeasures(w http.ResponseWriter, r *http.Request, in *intake, shape bodyShape) error {
	body, err := d.read(w, r, in, mediaJSON)
	if err != nil {
		return err
	}
	in.posted.hold = func(n int64) error { return hold(w, n) }
	if in.scanner.scan(in.body, shape, &in.posted) {
		return nil
	}
	if in.posted.full != nil {
		return in.posted.full
	}
	in.posted.reset()
	if err := hold(w, 2*int64(len(body))); err != nil { // it is copied at each level
		return err
	}
	in.posted.hold = func(n int64) error { return hold(w, n) }
	return decodeMeasures(body, shape, d.o.Now(), &in.posted)
}

// byID gives a handler the metric that the path has the id of, to read it, or with
// write set to change it.
func (d *dataPlane) byID(write bool, h func(http.ResponseWriter, *http.Request, *index.Entry) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, entry, err := d.requireMetric(r.Context(), r.PathValue("id"), write)
		if err != nil {
			return err
		}
		return h(w, r, entry)
	}
}

// byName is byID for the metric that the path names by its resource.
func (d *dataPlane) byName(write bool, h func(http.ResponseWriter, *http.Request, *index.Entry) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		entry, err := d.requireNamed(r, write)
		if err != nil {
			return err
		}
		return h(w, r, entry)
	}
}

// postMeasures takes measures of one metric.
func (d *dataPlane) postMeasures(w http.ResponseWriter, r *http.Request, entry *index.Entry) error {
	in := d.intake()
	defer d.release(in)
	if err := d.readMeasures(w, r, in, measureList); err != nil {
		return err
	}
	// Of one metric nothing is stored when a point is refused, for the client can be
	// told what is wrong, and send the others again.
	limit := d.o.Engine.Latest()
	for _, p := range in.posted.points {
		if p.Time > limit {
			return badRequest(Cause{
				Cause:  "Timestamp too far in the future",
				Reason: fmt.Sprintf("measures after %s are refused, and nothing of the request was stored; is the clock right?", timetext.FormatTime(limit)),
				Detail: timetext.FormatTime(p.Time),
			})
		}
	}
	in.entries = append(in.entries[:0], entry)
	in.posted.ids = append(in.posted.ids[:0], entry.ID)
	return d.store(w, r, in)
}

// requireNamed finds the metric of a resource that a request's path names, and
// refuses those who may not see it or, with write set, change it.
func (d *dataPlane) requireNamed(r *http.Request, write bool) (*index.Entry, error) {
	ctx := r.Context()
	id, err := resourceID(ctx, r.PathValue("id"))
	if err != nil {
		return nil, &index.NotFoundError{Kind: index.KindResource, Name: r.PathValue("id")}
	}
	typ, name := r.PathValue("type"), r.PathValue("name")
	entries, err := d.o.Index.LookupNames(ctx, []index.Name{{Resource: id, Metric: name}}, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case entries[0] == nil:
		// Is the resource unknown, or of another type, or has it no such metric?
		if _, err := d.resource(r, toRead); err != nil {
			return nil, err
		}
		return nil, &index.NotFoundError{Kind: index.KindMetric, Name: name}
	case typ != "generic":
		if _, err := d.o.Index.Resource(ctx, typ, id); err != nil {
			return nil, err
		}
	}
	return entries[0], requireEntry(ctx, entries[0], write)
}

// store writes the points of a request to the entries of its metrics, and answers.
func (d *dataPlane) store(w http.ResponseWriter, r *http.Request, in *intake) error {
	outcome, err := d.write(r.Context(), in)
	if err != nil {
		return err
	}
	if outcome.Accepted == in.batch.Points() {
		return writeNothing(w, http.StatusAccepted)
	}
	return writeJSON(w, http.StatusAccepted, in.dropped(&outcome))
}

// write writes the points of a request to the entries of its metrics.
func (d *dataPlane) write(ctx context.Context, in *intake) (engine.Outcome, error) {
	if err := requireOwned(ctx, in.entries); err != nil {
		return engine.Outcome{}, err
	}
	p := &in.posted
	start := 0
	for i, entry := range in.entries {
		end := p.ends[i]
		if start == end {
			continue
		}
		in.batch.Metric(entry.Ref, entry.PolicyID)
		in.batch.Add(p.points[start:end]...)
		start = end
	}
	if in.batch.Points() == 0 {
		return engine.Outcome{}, nil
	}
	outcome, err := d.o.Engine.Write(ctx, &in.batch)
	if errors.Is(err, engine.ErrClosed) {
		err = &Error{http.StatusServiceUnavailable, "The server is stopping."}
	}
	return outcome, err
}

// requireOwned refuses those who may not post measures to one of the metrics.
func requireOwned(ctx context.Context, entries []*index.Entry) error {
	who := auth.From(ctx)
	if who.Admin() {
		return nil
	}
	known, any := "", false // a creator whom the identity may write for
	for _, e := range entries {
		if any && e.Creator == known {
			continue
		}
		if !owns(who, e.Creator) {
			return forbidden()
		}
		known, any = e.Creator, true
	}
	return nil
}

// dropped is the answer to a request of which some points were not kept.
type dropped struct {
	Accepted  int `json:"accepted"`
	Late      int `json:"late"`
	Future    int `json:"future"`
	Forgotten int `json:"forgotten,omitempty"`
	// Refused has the first late and the first future point of metrics that have any.
	Refused []refusedPoint `json:"refused"`
}

type refusedPoint struct {
	Metric    string `json:"metric"` // its id, or RESOURCE/NAME
	Timestamp string `json:"timestamp"`
	Reason    string `json:"reason"` // late or future
}

// maxRefused is how many refused points an answer tells of.
const maxRefused = 100

// dropped says what became of the points of a request.
func (in *intake) dropped(o *engine.Outcome) dropped {
	answer := dropped{Accepted: o.Accepted, Late: o.Late, Future: o.Future, Forgotten: o.Forgotten, Refused: []refusedPoint{}}
	// Metrics without points are not in the batch.
	places := make([]int, 0, len(in.entries))
	start := 0
	for i, end := range in.posted.ends {
		if end > start {
			places = append(places, i)
		}
		start = end
	}
	for _, refused := range o.Refused[:min(len(o.Refused), maxRefused)] {
		point := refusedPoint{
			Metric:    in.posted.name(places[refused.Metric]),
			Timestamp: timetext.FormatTime(refused.Point.Time),
			Reason:    "future",
		}
		if refused.Late {
			point.Reason = "late"
		}
		answer.Refused = append(answer.Refused, point)
	}
	return answer
}

// name is what the body calls the i-th metric.
func (p *posted) name(i int) string {
	if i < len(p.ids) {
		return p.ids[i].String()
	}
	return p.resources[p.named[i].resource] + "/" + p.named[i].name
}
