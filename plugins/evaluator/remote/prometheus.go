package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/nephoscope/nepho/aggregator/promql"
	"github.com/nephoscope/nepho/sdk"
)

var _ sdk.SeriesReader = (*Prometheus)(nil)

// Prometheus asks a server that speaks Prometheus's API: values of expressions, and
// nothing else. Its methods may be called concurrently.
type Prometheus struct {
	server *server
	label  string
}

// labelName is what the label of projects may be; "" is none.
var labelName = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)?$`)

// NewPrometheus prepares to ask.
func NewPrometheus(o PrometheusOptions) (*Prometheus, error) {
	who := header{}
	switch {
	case o.Token != "":
		who = header{"Authorization", "Bearer " + o.Token}
	case o.Username != "":
		who = basic(o.Username, o.Password)
	}
	s, err := newServer("Prometheus", o.URL, o.Timeout, o.TLS, who)
	if err != nil {
		return nil, err
	}
	return &Prometheus{server: s, label: o.ProjectLabel}, nil
}

// Close closes idle connections.
func (p *Prometheus) Close() { p.server.close() }

var errNoWindows = sdk.Refuse(errors.New("Prometheus keeps no windows: ask it for expressions in promql"))

// FindSeries implements sdk.SeriesReader: it refuses.
func (p *Prometheus) FindSeries(context.Context, sdk.SeriesQuery) ([]sdk.FoundSeries, error) {
	return nil, errNoWindows
}

// Windows implements sdk.SeriesReader: it refuses.
func (p *Prometheus) Windows(context.Context, []sdk.WindowQuery) (*sdk.Windows, error) {
	return nil, errNoWindows
}

// Follow implements sdk.SeriesReader: it gives errors.ErrUnsupported.
func (p *Prometheus) Follow(context.Context, sdk.FollowQuery) iter.Seq2[*sdk.Advance, error] {
	return func(yield func(*sdk.Advance, error) bool) {
		yield(nil, fmt.Errorf("%w: Prometheus does not tell of new points", errors.ErrUnsupported))
	}
}

// Compute implements sdk.SeriesReader, for promql. A scalar is a series without labels.
// A scope that has not everything sees only what carries its project in the label of
// projects.
func (p *Prometheus) Compute(ctx context.Context, q sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	if q.Language != "promql" || q.Search != nil {
		return nil, sdk.Refuse(errors.New("Prometheus knows only promql, which has selectors instead of a search"))
	}
	expression, err := p.within(&q.Scope, q.Expression)
	if err != nil {
		return nil, sdk.Refuse(err)
	}
	path, form := "/api/v1/query", url.Values{"query": {expression}}
	if q.Granularity == 0 {
		form.Set("time", seconds(q.To))
	} else {
		path = "/api/v1/query_range"
		form.Set("start", seconds(q.From))
		form.Set("end", seconds(q.To))
		form.Set("step", strconv.FormatFloat(q.Granularity.Seconds(), 'f', -1, 64))
	}
	body, _, err := p.server.ask(ctx, request{method: http.MethodPost, path: path, kind: "application/x-www-form-urlencoded", body: []byte(form.Encode())})
	var f *failure
	if errors.As(err, &f) && (f.status == http.StatusBadRequest || f.status == http.StatusUnprocessableEntity) {
		if _, own := f.said(); own { // what is in front of a server says so, too
			return nil, sdk.Refuse(err)
		}
	}
	if err != nil {
		return nil, err
	}
	return valuesOf(body)
}

// seconds is a time in seconds since 1970, to the millisecond, which is what Prometheus
// knows.
func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// within is an expression about nothing but what a scope has.
func (p *Prometheus) within(scope *sdk.Scope, text string) (string, error) {
	switch {
	case scope.All:
		return text, nil
	case p.label == "":
		return "", errors.New("only alarms of administrators may ask Prometheus here: there is no project_label")
	case scope.Project == "":
		return "", errors.New("only alarms of a project, and of administrators, may ask Prometheus")
	}
	expression, err := promql.Parse(text)
	if err != nil {
		return "", err
	}
	own := labels.MustNewMatcher(labels.MatchEqual, p.label, scope.Project)
	parser.Inspect(expression, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			// All matchers have to hold, so that another one for the label widens nothing.
			s.LabelMatchers = append(s.LabelMatchers, own)
		}
		return nil
	})
	return expression.String(), nil
}

// sample is [seconds, "value"].
type sample struct {
	time  int64
	value float64
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *sample) UnmarshalJSON(data []byte) error {
	var at float64
	var text string
	list := []any{&at, &text}
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || len(list) != 2 || math.Abs(at) > 1e10/2 {
		return fmt.Errorf("%.100s is no value of Prometheus", data)
	}
	s.time, s.value = int64(math.Round(at*1000))*int64(time.Millisecond), value
	return nil
}

// valuesOf reads the answer to a query.
func valuesOf(body []byte) ([]sdk.ComputedSeries, error) {
	var answer struct {
		Status string
		Data   struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status != "success" {
		return nil, fmt.Errorf("the answer %.100q is none of Prometheus", body)
	}
	var list []struct {
		Metric                map[string]string
		Value                 *sample
		Values                []sample
		Histogram, Histograms json.RawMessage
	}
	switch kind := answer.Data.ResultType; kind {
	case "scalar":
		var one sample
		if err := json.Unmarshal(answer.Data.Result, &one); err != nil {
			return nil, err
		}
		return []sdk.ComputedSeries{{Labels: map[string]string{}, Times: []int64{one.time}, Values: []float64{one.value}}}, nil
	case "vector", "matrix":
		if err := json.Unmarshal(answer.Data.Result, &list); err != nil {
			return nil, fmt.Errorf("the answer is none of Prometheus: %w", err)
		}
	default:
		return nil, sdk.Refuse(fmt.Errorf("the expression gives a %q, and not numbers", kind))
	}
	result := make([]sdk.ComputedSeries, len(list))
	points := 0
	for i, one := range list {
		if one.Histogram != nil || one.Histograms != nil {
			return nil, sdk.Refuse(errors.New("the expression gives histograms, and not numbers: take histogram_quantile or the like of them"))
		}
		if one.Value != nil {
			one.Values = append(one.Values, *one.Value)
		}
		if points += len(one.Values); points > sdk.MaxWindows {
			return nil, sdk.Refuse(fmt.Errorf("the answer has more than %d values: ask for fewer series, or for a shorter time", sdk.MaxWindows))
		}
		s := sdk.ComputedSeries{Labels: one.Metric, Times: make([]int64, len(one.Values)), Values: make([]float64, len(one.Values))}
		for n, v := range one.Values {
			s.Times[n], s.Values[n] = v.time, v.value
		}
		result[i] = s
	}
	return result, nil
}
