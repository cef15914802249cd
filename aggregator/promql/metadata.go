package promql

import (
	"net/http"

	"github.com/nephoscope/nepho/aggregator/index"
)

// metricMetadata is what is known of all metrics of a name.
type metricMetadata struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// maxMetadata is how many names the answer to one request tells of.
const maxMetadata = 1000

// metadata answers with types and units of metrics. The index knows no types; a
// metric whose archive policy keeps rates is taken for a counter.
func (s *Server) metadata(r *http.Request) (reply, error) {
	ctx := r.Context()
	sc, err := scope(ctx)
	if err != nil {
		return reply{}, err
	}
	limit, err := number(r, "limit")
	if err != nil {
		return reply{}, err
	}
	if limit == 0 || limit > maxMetadata {
		limit = maxMetadata
	}
	names, err := s.find.metricNames(ctx, sc, stale)
	if err != nil {
		return reply{}, err
	}
	made := map[string][]metricMetadata{}
	for _, name := range names {
		shown := metricName(name)
		if one := r.FormValue("metric"); one != "" && one != shown && one != name || len(made) >= limit {
			continue
		}
		list, err := s.o.Index.Metrics(ctx, index.MetricQuery{Name: &name, Scope: sc, Page: index.Page{Limit: 1}})
		if err != nil {
			return reply{}, err
		}
		for _, m := range list {
			about := metricMetadata{Type: "gauge", Unit: m.Unit}
			if p, ok := s.o.Index.PolicyByID(m.PolicyID); ok && p.Methods.HasRates() {
				about.Type = "counter"
			}
			made[shown] = append(made[shown], about)
		}
	}
	return with(made)
}

// none answers with nothing, where there is nothing to have.
func (s *Server) none(*http.Request) (reply, error) { return reply{data: []byte("[]")}, nil }

func (s *Server) rules(*http.Request) (reply, error) {
	return reply{data: []byte(`{"groups":[]}`)}, nil
}

func (s *Server) alerts(*http.Request) (reply, error) {
	return reply{data: []byte(`{"alerts":[]}`)}, nil
}

// buildInfo says what answers. Grafana asks for it to know what it may ask: the
// version is that of the Prometheus whose API this is.
func (s *Server) buildInfo(*http.Request) (reply, error) {
	return with(map[string]string{
		"application": "Nepho", "version": "3.10.0", "revision": s.o.Version, "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
	})
}
