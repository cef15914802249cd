package api

import (
	"net/http"
	"net/url"
	"strings"
)

// inside is the URL of a request without the prefix of the API, or false if it is not
// under the prefix. "/v1/" is the list of what is in it, "/v1" leads there; of other paths a slash at
// the end is left out.
func (s *Server) inside(r *http.Request) (*url.URL, bool) {
	u, ok := s.mount.Inside(r)
	if ok && u.Path == "/v1" && strings.HasSuffix(r.URL.EscapedPath(), "/") {
		u.Path = "/v1/"
	}
	return u, ok
}
