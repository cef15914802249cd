package api

import (
	"net/http"

	"github.com/nephoscope/nepho/aggregator/policy"
)

func (s *Server) rootRoutes() {
	s.handle("GET /{$}", s.versions, public)
	s.handle("GET /v1/{$}", s.contents, public)
	s.handle("GET /healthcheck", s.healthcheck, public, anyMedia)
	s.handle("GET /v1/capabilities", s.capabilities, public)
}

// apiLink is a link in a list of links.
type apiLink struct {
	Rel  string `json:"rel"`
	HRef string `json:"href"`
}

// versions lists the versions of the API: one.
func (s *Server) versions(w http.ResponseWriter, r *http.Request) error {
	type version struct {
		ID      string    `json:"id"`
		Status  string    `json:"status"`
		Updated string    `json:"updated"`
		Links   []apiLink `json:"links"`
	}
	return writeJSON(w, http.StatusOK, struct {
		Build    string    `json:"build"`
		Versions []version `json:"versions"`
	}{s.o.Build, []version{{
		ID: "v1.0", Status: "CURRENT",
		// When Gnocchi's version 1 was last changed.
		Updated: "2015-03-19",
		Links:   []apiLink{{"self", s.mount.Link(r, "v1") + "/"}},
	}}})
}

// contents lists what is under /v1.
func (s *Server) contents(w http.ResponseWriter, r *http.Request) error {
	links := []apiLink{{"self", s.mount.Link(r, "v1")}}
	for _, name := range []string{
		"aggregates", "aggregation", "archive_policy", "archive_policy_rule", "batch", "capabilities",
		"influxdb", "metric", "resource", "resource_type", "search", "status",
	} {
		links = append(links, apiLink{name, s.mount.Link(r, "v1", name)})
	}
	return writeJSON(w, http.StatusOK, struct {
		Version string    `json:"version"`
		Links   []apiLink `json:"links"`
	}{"1.0", links})
}

// healthcheck answers as long as the server does.
func (s *Server) healthcheck(w http.ResponseWriter, r *http.Request) error {
	if names(r.Header.Values("Accept"), mediaJSON) {
		return writeJSON(w, http.StatusOK, struct {
			Detailed bool     `json:"detailed"`
			Reasons  []string `json:"reasons"`
		}{Reasons: []string{}})
	}
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	return writeNothing(w, http.StatusOK)
}

// capabilities lists the aggregation methods.
func (s *Server) capabilities(w http.ResponseWriter, r *http.Request) error {
	methods := make([]string, 0, policy.Methods)
	for m := range policy.Method(policy.Methods) {
		methods = append(methods, m.String())
	}
	return writeJSON(w, http.StatusOK, struct {
		Methods []string `json:"aggregation_methods"`
	}{methods})
}
