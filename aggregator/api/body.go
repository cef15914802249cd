package api

import (
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
		size := len(into) + int(r.ContentLength) + 1
		if err := hold(w, int64(size-cap(into))); err != nil {
			return nil, err
		}
		into = growTo(into, size)
	}
	from := http.MaxBytesReader(w, r.Body, s.o.MaxBody)
	for {
		if len(into) == cap(into) {
			size := max(2*cap(into), 4096)
			if most := int(s.o.MaxBody) + 1 + scanPadding; cap(into) < most {
				size = min(size, most)
			}
			if err := hold(w, int64(size-cap(into))); err != nil {
				return nil, err
			}
			into = growTo(into, size)
		}
		n, err := from.Read(into[len(into):cap(into)])
		into = into[:len(into)+n]
		switch {
		case err == io.EOF:
			return into, nil
		case err != nil:
			return nil, brokenBody(err)
		}
	}
}

// brokenBody is the answer to a body that cannot be read to its end: who sent it did
// not end it, or packed or encoded it wrongly, if it did not take too long.
func brokenBody(err error) error {
	if refusal(err) != nil {
		return err
	}
	return badRequest("The body cannot be read to its end: " + err.Error())
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
