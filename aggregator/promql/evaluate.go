package promql

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// Evaluated is a series that an expression gives.
type Evaluated struct {
	Labels labels.Labels
	Times  []int64 // nanoseconds
	Values []float64
}

// A QueryError says that an expression is wrong, or that it may not be evaluated.
type QueryError struct{ Reason string }

func (e *QueryError) Error() string { return e.Reason }

// Evaluate gives the values of an expression from a time to another at steps, or with
// a step of 0 at the time to, within the process and for the identity in ctx.
// An error that is no [*QueryError] may be over when it is asked again.
func (s *Server) Evaluate(ctx context.Context, expression string, from, to time.Time, step time.Duration) ([]Evaluated, error) {
	list, err := s.evaluate(ctx, expression, from, to, step)
	if err == nil {
		return list, nil
	}
	switch e := describe(err); e.kind.code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity:
		return nil, &QueryError{e.text}
	case http.StatusInternalServerError: // describe says less
		return nil, err
	default:
		return nil, fmt.Errorf("the expression cannot be evaluated now: %w", e)
	}
}

func (s *Server) evaluate(ctx context.Context, expression string, from, to time.Time, step time.Duration) ([]Evaluated, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	result, done, err := s.run(ctx, question{expression, from, to, step})
	if err != nil {
		return nil, err
	}
	defer done()
	const ms = int64(time.Millisecond)
	var list []Evaluated
	switch v := result.Value.(type) {
	case promql.Matrix:
		for _, s := range v {
			one := Evaluated{Labels: s.Metric, Times: make([]int64, len(s.Floats)), Values: make([]float64, len(s.Floats))}
			for i, p := range s.Floats {
				one.Times[i], one.Values[i] = p.T*ms, p.F
			}
			list = append(list, one)
		}
	case promql.Vector:
		for _, s := range v {
			list = append(list, Evaluated{s.Metric, []int64{s.T * ms}, []float64{s.F}})
		}
	case promql.Scalar:
		list = append(list, Evaluated{Times: []int64{v.T * ms}, Values: []float64{v.V}})
	default:
		return nil, badData("the expression gives a %s, not numbers", result.Value.Type())
	}
	return list, nil
}
