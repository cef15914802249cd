package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/nephoscope/nepho/aggregator/index"
)

func (s *Server) ruleRoutes() {
	s.handle("GET /v1/archive_policy_rule", s.listRules)
	s.handle("POST /v1/archive_policy_rule", s.createRule)
	s.handle("GET /v1/archive_policy_rule/{name}", s.getRule)
	s.handle("PATCH /v1/archive_policy_rule/{name}", s.renameRule)
	s.handle("DELETE /v1/archive_policy_rule/{name}", s.deleteRule)
}

type ruleView struct {
	Name    string `json:"name"`
	Policy  string `json:"archive_policy_name"`
	Pattern string `json:"metric_pattern"`
}

func viewRule(r index.Rule) ruleView { return ruleView{r.Name, r.Policy, r.Pattern} }

func (s *Server) listRules(w http.ResponseWriter, r *http.Request) error {
	rules, err := s.o.Index.Rules(r.Context())
	if err != nil {
		return err
	}
	views := make([]ruleView, 0, len(rules))
	for _, rule := range rules {
		views = append(views, viewRule(rule))
	}
	return writeJSON(w, http.StatusOK, views)
}

func (s *Server) getRule(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.o.Index.Rule(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, viewRule(rule))
}

func (s *Server) createRule(w http.ResponseWriter, r *http.Request) error {
	if err := requireAdmin(r.Context()); err != nil {
		return err
	}
	in, err := s.input(w, r)
	if err != nil {
		return err
	}
	body := in.object("name", "metric_pattern", "archive_policy_name")
	rule := index.Rule{
		Name:    body.need("name").text(1, maxName),
		Pattern: body.need("metric_pattern").text(0, maxName),
		Policy:  body.need("archive_policy_name").text(1, maxName),
	}
	if err := in.err(); err != nil {
		return err
	}
	if err := s.o.Index.CreateRule(r.Context(), rule); err != nil {
		var missing *index.NotFoundError
		if errors.As(err, &missing) {
			return badRequest(Cause{Cause: "Archive policy does not exist", Detail: missing.Name})
		}
		return err
	}
	w.Header().Set("Location", s.link(r, "v1", "archive_policy_rule", rule.Name))
	return writeJSON(w, http.StatusCreated, viewRule(rule))
}

func (s *Server) renameRule(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	rule, err := s.o.Index.Rule(r.Context(), name)
	if err != nil {
		return err
	}
	if err := requireAdmin(r.Context()); err != nil {
		return err
	}
	in, err := s.input(w, r)
	if err != nil {
		return err
	}
	to := in.object("name").need("name").text(1, maxName)
	if err := in.err(); err != nil {
		return err
	}
	if to != name {
		rule, err = s.o.Index.RenameRule(r.Context(), name, to)
		var exists *index.ExistsError
		if errors.As(err, &exists) {
			return badRequest(fmt.Sprintf("Archive policy rule %s does not support change: Archive policy rule %s already exists.", name, to))
		}
		if err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, viewRule(rule))
}

func (s *Server) deleteRule(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, err := s.o.Index.Rule(r.Context(), name); err != nil {
		return err
	}
	if err := requireAdmin(r.Context()); err != nil {
		return err
	}
	if err := s.o.Index.DeleteRule(r.Context(), name); err != nil {
		return err
	}
	return writeNothing(w, http.StatusNoContent)
}
