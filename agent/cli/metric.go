package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

func metricCommands() []command {
	return []command{
		{"list", "", "list metrics", metricListHelp + clientHelp, (*App).metricList, nil},
		{"show", "METRIC", "show a metric", metricHelp + clientHelp, (*App).metricShow, nil},
		{"create", "", "make a metric and print its id", clientHelp, (*App).metricCreate, nil},
		{"delete", "METRIC ...", "delete metrics and their measures", metricHelp + clientHelp, (*App).metricDelete, nil},
	}
}

const metricListHelp = `
  nepho metric list --name cpu_util
  nepho metric list --resource 9a1f3c5e-...
`

const metricHelp = `
METRIC is an id, or RESOURCE/NAME: the metric of that name of a resource.
`

// metricJSON is a metric as the API has it.
type metricJSON struct {
	ID         string  `json:"id"`
	Name       *string `json:"name"`
	Unit       *string `json:"unit"`
	Creator    *string `json:"creator"`
	ResourceID *string `json:"resource_id"`
	Policy     *struct {
		Name       string   `json:"name"`
		BackWindow int      `json:"back_window"`
		Methods    []string `json:"aggregation_methods"`
		Definition []struct {
			Granularity string  `json:"granularity"`
			Points      *int64  `json:"points"`
			Timespan    *string `json:"timespan"`
		} `json:"definition"`
	} `json:"archive_policy"`
	PolicyName string `json:"archive_policy_name"`
	Resource   *struct {
		ID       string `json:"id"`
		Original string `json:"original_resource_id"`
		Type     string `json:"type"`
	} `json:"resource"`
}

func (m metricJSON) policy() string {
	if m.Policy != nil {
		return m.Policy.Name
	}
	return m.PolicyName
}

// or gives what a pointer leads to; "" of nil.
func or(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (a *App) metricList(flags *flag.FlagSet, args []string) int {
	f := addClientFlags(flags)
	resource := flags.String("resource", "", "only those of the resource with this `id`")
	name := flags.String("name", "", "only those of this `name`")
	policy := flags.String("policy", "", "only those with this archive `policy`")
	limit := flags.Int("limit", 1000, "`number` at most; 0 is all")
	if _, code, done := a.parse(flags, args, 0); done {
		return code
	}
	c, ok := a.ask(flags.Name(), f)
	if !ok {
		return exitFailed
	}
	var list []json.RawMessage
	var err error
	if *resource != "" {
		_, _, err = c.do(http.MethodGet, "/v1/resource/generic/"+url.PathEscape(*resource)+"/metric", nil, nil, &list)
	} else {
		query := url.Values{}
		for key, value := range map[string]string{"name": *name, "archive_policy_name": *policy} {
			if value != "" {
				query.Set(key, value)
			}
		}
		list, err = c.pages(http.MethodGet, "/v1/metric", query, *limit, nil)
	}
	if err != nil {
		return c.fail(err)
	}
	return table(c, list, f.json, "ID\tNAME\tUNIT\tPOLICY\tRESOURCE", func(m metricJSON) []string {
		return []string{m.ID, or(m.Name), or(m.Unit), m.policy(), or(m.ResourceID)}
	})
}

// metricPath is where the API has a metric.
func metricPath(text string) string {
	if resource, name, ok := strings.Cut(text, "/"); ok {
		return "/v1/resource/generic/" + url.PathEscape(resource) + "/metric/" + url.PathEscape(name)
	}
	return "/v1/metric/" + url.PathEscape(text)
}

func (a *App) metricShow(flags *flag.FlagSet, args []string) int {
	f := addClientFlags(flags)
	names, code, done := a.parse(flags, args, 1)
	if done {
		return code
	}
	if len(names) == 0 {
		return a.lacks(flags, "METRIC")
	}
	c, ok := a.ask(flags.Name(), f)
	if !ok {
		return exitFailed
	}
	var m metricJSON
	raw, _, err := c.do(http.MethodGet, metricPath(names[0]), nil, nil, &m)
	if err != nil {
		return c.fail(err)
	}
	if f.json {
		return c.json(json.RawMessage(raw))
	}
	pairs := []string{"id", m.ID, "name", or(m.Name), "unit", or(m.Unit), "creator", or(m.Creator)}
	if m.Resource != nil {
		pairs = append(pairs, "resource", fmt.Sprintf("%s (%s)", or(&m.Resource.Original), m.Resource.Type))
	}
	pairs = append(pairs, "policy", m.policy())
	if p := m.Policy; p != nil {
		pairs = append(pairs, "methods", strings.Join(p.Methods, ", "))
		for _, d := range p.Definition {
			kept := "for ever"
			if d.Timespan != nil && d.Points != nil {
				kept = fmt.Sprintf("for %s, %d windows", *d.Timespan, *d.Points)
			}
			pairs = append(pairs, "every "+d.Granularity, kept)
		}
		pairs = append(pairs, "back window", strconv.Itoa(p.BackWindow))
	}
	return c.fields(pairs...)
}

func (a *App) metricCreate(flags *flag.FlagSet, args []string) int {
	f := addClientFlags(flags)
	values := map[string]*string{
		"name":                flags.String("name", "", "`name` of the metric"),
		"unit":                flags.String("unit", "", "`unit` of its measures"),
		"archive_policy_name": flags.String("policy", "", "archive `policy`; by the archive policy rules if not set"),
		"resource_id":         flags.String("resource", "", "`id` of the resource that it belongs to"),
	}
	if _, code, done := a.parse(flags, args, 0); done {
		return code
	}
	c, ok := a.ask(flags.Name(), f)
	if !ok {
		return exitFailed
	}
	body := map[string]string{}
	for key, value := range values {
		if *value != "" {
			body[key] = *value
		}
	}
	var m metricJSON
	raw, _, err := c.do(http.MethodPost, "/v1/metric", nil, body, &m)
	if err != nil {
		return c.fail(err)
	}
	if f.json {
		return c.json(json.RawMessage(raw))
	}
	fmt.Fprintln(a.Stdout, m.ID)
	return exitOK
}

func (a *App) metricDelete(flags *flag.FlagSet, args []string) int {
	f := addClientFlags(flags)
	names, code, done := a.parse(flags, args, -1)
	if done {
		return code
	}
	if len(names) == 0 {
		return a.lacks(flags, "METRIC")
	}
	c, ok := a.ask(flags.Name(), f)
	if !ok {
		return exitFailed
	}
	for _, name := range names {
		if _, _, err := c.do(http.MethodDelete, metricPath(name), nil, nil, nil); err != nil {
			code = c.fail(err)
		}
	}
	return code
}

// lacks tells that a command needs an argument.
func (a *App) lacks(flags *flag.FlagSet, what string) int {
	fmt.Fprintf(a.Stderr, "%s: %s is missing. See nepho help %s.\n", flags.Name(), what, strings.TrimPrefix(flags.Name(), "nepho "))
	return exitUsage
}
