package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
)

func (s *Server) resourceRoutes() {
	s.handle("GET /v1/resource", s.listResourceTypes)
	s.handle("GET /v1/resource/{type}", s.listResources)
	s.handle("POST /v1/resource/{type}", s.createResource)
	s.handle("DELETE /v1/resource/{type}", s.deleteResources)
	s.handle("GET /v1/resource/{type}/{id}", s.getResource)
	s.handle("PATCH /v1/resource/{type}/{id}", s.changeResource)
	s.handle("DELETE /v1/resource/{type}/{id}", s.deleteResource)
}

// listResourceTypes answers with the URLs of the resources of each type.
func (s *Server) listResourceTypes(w http.ResponseWriter, r *http.Request) error {
	types, err := s.o.Index.Types(r.Context())
	if err != nil {
		return err
	}
	links := make(map[string]string, len(types))
	for _, t := range types {
		links[t.Name] = s.mount.Link(r, "v1", "resource", t.Name)
	}
	return writeJSON(w, http.StatusOK, links)
}

// writeResource answers with one resource, and what tells its revisions apart.
func writeResource(w http.ResponseWriter, code int, r *index.Resource) error {
	v := versionOf(r)
	w.Header().Set("ETag", v.etag)
	w.Header().Set("Last-Modified", v.modified.Format(http.TimeFormat))
	var o object
	o.resource(r, true)
	return writeBytes(w, code, o.b)
}

// access is what is done to a resource.
type access bool

const (
	toRead  access = false
	toWrite access = true
)

// resource finds the resource that a request's path names, and refuses those who
// may not see it or change it. Unknown types and ids are not found.
func (s *Server) resource(r *http.Request, a access) (*index.Resource, error) {
	ctx, typ, text := r.Context(), r.PathValue("type"), r.PathValue("id")
	if _, err := s.o.Index.Type(ctx, typ); err != nil {
		return nil, err
	}
	id, err := resourceID(ctx, text)
	if err != nil {
		// It can be the id of no resource.
		return nil, &index.NotFoundError{Kind: index.KindResource, Name: text}
	}
	found, err := s.o.Index.Resource(ctx, typ, id)
	if err != nil {
		return nil, err
	}
	return found, requireResource(ctx, found, a)
}

func requireResource(ctx context.Context, r *index.Resource, a access) error {
	who, project := auth.From(ctx), ""
	if r.Project != nil {
		project = *r.Project
	}
	if a == toWrite && owns(who, r.Creator) || a == toRead && sees(who, r.Creator, project) {
		return nil
	}
	return forbidden()
}

