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
	"time"

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

func failWith(w http.ResponseWriter, code int, e *apiError) {
	body, err := json.Marshal(map[string]string{"status": "error", "errorType": e.kind.name, "error": e.text})
	if err != nil { // strings are always JSON
		body = []byte(`{"status":"error"}`)
	}
	h := w.Header()
	if code == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client may be gone
}

// reply is an answer: data as JSON, or a value; and what the one who asked should know.
type reply struct {
	data            []byte
	value           parser.Value
	warnings, infos []string
	// done is called when the answer is sent, or given up; nil: there is nothing to do.
	done func()
}

// with makes a reply of a value.
func with(v any) (reply, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return reply{data: bytes.TrimSpace(b.Bytes())}, err
}

// send sends the answer. If it takes until after the given time the answer is broken off.
func (a reply) send(w http.ResponseWriter, until time.Time) {
	p := pieces{w: w, until: until}
	p.text(`{"status":"success","data":`)
	if a.value != nil {
		p.result(a.value)
	} else {
		p.b = append(p.b, a.data...)
	}
	for _, l := range []struct {
		name string
		text []string
	}{{"warnings", a.warnings}, {"infos", a.infos}} {
		if len(l.text) > 0 {
			p.text(`,"` + l.name + `":[`)
			for i, t := range l.text {
				p.comma(i)
				p.b = appendString(p.b, t)
			}
			p.text("]")
		}
	}
	p.text("}")
	p.end()
}

// pieces is an answer that is sent while it is made, so that it is never in memory as a
// whole.
type pieces struct {
	w     http.ResponseWriter
	until time.Time
	b     []byte // to be sent
	begun bool
}

// enough is how many bytes are sent at once.
const enough = 64 << 10

// text adds to the answer.
func (p *pieces) text(s string) { p.b = append(p.b, s...) }

// comma comes before all elements of a list but the first; there the answer so far can
// be sent.
func (p *pieces) comma(i int) {
	if i > 0 {
		p.b = append(p.b, ',')
	}
	if len(p.b) >= enough {
		p.flush()
	}
}

// flush sends what there is. An answer that cannot be sent to its end must not look
// complete.
func (p *pieces) flush() {
	if !p.begun {
		p.begun = true
		p.w.Header().Set("Content-Type", "application/json")
		p.w.WriteHeader(http.StatusOK)
	}
	if time.Now().After(p.until) {
		panic(http.ErrAbortHandler)
	}
	if _, err := p.w.Write(p.b); err != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
	p.b = p.b[:0]
}

func (p *pieces) end() {
	if !p.begun {
		p.w.Header().Set("Content-Length", strconv.Itoa(len(p.b)))
	}
	p.flush()
}

// result adds what a query gives. Histograms are none of the aggregator's.
func (p *pieces) result(v parser.Value) {
	p.text(`{"resultType":"` + string(v.Type()) + `","result":`)
	switch v := v.(type) {
	case promql.Matrix:
		p.text("[")
		for i, s := range v {
			p.comma(i)
			p.text(`{"metric":`)
			p.b = appendLabels(p.b, s.Metric)
			p.text(`,"values":[`)
			for n, f := range s.Floats {
				p.comma(n)
				p.b = appendPoint(p.b, f.T, f.F)
			}
			p.text("]}")
		}
		p.text("]")
	case promql.Vector:
		p.text("[")
		for i, s := range v {
			p.comma(i)
			p.text(`{"metric":`)
			p.b = appendLabels(p.b, s.Metric)
			p.text(`,"value":`)
			p.b = append(appendPoint(p.b, s.T, s.F), '}')
		}
		p.text("]")
	case promql.Scalar:
		p.b = appendPoint(p.b, v.T, v.V)
	case promql.String:
		p.b = append(appendTime(append(p.b, '['), v.T), ',')
		p.b = append(appendString(p.b, v.V), ']')
	}
	p.text("}")
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
