// Package api is the HTTP API of the event store: Panko's v2, and events as lines of
// JSON.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/web"
	"github.com/nephoscope/nepho/plugins/events/store"
)

// Options of [New].
type Options struct {
	// Web is what all APIs have. Its Fail is set by New. Its Timeout is the most time of
	// a request that is not for a stream.
	Web   web.Options
	Store *store.Store
	// DefaultLimit is how many events a list has at most without a limit.
	DefaultLimit int
}

// server answers requests.
type server struct {
	o    Options
	site *web.Site
	log  *slog.Logger
}

// New makes what answers requests. It may be called concurrently.
func New(o Options) http.Handler {
	s := &server{o: o, log: o.Web.Log}
	o.Web.Fail = s.fail
	s.site = web.New(o.Web)
	s.site.Handle("GET /{$}", s.versions, web.Public)
	s.site.Handle("GET /healthcheck", func(http.ResponseWriter, *http.Request) error { return nil }, web.Public)
	s.site.Handle("GET /v2/capabilities", s.capabilities, web.Public)
	s.site.Handle("GET /v2/events", s.events, web.Unlimited)
	s.site.Handle("GET /v2/events/{id}", s.event)
	s.site.Handle("GET /v2/event_types", s.types)
	s.site.Handle("GET /v2/event_types/{type}", s.eventType)
	s.site.Handle("GET /v2/event_types/{type}/traits", s.traits)
	s.site.Handle("GET /v2/event_types/{type}/traits/{name}", s.values)
	s.site.Handle("GET /v2/status", s.status)
	return s.site
}

func refuse(status int, format string, args ...any) *web.Error {
	return &web.Error{Status: status, Text: fmt.Sprintf(format, args...)}
}

func bad(format string, args ...any) *web.Error {
	return refuse(http.StatusBadRequest, format, args...)
}

// invalid refuses an argument, as WSME does.
func invalid(field, value, reason string) *web.Error {
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
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var (
		e       *web.Error
		unknown *auth.Refusal
	)
	h := w.Header()
	switch {
	case errors.As(err, &e):
	case errors.As(err, &unknown):
		unknown.Headers(h)
		e = refuse(unknown.Code, "%s", unknown.Reason)
	case errors.Is(err, database.ErrUnavailable):
		e = refuse(http.StatusServiceUnavailable, "The server's database is away; its log says why. Try again later.")
	case errors.Is(err, context.DeadlineExceeded):
		e = refuse(http.StatusServiceUnavailable, "The request took longer than the server's operation_timeout: ask for less, or for a stream.")
	case errors.Is(err, context.Canceled):
		e = refuse(http.StatusServiceUnavailable, "The request was given up.") // by its client, most often
	default:
		s.log.Error("cannot answer a request", "method", r.Method, "path", r.URL.Path, "error", err)
		e = refuse(http.StatusInternalServerError, "The server has failed; its log says why.")
	}
	if e.Status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	var f fault
	f.Message.Code, f.Message.Reason = "Client", e.Text
	if e.Status >= 500 {
		f.Message.Code = "Server"
	}
	body, _ := json.Marshal(f) // of texts only
	h.Set("Content-Type", mediaJSON)
	w.WriteHeader(e.Status)
	// A client that is gone needs no answer.
	_, _ = w.Write(body)
}
