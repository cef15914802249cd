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

// query answers with the value of an expression at one time.
func (s *Server) query(r *http.Request) (reply, error) {
	at, err := s.time(r, "time", s.o.Now())
	if err != nil {
		return reply{}, err
	}
	return s.run(r, func(ctx context.Context) (promql.Query, error) {
		return s.engine.NewInstantQuery(ctx, s, nil, r.FormValue("query"), at)
	})
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
	case end.Before(start):
		return reply{}, badData("end is before start")
	case step <= 0:
		return reply{}, badData("a step above 0 is needed, such as 60 or 1m")
	case end.Sub(start)/step > maxSteps:
		return reply{}, badData("more than %d points of each series are too many: ask for a longer step", maxSteps)
	}
	return s.run(r, func(ctx context.Context) (promql.Query, error) {
		return s.engine.NewRangeQuery(ctx, s, nil, r.FormValue("query"), start, end, step)
	})
}

// run runs a query as soon as there is a place for it.
func (s *Server) run(r *http.Request, prepare func(context.Context) (promql.Query, error)) (reply, error) {
	ctx := r.Context()
	if r.FormValue("timeout") != "" {
		timeout, err := duration(r, "timeout")
		if err != nil {
			return reply{}, err
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	limit, err := number(r, "limit")
	if err != nil {
		return reply{}, err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return reply{}, err
	}
	defer leave()
	q, err := prepare(ctx)
	if err != nil {
		return reply{}, badData("%v", err)
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return reply{}, result.Err
	}
	var a reply
	a.warnings, a.infos = result.Warnings.AsStrings(r.FormValue("query"), 10, 10)
	v, cut := truncate(result.Value, limit)
	if cut {
		a.warnings = append(a.warnings, truncated)
	}
	a.data = appendResult(nil, v)
	return a, nil
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
