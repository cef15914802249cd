package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/search"
)

func (s *Server) searchRoutes() {
	s.handle("POST /v1/search/resource/{type}", s.searchResources)
	s.handle("GET /v1/resource/{type}/{id}/history", s.listHistory)
}

// resourceOrder is the order of lists of resources and of their history.
var resourceOrder = []string{"revision_start:asc", "started_at:asc"}

func (s *Server) listResources(w http.ResponseWriter, r *http.Request) error {
	return s.writeResources(w, r, nil)
}

func (s *Server) searchResources(w http.ResponseWriter, r *http.Request) error {
	filter, err := s.filter(w, r)
	if err != nil {
		return err
	}
	return s.writeResources(w, r, filter)
}

// filter is the search in a request's body, or in the parameter filter; nil if
// there is none.
func (s *Server) filter(w http.ResponseWriter, r *http.Request) (search.Node, error) {
	data, err := s.body(w, r, nil)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(data)) > 0 {
		if err := checkValues(data); err != nil {
			return nil, err
		}
		if err := requireMedia(r, mediaJSON); err != nil {
			return nil, err
		}
		return search.ParseJSON(data)
	}
	q, err := queryOf(r)
	if err != nil || q.text("filter") == "" {
		return nil, err
	}
	return search.Parse(q.text("filter"))
}

// flag is an option of a list, from the query or the Accept header.
func flag(r *http.Request, q query, name string) (bool, error) {
	if !q.has(name) {
		if text, ok := acceptOption(r, name); ok {
			on, err := parseBool(text)
			if err != nil {
				return false, badRequest(fmt.Sprintf("Unable to parse `%s': %v", name, err))
			}
			return on, nil
		}
	}
	return q.boolean(name, false)
}

// writeResources answers with a page of the resources of a type that a filter lets
// through.
func (s *Server) writeResources(w http.ResponseWriter, r *http.Request, filter search.Node) error {
	ctx := r.Context()
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	query := index.ResourceQuery{Type: r.PathValue("type"), Filter: filter, Asker: auth.From(ctx).Creator()}
	if _, err := s.o.Index.Type(ctx, query.Type); err != nil {
		return err
	}
	if query.Details, err = flag(r, q, "details"); err != nil {
		return err
	}
	if query.History, err = flag(r, q, "history"); err != nil {
		return err
	}
	if query.Scope, err = scope(ctx); err != nil {
		return err
	}
	if query.Page, err = s.page(q, resourceOrder...); err != nil {
		return err
	}
	only := wanted(q)
	query.WithoutMetrics = only != nil && !only["metrics"]
	found, err := s.o.Index.Resources(ctx, query)
	if err != nil {
		return err
	}
	return s.writeResourceList(w, r, q, query.Page, found, query.History, only)
}

// wanted is the members of resources that a request asks for, nil for all.
func wanted(q query) map[string]bool {
	var only map[string]bool
	for _, name := range q.all("attrs") {
		if only == nil {
			only = map[string]bool{}
		}
		only[name] = true
	}
	return only
}

func (s *Server) writeResourceList(w http.ResponseWriter, r *http.Request, q query, p index.Page, found []*index.Resource, revisions bool, only map[string]bool) error {
	o := object{b: []byte{'['}, only: only}
	for i, resource := range found {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.resource(resource, true)
	}
	if n := len(found); n > 0 {
		last := found[n-1]
		marker := last.ID.String()
		if revisions {
			marker = fmt.Sprintf("%s@%d", last.ID, last.Revision)
		}
		s.linkNext(w, r, q, p, n, marker, resourceOrder...)
	}
	return writeBytes(w, http.StatusOK, append(o.b, ']'))
}

// listHistory answers with the revisions of one resource.
func (s *Server) listHistory(w http.ResponseWriter, r *http.Request) error {
	found, err := s.resource(r, toRead)
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	p, err := s.page(q, resourceOrder...)
	if err != nil {
		return err
	}
	revisions, err := s.o.Index.History(r.Context(), r.PathValue("type"), found.ID, p)
	if err != nil {
		return err
	}
	return s.writeResourceList(w, r, q, p, revisions, true, wanted(q))
}

// deleteResources deletes the resources of a type that a filter lets through, and
// that the one who asks may delete.
func (s *Server) deleteResources(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	filter, err := s.filter(w, r)
	if err != nil {
		return err
	}
	if filter == nil {
		return badRequest("caution: the query can not be empty, or it will delete entire database")
	}
	query := index.ResourceQuery{Type: r.PathValue("type"), Filter: filter, Asker: auth.From(ctx).Creator()}
	if _, err := s.o.Index.Type(ctx, query.Type); err != nil {
		return err
	}
	if query.Scope, err = scope(ctx); err != nil {
		return err
	}
	if own := ownOnly(ctx); own != nil {
		query.Filter = search.And{filter, own}
	}
	n, err := s.o.Index.DeleteResources(ctx, query)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct {
		Deleted int `json:"deleted"`
	}{n})
}

// ownOnly limits a search to what the one who asks may change: what they, or
// others for their project, created. It is nil for those who may change all.
func ownOnly(ctx context.Context) search.Node {
	who := auth.From(ctx)
	if who.Admin() {
		return nil
	}
	own := search.Compare{Operator: search.Equal, Attribute: "creator", Value: who.Creator()}
	if who.Project == "" {
		return own
	}
	return search.Or{own, search.Compare{Operator: search.Equal, Attribute: "created_by_project_id", Value: who.Project}}
}
