package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/search"
	"github.com/nephoscope/nepho/aggregator/wal"
)

// Error is an answer that refuses a request. Description is a string or a
// [Cause], or another value that is written as JSON.
type Error struct {
	Code        int
	Description any
}

func (e *Error) Error() string { return fmt.Sprintf("%d: %s", e.Code, describe(e.Description)) }

// headers sets when to try again, in seconds.
func (e *Error) headers(h http.Header) {
	if e.Code == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
}

// Cause is Gnocchi's structured description of an error.
type Cause struct {
	Cause  string `json:"cause"`
	Reason any    `json:"reason,omitempty"`
	Detail any    `json:"detail,omitempty"`
}

func badRequest(description any) *Error { return &Error{http.StatusBadRequest, description} }
func notFound(description any) *Error   { return &Error{http.StatusNotFound, description} }
func conflict(description any) *Error   { return &Error{http.StatusConflict, description} }

// forbidden refuses what the identity may not do.
func forbidden() *Error {
	return &Error{http.StatusForbidden, "You are not authorized to do this."}
}

// badArgument refuses a parameter of the query.
func badArgument(name, reason string) *Error {
	return badRequest(Cause{Cause: "Argument value error", Detail: name, Reason: reason})
}

// refusal is what an error becomes: that of an [*Error] itself, those of the index
// by their kind, and those of a request that took too long. nil for faults of the
// server's own.
func refusal(err error) *Error {
	var (
		e        *Error
		invalid  *index.InvalidError
		noRule   *index.NoRuleError
		missing  *index.NotFoundError
		exists   *index.ExistsError
		inUse    *index.InUseError
		page     *index.PageError
		named    *index.NamedMetricError
		filter   *search.Error
		identity *auth.Refusal
		tooLong  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &identity):
		return &Error{identity.Code, identity.Reason}
	case errors.As(err, &missing):
		return notFound(missing.Error())
	case errors.As(err, &exists):
		return conflict(exists.Error())
	case errors.As(err, &inUse):
		return badRequest(inUse.Error())
	case errors.As(err, &noRule):
		return badRequest(noRule.Error())
	case errors.As(err, &page):
		return badPage(page.Reason)
	case errors.As(err, &named):
		return conflict(named.Error())
	case errors.As(err, &filter) && filter.Cause == "":
		return badRequest(filter.Reason)
	case errors.As(err, &filter):
		return badRequest(Cause{Cause: filter.Cause, Reason: filter.Reason, Detail: filter.Detail})
	case errors.As(err, &invalid):
		return badRequest(invalid.Error())
	case errors.Is(err, index.ErrRevision):
		return errPrecondition
	case errors.As(err, &tooLong):
		return &Error{http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is longer than %d bytes.", tooLong.Limit)}
	case errors.Is(err, index.ErrUnavailable):
		return &Error{http.StatusServiceUnavailable, "The server's index is away; its log says why. Try again later."}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{http.StatusServiceUnavailable, "The request took longer than the server's operation_timeout."}
	case errors.Is(err, context.Canceled):
		return &Error{http.StatusServiceUnavailable, "The request was given up."} // by its client, most often
	}
	return unable(err)
}

// unable is what an error becomes that says that the server takes no writes for a
// while. The engine logs once when that begins and when it ends.
func unable(err error) *Error {
	var fenced *engine.FencedError
	switch {
	case errors.As(err, &fenced):
		return &Error{http.StatusServiceUnavailable, "Another node has taken the store over; this one takes no writes any more."}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &Error{http.StatusServiceUnavailable, "The server has no space left on its disk. Try again later."}
	case errors.Is(err, wal.ErrFailed), errors.Is(err, engine.ErrFull), errors.Is(err, engine.ErrCutOff):
		return &Error{http.StatusServiceUnavailable, "The server takes no writes at present; its log says why. Try again later."}
	case errors.Is(err, engine.ErrClosed):
		return &Error{http.StatusServiceUnavailable, "The server is stopping."}
	}
	return nil
}

