package api

import (
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/plugins/evaluator/filter"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// asker is who makes a request, as Aodh's rules see them.
type asker struct {
	auth.Identity
	admin bool
}

func askerOf(r *http.Request) asker {
	i := auth.From(r.Context())
	if !i.Tenant && i.Project == "" {
		i.Project = i.User // where there are no projects, alarms belong to users
	}
	// Without authentication one may say which roles one has; who says nothing may do all.
	return asker{Identity: i, admin: slices.Contains(i.Roles, "admin") || i.Everything && len(i.Roles) == 0}
}

func (a asker) who() store.Who { return store.Who{User: a.User, Project: a.Project} }

// sees reports whether the asker may see an alarm. To others it is not there.
func (a asker) sees(alarm *store.Alarm) bool { return a.admin || alarm.Project == a.Project }

// only limits a query to what the asker may see: field is the project that a row belongs
// to. Who names another's project is told so.
func (a asker) only(e filter.Expr, field string) (filter.Expr, error) {
	if a.admin {
		return e, nil
	}
	if project, other := namesOther(e, field, a.Project); other {
		return nil, notAuthorized(project)
	}
	own := filter.Compare{Field: field, Op: "=", Value: a.Project}
	if e == nil {
		return own, nil
	}
	return filter.And{own, e}, nil
}

func notAuthorized(project string) error {
	return refuse(http.StatusUnauthorized, "Not Authorized to access project %s", project)
}

// namesOther looks for a comparison of a field with something else than a project.
func namesOther(e filter.Expr, field, project string) (other string, found bool) {
	var parts []filter.Expr
	switch e := e.(type) {
	case filter.And:
		parts = e
	case filter.Or:
		parts = e
	case filter.Not:
		parts = []filter.Expr{e.Expr}
	case filter.Compare:
		if text, _ := e.Value.(string); e.Field == field && text != project {
			return text, true
		}
	case filter.In:
		for _, v := range e.Values {
			if text, _ := v.(string); e.Field == field && text != project {
				return text, true
			}
		}
	}
	for _, part := range parts {
		if other, found := namesOther(part, field, project); found {
			return other, true
		}
	}
	return "", false
}

// alarm gives the alarm that a path names, if the asker may see it.
func (s *Server) alarm(r *http.Request) (*store.Alarm, error) {
	text := r.PathValue("id")
	id, err := uuid.Parse(text)
	if err != nil {
		return nil, notFound(text)
	}
	a, err := s.o.Store.Alarm(r.Context(), id)
	if err == store.ErrNotFound || err == nil && !askerOf(r).sees(a) {
		return nil, notFound(text)
	}
	return a, err
}
