// Package auth finds out who makes a request: by HTTP basic authentication as
// Gnocchi understands it, by a Keystone token, by what a server in front says, or
// not at all.
package auth

import (
	"context"
	"slices"
)

// Identity is who makes a request.
type Identity struct {
	User, Project, Domain string
	Roles                 []string
	// Everything is set where no identity is asked for, and lists are not limited.
	Everything bool
}

// Admin reports whether it has the role admin.
func (i Identity) Admin() bool { return i.Everything || slices.Contains(i.Roles, "admin") }

// Creator is how Gnocchi stores who created a thing: the user, and the project if
// there is one, with a colon between them.
func (i Identity) Creator() string {
	if i.Project == "" {
		return i.User
	}
	return i.User + ":" + i.Project
}

type key struct{}

// With is a context of a request that this identity makes.
func With(ctx context.Context, i Identity) context.Context { return context.WithValue(ctx, key{}, i) }

// From is the identity in a request's context.
func From(ctx context.Context) Identity {
	i, _ := ctx.Value(key{}).(Identity)
	return i
}
