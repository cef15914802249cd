// Package auth finds out who makes a request: by HTTP basic authentication as
// Gnocchi understands it, by a Keystone token, by what a server in front says, or
// not at all. What an identity may do is not its business.
package auth

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Identity is who makes a request.
type Identity struct {
	User, Project, Domain string
	Roles                 []string
	// Everything is set where no identity is asked for: all is allowed, and lists
	// are not limited.
	Everything bool
	// Tenant is set where identities belong to projects: lists are limited to what
	// one's project may see, and an identity without a project sees nothing.
	Tenant bool
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

// Authenticator finds out who makes a request. Its method may be called
// concurrently.
type Authenticator interface {
	// Identify is called once for each request that needs an identity, before its
	// body is read. An error that is a [*Refusal] says how to answer; others are
	// the server's own faults.
	Identify(r *http.Request) (Identity, error)
}

// Refusal is why a request was not let in.
type Refusal struct {
	// Code is the HTTP status: 401, 403 when they are known but may not, or 503 when
	// nobody could be asked.
	Code   int
	Reason string
	// Challenge is the header WWW-Authenticate, "" for none.
	Challenge string
	// RetryAfter is when to ask again; 0 does not say.
	RetryAfter time.Duration
}

func (e *Refusal) Error() string { return e.Reason }

// Headers adds what an answer with this refusal has to say in its head.
func (e *Refusal) Headers(h http.Header) {
	if e.Challenge != "" {
		h.Set("WWW-Authenticate", e.Challenge)
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
}

type key struct{}

// With is a context of a request that this identity makes.
func With(ctx context.Context, i Identity) context.Context { return context.WithValue(ctx, key{}, i) }

// From is the identity in a request's context.
func From(ctx context.Context) Identity {
	i, _ := ctx.Value(key{}).(Identity)
	return i
}
