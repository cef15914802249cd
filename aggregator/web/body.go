package web

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
)

// Body reads the body of a request. It refuses one of another content type than media
// (415; none: any), longer than the limit (413), or that does not come in time (408). A request without a content type is
// taken as of the first of media.
func (s *Site) Body(w http.ResponseWriter, r *http.Request, media ...string) ([]byte, error) {
	if contentType := r.Header.Get("Content-Type"); len(media) > 0 && contentType != "" {
		kind, _, err := mime.ParseMediaType(contentType)
		if err != nil || !slices.Contains(media, kind) {
			return nil, &Error{http.StatusUnsupportedMediaType, fmt.Sprintf("Unknown mimetype: %s; %s is expected", contentType, strings.Join(media, " or "))}
		}
	}
	tooLong := &Error{http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is longer than %d bytes", s.o.MaxBody)}
	if r.ContentLength > s.o.MaxBody {
		return nil, tooLong
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.o.MaxBody))
	switch {
	case err == nil:
		return data, nil
	case int64(len(data)) >= s.o.MaxBody:
		return nil, tooLong
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &Error{http.StatusRequestTimeout, "The body did not come in time."}
	default:
		return nil, &Error{http.StatusBadRequest, "The body can't be read: " + err.Error()}
	}
}
