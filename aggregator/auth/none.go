package auth

import (
	"net/http"
	"strings"
)

// None lets everybody do everything. Who they are is what they say in the headers
// X-User-Id, X-Project-Id and X-Roles, as clients of Gnocchi without
// authentication send them.
type None struct{}

// Identify gives what the headers say.
func (None) Identify(r *http.Request) (Identity, error) {
	return Identity{
		User:       r.Header.Get("X-User-Id"),
		Project:    r.Header.Get("X-Project-Id"),
		Domain:     r.Header.Get("X-Domain-Id"),
		Roles:      splitRoles(r.Header.Get("X-Roles")),
		Everything: true,
	}, nil
}

// splitRoles splits a list of roles at its commas.
func splitRoles(list string) []string {
	var roles []string
	for role := range strings.SplitSeq(list, ",") {
		if role = strings.TrimSpace(role); role != "" {
			roles = append(roles, role)
		}
	}
	return roles
}
