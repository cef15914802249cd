package promql

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/nephoscope/nepho/aggregator/timetext"
)

// maxSteps is the most points of one series in an answer, as in Prometheus: enough
// for a week by minutes.
const maxSteps = 11_000

// question is a query: at one time, to, if step is 0.
type question struct {
	text     string
	from, to time.Time
	step     time.Duration
}

// query answers with the value of an expression at one time.
func (s *Server) query(r *http.Request) (reply, error) {
	at, err := s.time(r, "time", s.o.Now())
	if err != nil {
		return reply{}, err
	}
	return s.answer(r, question{text: r.FormValue("query"), to: at})
}

// queryRange answers with the values of an expression at many times.
func (s *Server) queryRange(r *http.Request) (reply, error) {
	start, err := s.time(r, "start", time.Time{})
	if err != nil {
		return reply{}, err
	}
	end, err := s.time(r, "end", time.Time{})
	if err != nil {
		return reply{}, err
	}
	step, err := duration(r, "step")
	switch {
	case err != nil:
		return reply{}, err
	case start.IsZero() || end.IsZero():
		return reply{}, badData("start and end are needed, such as 1763766000 or 2025-11-21T23:00:00Z")
	}
	return s.answer(r, question{text: r.FormValue("query"), from: start, to: end, step: step})
}

// answer answers with what a query gives. It keeps its place until that is sent.
func (s *Server) answer(r *http.Request, q question) (a reply, err error) {
	ctx := r.Context()
	if r.FormValue("timeout") != "" {
		timeout, err := duration(r, "timeout")
		if err != nil {
			return a, err
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	limit, err := number(r, "limit")
	if err != nil {
		return a, err
	}
	result, done, err := s.run(ctx, q)
	if err != nil {
		return a, err
	}
	a.done = done
	a.warnings, a.infos = result.Warnings.AsStrings(q.text, 10, 10)
	var cut bool
	if a.value, cut = truncate(result.Value, limit); cut {
		a.warnings = append(a.warnings, truncated)
	}
	return a, nil
}

// check refuses what is no query, or too much of one.
func (q *question) check(maxSamples int) error {
	switch steps := q.to.Sub(q.from) / max(q.step.Truncate(time.Millisecond), 1); { // as the engine counts them
	case q.step != 0 && q.step < time.Millisecond:
		return badData("a step of at least 1 ms is needed, such as 60 or 1m")
	case q.step != 0 && q.to.Before(q.from):
		return badData("end is before start")
	case q.step != 0 && steps > maxSteps:
		return badData("more than %d points of each series are too many: ask for a longer step", maxSteps)
	}
	expression, err := parse(q.text)
	if err != nil {
		return err
	}
	span := time.Duration(0)
	if q.step != 0 {
		span = q.to.Sub(q.from)
	}
	return checkSteps(expression, span, int64(maxSamples))
}

// run runs a query as soon as there is a place for it. It keeps the place, and what it
// takes of memory, until done is called.
func (s *Server) run(ctx context.Context, q question) (result *promql.Result, done func(), err error) {
	if err := q.check(s.o.MaxSamples); err != nil {
		return nil, nil, err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	from := &reader{s: s, share: share{of: &s.pool}}
	var made promql.Query
	done = func() {
		if made != nil {
			made.Close()
		}
		from.share.free()
		leave()
	}
	if q.step > 0 {
		made, err = s.engine.NewRangeQuery(ctx, from, nil, q.text, q.from, q.to, q.step)
	} else {
		made, err = s.engine.NewInstantQuery(ctx, from, nil, q.text, q.to)
	}
	if err != nil {
		made = nil
		done()
		return nil, nil, badData("%v", err)
	}
	if result = made.Exec(ctx); result.Err != nil {
		done()
		return nil, nil, result.Err
	}
	return result, done, nil
}

const truncated = "results truncated due to limit"

// truncate cuts an answer to so many series; 0 is all.
func truncate(v parser.Value, limit int) (parser.Value, bool) {
	switch all := v.(type) {
	case promql.Matrix:
		if limit > 0 && len(all) > limit {
			return all[:limit], true
		}
	case promql.Vector:
		if limit > 0 && len(all) > limit {
			return all[:limit], true
		}
	}
	return v, false
}

// time reads a parameter: seconds since 1970, or RFC 3339.
func (s *Server) time(r *http.Request, name string, absent time.Time) (time.Time, error) {
	text := r.FormValue(name)
	if text == "" {
		return absent, nil
	}
	t, err := timetext.ParseTime(text, s.o.Now())
	if err != nil {
		return absent, badData("%s %q is no time such as 1763766000 or 2025-11-21T23:00:00Z", name, text)
	}
	return time.Unix(0, t).UTC(), nil
}

// duration reads a parameter: seconds, or such as 5m.
func duration(r *http.Request, name string) (time.Duration, error) {
	text := r.FormValue(name)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 0 && seconds < math.MaxInt64/1e9 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	d, err := model.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, badData("%s %q is no duration above 0, such as 60 or 1m", name, text)
	}
	return time.Duration(d), nil
}

// number reads a parameter that is a count; 0 if it is not there.
func number(r *http.Request, name string) (int, error) {
	text := r.FormValue(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, badData("%s %q is no number from 0 on", name, text)
	}
	return n, nil
}
