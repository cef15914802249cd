package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// Actions in a user's name are stored with the id of a trust: trust+http://ID@host/path.
// An alarm has one trust for all of its actions. The id is never shown.

func isTrust(action string) bool { return strings.HasPrefix(action, "trust+") }

// scrub gives actions as users see them: without ids of trusts, and written as Aodh
// writes them.
func scrub(actions []string) []string {
	list := make([]string, len(actions))
	for i, action := range actions {
		list[i] = action
		u, err := url.Parse(action)
		if err != nil {
			continue
		}
		if isTrust(action) && u.User != nil {
			u.User = nil
			list[i] = u.String()
		}
		if u.Scheme == "log" && u.Host == "" && u.Path == "" && u.Opaque == "" {
			list[i] = "log:" // as Python's urllib writes log://
		}
	}
	return list
}

// trustOf gives the trust that an alarm's actions have; "": none.
func trustOf(a *def.Alarm) string {
	for _, action := range slices.Concat(a.Actions[:]...) {
		if u, err := url.Parse(action); err == nil && isTrust(action) && u.User != nil {
			return u.User.Username()
		}
	}
	return ""
}

// trust puts a trust into the actions that need one: that of the alarm before, or a new
// one, which undo removes if the alarm could not be stored.
func (s *Server) trust(r *http.Request, a, old *def.Alarm) (undo func(), err error) {
	undo = func() {}
	id := ""
	if old != nil {
		id = trustOf(old)
	}
	for state, list := range a.Actions {
		list = slices.Clone(list) // the request's, which may be needed again
		a.Actions[state] = list
		for i, action := range list {
			u, err := url.Parse(action)
			if err != nil || !isTrust(action) {
				continue
			}
			if u.User != nil {
				return undo, bad("trust URL cannot contain a trust ID.")
			}
			if id == "" {
				if id, err = s.o.Trusts.Create(r.Context(), askerOf(r).Identity, r.Header.Get("X-Auth-Token")); err != nil {
					return undo, err
				}
				made := id
				undo = func() { s.deleteTrust(context.WithoutCancel(r.Context()), made) }
			}
			u.User = url.User(id)
			list[i] = u.String()
		}
	}
	return undo, nil
}

// untrust removes the trust of an alarm's former definition, unless the present one has
// it, too; nil: there is none any more.
func (s *Server) untrust(ctx context.Context, old, now *def.Alarm) {
	id := trustOf(old)
	if id == "" || now != nil && trustOf(now) == id {
		return
	}
	s.deleteTrust(context.WithoutCancel(ctx), id)
}

func (s *Server) deleteTrust(ctx context.Context, id string) {
	if s.o.Trusts == nil {
		return
	}
	if err := s.o.Trusts.Delete(ctx, id); err != nil {
		s.o.Log.Warn("a trust that is not needed any more could not be removed", "error", err)
	}
}
