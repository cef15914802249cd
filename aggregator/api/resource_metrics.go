package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/auth"
	"github.com/nephoscope/nepho/aggregator/index"
)

func (s *Server) resourceMetricRoutes() {
	s.handle("GET /v1/resource/{type}/{id}/metric", s.listResourceMetrics)
	s.handle("POST /v1/resource/{type}/{id}/metric", s.addResourceMetrics)
	s.handle("GET /v1/resource/{type}/{id}/metric/{name}", s.getNamedMetric)
	s.handle("DELETE /v1/resource/{type}/{id}/metric/{name}", s.deleteNamedMetric)
}

func (s *Server) listResourceMetrics(w http.ResponseWriter, r *http.Request) error {
	found, err := s.resource(r, toRead)
	if err != nil {
		return err
	}
	return s.writeMetricsOf(w, r, found.ID)
}

// writeMetricsOf answers with the metrics of a resource.
func (s *Server) writeMetricsOf(w http.ResponseWriter, r *http.Request, id uuid.UUID) error {
	all, err := s.o.Index.ResourceMetrics(r.Context(), []uuid.UUID{id})
	if err != nil {
		return err
	}
	metrics := slices.SortedFunc(slices.Values(all[id]), func(a, b *index.Metric) int { return strings.Compare(a.Name, b.Name) })
	return s.writeMetrics(w, metrics)
}

func (s *Server) addResourceMetrics(w http.ResponseWriter, r *http.Request) error {
	found, err := s.resource(r, toWrite)
	if err != nil {
		return err
	}
	in, err := s.input(w, r)
	if err != nil {
		return err
	}
	v := readMetrics(in)
	if err := in.err(); err != nil {
		return err
	}
	if len(v.attach)+len(v.new) > 0 {
		c := index.Change{Attach: v.attach, Create: v.create(auth.From(r.Context()).Creator())}
		if _, err := s.o.Index.ChangeResource(r.Context(), r.PathValue("type"), found.ID, c); err != nil {
			return refusedMetrics(err)
		}
	}
	return s.writeMetricsOf(w, r, found.ID)
}

// namedMetric finds the metric of a resource that a request's path names. Who may
// see the resource learns whether it has the metric.
func (s *Server) namedMetric(r *http.Request) (*index.Metric, *index.Resource, error) {
	found, err := s.resource(r, toRead)
	if err != nil {
		return nil, nil, err
	}
	name := r.PathValue("name")
	all, err := s.o.Index.ResourceMetrics(r.Context(), []uuid.UUID{found.ID}, name)
	if err != nil {
		return nil, nil, err
	}
	if len(all[found.ID]) == 0 {
		return nil, nil, &index.NotFoundError{Kind: index.KindMetric, Name: name}
	}
	return all[found.ID][0], found, nil
}

func (s *Server) getNamedMetric(w http.ResponseWriter, r *http.Request) error {
	m, resource, err := s.namedMetric(r)
	if err != nil {
		return err
	}
	if err := requireMetricOf(r.Context(), m, resource); err != nil {
		return err
	}
	return s.writeMetric(w, m, resource)
}

func (s *Server) deleteNamedMetric(w http.ResponseWriter, r *http.Request) error {
	m, _, err := s.namedMetric(r)
	if err != nil {
		return err
	}
	if !owns(auth.From(r.Context()), m.Creator) {
		return forbidden()
	}
	if err := s.o.Index.DeleteMetric(r.Context(), m.ID); err != nil {
		return err
	}
	return writeNothing(w, http.StatusNoContent)
}
