package web

import (
	"net/http"
	"slices"
)

// Headers that pages of other origins may send, and read, besides those that
// browsers always allow.
const (
	corsAllow  = "Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Unmodified-Since, X-Auth-Token, X-Domain-Id, X-Openstack-Request-Id, X-Project-Id, X-Roles, X-Subject-Token, X-User-Id"
	corsExpose = "ETag, Last-Modified, Link, Location, Retry-After, X-Auth-Token, X-Openstack-Request-Id, X-Service-Token, X-Subject-Token"
)

// corsMethods are the methods that pages of other origins may use.
var corsMethods = []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"}

// AllowOrigin adds the headers that let pages of allowed origins ask.
func (m *Mount) AllowOrigin(w http.ResponseWriter, r *http.Request) {
	if len(m.origins) == 0 {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case origin == "":
		return
	case slices.Contains(m.origins, origin):
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(m.origins, "*"):
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		return
	}
	if method := r.Header.Get("Access-Control-Request-Method"); r.Method == http.MethodOptions && slices.Contains(corsMethods, method) {
		h.Set("Access-Control-Allow-Methods", method)
		h.Set("Access-Control-Allow-Headers", corsAllow)
		h.Set("Access-Control-Max-Age", "3600")
		return
	}
	h.Set("Access-Control-Expose-Headers", corsExpose)
}
