package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/web"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/filter"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

func refuse(status int, format string, args ...any) error {
	return &web.Error{Status: status, Text: fmt.Sprintf(format, args...)}
}

func bad(format string, args ...any) error { return refuse(http.StatusBadRequest, format, args...) }

var errForbidden = refuse(http.StatusForbidden, "RBAC Authorization Failed")

func notFound(id string) error { return refuse(http.StatusNotFound, "Alarm %s not found", id) }

// fail answers with an error in Aodh's form.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusInternalServerError, ""
	var (
		refusal *web.Error
		who     *auth.Refusal
		input   *def.InputError
		query   *filter.Error
	)
	switch {
	case errors.As(err, &refusal):
		status, text = refusal.Status, refusal.Text
	case errors.As(err, &who):
		status, text = who.Code, who.Reason
		who.Headers(w.Header())
	case errors.As(err, &input):
		status, text = http.StatusBadRequest, input.Message
	case errors.As(err, &query):
		status, text = http.StatusBadRequest, query.Message
	case errors.Is(err, database.ErrText):
		status, text = http.StatusBadRequest, err.Error()
	case errors.Is(err, store.ErrChanged):
		status, text = http.StatusConflict, "The alarm was changed by somebody else in the meantime: read it and change it again"
	case errors.Is(err, database.ErrUnknown):
		status, text = http.StatusServiceUnavailable, "The database of alarms went away; see whether the change was made before you try again"
		w.Header().Set("Retry-After", "5")
	case errors.Is(err, database.ErrUnavailable):
		status, text = http.StatusServiceUnavailable, "The database of alarms is away; try again later"
		w.Header().Set("Retry-After", "5")
	case errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusServiceUnavailable, "The request took longer than the server allows"
		w.Header().Set("Retry-After", "5")
	case errors.Is(err, context.Canceled):
		return // nobody is there to read an answer
	default:
		text = "The server failed; its log says more"
		s.o.Log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	fault := "Client"
	if status >= http.StatusInternalServerError {
		fault = "Server"
	}
	_ = write(w, status, def.Object{{Name: "error_message", Value: def.Object{
		{Name: "faultcode", Value: fault}, {Name: "faultstring", Value: text}, {Name: "debuginfo", Value: nil},
	}}})
}
