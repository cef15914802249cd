package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// mediaJSON is the content type of nearly all bodies.
const mediaJSON = "application/json"

// body reads the body of a request to the end of into, and gives that. It refuses
// bodies of another content type (415; no media: any), or longer than the limit
// (413).
func (s *Server) body(w http.ResponseWriter, r *http.Request, into []byte, media ...string) ([]byte, error) {
	if err := requireMedia(r, media...); err != nil {
		return nil, err
	}
	if r.ContentLength > s.o.MaxBody {
		return nil, &http.MaxBytesError{Limit: s.o.MaxBody}
	}
	if r.ContentLength > 0 {
		// One byte more, so that the end is seen without growing.
		into = growTo(into, len(into)+int(r.ContentLength)+1)
	}
	from := http.MaxBytesReader(w, r.Body, s.o.MaxBody)
	for {
		if len(into) == cap(into) {
			into = growTo(into, max(2*cap(into), 4096))
		}
		n, err := from.Read(into[len(into):cap(into)])
		into = into[:len(into)+n]
		switch {
		case err == io.EOF:
			return into, nil
		case err != nil:
			return nil, fmt.Errorf("cannot read the body: %w", err)
		}
	}
}

func growTo(b []byte, size int) []byte {
	if cap(b) >= size {
		return b
	}
	return append(make([]byte, 0, size), b...)
}

// requireMedia refuses bodies that are of none of some content types.
func requireMedia(r *http.Request, media ...string) error {
	contentType := r.Header.Get("Content-Type")
	for _, m := range media {
		if isMedia(contentType, m) {
			return nil
		}
	}
	if len(media) == 0 {
		return nil
	}
	return &Error{http.StatusUnsupportedMediaType, fmt.Sprintf("The body must be of the content type %s, not %q.", strings.Join(media, " or "), contentType)}
}

// undecodable refuses a body that is no JSON.
func undecodable(reason string) *Error {
	return badRequest(Cause{Cause: "Unable to decode body", Reason: reason, Detail: []string{}})
}

// json reads a body that is JSON. Numbers are [json.Number].
func (s *Server) json(w http.ResponseWriter, r *http.Request, media ...string) (any, error) {
	if len(media) == 0 {
		media = []string{mediaJSON}
	}
	data, err := s.body(w, r, nil, media...)
	if err != nil {
		return nil, err
	}
	return decodeJSON(data)
}

// decodeJSON decodes one JSON value. Numbers are [json.Number].
func decodeJSON(data []byte) (any, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, undecodable("Expected object or value")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, undecodable("Expected object or value: " + err.Error())
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, undecodable("Expected the end of the body after the value")
	}
	return v, nil
}
