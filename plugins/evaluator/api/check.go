package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/nephoscope/nepho/aggregator/operations"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/aggregator/promql"
	"github.com/nephoscope/nepho/aggregator/search"
	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
)

// CheckRule finds what is wrong with a rule beyond its form: methods, searches and
// expressions that no storage understands.
func CheckRule(r def.Rule) error {
	method := func(t *def.Threshold) error {
		if _, err := policy.ParseMethod(t.Method); err != nil {
			return bad("aggregation_method %s is none that a storage has, such as mean, max, last, count, 95pct or rate:mean", t.Method)
		}
		return nil
	}
	switch r := r.(type) {
	case *def.ResourceThreshold:
		return method(&r.Threshold)
	case *def.MetricsThreshold:
		return method(&r.Threshold)
	case *def.ResourcesThreshold:
		if err := method(&r.Threshold); err != nil {
			return err
		}
		return checkSearch(r.Query)
	case *def.Operations:
		parse := operations.ParseText
		if strings.HasPrefix(strings.TrimSpace(r.Operations), "[") {
			parse = func(text string) (*operations.Operation, error) { return operations.Parse([]byte(text)) }
		}
		if _, err := parse(r.Operations); err != nil {
			return bad("operations can't be understood: %v", err)
		}
		if r.Query != "" {
			return checkSearch(r.Query)
		}
	case *def.Prometheus:
		if _, err := promql.Parse(r.Query); err != nil {
			return bad("query can't be understood: %v", err)
		}
	case *def.Composite:
		for _, leaf := range judge.Leaves(r) {
			if err := CheckRule(leaf); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkSearch(query string) error {
	if _, err := search.ParseJSON([]byte(query)); err != nil {
		return bad("Invalid input for field/attribute rule/query. Value: '%s'. %v", query, err)
	}
	return nil
}

// schemes are those of actions.
var schemes = []string{"http", "https", "log", "mailto", "test", "trust+http", "trust+https", "trust+zaqar", "zaqar"}

// maxAction is the most bytes of an action as it is sent: PostgreSQL takes no more than 2,700 in
// the index of what is owed to whom.
const maxAction = 2048

// CheckAction reads an action, and finds what is wrong with it wherever it is to be done.
func CheckAction(action string) (*url.URL, error) {
	u, err := url.Parse(action)
	if err != nil {
		return nil, bad("Unable to parse action %s", action)
	}
	if !slices.Contains(schemes, u.Scheme) {
		return nil, bad("Unsupported action %s", action)
	}
	if n := len(u.String()); n > maxAction {
		return nil, bad("an action of %d bytes is too long: %d are allowed", n, maxAction)
	}
	if web := strings.TrimPrefix(u.Scheme, "trust+"); (web == "http" || web == "https") && u.Host == "" {
		return nil, bad("Unable to parse action %s", action)
	}
	if def.NeedsTrust(action) && u.User != nil {
		return nil, bad("trust URL cannot contain a trust ID.")
	}
	return u, nil
}

// checkActions finds actions that can't be done, or that the asker may not have done.
func (s *Server) checkActions(who asker, a *def.Alarm) error {
	for state, list := range a.Actions {
		name := strings.ReplaceAll(def.State(state).String(), " ", "_") + "_actions"
		if s.o.MaxActions > 0 && len(list) > s.o.MaxActions {
			return bad("%s count exceeds maximum value %d", name, s.o.MaxActions)
		}
		for _, action := range list {
			u, err := CheckAction(action)
			if err != nil {
				return err
			}
			if !who.admin && (u.Scheme == "log" || u.Scheme == "test") {
				return refuse(http.StatusUnauthorized, "You are not authorized to create action: %s", action)
			}
			if def.NeedsTrust(action) && s.o.Trusts == nil {
				return bad("Unsupported action %s: trusts need auth = \"keystone\" with a service user", action)
			}
			if s.o.Action == nil {
				continue
			}
			if err := s.o.Action(u); err != nil {
				return bad("Unsupported action %s: %v", action, err)
			}
		}
	}
	return nil
}
