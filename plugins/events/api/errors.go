package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/database"
)

// Error is an answer that refuses a request.
type Error struct {
	Code   int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

func bad(format string, args ...any) *Error {
	return &Error{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// invalid refuses an argument, as WSME does.
func invalid(field, value, reason string) *Error {
	return bad("Invalid input for field/attribute %s. Value: '%s'. %s", field, value, reason)
}

// fault is the form of errors: that of WSME, in what Panko puts around it.
type fault struct {
	Message struct {
		Code   string  `json:"faultcode"`
		Reason string  `json:"faultstring"`
		Debug  *string `json:"debuginfo"`
	} `json:"error_message"`
}

// fail answers with an error. What the server itself is to blame for is logged, and not
// shown.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var (
		e       *Error
		unknown *auth.Refusal
		tooLong *http.MaxBytesError
	)
	h := w.Header()
	switch {
	case errors.As(err, &e):
	case errors.As(err, &unknown):
		unknown.Headers(h)
		e = &Error{unknown.Code, unknown.Reason}
	case errors.As(err, &tooLong):
		e = &Error{http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is longer than %d bytes.", tooLong.Limit)}
	case errors.Is(err, database.ErrUnavailable):
		e = &Error{http.StatusServiceUnavailable, "The server's database is away; its log says why. Try again later."}
	case errors.Is(err, errTooLong), errors.Is(err, context.DeadlineExceeded):
		e = &Error{http.StatusServiceUnavailable, "The request took longer than the server's operation_timeout: ask for less, or for a stream."}
	case errors.Is(err, context.Canceled):
		e = &Error{http.StatusServiceUnavailable, "The request was given up."}
	default:
		s.o.Log.Error("cannot answer a request", "method", r.Method, "path", r.URL.Path, "error", err)
		e = &Error{http.StatusInternalServerError, "The server has failed; its log says why."}
	}
	if a, ok := w.(*answer); ok && a.begun {
		// The client must not take half an answer for a whole one.
		panic(http.ErrAbortHandler)
	}
	if e.Code == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	var f fault
	f.Message.Code, f.Message.Reason = "Client", e.Reason
	if e.Code >= 500 {
		f.Message.Code = "Server"
	}
	body, _ := json.Marshal(f) // of texts only
	h.Set("Content-Type", mediaJSON)
	w.WriteHeader(e.Code)
	// A client that is gone needs no answer.
	_, _ = w.Write(body)
}
