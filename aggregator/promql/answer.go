package promql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/nephoscope/nepho/aggregator/index"
)

// kind of an error, in Prometheus's words, and its HTTP status.
type kind struct {
	name string
	code int
}

var (
	badParameter = kind{"bad_data", http.StatusBadRequest}
	execution    = kind{"execution", http.StatusUnprocessableEntity}
	timedOut     = kind{"timeout", http.StatusServiceUnavailable}
	canceled     = kind{"canceled", 499} // the client has gone
	unavailable  = kind{"unavailable", http.StatusServiceUnavailable}
	internal     = kind{"internal", http.StatusInternalServerError}
	notFound     = kind{"not_found", http.StatusNotFound}
	notAllowed   = kind{"bad_data", http.StatusMethodNotAllowed}
	forbidden    = kind{"forbidden", http.StatusForbidden}
	unauthorized = kind{"unauthorized", http.StatusUnauthorized}
)

// apiError is an error as Prometheus's API has it.
type apiError struct {
	kind kind
	text string
}

func (e *apiError) Error() string { return e.text }

func badData(format string, args ...any) *apiError {
	return &apiError{badParameter, fmt.Sprintf(format, args...)}
}

// describe says what an error of a handler is to the one who asked.
func describe(err error) *apiError {
	var e *apiError
	var invalid *index.InvalidError
	var storage promql.ErrStorage
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, index.ErrUnavailable), errors.As(err, &storage) && errors.Is(storage.Err, index.ErrUnavailable):
		return &apiError{unavailable, "the server's index is away; its log says why"}
	case errors.As(err, &invalid):
		return badData("%s", invalid.Reason)
	case errors.As(err, new(promql.ErrQueryTimeout)), errors.Is(err, context.DeadlineExceeded):
		return &apiError{timedOut, err.Error()}
	case errors.As(err, new(promql.ErrQueryCanceled)), errors.Is(err, context.Canceled):
		return &apiError{canceled, err.Error()}
	case errors.As(err, &storage):
		return &apiError{internal, "the storage could not be read"}
	}
	return &apiError{execution, err.Error()}
}

func fail(w http.ResponseWriter, e *apiError) { failWith(w, e.kind.code, e) }

func failWith(w http.ResponseWriter, code int, e *apiError) {
	body, err := json.Marshal(map[string]string{"status": "error", "errorType": e.kind.name, "error": e.text})
	if err != nil { // strings are always JSON
		body = []byte(`{"status":"error"}`)
	}
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	send(w, code, body)
}

// reply is an answer: data as JSON, and what the one who asked should know.
type reply struct {
	data            []byte
	warnings, infos []string
}

// with makes a reply of a value.
func with(v any) (reply, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return reply{data: bytes.TrimSpace(b.Bytes())}, err
}

func (a reply) send(w http.ResponseWriter) {
	body := append([]byte(`{"status":"success","data":`), a.data...)
	for _, l := range []struct {
		name string
		text []string
	}{{"warnings", a.warnings}, {"infos", a.infos}} {
		if len(l.text) > 0 {
			body = append(body, `,"`+l.name+`":[`...)
			for i, t := range l.text {
				if i > 0 {
					body = append(body, ',')
				}
				body = appendString(body, t)
			}
			body = append(body, ']')
		}
	}
	send(w, http.StatusOK, append(body, '}'))
}

func send(w http.ResponseWriter, code int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client may be gone
}

// appendResult writes what a query gives. Histograms are none of the aggregator's.
func appendResult(b []byte, v parser.Value) []byte {
	b = append(b, `{"resultType":"`...)
	b = append(b, v.Type()...)
	b = append(b, `","result":`...)
	switch v := v.(type) {
	case promql.Matrix:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendLabels(append(b, `{"metric":`...), s.Metric)
			b = append(b, `,"values":[`...)
			for n, p := range s.Floats {
				if n > 0 {
					b = append(b, ',')
				}
				b = appendPoint(b, p.T, p.F)
			}
			b = append(b, "]}"...)
		}
		b = append(b, ']')
	case promql.Vector:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendLabels(append(b, `{"metric":`...), s.Metric)
			b = append(appendPoint(append(b, `,"value":`...), s.T, s.F), '}')
		}
		b = append(b, ']')
	case promql.Scalar:
		b = appendPoint(b, v.T, v.V)
	case promql.String:
		b = append(appendTime(append(b, '['), v.T), ',')
		b = append(appendString(b, v.V), ']')
	}
	return append(b, '}')
}

func appendLabels(b []byte, l labels.Labels) []byte {
	b = append(b, '{')
	first := true
	l.Range(func(l labels.Label) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, l.Name), ':')
		b = appendString(b, l.Value)
	})
	return append(b, '}')
}

// appendPoint writes [seconds,"value"].
func appendPoint(b []byte, t int64, v float64) []byte {
	b = append(appendTime(append(b, '['), t), ',', '"')
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return append(strconv.AppendFloat(b, v, format, -1, 64), '"', ']')
}

// appendTime writes milliseconds as seconds.
func appendTime(b []byte, t int64) []byte {
	if t < 0 {
		b, t = append(b, '-'), -t
	}
	b = strconv.AppendInt(b, t/1000, 10)
	if f := t % 1000; f != 0 {
		b = append(b, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // strings are always JSON
		return append(b, `""`...)
	}
	return append(b, text...)
}
