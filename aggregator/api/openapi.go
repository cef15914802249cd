package api

import (
	_ "embed"
	"net/http"
)

// description describes the API in OpenAPI 3.1. A test compares it with the routes
// and with answers.
//
//go:embed openapi.json
var description []byte

func (s *Server) descriptionRoutes() {
	s.handle("GET /v1/openapi.json", func(w http.ResponseWriter, r *http.Request) error {
		return writeBytes(w, http.StatusOK, description)
	}, public)
}
