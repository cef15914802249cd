package api

import (
	"net/http"
	"slices"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/plugins/events/chunk"
	"github.com/nephoscope/nepho/plugins/events/store"
	"github.com/nephoscope/nepho/sdk"
)

// caller is who asks, and what they may see.
type caller struct {
	// everything: all events, of whichever project.
	everything bool
	// admin: those of the project, and those of none, unless all are asked for. Others
	// see their own of the project.
	admin         bool
	user, project string
}

// asking is who makes a request. With the auth none, that is who the headers name, and
// everybody may see everything if they name nobody. A token of Keystone that is for a
// domain, or for nothing, is no admin's of all.
func asking(r *http.Request) (caller, error) {
	id := auth.From(r.Context())
	c := caller{admin: slices.Contains(id.Roles, "admin"), user: id.User, project: id.Project}
	nobody := id.User == "" && id.Project == "" && len(id.Roles) == 0
	c.everything = id.Everything && nobody || c.admin && c.project == "" && !id.Tenant
	if !c.everything && (c.user == "" || c.project == "") {
		return caller{}, refuse(http.StatusForbidden, "RBAC Authorization Failed")
	}
	return c, nil
}

// adminOnly refuses those who see their own events only.
func adminOnly(r *http.Request) error {
	c, err := asking(r)
	if err == nil && !c.everything && !c.admin {
		return refuse(http.StatusUnauthorized, "Not Authorized to access project %s", c.project)
	}
	return err
}

// limit limits a question to what the caller may see.
func (c *caller) limit(q *store.Query) {
	switch {
	case c.everything:
	case c.admin:
		q.Project = &c.project
	default:
		q.Where = append(q.Where,
			chunk.Condition{Trait: chunk.ProjectTrait, Type: sdk.Text, Text: c.project},
			chunk.Condition{Trait: chunk.UserTrait, Type: sdk.Text, Text: c.user})
	}
}