// fail answers with an error, in the form that the client accepts: JSON if it
// names that, else HTML or plain text. What the server itself is to blame for is
// logged, and not shown.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	a, _ := w.(*answer)
	e := refusal(err)
	if e == nil {
		s.o.Log.Error("cannot answer a request", "method", r.Method, "path", r.URL.Path, "error", err)
		e = &Error{http.StatusInternalServerError, "The server has failed; its log says why."}
	}
	if a != nil && a.started {
		// The status is sent. The client must not take half an answer for a whole one.
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	for _, name := range []string{"ETag", "Last-Modified", "Link", "Location", "Content-Length"} {
		h.Del(name)
	}
	var unknown *auth.Refusal
	if errors.As(err, &unknown) {
		unknown.Headers(h)
	} else {
		e.headers(h)
	}
	title := http.StatusText(e.Code)
	var body []byte
	switch media := errorMedia(r.Header.Values("Accept")); media {
	case mediaText:
		h.Set("Content-Type", mediaText+"; charset=UTF-8")
		body = fmt.Appendf(nil, "%d %s\n\n%s\n\n%s\n", e.Code, title, explain(e.Code), describe(e.Description))
	case mediaHTML:
		h.Set("Content-Type", mediaHTML+"; charset=UTF-8")
		// Quotes stay, so that the text can be searched for.
		text := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(describe(e.Description))
		body = fmt.Appendf(nil, "<html>\n<head><title>%[1]d %[2]s</title></head>\n<body>\n<h1>%[1]d %[2]s</h1>\n%[3]s<br><br>\n%[4]s\n</body>\n</html>\n",
			e.Code, html.EscapeString(title), explain(e.Code), text)
	default:
		h.Set("Content-Type", mediaJSON)
		body, err = json.Marshal(struct {
			Code        int    `json:"code"`
			Title       string `json:"title"`
			Description any    `json:"description"`
		}{e.Code, title, e.Description})
		if err != nil {
			panic(fmt.Sprintf("BUG: description that is no JSON: %v", err))
		}
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Code)
	w.Write(body) // a client that is gone needs no answer
}

const (
	mediaText = "text/plain"
	mediaHTML = "text/html"
)

// errorMedia is the content type of an error for a client: JSON if it names that,
// text if it names nothing, else what it accepts.
func errorMedia(accept []string) string {
	switch {
	case strings.TrimSpace(strings.Join(accept, "")) == "":
		return mediaText
	case names(accept, mediaJSON):
		return mediaJSON
	case accepts(accept, mediaHTML):
		return mediaHTML
	case accepts(accept, mediaText):
		return mediaText
	}
	return mediaJSON
}

// explain is the sentence that comes before a description where it is read by
// people. Scripts that talk to Gnocchi look for some of them.
func explain(code int) string {
	switch code {
	case http.StatusBadRequest:
		return "The server could not comply with the request since it is either malformed or otherwise incorrect."
	case http.StatusUnauthorized:
		return "This server could not verify that you are authorized to access the document you requested."
	case http.StatusForbidden:
		return "Access was denied to this resource."
	case http.StatusNotFound:
		return "The resource could not be found."
	case http.StatusConflict:
		return "There was a conflict when trying to complete your request."
	}
	return "The request was not answered as it asks for."
}

// describe is a description as text.
func describe(description any) string {
	switch d := description.(type) {
	case string:
		return d
	case Cause:
		text := d.Cause
		for _, more := range []any{d.Reason, d.Detail} {
			if more != nil {
				text += ": " + describe(more)
			}
		}
		return text
	}
	text, err := json.Marshal(description)
	if err != nil {
		panic(fmt.Sprintf("BUG: description that is no JSON: %v", err))
	}
	return string(text)
}

// recover answers a request whose handler panicked.
func (s *Server) recover(a *answer, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	s.o.Log.Error("a handler panicked", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	if a.started {
		panic(http.ErrAbortHandler)
	}
	s.fail(a, r, errors.New("panic"))
}
