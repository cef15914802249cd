package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/nephoscope/nepho/aggregator/index"
)

func (s *Server) ruleRoutes() {
	x := s.o.Index
	named[index.Rule]{
		path: "archive_policy_rule", view: func(r index.Rule) any { return ruleView{r.Name, r.Policy, r.Pattern} },
		all: x.Rules, one: x.Rule, create: s.createRule, change: s.renameRule, remove: x.DeleteRule,
	}.routes(s)
}

type ruleView struct {
	Name    string `json:"name"`
	Policy  string `json:"archive_policy_name"`
	Pattern string `json:"metric_pattern"`
}

func (s *Server) createRule(ctx context.Context, in input) (rule index.Rule, name string, err error) {
	body := in.object("name", "metric_pattern", "archive_policy_name")
	rule = index.Rule{
		Name:    body.need("name").text(1, maxName),
		Pattern: body.need("metric_pattern").text(0, maxName),
		Policy:  body.need("archive_policy_name").text(1, maxName),
	}
	if err = in.err(); err == nil {
		err = s.o.Index.CreateRule(ctx, rule)
	}
	var missing *index.NotFoundError
	if errors.As(err, &missing) {
		err = badRequest(Cause{Cause: "Archive policy does not exist", Detail: missing.Name})
	}
	return rule, rule.Name, err
}

func (s *Server) renameRule(w http.ResponseWriter, r *http.Request, rule index.Rule) (index.Rule, error) {
	in, err := s.input(w, r)
	if err != nil {
		return rule, err
	}
	to := in.object("name").need("name").text(1, maxName)
	if err := in.err(); err != nil || to == rule.Name {
		return rule, err
	}
	renamed, err := s.o.Index.RenameRule(r.Context(), rule.Name, to)
	var exists *index.ExistsError
	if errors.As(err, &exists) {
		err = badRequest(fmt.Sprintf("Archive policy rule %s does not support change: Archive policy rule %s already exists.", rule.Name, to))
	}
	return renamed, err
}
