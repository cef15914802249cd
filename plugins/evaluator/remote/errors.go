package remote

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// maxTold is how many bytes of what a server says of an error are told.
const maxTold = 300

// failure is an answer that is no success.
type failure struct {
	server   string
	status   int
	location string // where the server points to
	body     []byte
}

func (f *failure) Error() string {
	said, own := f.said()
	if len(said) > maxTold {
		said = strings.ToValidUTF8(said[:maxTold], "") + "..."
	}
	if said == "" {
		said = http.StatusText(f.status)
	}
	text := fmt.Sprintf("%s answers %d: %s", f.server, f.status, said)
	switch {
	case f.location != "":
		text += "; it points to " + f.location + ": set url to where it is"
	case f.status == http.StatusUnauthorized:
		text += "; set who asks in the options"
	case f.status == http.StatusForbidden:
		text += "; it has to be somebody who sees everything there"
	case !own && (f.status == http.StatusBadRequest || f.status == http.StatusNotFound):
		text += "; look whether url is right"
	}
	return text
}

// said is what a server says of the error, and whether it is in the form that Gnocchi, or
// Prometheus, has for that.
func (f *failure) said() (text string, own bool) {
	if cause, reason, detail := f.parts(); cause != "" {
		if reason != "" {
			cause += ": " + reason
		}
		if len(detail) > 0 && string(detail) != "null" {
			cause += ": " + string(detail)
		}
		return cause, true
	}
	var other struct {
		Description   any    // Gnocchi's
		Status, Error string // Prometheus's
	}
	if json.Unmarshal(f.body, &other) == nil {
		if text, ok := other.Description.(string); ok {
			return text, true
		}
		if other.Status == "error" && other.Error != "" {
			return other.Error, true
		}
	}
	return strings.Join(strings.Fields(string(f.body)), " "), false
}

// about reports whether the failure is about the question, and not about the server, the
// time, or who asks.
func (f *failure) about() bool {
	switch f.status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	case http.StatusBadRequest: // what is in front of a server says so, too
		return json.Valid(f.body)
	}
	return f.status >= 400 && f.status < 500
}

// Causes of Gnocchi's errors.
const (
	unknownMetrics     = "Unknown metrics"
	unknownAggregation = "Metrics with unknown aggregation"
	unaggregable       = "Metrics can't being aggregated"
	noneFound          = "Metrics not found"
)

// cause is Gnocchi's description of an error, and its details; "" if it has none.
func (f *failure) cause() (cause string, detail []json.RawMessage) {
	cause, _, text := f.parts()
	if json.Unmarshal(text, &detail) != nil {
		detail = nil
	}
	return cause, detail
}

// parts are those of Gnocchi's description of an error; "" if it has none.
func (f *failure) parts() (cause, reason string, detail json.RawMessage) {
	var said struct {
		Description json.RawMessage
	}
	var parts struct {
		Cause, Reason string
		Detail        json.RawMessage
	}
	if json.Unmarshal(f.body, &said) != nil || json.Unmarshal(said.Description, &parts) != nil {
		return "", "", nil
	}
	return parts.Cause, parts.Reason, parts.Detail
}

// unreached says why a server can't be asked, and what to do if that is known.
func (s *server) unreached(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err // the whole URL of a question is long, and of no use
	}
	advice := ""
	var certificate *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.As(err, &certificate):
		advice = "; set ca to the PEM file of who vouches for its certificate"
	case errors.Is(err, context.DeadlineExceeded):
		advice = "; if it is that slow, give it a longer timeout"
	case errors.Is(err, context.Canceled), errors.As(err, &op) && op.Op == "dial":
	case strings.HasPrefix(s.base, "https:"):
		// An alert of TLS, or whatever else a connection that ends at once becomes: a
		// certificate is asked for after the client is done with the handshake.
		advice = "; if it wants a client certificate, set cert and key"
	}
	return fmt.Errorf("cannot ask %s at %s: %w%s", s.name, s.base, err, advice)
}
