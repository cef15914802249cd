package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nephoscope/nepho/aggregator/auth"
)

// call does what comes before every handler, and calls it.
func (s *Server) call(op operation, w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if !op.noLimit {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.o.OperationTimeout)
		defer cancel()
	}
	if !op.public {
		who, err := s.o.Auth.Identify(r.WithContext(ctx))
		if err != nil {
			return err
		}
		ctx = auth.With(ctx, who)
	}
	// Deletions answer with no body, so there is nothing to accept.
	if accept := r.Header.Values("Accept"); !op.anyMedia && r.Method != http.MethodDelete && !accepts(accept, "application/json") {
		return &Error{http.StatusNotAcceptable, "The server answers with application/json only."}
	}
	return op.h(w, r.WithContext(ctx))
}

// grace is how long after its context a request stops reading its body.
const grace = 100 * time.Millisecond

// answer knows whether the answer has begun, and what its request holds.
type answer struct {
	http.ResponseWriter
	started bool
	work    *work
	held    int64 // of work
}

func (a *answer) WriteHeader(code int) {
	a.started = true
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(p []byte) (int, error) {
	a.started = true
	return a.ResponseWriter.Write(p)
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// writeJSON answers with a value as JSON.
func writeJSON(w http.ResponseWriter, code int, v any) error {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("cannot write the answer as JSON: %w", err)
	}
	return writeBytes(w, code, bytes.TrimSuffix(body.Bytes(), []byte("\n")))
}

// writeBytes answers with JSON.
func writeBytes(w http.ResponseWriter, code int, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", mediaJSON)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, err := w.Write(body)
	return err
}

// writeNothing answers with a status and no body.
func writeNothing(w http.ResponseWriter, code int) error {
	if code != http.StatusNoContent {
		w.Header().Set("Content-Length", "0")
	}
	w.WriteHeader(code)
	return nil
}
