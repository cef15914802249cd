package api

import (
	"context"
	"net/http"
)

// named is a kind of things that have names, and that admins manage: archive policies,
// their rules, and resource types. Who may manage them is asked before a body is
// looked at, and after the thing was found.
type named[T any] struct {
	path   string // below /v1
	view   func(T) any
	all    func(context.Context) ([]T, error)
	one    func(ctx context.Context, name string) (T, error)
	create func(ctx context.Context, in input) (thing T, name string, err error)
	// change does what the body says to a thing, and gives what that is then.
	change func(w http.ResponseWriter, r *http.Request, thing T) (T, error)
	remove func(ctx context.Context, name string) error
}

func (k named[T]) routes(s *Server) {
	one := k.path + "/{name}"
	s.handle("GET /v1/"+k.path, k.list)
	s.handle("POST /v1/"+k.path, func(w http.ResponseWriter, r *http.Request) error { return k.post(s, w, r) })
	s.handle("GET /v1/"+one, k.get)
	s.handle("PATCH /v1/"+one, k.patch)
	s.handle("DELETE /v1/"+one, k.delete)
}

func (k named[T]) list(w http.ResponseWriter, r *http.Request) error {
	all, err := k.all(r.Context())
	if err != nil {
		return err
	}
	views := make([]any, 0, len(all))
	for _, thing := range all {
		views = append(views, k.view(thing))
	}
	return writeJSON(w, http.StatusOK, views)
}

func (k named[T]) get(w http.ResponseWriter, r *http.Request) error {
	thing, err := k.one(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, k.view(thing))
}

func (k named[T]) post(s *Server, w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r.Context()); err != nil {
		return err
	}
	in, err := s.input(w, r)
	if err != nil {
		return err
	}
	thing, name, err := k.create(r.Context(), in)
	if err != nil {
		return err
	}
	w.Header().Set("Location", s.mount.Link(r, "v1", k.path, name))
	return writeJSON(w, http.StatusCreated, k.view(thing))
}

// managed is the thing that a request names, of one who may manage it.
func (k named[T]) managed(r *http.Request) (T, error) {
	thing, err := k.one(r.Context(), r.PathValue("name"))
	if err == nil {
		err = requireAdmin(r.Context())
	}
	return thing, err
}

func (k named[T]) patch(w http.ResponseWriter, r *http.Request) error {
	thing, err := k.managed(r)
	if err != nil {
		return err
	}
	if thing, err = k.change(w, r, thing); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, k.view(thing))
}

func (k named[T]) delete(w http.ResponseWriter, r *http.Request) error {
	if _, err := k.managed(r); err != nil {
		return err
	}
	if err := k.remove(r.Context(), r.PathValue("name")); err != nil {
		return err
	}
	return writeNothing(w, http.StatusNoContent)
}
