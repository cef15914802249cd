package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
)

func (s *Server) metricRoutes() {
	s.handle("GET /v1/metric", s.listMetrics)
	s.handle("POST /v1/metric", s.createMetric)
	s.handle("GET /v1/metric/{id}", s.getMetric)
	s.handle("DELETE /v1/metric/{id}", s.deleteMetric)
}

// maxUnit is the most characters of a metric's unit.
const maxUnit = 31

// policyOf is the policy of a metric.
func (s *Server) policyOf(m *index.Metric) (*policy.Policy, error) {
	p, ok := s.o.Index.PolicyByID(m.PolicyID)
	if !ok {
		return nil, fmt.Errorf("metric %s has the archive policy %d, which the index does not know", m.ID, m.PolicyID)
	}
	return p, nil
}

// writeMetrics answers with a list of metrics.
func (s *Server) writeMetrics(w http.ResponseWriter, metrics []*index.Metric) error {
	o := object{b: []byte{'['}}
	for i, m := range metrics {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		p, err := s.policyOf(m)
		if err != nil {
			return err
		}
		o.metric(m, p)
	}
	return writeBytes(w, http.StatusOK, append(o.b, ']'))
}

// writeMetric answers with one metric, its policy and its resource.
func (s *Server) writeMetric(w http.ResponseWriter, m *index.Metric, resource *index.Resource) error {
	p, err := s.policyOf(m)
	if err != nil {
		return err
	}
	var o object
	o.begin()
	o.metricHead(m)
	if resource == nil {
		o.null("resource")
	} else if o.key("resource") {
		o.resource(resource, false)
		o.begun = true
	}
	o.policy(p)
	o.end()
	return writeBytes(w, http.StatusOK, o.b)
}

// metricOrder is the order of lists of metrics.
const metricOrder = "id:asc"

func (s *Server) listMetrics(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	var query index.MetricQuery
	if query.Scope, err = scope(r.Context()); err != nil {
		return err
	}
	if query.Page, err = s.page(q, metricOrder); err != nil {
		return err
	}
	text := func(name string) *string {
		if !q.has(name) {
			return nil
		}
		v := q.text(name)
		return &v
	}
	query.Name, query.Unit, query.Creator, query.Policy = text("name"), text("unit"), text("creator"), q.text("archive_policy_name")
	if q.has("user_id") || q.has("project_id") {
		creator := q.text("user_id") + ":" + q.text("project_id")
		query.Creator = &creator
	}
	nothing := q.has("archive_policy_name") && query.Policy == ""
	if q.has("id") {
		// Text that is no UUID is the id of no metric.
		if query.ID, err = uuid.Parse(q.text("id")); err != nil || query.ID == uuid.Nil {
			nothing = true
		}
	}
	switch status := q.text("status"); {
	case !q.has("status"), status == "active":
	case status == "delete":
		query.Deleted = true
	default:
		return badRequest("Invalid input: not a valid value for dictionary value @ data['status']: must be active or delete")
	}
	var metrics []*index.Metric
	if !nothing {
		if metrics, err = s.o.Index.Metrics(r.Context(), query); err != nil {
			return err
		}
	}
	if n := len(metrics); n > 0 {
		s.linkNext(w, r, q, query.Page, n, metrics[n-1].ID.String(), metricOrder)
	}
	return s.writeMetrics(w, metrics)
}

