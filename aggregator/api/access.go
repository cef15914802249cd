package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
)

// splitCreator is the user and the project in a creator.
func splitCreator(creator string) (user, project string) {
	user, project, _ = strings.Cut(creator, ":")
	return user, project
}

// owns reports whether an identity is an admin, the creator of a thing, or of the
// creator's project: Gnocchi's rule admin_or_creator.
func owns(who auth.Identity, creator string) bool {
	if who.Admin() || creator != "" && who.Creator() == creator {
		return true
	}
	_, project := splitCreator(creator)
	return project != "" && project == who.Project
}

// sees reports whether an identity owns a thing, or is of the project that its
// resource belongs to: Gnocchi's resource_owner and metric_owner. project may be "".
func sees(who auth.Identity, creator, project string) bool {
	return owns(who, creator) || project != "" && project == who.Project
}

// requireAdmin refuses others than admins.
func requireAdmin(ctx context.Context) error {
	if !auth.From(ctx).Admin() {
		return forbidden()
	}
	return nil
}

// scope is what an identity's lists are limited to. Where there are projects,
// those who have none may list nothing.
func scope(ctx context.Context) (index.Scope, error) {
	who := auth.From(ctx)
	switch {
	case who.Admin() || !who.Tenant:
		return index.Scope{}, nil
	case who.Project == "":
		return index.Scope{}, &Error{http.StatusForbidden, "Insufficient privileges: lists are of a project, and the request has none."}
	}
	return index.Scope{Project: who.Project}, nil
}

// requireEntry refuses those who may not see a metric (get metric, get measures),
// or, with write set, may not change it (post measures, delete metric).
func requireEntry(ctx context.Context, e *index.Entry, write bool) error {
	who := auth.From(ctx)
	if write && owns(who, e.Creator) || !write && sees(who, e.Creator, e.Project) {
		return nil
	}
	return forbidden()
}

// requireMetric finds a metric by the id that a request has, and refuses those who
// may not see it or, with write set, change it. Ids that are no UUIDs are of no
// metric.
func (s *Server) requireMetric(ctx context.Context, text string, write bool) (uuid.UUID, *index.Entry, error) {
	missing := &index.NotFoundError{Kind: index.KindMetric, Name: text}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, nil, missing
	}
	entry, ok := s.o.Index.Cached(id)
	if !ok {
		entries, err := s.o.Index.Lookup(ctx, []uuid.UUID{id}, nil)
		if err != nil {
			return uuid.Nil, nil, err
		}
		entry = entries[0]
	}
	if entry == nil {
		return uuid.Nil, nil, missing
	}
	return id, entry, requireEntry(ctx, entry, write)
}

// resourceID is the id of a resource that a request names, by its UUID or by the
// text that the one who asks gave it.
func resourceID(ctx context.Context, text string) (uuid.UUID, error) {
	if strings.Contains(text, "/") {
		return uuid.Nil, badRequest("'/' is not supported in resource id")
	}
	return index.ResourceID(text, auth.From(ctx).Creator())
}