func (s *Server) getResource(w http.ResponseWriter, r *http.Request) error {
	found, err := s.resource(r, toRead)
	if err != nil {
		return err
	}
	if err := versionOf(found).check(r); err != nil {
		if errors.Is(err, errNotModified) {
			w.Header().Set("ETag", versionOf(found).etag)
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		return err
	}
	return writeResource(w, http.StatusOK, found)
}

// resourceInput is what a body says of a resource. What it does not name is nil.
type resourceInput struct {
	id            string
	user, project **string
	started       *time.Time
	ended         **time.Time
	attributes    map[string]any
	metrics       metricsInput
}

// bodyResource reads a body that is a resource of the type that the path names.
func (s *Server) bodyResource(w http.ResponseWriter, r *http.Request, isNew bool) (v resourceInput, t index.ResourceType, err error) {
	if t, err = s.o.Index.Type(r.Context(), r.PathValue("type")); err != nil {
		return v, t, err
	}
	in, err := s.input(w, r)
	if err != nil {
		return v, t, err
	}
	v, err = s.readResource(in, t, isNew)
	return v, t, err
}

// readResource reads a resource of a type; a new one has an id and all that its
// type requires.
func (s *Server) readResource(in input, t index.ResourceType, isNew bool) (resourceInput, error) {
	var v resourceInput
	keys := []string{"user_id", "project_id", "started_at", "ended_at", "metrics"}
	if isNew {
		keys = append(keys, "id")
	}
	for name := range t.Attributes {
		keys = append(keys, name)
	}
	body := in.object(keys...)
	if isNew {
		v.id = readResourceID(body.need("id"))
	}
	if metrics := body.get("metrics"); metrics.given() {
		v.metrics = readMetrics(metrics)
	}
	v.user, v.project = readOwner(body.get("user_id")), readOwner(body.get("project_id"))
	now := s.o.Now()
	if started := body.get("started_at"); started.given() {
		t := started.time(now)
		v.started = &t
	}
	if ended := body.get("ended_at"); ended.given() {
		v.ended = new(*time.Time)
		if !ended.null() {
			t := ended.time(now)
			*v.ended = &t
		}
	}
	names := make([]string, 0, len(t.Attributes))
	for name := range t.Attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	v.attributes = make(map[string]any, len(names))
	for _, name := range names {
		a, value := t.Attributes[name], body.get(name)
		switch {
		case !value.given() && isNew && a.Required:
			body.need(name)
		case !value.given():
		case value.null() && !a.Required:
			v.attributes[name] = nil
		default:
			parsed, err := a.Parse(value.raw)
			if err != nil {
				value.fault(err.Error())
			}
			v.attributes[name] = parsed
		}
	}
	return v, in.err()
}

// readOwner reads a user or project, which may be null.
func readOwner(in input) **string {
	switch {
	case !in.given():
		return nil
	case in.null():
		return new(*string)
	case in.kind() != '"':
		in.invalid("must be a string or null")
		return nil
	}
	text := in.text(0, maxName)
	owner := &text
	return &owner
}

// checkLife refuses resources that end before they start.
func checkLife(started time.Time, ended *time.Time) error {
	if ended != nil && ended.Before(started) {
		return badRequest("Start timestamp cannot be after end timestamp")
	}
	return nil
}

func (s *Server) createResource(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v, t, err := s.bodyResource(w, r, true)
	if err != nil {
		return err
	}
	creator := auth.From(ctx).Creator()
	wanted := &index.Resource{
		Original: v.id, Type: t.Name, Creator: creator, Attributes: v.attributes,
		Started: s.o.Now().UTC().Truncate(time.Microsecond),
	}
	if wanted.ID, err = index.ResourceID(v.id, creator); err != nil {
		return err
	}
	if v.user != nil {
		wanted.User = *v.user
	}
	if v.project != nil {
		wanted.Project = *v.project
	}
	if v.started != nil {
		wanted.Started = *v.started
	}
	if v.ended != nil {
		wanted.Ended = *v.ended
	}
	if err := checkLife(wanted.Started, wanted.Ended); err != nil {
		return err
	}
	created, err := s.o.Index.CreateResource(ctx, wanted, v.metrics.attach, v.metrics.create(creator))
	if err != nil {
		return refusedMetrics(err)
	}
	w.Header().Set("Location", s.mount.Link(r, "v1", "resource", t.Name, created.ID.String()))
	return writeResource(w, http.StatusCreated, created)
}

func (s *Server) changeResource(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	old, err := s.resource(r, toWrite)
	if err != nil {
		return err
	}
	if err := versionOf(old).check(r); err != nil {
		return err
	}
	v, t, err := s.bodyResource(w, r, false)
	if err != nil {
		return err
	}
	c := index.Change{
		User: v.user, Project: v.project, Started: v.started, Ended: v.ended, Attributes: v.attributes,
		ReplaceMetrics: v.metrics.given, Attach: v.metrics.attach, Create: v.metrics.create(auth.From(ctx).Creator()),
	}
	started, ended := old.Started, old.Ended
	if c.Started != nil {
		started = *c.Started
	}
	if c.Ended != nil {
		ended = *c.Ended
	}
	if err := checkLife(started, ended); err != nil {
		return err
	}
	c.Revision = pinned(r, old)
	changed, err := s.o.Index.ChangeResource(ctx, t.Name, old.ID, c)
	if err != nil {
		return refusedMetrics(err)
	}
	return writeResource(w, http.StatusOK, changed)
}

func (s *Server) deleteResource(w http.ResponseWriter, r *http.Request) error {
	found, err := s.resource(r, toWrite)
	if err != nil {
		return err
	}
	if err := versionOf(found).check(r); err != nil {
		return err
	}
	if err := s.o.Index.DeleteResource(r.Context(), r.PathValue("type"), found.ID, pinned(r, found)); err != nil {
		return err
	}
	return writeNothing(w, http.StatusNoContent)
}

// metricsInput is the metrics that a body names.
type metricsInput struct {
	given  bool
	attach map[string]uuid.UUID // that exist
	new    []index.NewMetric
}

// readMetrics reads names of metrics with the ids of those that exist, or with what
// new ones are to be.
func readMetrics(in input) metricsInput {
	v := metricsInput{given: true}
	body := in.object()
	for _, name := range body.names() {
		item := body.get(name)
		if err := checkMetricName(name); err != nil {
			item.abort(err)
		}
		if name == "" || len(name) > maxName {
			item.fault("a metric's name has 1 to 255 bytes")
		}
		switch item.kind() {
		case '"':
			text, _ := item.scalar()
			id, err := uuid.Parse(text)
			if err != nil {
				item.invalid("must be the id of a metric")
			}
			if v.attach == nil {
				v.attach = map[string]uuid.UUID{}
			}
			v.attach[name] = id
		case '{':
			m := index.NewMetric{Name: name}
			// gnocchiclient repeats the name.
			readMetric(item.object("archive_policy_name", "unit", "name"), &m)
			v.new = append(v.new, m)
		default:
			item.invalid("must be the id of a metric, or an object for a new one")
		}
	}
	return v
}

// create is the new metrics, of a creator.
func (v metricsInput) create(creator string) []index.NewMetric {
	for i := range v.new {
		v.new[i].Creator = creator
	}
	return v.new
}

// acceptOption is an option that Gnocchi takes from the Accept header too, as in
// "application/json; details=True".
func acceptOption(r *http.Request, name string) (string, bool) {
	for _, header := range r.Header.Values("Accept") {
		first, _, _ := strings.Cut(header, ",")
		for part := range strings.SplitSeq(first, ";") {
			if key, value, ok := strings.Cut(strings.TrimSpace(part), "="); ok && strings.EqualFold(key, name) {
				return strings.Trim(value, `"`), true
			}
		}
	}
	return "", false
}