func (s *Server) createMetric(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	in, err := s.input(w, r)
	if err != nil {
		return err
	}
	body := in.object("archive_policy_name", "name", "unit", "resource_id")
	m := index.NewMetric{Creator: auth.From(ctx).Creator()}
	readMetric(body, &m)
	name, resource := body.get("name"), body.get("resource_id")
	if name.given() {
		m.Name = name.text(0, maxName)
	}
	resourceText := ""
	if resource.given() && !resource.null() {
		resourceText = readResourceID(resource)
	}
	if err := in.err(); err != nil {
		return err
	}
	if err := checkMetricName(m.Name); err != nil {
		return err
	}
	if resourceText != "" {
		if m.Name == "" {
			return badRequest(Cause{Cause: "Attribute value error", Detail: "name", Reason: "Name cannot be null if resource_id is not null"})
		}
		if m.Resource, err = index.ResourceID(resourceText, m.Creator); err != nil {
			return err
		}
		found, err := s.o.Index.ResourcesByID(ctx, []uuid.UUID{m.Resource})
		if err != nil {
			return err
		}
		known, ok := found[m.Resource]
		if !ok {
			return &index.NotFoundError{Kind: index.KindResource, Name: m.Resource.String()}
		}
		if !owns(auth.From(ctx), known.Creator) {
			return forbidden()
		}
	}
	created, err := s.o.Index.CreateMetrics(ctx, []index.NewMetric{m})
	if err != nil {
		var named *index.NamedMetricError
		if errors.As(err, &named) {
			return badRequest(Cause{Cause: "Named metric already exists", Detail: m.Name})
		}
		return refusedMetrics(err)
	}
	var o object
	o.begin()
	o.metricHead(created[0])
	o.resourceID(created[0])
	o.text("archive_policy_name", created[0].Policy)
	o.end()
	w.Header().Set("Location", s.mount.Link(r, "v1", "metric", created[0].ID.String()))
	return writeBytes(w, http.StatusCreated, o.b)
}

// readMetric reads what may be said of a new metric besides its name.
func readMetric(body members, m *index.NewMetric) {
	if v := body.get("archive_policy_name"); v.given() && !v.null() {
		m.Policy = v.text(1, maxName)
	}
	if v := body.get("unit"); v.given() && !v.null() {
		m.Unit = v.text(0, maxUnit)
	}
}

// readResourceID reads the id of a resource, which is a UUID or another text.
func readResourceID(in input) string {
	text := in.text(1, 1<<20)
	if _, err := uuid.Parse(text); err == nil {
		return text
	}
	switch {
	case strings.Contains(text, "/"):
		in.fault("'/' is not supported in resource id")
	case len(text) > maxName:
		in.fault("transformable resource id >255 max allowed characters")
	}
	return text
}

// checkMetricName refuses names that could not be in a URL.
func checkMetricName(name string) error {
	if strings.Contains(name, "/") {
		return badRequest("'/' is not supported in metric name")
	}
	return nil
}

// refusedMetrics is the answer when metrics could not be created: what is missing
// then is named in the body, and not in the URL, so that it is a bad request.
func refusedMetrics(err error) error {
	var missing *index.NotFoundError
	if errors.As(err, &missing) && (missing.Kind == index.KindPolicy || missing.Kind == index.KindMetric) {
		return badRequest(missing.Error())
	}
	return err
}

// metric finds a metric and its resource, nil for none, and refuses those who may
// not see it.
func (s *Server) metric(ctx context.Context, text string) (*index.Metric, *index.Resource, error) {
	missing := &index.NotFoundError{Kind: index.KindMetric, Name: text}
	id, err := uuid.Parse(text)
	if err != nil {
		return nil, nil, missing
	}
	m, err := s.o.Index.Metric(ctx, id)
	switch {
	case err != nil:
		return nil, nil, err
	case m.Deleted:
		return nil, nil, missing
	case m.Resource == uuid.Nil:
		return m, nil, requireMetricOf(ctx, m, nil)
	}
	found, err := s.o.Index.ResourcesByID(ctx, []uuid.UUID{m.Resource})
	if err != nil {
		return nil, nil, err
	}
	return m, found[m.Resource], requireMetricOf(ctx, m, found[m.Resource])
}

// requireMetricOf refuses those who may not see a metric of a resource.
func requireMetricOf(ctx context.Context, m *index.Metric, resource *index.Resource) error {
	project := ""
	if resource != nil && resource.Project != nil {
		project = *resource.Project
	}
	if !sees(auth.From(ctx), m.Creator, project) {
		return forbidden()
	}
	return nil
}

func (s *Server) getMetric(w http.ResponseWriter, r *http.Request) error {
	m, resource, err := s.metric(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.writeMetric(w, m, resource)
}

func (s *Server) deleteMetric(w http.ResponseWriter, r *http.Request) error {
	id, _, err := s.requireMetric(r.Context(), r.PathValue("id"), true)
	if err != nil {
		return err
	}
	if err := s.o.Index.DeleteMetric(r.Context(), id); err != nil {
		return err
	}
	return writeNothing(w, http.StatusNoContent)
}
