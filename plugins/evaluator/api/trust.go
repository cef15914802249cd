package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// Actions in a user's name are stored with the id of a trust: trust+http://ID@host/path.
// An alarm has one trust for all of its actions. The id is never shown.

// scrub gives actions as users see them: without ids of trusts, and written as Aodh
// writes them.
func scrub(actions []string) []string {
	list := make([]string, len(actions))
	for i, action := range actions {
		list[i] = action
		if strings.HasPrefix(action, store.TrustTarget) {
			list[i] = store.TrustTarget // a trust that is to be removed
			continue
		}
		u, err := url.Parse(action)
		if err != nil {
			continue
		}
		if def.NeedsTrust(action) && u.User != nil {
			u.User = nil
			list[i] = u.String()
		}
		if u.Scheme == "log" && u.Host == "" && u.Path == "" && u.Opaque == "" {
			list[i] = "log:" // as Python's urllib writes log://
		}
	}
	return list
}

// trust puts a trust into the actions that need one: that of the alarm before if it is still
// its user's, or a new one, which undo has removed if the alarm could not be stored.
func (s *Server) trust(r *http.Request, a, old *def.Alarm) (undo func(), err error) {
	undo = func() {}
	id := ""
	if old != nil && old.User == a.User && old.Project == a.Project {
		id = old.Trust()
	}
	for state, list := range a.Actions {
		list = slices.Clone(list) // the request's, which may be needed again
		a.Actions[state] = list
		for i, action := range list {
			u, err := url.Parse(action)
			if err != nil || !def.NeedsTrust(action) {
				continue
			}
			if id == "" {
				if id, err = s.o.Trusts.Create(r.Context(), askerOf(r).Identity, r.Header.Get("X-Auth-Token")); err != nil {
					return nil, err
				}
				undo = func() { s.untrust(context.WithoutCancel(r.Context()), a, id) }
			}
			u.User = url.User(id)
			list[i] = u.String()
		}
	}
	return undo, nil
}

// untrust has a trust removed that an alarm which could not be stored was to have. If nobody
// knows whether it was, it is seen when its turn comes.
func (s *Server) untrust(ctx context.Context, a *def.Alarm, id string) {
	if err := s.o.Store.Untrust(ctx, a, id); err != nil {
		s.o.Log.Warn("a trust that is not needed could not be put down for removal; it stays in Keystone", "alarm", a.ID, "error", err)
		return
	}
	s.ringTrusts()
}

// ringTrusts has trusts removed soon, if any are to be.
func (s *Server) ringTrusts() {
	if s.o.Trusts != nil {
		s.ring(store.TrustTarget)
	}
}
