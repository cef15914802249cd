package api

import (
	"fmt"
	"net/http"
)

// Error is an answer that refuses a request. Description is a string or a
// [Cause], or another value that is written as JSON.
type Error struct {
	Code        int
	Description any
}

func (e *Error) Error() string { return fmt.Sprintf("%d: %v", e.Code, e.Description) }

// Cause is Gnocchi's structured description of an error.
type Cause struct {
	Cause  string `json:"cause"`
	Reason any    `json:"reason,omitempty"`
	Detail any    `json:"detail,omitempty"`
}

func badRequest(description any) *Error { return &Error{http.StatusBadRequest, description} }

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
